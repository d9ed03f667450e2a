"""Contexts as rows. Every function takes an open connection and makes no transaction."""

from __future__ import annotations

import sqlite3
from time import time

from nexus_core.contract.errors import UsageError
from nexus_core.store.records import Context, check_text, checked_name
from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.text.languages import AUTO
from nexus_core.toolkit.text.stemming import ANALYZER_VERSION, LANGUAGES
from nexus_core.toolkit.tokens.counter import token_counter

LONGEST_DESCRIPTION = 2**16
"""Characters."""
_NAMED = 20
"""Contexts that a message names."""
_CONTEXT = "SELECT id, name, description, language, encoding, created, changed, items, analyzer FROM contexts"


def create(connection: sqlite3.Connection, name: str, *, description: str, language: str, encoding: str) -> Context:
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
    try:
        connection.execute(
            "INSERT INTO contexts (name, description, language, encoding, created, changed, analyzer)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, description, language, encoding, now, now, ANALYZER_VERSION),
        )
    except sqlite3.IntegrityError as error:
        raise UsageError(f"there is a context {name!r} already: choose another name, or add to it") from error
    return find(connection, name)


def find(connection: sqlite3.Connection, name: str) -> Context:
    """Return a context by its name; raises UsageError where there is none."""
    check_text(name, "the name of a context")
    row = connection.execute(f"{_CONTEXT} WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return _context(row)
    names = [name for (name,) in connection.execute("SELECT name FROM contexts ORDER BY name")]
    some = [*names[:_NAMED], f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else names
    known = f"there are: {listed(some)}" if names else "there is none yet: make one with `nexus context add NAME PATH`"
    raise UsageError(f"there is no context {name!r}{did_you_mean(name, names)}; {known}")


def everything(connection: sqlite3.Connection) -> tuple[Context, ...]:
    """Return all contexts, by name."""
    return tuple(map(_context, connection.execute(f"{_CONTEXT} ORDER BY name")))


def remove(connection: sqlite3.Connection, context: Context) -> None:
    """Remove a context with all that is in it."""
    connection.execute("DELETE FROM contexts WHERE id = ?", (context.id,))


def _context(row: tuple[int, str, str, str, str, float, float, int, int]) -> Context:
    number, name, description, language, encoding, created, changed, items, analyzer = row
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
    )
