"""Turns that were asked again: the new answer stands in the place of the old one, which is kept as an earlier version.

A version keeps the number of its turn, and everything that was kept with it. No transaction is made here.
"""

from __future__ import annotations

from collections.abc import Collection

from nexus_core.store.database.sql import SqlConnection

COLUMNS = "number, run_id, time, query, answer, model, rating, comment, passages"
"""What is read of a turn, from `turns` as from `replaced_turns`."""
VERSIONS = (
    "(SELECT count(*) FROM replaced_turns AS earlier WHERE earlier.conversation_key = turns.conversation_key"
    " AND earlier.number = turns.number)"
)
"""How many earlier versions a row of `turns` has, as an expression of SQL."""
_KEPT = "run_id, time, query, answer, model, sources, rating, comment, passages"


def number_of(connection: SqlConnection, key: int, run_id: str) -> int | None:
    """Return the number of the turn of which a run has made the newest or an earlier version; `None` of none."""
    for table in ("turns", "replaced_turns"):
        found = connection.execute(
            f"SELECT number FROM {table} WHERE conversation_key = ? AND run_id = ?", (key, run_id)
        ).fetchone()
        if found is not None:
            return int(found[0])
    return None


def replace(connection: SqlConnection, key: int, number: int, now: float, turn: tuple[str | None, ...]) -> None:
    """Put a turn in the place of the one that has the number, which becomes its latest earlier version."""
    connection.execute(
        f"INSERT INTO replaced_turns (conversation_key, number, version, replaced, {_KEPT})"
        " SELECT conversation_key, number, 1 + (SELECT count(*) FROM replaced_turns AS earlier WHERE"
        f" earlier.conversation_key = turns.conversation_key AND earlier.number = turns.number), ?, {_KEPT}"
        " FROM turns WHERE conversation_key = ? AND number = ?",
        (now, key, number),
    )
    connection.execute(
        "UPDATE turns SET time = ?, run_id = ?, query = ?, answer = ?, model = ?, sources = ?, passages = ?,"
        " rating = NULL, comment = NULL WHERE conversation_key = ? AND number = ?",
        (now, *turn, key, number),
    )


def replaced_since(connection: SqlConnection, key: int, moment: float) -> Collection[int]:
    """Return the numbers of the turns that were asked again after a moment."""
    found = connection.execute(
        "SELECT DISTINCT number FROM replaced_turns WHERE conversation_key = ? AND replaced > ?", (key, moment)
    )
    return [number for (number,) in found]
