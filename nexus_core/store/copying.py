"""Copies a whole store into another one, and compares the two: so a store moves, is backed up, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, cast

from attrs import frozen

from nexus_core.contract.errors import StoreDamagedError, UsageError
from nexus_core.store.database.connection import snapshot, transaction, translated
from nexus_core.store.database.online_copy import steady
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import ServerConnection, SqlConnection
from nexus_core.store.database.table_copy import (
    FIRST,
    TABLES,
    UNFINISHED,
    UPDATE,
    Differences,
    Seen,
    compare,
    copy_rows,
    unfinished_copy,
)
from nexus_core.store.worker_threads import WorkerThreads

_MARK = "copy_of"
"""The setting that says whose copy a store is: of a backup, and of what is not whole yet."""
_EMPTY = ("contexts", "keys", "conversations", "answers", "usage", "sessions", "spend", "runs")
"""Of these an empty store has none."""


@frozen
class Copied:
    """What a copy has come to."""

    rows: int
    written: int
    """Rows that the target lacked, or had otherwise, or had besides: 0 where it was a whole copy already."""
    originals: int
    """Originals that the target lacked."""


@frozen(kw_only=True)
class StoreCounts:
    """How much a store holds."""

    contexts: int
    items: int
    conversations: int
    keys: int
    rows: int
    """Of all tables that a copy has, too."""
    originals: int
    """Large originals of documents."""


def count(connection: SqlConnection) -> StoreCounts:
    """Return how much a store holds."""
    rows = {table.name: int(connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]) for table in TABLES}
    return StoreCounts(
        contexts=rows["contexts"],
        items=rows["items"],
        conversations=rows["conversations"],
        keys=rows["keys"],
        rows=sum(rows.values()),
        originals=len(_keys(connection)),
    )


def check_target(place: StorePaths) -> None:
    """Raise UsageError where a store is to be made in a folder that holds something else."""
    root = place.root
    if not place.exists() and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} is not empty and no store: name a folder of its own for it")


async def copy_store(
    source: WorkerThreads, target: WorkerThreads, name: str, *, as_backup: bool = False, seen: Seen | None = None
) -> Copied:
    """Make an open store a copy of another open one, by whose secret `name` the copy is known; see `Store.copy_to`."""
    copied = await asyncio.to_thread(_copy, source, target, name, seen)
    await target.write(_forget, (UNFINISHED,) if as_backup else (UNFINISHED, _MARK))
    return copied


async def compare_stores(one: WorkerThreads, other: WorkerThreads) -> tuple[str, ...]:
    """Return in which tables two open stores differ, and which originals of one the other lacks; nothing if in none."""

    def differences() -> tuple[str, ...]:
        with _reading(one) as reading:
            found = (*_row_differences(reading, other), *_unread_originals(reading, other))
        if found and _is_unfinished(other):
            found = ("its update was interrupted: run the same `nexus store backup` again", *found)
        return found

    return await asyncio.to_thread(differences)


@contextmanager
def _reading(store: WorkerThreads) -> Iterator[SqlConnection]:
    """Give a connection that sees one state of a store for as long as a copy takes."""
    place = store.folder
    with translated(place.database):
        if place.is_server:
            with closing(place.connect(writes=False)) as connection, snapshot(connection, place.database):
                yield connection
        else:
            with steady(place.database) as steadied:
                yield steadied


def _copy(source: WorkerThreads, target: WorkerThreads, name: str, seen: Seen | None) -> Copied:
    with _reading(source) as reading:
        _begin(target, name)
        changes = _copy_rows(reading, target, seen)
        originals = _copy_originals(reading, source, target)
        different = _row_differences(reading, target)
    if different:
        raise StoreDamagedError(
            f"the copy in {target.folder.name} is not what was copied ({'; '.join(different)}): let nobody write to it"
            " meanwhile, and copy again, which goes on where it was"
        )
    written = sum(each.lacking + each.changed + each.extra for each in changes)
    return Copied(rows=sum(each.rows for each in changes), written=written, originals=originals)


def _begin(target: WorkerThreads, name: str) -> None:
    """Mark the target as a copy that is not whole; raises UsageError where it holds something else."""
    place = target.folder
    with closing(place.connect(writes=True)) as connection, transaction(connection, place.database):
        known = connection.execute("SELECT value FROM settings WHERE name = ?", (_MARK,)).fetchone()
        if known is None:
            held = [table for table in _EMPTY if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()]
            if held:
                raise UsageError(f"{target.folder.name} holds {held[0]} of its own: name a store that is empty or new")
            connection.execute("INSERT INTO settings (name, value) VALUES (?, ?)", (_MARK, name))
        elif known[0] != name:
            raise UsageError(f"{target.folder.name} is the copy of another store: name one of its own for this one")
        connection.execute(
            "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (UNFINISHED, FIRST if known is None else UPDATE),
        )


def _is_unfinished(store: WorkerThreads) -> bool:
    with translated(store.folder.database), closing(store.folder.connect(writes=False)) as connection:
        return unfinished_copy(connection) is not None


def _forget(connection: SqlConnection, settings: Sequence[str]) -> None:
    for name in settings:
        connection.execute("DELETE FROM settings WHERE name = ?", (name,))


def _copy_rows(reading: SqlConnection, target: WorkerThreads, seen: Seen | None) -> list[Differences]:
    place = target.folder
    with closing(place.connect(writes=True)) as writer, closing(place.connect(writes=False)) as known:
        change = partial(transaction, writer, place.database)
        done = [copy_rows(reading, known, table, change, seen) for table in TABLES]
        if place.is_server:
            with change():
                for table in TABLES:
                    if len(table.key) == 1:
                        cast(ServerConnection, writer).continue_keys(table.name, *table.key)
    return done


def _row_differences(reading: SqlConnection, other: WorkerThreads) -> list[str]:
    place = other.folder
    with closing(place.connect(writes=False)) as known, translated(place.database):
        found = ((table.name, compare(reading, known, table)) for table in TABLES)
        return [_sentence(name, differences) for name, differences in found if differences]


def _sentence(table: str, differences: Differences) -> str:
    parts: dict[str, Any] = {
        "lacking": differences.lacking, "different": differences.changed, "too many": differences.extra
    }  # fmt: skip
    return f"{table}: {', '.join(f'{count:,} {what}' for what, count in parts.items() if count)}"


def _keys(reading: SqlConnection) -> list[str]:
    found = reading.execute("SELECT DISTINCT original FROM documents WHERE original IS NOT NULL ORDER BY original")
    return [key for (key,) in found]


def _copy_originals(reading: SqlConnection, source: WorkerThreads, target: WorkerThreads) -> int:
    """Put the originals of all documents that the target lacks where it keeps its own; each is read and compared."""
    lacking = 0
    for key in _keys(reading):
        try:
            target.originals.get(key)
        except StoreDamagedError:
            target.originals.put(key, source.originals.get(key))
            target.originals.get(key)
            lacking += 1
    return lacking


def _unread_originals(reading: SqlConnection, other: WorkerThreads) -> Iterator[str]:
    """Yield what is wrong with the originals of a store's documents in another one."""
    for key in _keys(reading):
        try:
            other.originals.get(key)
        except StoreDamagedError as error:
            yield str(error)
