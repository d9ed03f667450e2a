"""Front matter: the metadata that the items of a document share is kept once, and put before what is an item's own.

Of a document's items the first keys with their values are mostly the same: path, time, title, author. They are a prefix
of the JSON of each, so that the whole is put together again letter by letter, and its digest stays true. Where items of
a document do not begin alike, each keeps all of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nexus_core.store.database.sql import SqlConnection

METADATA = (
    "coalesce((SELECT CASE items.metadata WHEN '{}' THEN fronts.metadata ELSE"
    " substr(fronts.metadata, 1, length(fronts.metadata) - 1) || ',' || substr(items.metadata, 2) END"
    " FROM fronts WHERE fronts.id = items.front), items.metadata)"
)
"""The whole metadata of a row of `items`, as an expression of SQL."""


def front_of(metadata: Sequence[tuple[Mapping[str, Any], str]]) -> str:
    """Return what the metadata of several items, each with its JSON, begin with: JSON, empty where they share none."""
    if len(metadata) < 2:
        return ""
    shared: dict[str, Any] = {}
    for pairs in zip(*[values.items() for values, _ in metadata], strict=False):
        if any(pair != pairs[0] for pair in pairs):
            break
        shared.update(pairs[:1])
    told = json.dumps(shared, ensure_ascii=False, separators=(",", ":")) if shared else ""
    # What is equal is not always written alike, such as 1 and 1.0.
    return told if all(own_part(whole, told) is not None for _, whole in metadata) else ""


def own_part(metadata: str, front: str) -> str | None:
    """Return what is left of the JSON of an item without its front, `None` where it does not begin with that."""
    if metadata == front:
        return "{}"
    begin = f"{front[:-1]},"
    return f"{{{metadata[len(begin) :]}" if metadata.startswith(begin) else None


def keep_front(connection: SqlConnection, document_id: int, front: str) -> int:
    """Return the number of a document's front, which is written if it is not there."""
    found = connection.execute(
        "SELECT id FROM fronts WHERE document_id = ? AND metadata = ?", (document_id, front)
    ).fetchone()
    if found is not None:
        return int(found[0])
    return int(
        connection.execute(
            "INSERT INTO fronts (document_id, metadata) VALUES (?, ?) RETURNING id", (document_id, front)
        ).fetchone()[0]
    )


def drop_unused(connection: SqlConnection, document_id: int) -> None:
    """Delete the fronts of a document that none of its items begins with any more."""
    connection.execute(
        "DELETE FROM fronts WHERE document_id = ?"
        " AND id NOT IN (SELECT front FROM items WHERE document_id = ? AND front IS NOT NULL)",
        (document_id, document_id),
    )


def hand_over(connection: SqlConnection, keys: Iterable[int], document_id: int | None) -> None:
    """Let items belong to a document, or to none; those of another one take what they share with its items along."""
    connection.executemany(
        f"UPDATE items SET metadata = {METADATA}, front = NULL, document_id = ?"
        " WHERE key = ? AND coalesce(document_id, 0) <> coalesce(?, 0)",
        ((document_id, key, document_id) for key in keys),
    )


def metadata_of(connection: SqlConnection, key: int) -> str | None:
    """Return the whole metadata of an item as it was written, `None` where the item is not there."""
    found = connection.execute(f"SELECT {METADATA} FROM items WHERE key = ?", (key,)).fetchone()
    return None if found is None else str(found[0])
