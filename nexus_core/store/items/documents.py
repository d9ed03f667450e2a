"""Documents as they are listed: page by page, with their items and what of them lacks its vectors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from attrs import frozen

from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Value
from nexus_core.store.database.sql import SqlConnection, like_pattern, lowered
from nexus_core.store.items.grants import seen_grants
from nexus_core.store.records import Context, StoredDocument
from nexus_core.store.vectors.vector_model import known_model

Among = Literal["read", "skipped", "remarked"]
"""Documents that were read, what was found and not read, and of the former those that something is said of."""
_CONDITIONS: dict[Among, str] = {
    "read": " AND skipped = ''",
    "skipped": " AND skipped <> ''",
    "remarked": " AND skipped = '' AND (problems <> '[]' OR remarks <> '[]')",
}
_DOCUMENT = (
    "SELECT id, name, origin, stamp, digest, size, original, skipped, reader, problems, remarks,"
    " (SELECT readers FROM grants WHERE grants.id = grant_id) FROM documents"
)
_ALL_TAGGED = (
    " AND id IN (SELECT document_id FROM tags JOIN items ON items.key = item_key"
    " WHERE tag IN (SELECT value FROM json_each(?) AS texts) AND items.context_id = ?)"
    " AND NOT EXISTS (SELECT 1 FROM items WHERE items.document_id = documents.id AND NOT EXISTS"
    " (SELECT 1 FROM tags WHERE tags.item_key = items.key AND tag IN (SELECT value FROM json_each(?) AS texts)))"
)
"""Of documents all of whose items, and there is one at least, have one of some tags: by indexes alone, and no row of
what is hidden is fetched."""
_NOT_EMPTY = " AND (skipped <> '' OR EXISTS (SELECT 1 FROM items WHERE items.document_id = documents.id))"
"""Of documents that were read, those with an item: who may see one without any is kept with none."""
_OF_DOCUMENTS = "FROM items WHERE document_id IN (SELECT value FROM json_each(?) AS numbers)"


@frozen(kw_only=True, eq=False, repr=False)
class ListedDocument(Value):
    """A document with the figures of its items."""

    document: StoredDocument
    items: int
    without_vectors: int
    """Those of them that are still to get vectors; 0 where the context is searched by words alone."""


@frozen(kw_only=True, eq=False, repr=False)
class DocumentTotals(Value):
    """How many documents a context has, as a viewer may see them."""

    documents: int
    """Those that were read."""
    size: int
    """Of those, in bytes."""
    remarked: int
    """Those of them that something is said of: what is missing, or was read with doubt."""
    skipped: int


def documents_of(
    connection: SqlConnection, context: Context, origin: str | None = None, viewer: Viewer | None = None
) -> tuple[StoredDocument, ...]:
    """Return what the items of a context were read from, and what was skipped, by name.

    A viewer is shown those of which they may see all items, and there is one; who is bound to tags only what was read.
    """
    seen, values = _seen(connection, context, viewer)
    found = connection.execute(
        f"{_DOCUMENT}{seen} AND (? IS NULL OR origin = ?) ORDER BY name", (*values, origin, origin)
    )
    return tuple(_document(row) for row in found)


def documents_named(
    connection: SqlConnection, context: Context, names: Sequence[str], viewer: Viewer | None = None
) -> dict[str, StoredDocument]:
    """Return those of the documents with these names that are there, read or skipped, and may be seen."""
    seen, values = _seen(connection, context, viewer)
    found = connection.execute(
        f"{_DOCUMENT}{seen} AND name IN (SELECT value FROM json_each(?) AS texts)", (*values, json.dumps([*names]))
    )
    documents = [_document(row) for row in found]
    return {each.name: each for each in documents if each.name in names}


def page_of_documents(
    connection: SqlConnection,
    context: Context,
    viewer: Viewer | None,
    *,
    among: Among,
    after: str,
    limit: int,
    words: str = "",
) -> tuple[ListedDocument, ...]:
    """Return the next documents after a name, by name, each with its figures: only the items of these are counted.

    With words, those whose names have them as they are, in any case.
    """
    seen, values = _seen(connection, context, viewer)
    named = re.compile(re.escape(words), re.IGNORECASE)
    like = rf" AND {lowered('name', words)} LIKE ? ESCAPE '\'" if words else ""
    more = (like_pattern(words),) if words else ()
    rows: list[Sequence[Any]] = []
    part: list[Sequence[Any]] | None = None
    while len(rows) < limit and (part is None or len(part) == limit):
        part = connection.execute(
            f"{_DOCUMENT}{seen} AND name > ?{like}{_CONDITIONS[among]} ORDER BY name LIMIT ?",
            (*values, after, *more, limit),
        ).fetchall()
        after = part[-1][1] if part else after
        rows += [row for row in part if named.search(row[1])]
    del rows[limit:]
    told = json.dumps([row[0] for row in rows])
    items = dict(
        connection.execute(f"SELECT document_id, count(*) {_OF_DOCUMENTS} GROUP BY document_id", (told,)).fetchall()
    )
    lacking = _lacking(connection, context, told) if context.embedder else {}
    return tuple(
        ListedDocument(document=_document(row), items=items.get(row[0], 0), without_vectors=lacking.get(row[0], 0))
        for row in rows
    )


def document_totals(connection: SqlConnection, context: Context, viewer: Viewer | None) -> DocumentTotals:
    """Return how many documents there are, and how large they are together."""
    seen, values = _seen(connection, context, viewer)
    parts = [f"count(CASE WHEN true{_CONDITIONS[among]} THEN 1 END)" for among in ("read", "remarked", "skipped")]
    read, remarked, skipped, size = connection.execute(
        f"SELECT {', '.join(parts)}, sum(CASE WHEN skipped = '' THEN size END) FROM documents{seen}", values
    ).fetchone()
    return DocumentTotals(documents=read, size=int(size or 0), remarked=remarked, skipped=skipped)


def _seen(connection: SqlConnection, context: Context, viewer: Viewer | None) -> tuple[str, tuple[Any, ...]]:
    """Return the condition that holds for documents of a context that a viewer may see, with its values."""
    if viewer is None:
        return " WHERE context_id = ?", (context.id,)
    seen = (
        " INDEXED BY documents_of_grants WHERE context_id = ?"
        " AND grant_id IN (SELECT value FROM json_each(?) AS numbers)"
    )
    values: tuple[Any, ...] = (context.id, json.dumps(seen_grants(connection, viewer)))
    if viewer.tags is None:
        return seen + _NOT_EMPTY, values
    tags = json.dumps(sorted(viewer.tags))
    return seen + _ALL_TAGGED, (*values, tags, context.id, tags)


def _lacking(connection: SqlConnection, context: Context, told: str) -> dict[int, int]:
    """Return of documents, by their numbers in JSON, how many items are still to get vectors of the context's model.

    As `vector_state` counts them: what came before the end of the last pass has its vectors, or needs none.
    """
    known = known_model(connection, context)
    return dict(
        connection.execute(
            f"SELECT document_id, count(*) {_OF_DOCUMENTS}"
            " AND key > (SELECT embedded FROM contexts WHERE contexts.id = ?) AND NOT EXISTS"
            " (SELECT 1 FROM vector_parts WHERE item_key = items.key AND model_id = ?) GROUP BY document_id",
            (told, context.id, known.number if known is not None else -1),
        ).fetchall()
    )


def _document(row: Sequence[Any]) -> StoredDocument:
    _, name, origin, stamp, digest, size, original, skipped, reader, problems, remarks, granted = row
    return StoredDocument(
        name=name,
        origin=origin,
        stamp=stamp,
        digest=digest,
        size=size,
        original=original,
        skipped=skipped,
        reader=reader,
        problems=tuple(json.loads(problems)),
        remarks=tuple(json.loads(remarks)),
        readers=tuple(json.loads(granted)) if granted else (),
    )
