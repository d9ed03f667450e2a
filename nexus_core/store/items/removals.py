"""The removals of a context as a log: numbers that grow by one with each item that goes, without a gap.

Each copy of an index notes up to which number it has taken them, as it notes up to which key it has taken items. The
last number stands with the context: who adds to the log holds that row until the transaction is over, so that numbers
are seen in their order whichever process writes.

A store in a folder has one copy of each index, and forgets what that has taken. Where each server has its own, nobody
knows of all of them: the `MOST` last removals are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import Context

MOST = 1_000_000
"""Removals that are kept at most for copies that have not taken them: one that is further behind is built anew."""


def note_removals(connection: SqlConnection, context: Context, keys: Sequence[int]) -> None:
    """Note that items are gone; to be called in the transaction that removes them.

    Keys of items that were not there may be among them: who takes them from an index passes over those.
    """
    [(last,)] = connection.execute(
        "UPDATE contexts SET removed = removed + ? WHERE id = ? RETURNING removed", (len(keys), context.id)
    ).fetchall()
    connection.executemany(
        "INSERT INTO removal_log (context_id, number, item_key) VALUES (?, ?, ?)",
        ((context.id, number, key) for number, key in enumerate(keys, last - len(keys) + 1)),
    )
    if last > MOST:
        forget_removals(connection, context, last - MOST)


def removals_after(connection: SqlConnection, context: Context, taken: int) -> list[int] | None:
    """Return the keys of the items that went after a removal, in their order; `None` where the log begins later."""
    found = connection.execute(
        "SELECT removed, item_key FROM contexts LEFT JOIN removal_log ON context_id = contexts.id AND number > ?"
        " WHERE contexts.id = ? ORDER BY number",
        (taken, context.id),
    ).fetchall()
    keys = [key for _, key in found if key is not None]
    return keys if not found or len(keys) == found[0][0] - taken else None


def forget_removals(connection: SqlConnection, context: Context, taken: int) -> None:
    """Forget the removals up to one: every copy of the index has taken them, or is built anew."""
    connection.execute("DELETE FROM removal_log WHERE context_id = ? AND number <= ?", (context.id, taken))
