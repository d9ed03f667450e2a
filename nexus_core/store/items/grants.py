"""Grants at rest: sets of groups, each once, and which of them the items of a context have.

An item without a grant has the number 0, and is seen by whoever may see its context.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from nexus_core.contract.run_context import Viewer, narrow_readers
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import Context

NONE = 0
"""The number of no grant."""
TOLD_GRANTS = (
    "(SELECT json_group_array("
    "'[' || grant_id || ',' || coalesce((SELECT readers FROM grants WHERE grants.id = grant_id), '[]') || ']')"
    " FROM context_grants WHERE context_id = contexts.id)"
)
"""The grants of the items of a row of `contexts`, as an expression of SQL: one value, whatever is hidden."""


def grant_id(connection: SqlConnection, readers: Iterable[str]) -> int:
    """Return the number of a set of groups, which is written if it is not there; 0 where there is none in it."""
    told = json.dumps(sorted(set(readers)), ensure_ascii=False, separators=(",", ":"))
    if told == "[]":
        return NONE
    connection.execute("INSERT INTO grants (readers) VALUES (?) ON CONFLICT DO NOTHING", (told,))
    return int(connection.execute("SELECT id FROM grants WHERE readers = ?", (told,)).fetchone()[0])


def keep_grants(
    connection: SqlConnection, context: Context, every: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], int]:
    """Return the number of each set of groups, and note that items of a context have them."""
    found = {readers: grant_id(connection, readers) for readers in every}
    connection.executemany(
        "INSERT INTO context_grants (context_id, grant_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(context.id, number) for number in found.values()],
    )
    return found


def visible_grants(connection: SqlConnection, context: Context, viewer: Viewer | None) -> list[int] | None:
    """Return the grants of a context's items that a viewer may see; `None` where these are all there are."""
    if viewer is None:
        return None
    (told,) = connection.execute(f"SELECT {TOLD_GRANTS} FROM contexts WHERE id = ?", (context.id,)).fetchone()
    return among_told(told, viewer)


def among_told(told: str, viewer: Viewer) -> list[int] | None:
    """Return the same out of `TOLD_GRANTS`."""
    found = [json.loads(each) for each in json.loads(told)]
    seen = [number for number, readers in found if viewer.may_see(readers)]
    return None if len(seen) == len(found) else seen


def seen_grants(connection: SqlConnection, viewer: Viewer) -> list[int]:
    """Return all grants of a store that a viewer may see, the one that is none among them."""
    (told,) = connection.execute("SELECT json_group_array('[' || id || ',' || readers || ']') FROM grants").fetchone()
    found = map(json.loads, json.loads(told))
    return [NONE, *(number for number, readers in found if viewer.may_see(readers))]


def mark_document(connection: SqlConnection, context: Context, document_id: int) -> None:
    """Grant a document to those alone who may see all of its items."""
    grants = "SELECT 1 FROM context_grants WHERE context_id = ? AND grant_id > ?"
    if connection.execute(grants, (context.id, NONE)).fetchone() is None:
        return
    found = connection.execute(
        "SELECT readers FROM grants WHERE id IN (SELECT grant_id FROM items WHERE document_id = ?"
        " UNION SELECT grant_id FROM documents WHERE id = ?)",
        (document_id, document_id),
    )
    readers: tuple[str, ...] = ()
    for (told,) in found.fetchall():
        readers = narrow_readers(readers, json.loads(told))
    number = grant_id(connection, readers)
    connection.execute("UPDATE documents SET grant_id = ? WHERE id = ?", (number, document_id))
