"""Rows of snapshots of indexes: which there are, and which somebody is about to publish. Makes no transactions."""

from __future__ import annotations

from typing import cast

from nexus_core.store.database.sql import ServerConnection, SqlConnection
from nexus_core.store.records import Context

KEPT = 2
"""Snapshots of a context: who has just begun to read the one before may end."""
CLAIM_S = 900.0
"""For so long nobody else publishes a snapshot of the same context; after it, what is there of it is deleted."""


def published_snapshots(connection: SqlConnection, context: Context) -> list[tuple[str, str]]:
    """Return key and manifest of what was published of a context, the newest first."""
    return connection.execute(
        "SELECT key, manifest FROM index_snapshots WHERE context_id = ? AND manifest <> '' ORDER BY begun DESC, key",
        (context.id,),
    ).fetchall()


def claim_snapshot(connection: SqlConnection, context: Context, key: str, last: str) -> bool:
    """Note that a snapshot is about to be published, where no other one is; in a transaction.

    Nor where another one than the `last` that is known has been published meanwhile.
    """
    now = cast(ServerConnection, connection).clock()
    found = connection.execute(
        "SELECT count(*) FROM index_snapshots WHERE context_id = ? AND manifest = '' AND begun > ?",
        (context.id, now - CLAIM_S),
    )
    published = published_snapshots(connection, context)
    if found.fetchone()[0] or last != (published[0][0] if published else ""):
        return False
    connection.execute(
        "INSERT INTO index_snapshots (key, context_id, begun, manifest) VALUES (?, ?, ?, '')", (key, context.id, now)
    )
    return True


def name_snapshot(connection: SqlConnection, key: str, manifest: str) -> bool:
    """Say that a snapshot is whole; it is nobody's where its time is over."""
    return connection.execute("UPDATE index_snapshots SET manifest = ? WHERE key = ?", (manifest, key)).rowcount == 1


def forget_snapshot(connection: SqlConnection, key: str) -> None:
    """Forget one whose bytes are gone."""
    connection.execute("DELETE FROM index_snapshots WHERE key = ?", (key,))


def stale_snapshots(connection: SqlConnection) -> list[str]:
    """Return the keys of what nobody needs: older ones, half ones that were given up, those of contexts now gone."""
    rows = connection.execute(
        "SELECT key, context_id, begun, manifest <> '', EXISTS (SELECT 1 FROM contexts WHERE id = context_id)"
        " FROM index_snapshots ORDER BY begun DESC, key"
    ).fetchall()
    now = cast(ServerConnection, connection).clock() if rows else 0.0
    kept: dict[int, int] = {}
    stale = []
    for key, number, begun, is_whole_one, is_there in rows:
        if is_whole_one:
            kept[number] = kept.get(number, 0) + 1
        is_old = kept[number] > KEPT if is_whole_one else begun <= now - CLAIM_S
        if is_old or (not is_there and (is_whole_one or begun <= now - CLAIM_S)):
            stale.append(key)
    return stale
