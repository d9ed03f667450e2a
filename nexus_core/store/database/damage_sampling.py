"""Looks for damage in a time that does not grow with the store: before it is served, and before much is added to it.

A database up to 128 MiB is checked page by page, as after a crash; of a larger one the small tables are. Of each store
some items, spread over all, are read and compared with their digests. `nexus context check` reads everything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

from nexus_core.contract.errors import StoreDamagedError
from nexus_core.store.database.connection import connect, translated
from nexus_core.store.database.crash_check import LARGEST_CHECKED, damage
from nexus_core.store.database.migrations import MIGRATIONS
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.schema import refuse_foreign
from nexus_core.store.database.table_copy import refuse_unfinished, unfinished_copy
from nexus_core.store.items.fronts import metadata_of
from nexus_core.store.items.rows import read_items
from nexus_core.store.records import digest_of

ITEMS = 256
"""So many are read."""
_NEXT = "SELECT key, digest FROM items WHERE key >= ? ORDER BY key LIMIT 1"
_SMALL = ("settings", "contexts", "documents", "indexes", "removal_log", "keys", "conversations", "origins")


def refuse_damaged(folder: StorePaths, *, largest: int = LARGEST_CHECKED) -> None:
    """Raise StoreDamagedError where damage is found, StoreError for half a copy; a store that is not there has none.

    What a server keeps is looked after by that.
    """
    if folder.is_server:
        return
    with suppress(FileNotFoundError), translated(folder.database):
        size = folder.database.stat().st_size if folder.database.exists() else 0
        if not size:
            return
        with closing(connect(folder.database, writes=False, takes_older=True)) as connection:
            for said in _pages(connection, whole=size <= largest):
                if said != "ok":
                    raise damage(folder, said)
            if refuse_foreign(connection, folder.database) < len(MIGRATIONS):  # its items are read once it is migrated
                return
            refuse_unfinished(connection, folder.name)
            if unfinished_copy(connection) is not None:  # then some items have got their tags and links already, or not
                return
            for key, digest in _sample(connection):
                if not _is_as_written(connection, key, digest):
                    raise damage(folder, f"the item with key {key} is not what was written")


def _pages(connection: sqlite3.Connection, *, whole: bool) -> Iterator[str]:
    if whole:
        yield connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        return
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table in _SMALL:
        if table in there:
            yield connection.execute(f"PRAGMA quick_check({table})").fetchone()[0]


def _sample(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
    first, last = connection.execute("SELECT min(key), max(key) FROM items").fetchone()
    if first is None:
        return
    seen = first - 1
    for place in range(ITEMS):
        asked = max(first + (last - first) * place // (ITEMS - 1), seen + 1)
        row = connection.execute(
            "SELECT key, digest FROM items WHERE key >= ? ORDER BY key LIMIT 1", (asked,)
        ).fetchone()
        if row is None:
            return
        seen = row[0]
        yield row


def _is_as_written(connection: sqlite3.Connection, key: int, digest: bytes) -> bool:
    try:
        item = read_items(connection, [key]).get(key)
        found = metadata_of(connection, key)
        # Removed just now, where it is not there.
        return item is None or found is None or digest_of(item, found) == digest
    except (ValueError, TypeError, sqlite3.OperationalError, StoreDamagedError):
        return False
