"""Grants at rest: sets of groups, each once, and which of them the items of a context have.

An item without a grant has the number 0, and is seen by whoever may see its context.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from nexus_core.contract.run_context import Viewer
from nexus_core.store.records import Context

NONE = 0
"""The number of no grant."""


def grant_id(connection: sqlite3.Connection, readers: Iterable[str]) -> int:
    """Return the number of a set of groups, which is written if it is not there; 0 where there is none in it."""
    told = json.dumps(sorted(set(readers)), ensure_ascii=False, separators=(",", ":"))
    if told == "[]":
        return NONE
    connection.execute("INSERT OR IGNORE INTO grants (readers) VALUES (?)", (told,))
    return int(connection.execute("SELECT id FROM grants WHERE readers = ?", (told,)).fetchone()[0])


def keep_grants(
    connection: sqlite3.Connection, context: Context, every: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], int]:
    """Return the number of each set of groups, and note that items of a context have them."""
    found = {readers: grant_id(connection, readers) for readers in every}
    connection.executemany(
        "INSERT OR IGNORE INTO context_grants (context_id, grant_id) VALUES (?, ?)",
        [(context.id, number) for number in found.values()],
    )
    return found


def visible_grants(connection: sqlite3.Connection, context: Context, viewer: Viewer | None) -> list[int] | None:
    """Return the grants of a context's items that a viewer may see; `None` where these are all there are."""
    if viewer is None:
        return None
    found = connection.execute(
        "SELECT grant_id, coalesce((SELECT readers FROM grants WHERE grants.id = grant_id), '[]')"
        " FROM context_grants WHERE context_id = ?",
        (context.id,),
    ).fetchall()
    seen = [number for number, readers in found if viewer.may_see(json.loads(readers))]
    return None if len(seen) == len(found) else seen
