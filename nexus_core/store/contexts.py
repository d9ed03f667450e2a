"""Contexts as rows. Every function takes an open connection and makes no transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from time import time
from typing import Any, TypedDict

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import Viewer
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.grants import TOLD_GRANTS, among_told, grant_id, seen_grants
from nexus_core.store.records import Context, check_text, checked_name, checked_readers
from nexus_core.store.vectors.vector_model import forget_model
from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.text.languages import AUTO, DEFAULT
from nexus_core.toolkit.text.stemming import ANALYZER_VERSION, LANGUAGES
from nexus_core.toolkit.tokens.counter import token_counter

LONGEST_DESCRIPTION = 2**16
"""Characters."""
_NAMED = 20
"""Contexts that a message names."""
_COLUMNS = (
    "id, name, description, language, encoding, created, changed, items, analyzer, embedder,"
    " (SELECT readers FROM grants WHERE grants.id = grant_id)"
)
_MOMENT = (
    "newest, removed, (SELECT json_group_array(language) FROM context_languages AS noted"
    " WHERE context_id = contexts.id AND EXISTS (SELECT 1 FROM items"
    " WHERE items.context_id = noted.context_id AND items.language = noted.language))"
)


@frozen
class ContextMoment:
    """A context with all that a search asks of it, as it is at one moment."""

    context: Context
    newest: int
    """The largest key that was ever written to it."""
    removed: int
    """The number of its last removal."""
    languages: tuple[str, ...]
    """Those of the items that it has now: what is noted of items that are gone does not count."""
    grants: list[int] | None
    """Those of its items that the viewer may see; `None` where these are all there are."""


class NewContext(TypedDict, total=False):
    """What may be said of a new context."""

    description: str
    language: str
    encoding: str
    readers: Sequence[str]
    """The groups that alone may see it."""


def create(
    connection: SqlConnection,
    name: str,
    *,
    description: str,
    language: str,
    encoding: str,
    readers: Sequence[str] = (),
) -> Context:
    """Make a context; raises UsageError where the name is taken or nothing can be made of what is asked."""
    checked_name(name, "the name of a context")
    check_text(description, f"the description of {name[:80]!r}", LONGEST_DESCRIPTION)
    if language != AUTO and language not in LANGUAGES:
        raise UsageError(f"there is no language {language!r}{did_you_mean(language, [AUTO, *LANGUAGES])}")
    try:
        token_counter(encoding)
    except ValueError as error:
        raise UsageError(str(error)) from error
    now = time()
    granted = grant_id(connection, checked_readers(readers, f"the context {name[:80]!r}"))
    made = connection.execute(
        "INSERT INTO contexts (name, description, language, encoding, created, changed, analyzer, grant_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING RETURNING id",
        (name, description, language, encoding, now, now, ANALYZER_VERSION, granted),
    ).fetchone()
    if made is None:
        raise UsageError(f"there is a context {name!r} already: choose another name, or add to it")
    return find(connection, name)


def grant(connection: SqlConnection, name: str, readers: Sequence[str]) -> None:
    """Let some groups alone see a context from now on; without any, everyone who may ask it."""
    context = find(connection, name)
    granted = grant_id(connection, checked_readers(readers, f"the context {name[:80]!r}"))
    connection.execute("UPDATE contexts SET grant_id = ?, changed = ? WHERE id = ?", (granted, time(), context.id))


def find(connection: SqlConnection, name: str, viewer: Viewer | None = None) -> Context:
    """Return a context by its name; raises UsageError where there is none, or none that the viewer may see."""
    return _context(_row(connection, name, viewer, _COLUMNS))


def find_moment(connection: SqlConnection, name: str, viewer: Viewer | None) -> ContextMoment:
    """Return a context with what a search asks of it, in one statement but for who a viewer is; raises UsageError."""
    grants = "NULL" if viewer is None else TOLD_GRANTS
    *row, newest, removed, noted, told = _row(connection, name, viewer, f"{_COLUMNS}, {_MOMENT}, {grants}")
    context = _context(row)
    spoken = (context.language,) if context.language != AUTO else tuple(sorted(json.loads(noted))) or (DEFAULT,)
    return ContextMoment(context, newest, removed, spoken, None if viewer is None else among_told(told, viewer))


def _row(connection: SqlConnection, name: str, viewer: Viewer | None, columns: str) -> Sequence[Any]:
    check_text(name, "the name of a context")
    if viewer is None or viewer.may_ask(name):
        seen, values = _seen(connection, viewer)
        found = connection.execute(f"SELECT {columns} FROM contexts WHERE name = ? AND {seen}", (name, *values))
        row: Sequence[Any] | None = found.fetchone()
        if row is not None:
            return row
    names = [each.name for each in everything(connection, viewer)]
    some = [*names[:_NAMED], f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else names
    known = f"there are: {listed(some)}" if names else "there is none yet: make one with `nexus context add NAME PATH`"
    raise UsageError(f"there is no context {name!r}{did_you_mean(name, names)}; {known}")


def everything(connection: SqlConnection, viewer: Viewer | None = None) -> tuple[Context, ...]:
    """Return all contexts that the viewer may see, by name."""
    seen, values = _seen(connection, viewer)
    bound = sorted(viewer.contexts) if viewer is not None and viewer.contexts is not None else None
    among = "" if bound is None else " AND name IN (SELECT value FROM json_each(?) AS texts)"
    asked = (*values, *([] if bound is None else [json.dumps(bound)]))
    found = connection.execute(f"SELECT {_COLUMNS} FROM contexts WHERE {seen}{among} ORDER BY name", asked)
    return tuple(map(_context, found))


def readers_of(connection: SqlConnection, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the readers of those contexts that there are, by name; no row of another one is looked at."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM contexts WHERE name IN (SELECT value FROM json_each(?) AS texts)",
        (json.dumps(sorted(set(names))),),
    )
    return {context.name: context.readers for context in map(_context, found)}


def _seen(connection: SqlConnection, viewer: Viewer | None) -> tuple[str, tuple[str, ...]]:
    """Return the condition that holds for contexts that are granted to a viewer, with its values."""
    if viewer is None:
        return "true", ()
    return "grant_id IN (SELECT value FROM json_each(?) AS numbers)", (json.dumps(seen_grants(connection, viewer)),)


def secret(connection: SqlConnection) -> bytes:
    """Return the random bytes that a store has kept, nothing before there are any."""
    found = connection.execute("SELECT value FROM settings WHERE name = 'secret'").fetchone()
    return bytes.fromhex(found[0]) if found else b""


def keep_secret(connection: SqlConnection, made: bytes) -> bytes:
    """Keep random bytes for a store that has none, and return those that it has."""
    connection.execute("INSERT INTO settings (name, value) VALUES ('secret', ?) ON CONFLICT DO NOTHING", (made.hex(),))
    return secret(connection)


def remove(connection: SqlConnection, context: Context) -> None:
    """Remove a context with all that is in it."""
    forget_model(connection, context)
    connection.execute("DELETE FROM contexts WHERE id = ?", (context.id,))


def _context(row: Sequence[Any]) -> Context:
    number, name, description, language, encoding, created, changed, items, analyzer, embedder, readers = row
    return Context(
        id=number,
        name=name,
        description=description,
        language=language,
        encoding=encoding,
        created=created,
        changed=changed,
        items=items,
        analyzer=analyzer,
        embedder=embedder,
        readers=tuple(json.loads(readers)) if readers else (),
    )
