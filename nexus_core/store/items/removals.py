"""The removals of a context as a log: numbers that grow by one with each item that goes, without a gap.

Each copy of an index notes up to which number it has taken them, as it notes up to which key it has taken items. The
last number stands with the context: who adds to the log holds that row until the transaction is over, so that numbers
are seen in their order whichever process writes.

A store in a folder has one copy of each index, and forgets what that has taken but for the `LAST` removals: what is
visible is known in memory by each process, and goes on with them. Where each server has its own copy, nobody knows of
all of them: the `MOST` last removals are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import Context

MOST = 1_000_000
"""Removals that are kept at most for copies that have not taken them: one that is further behind is built anew."""

LAST = 10_000
"""Removals that are kept although every copy has taken them."""


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
    """Return the keys of the items that went after a removal, in their order; `None` where the log begins later.

    They are read in one row: whoever looks at what they may see learns nothing of what else has gone.
    """
    found = connection.execute(
        "SELECT removed, (SELECT json_group_array(CAST(item_key AS TEXT)) FROM (SELECT item_key FROM removal_log"
        " WHERE context_id = contexts.id AND number > ? ORDER BY number) AS gone) FROM contexts WHERE id = ?",
        (taken, context.id),
    ).fetchone()
    if found is None:
        return []
    keys = [int(key) for key in json.loads(found[1])]
    return keys if len(keys) == found[0] - taken else None


def forget_removals(connection: SqlConnection, context: Context, taken: int) -> None:
    """Forget the removals up to one, which every copy of the index has taken, or is built anew without."""
    connection.execute("DELETE FROM removal_log WHERE context_id = ? AND number <= ?", (context.id, taken))
