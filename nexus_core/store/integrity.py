"""Looks at all that a store holds for what is damaged, missing or counted wrong. Everything here blocks.

Each problem is one sentence: what, where, what to do. Nothing is changed; `mend` sets right what is derived.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from itertools import islice
from pathlib import Path
from time import time

from nexus_core.contract.errors import StoreDamagedError, StoreError
from nexus_core.store import contexts
from nexus_core.store.blobs import GRACE_S, BlobStore
from nexus_core.store.database import schema
from nexus_core.store.database.connection import snapshot
from nexus_core.store.database.online_copy import steady
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.database.table_copy import unfinished_copy
from nexus_core.store.export_import import catch_up
from nexus_core.store.items.fronts import metadata_of
from nexus_core.store.items.passage_codec import is_current, unpacked
from nexus_core.store.items.removals import removals_after
from nexus_core.store.items.rows import read_items
from nexus_core.store.records import Context, digest_of, links_of
from nexus_core.store.search.index_checksums import UnsoundError
from nexus_core.store.search.index_updates import IndexState, IndexUpdater
from nexus_core.store.search.indexes import IndexDamagedError, WordIndexes
from nexus_core.store.search.renewal import Seen, renew
from nexus_core.store.vectors.vector_check import delete_orphaned, mend_vectors, orphaned_graphs, vector_problems
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.suggest import counted
from nexus_core.toolkit.text.stemming import ANALYZER_VERSION

MOST = 20
"""Problems of one kind that are told one by one."""
TURN_S = 30.0
"""How long another process may be at an index before it is passed over."""
_PAGE = 200
_REPAIR = "`nexus context check --repair` builds it anew"


def problems_of(threads: WorkerThreads, name: str | None) -> Iterator[str]:
    """Yield what is wrong in one context, or in the whole store."""
    folder, originals = threads.folder, threads.originals
    try:
        with _steady(folder) as connection:
            if unfinished_copy(connection) is not None:  # what else there is comes of that
                yield f"{folder.name} is a backup whose update was interrupted: run the same `nexus store backup` again"
                return
            if not folder.is_server:  # which looks after its pages and keys itself
                yield from _some(_database(connection, folder.database))
            for context in _contexts(connection, name):
                yield from _older_words(context)
                yield from _some(_counts(connection, folder, context))
                yield from _some(_rows(connection, folder, context))
            if name is None:
                yield from _some(_conversations(connection))
        with closing(folder.connect(writes=False)) as connection:
            for context in _contexts(connection, name):
                yield from _some(_index(connection, folder, context, threads.words))
                yield from _some(vector_problems(connection, folder, context))
            if name is None:
                yield from _some(_orphans(connection, folder))
            yield from _some(_objects(connection, originals, name))
    except (sqlite3.DatabaseError, StoreDamagedError) as error:
        where = folder.name if folder.is_server else folder.database
        yield f"{where} cannot be read to its end ({error}): put back a backup, or export what can be read"


def _steady(folder: StorePaths) -> AbstractContextManager[SqlConnection]:
    """Give a connection for long readings, while others write."""
    return closing(folder.connect(writes=False)) if folder.is_server else steady(folder.database)


def _contexts(connection: SqlConnection, name: str | None) -> tuple[Context, ...]:
    return (contexts.find(connection, name),) if name is not None else contexts.everything(connection)


def mend(connection: SqlConnection, context: Context) -> None:
    """Count anew what is counted, and forget the index, so that it is built anew. To be called in a transaction."""
    connection.execute(
        "UPDATE contexts SET items = (SELECT count(*) FROM items WHERE context_id = contexts.id),"
        " newest = (SELECT CASE WHEN newest < coalesce(max(key), 0) THEN max(key) ELSE newest END FROM items"
        " WHERE context_id = ?) WHERE id = ?",
        (context.id, context.id),
    )
    copies_of(connection).execute("DELETE FROM indexes WHERE context_id = ?", (context.id,))
    connection.execute(
        "INSERT INTO settings (name, value) SELECT 'next_key', CAST(coalesce(max(key), 0) + 1 AS TEXT) FROM items"
        " WHERE true ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        " WHERE CAST(settings.value AS BIGINT) < CAST(excluded.value AS BIGINT)"
    )
    for key, _ in list(_damaged_figures(connection, context, 0, 2**62)):
        connection.execute("DELETE FROM figures WHERE item_key = ?", (key,))


def _some(problems: Iterable[str]) -> Iterator[str]:
    every = iter(problems)
    yield from islice(every, MOST)
    more = sum(1 for _ in every)
    if more:
        yield f"... and {more:,} more of this kind"


def _database(connection: SqlConnection, path: Path) -> Iterator[str]:
    for (said,) in connection.execute("PRAGMA integrity_check(100)"):
        if said != "ok":
            yield f"{path}: {said}; put back a backup, or export what can be read into a new store"
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"{path}: row {row} of {table} belongs to nothing in {parent}; export the contexts into a new store"
    wanted, there = schema.expected(), schema.read_statements(connection)
    for name in sorted(wanted.keys() | there.keys()):
        if wanted.get(name) != there.get(name):
            state = "missing" if name not in there else "nothing of ours" if name not in wanted else "another"
            yield f"{path}: its {name!r} is {state}; export the contexts into a new store"


def _older_words(context: Context) -> Iterator[str]:
    if context.analyzer != ANALYZER_VERSION:
        yield f"the words of {context.name!r} were made by another version: `nexus context check --repair` renews them"


def _counts(connection: SqlConnection, folder: StorePaths, context: Context) -> Iterator[str]:
    with snapshot(connection, folder.database):
        row = connection.execute(
            "SELECT contexts.items, newest, count(key), coalesce(max(key), 0),"
            " (SELECT CAST(value AS BIGINT) FROM settings WHERE name = 'next_key')"
            " FROM contexts LEFT JOIN items ON context_id = contexts.id WHERE contexts.id = ? GROUP BY contexts.id",
            (context.id,),
        ).fetchone()
    if row is None:  # it was deleted meanwhile
        return
    kept, newest, held, largest, following = row
    if kept != held:
        yield f"{context.name!r} holds {counted(held, 'item')} and says {kept:,}: {_REPAIR.replace('builds', 'counts')}"
    if newest < largest:
        yield f"{context.name!r} has an item that is newer than it says, which no search may find: {_REPAIR}"
    if largest >= (following or 1):
        yield f"{context.name!r} has an item whose key would be given again: {_REPAIR.replace('builds', 'counts')}"


def _rows(connection: SqlConnection, folder: StorePaths, context: Context) -> Iterator[str]:
    after = 0
    while True:
        with snapshot(connection, folder.database):
            page = connection.execute(
                "SELECT key, digest FROM items WHERE context_id = ? AND key > ? ORDER BY key LIMIT ?",
                (context.id, after, _PAGE),
            ).fetchall()
            found = [_of_row(connection, context, key, digest) for key, digest in page]
            counts = [*_damaged_figures(connection, context, after, page[-1][0])] if page else []
        yield from (problem for each in found for problem in each)
        for key, encoding in counts:
            yield f"the token counts ({encoding}) of the item with key {key} in {context.name!r} are damaged: {_REPAIR}"
        if not page:
            return
        after = page[-1][0]


def _of_row(connection: SqlConnection, context: Context, key: int, digest: bytes) -> list[str]:
    where = f"the item with key {key} in {context.name!r}"
    again = "remove it and add it again"
    try:
        item = read_items(connection, [key])[key]
        metadata = metadata_of(connection, key) or "{}"
        kept = connection.execute("SELECT target FROM links WHERE item_key = ?", (key,)).fetchall()
    except (ValueError, StoreDamagedError, sqlite3.OperationalError) as error:
        return [f"{where} cannot be read ({error}): {again}"]
    if not isinstance(json.loads(metadata), dict):
        return [f"{where}: its metadata is no map: {again}"]
    where = f"item {item.id!r} in {context.name!r}"
    found = []
    if digest_of(item, metadata) != digest:
        found.append(f"{where} is not what was written, by its digest: {again}")
    if {target for (target,) in kept} != {*links_of(item)}:
        found.append(f"{where}: its links are not those of its metadata: {again}")
    return found


def _damaged_figures(connection: SqlConnection, context: Context, after: int, last: int) -> Iterator[tuple[int, str]]:
    rows = connection.execute(
        "SELECT item_key, encoding, data FROM items JOIN figures ON item_key = key"
        " WHERE context_id = ? AND key > ? AND key <= ?",
        (context.id, after, last),
    )
    for key, encoding, data in rows:
        if is_current(data) and unpacked(data) is None:
            yield key, encoding


def _index(connection: SqlConnection, folder: StorePaths, context: Context, words: WordIndexes) -> Iterator[str]:
    with IndexUpdater(folder, connection, words).turn(context, TURN_S) as ours:
        if not ours and folder.may_be_written():  # elsewhere nobody can be at it
            yield f"the index of {context.name!r} is being written by another process: check it again later"
            return
        try:
            state = IndexState(connection, context)
        except StoreError:  # the context was deleted meanwhile
            return
        index = f"{context.id}-{state.generation}"
        if not state.generation or (not state.newest and index not in words.names_of(context.id)):
            return
        try:
            for part in words.damage_of(index):
                yield f"the index of {context.name!r} is damaged in {part}: {_REPAIR}"
            yield from _keys(connection, folder, context, list(words.open(index).keys()))
        except (IndexDamagedError, UnsoundError, OSError, ValueError, KeyError) as error:
            yield f"the index of {context.name!r} cannot be read ({error}): {_REPAIR}"


def _keys(connection: SqlConnection, folder: StorePaths, context: Context, keys: list[int]) -> Iterator[str]:
    indexed = set(keys)
    with snapshot(connection, folder.database):
        state = IndexState(connection, context)
        live = {key for (key,) in connection.execute("SELECT key FROM items WHERE context_id = ?", (context.id,))}
        gone = {*(removals_after(connection, context, state.removed) or ())}
    if len(indexed) < len(keys):
        yield f"the index of {context.name!r} holds {counted(len(keys) - len(indexed), 'item')} twice: {_REPAIR}"
    lost = sum(key <= state.newest for key in live - indexed)
    if lost:
        yield f"the index of {context.name!r} lacks {counted(lost, 'item')}: {_REPAIR}"
    ghosts = len(indexed - live - gone)
    if ghosts:
        yield f"the index of {context.name!r} holds {counted(ghosts, 'item')} that are not there: {_REPAIR}"


def _conversations(connection: SqlConnection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT conversations.id, conversations.turns, count(number)"
        " FROM conversations LEFT JOIN turns ON conversation_key = conversations.key GROUP BY conversations.key"
        " HAVING conversations.turns <> count(number)"
        " OR coalesce(max(number), 0) <> count(number) OR coalesce(min(number), 1) <> 1"
    )
    for name, kept, held in rows:
        yield (
            f"conversation {name!r} has {counted(held, 'turn')} and says {kept:,}, or their numbers have a gap: "
            "delete it, or keep it as what is left"
        )


def _objects(connection: SqlConnection, originals: BlobStore, name: str | None) -> Iterator[str]:
    after = ""
    while True:
        row = connection.execute(
            "SELECT original, min(documents.name) FROM documents JOIN contexts ON contexts.id = context_id"
            " WHERE original > ? AND (? IS NULL OR contexts.name = ?) GROUP BY original ORDER BY original LIMIT 1",
            (after, name, name),
        ).fetchone()
        if row is None:
            return
        after, document = row
        try:
            originals.get(after)
        except StoreError as error:
            yield f"document {document!r}: {error}"


def _orphans(connection: SqlConnection, folder: StorePaths) -> Iterator[str]:
    for path in orphaned_graphs(connection, folder):
        yield f"{path} belongs to no context: `nexus context check --repair` deletes it"


async def check(
    threads: WorkerThreads,
    name: str | None,
    *,
    repair: bool,
    embed: Callable[[Context], Awaitable[None]],
    seen: Seen | None = None,
) -> tuple[str, ...]:
    """Return what is wrong, each in one sentence; with `repair` what is left of it.

    `embed` gives vectors to the items of a context that lack them, and arranges them.
    """

    def look() -> tuple[str, ...]:
        return tuple(problems_of(threads, name))

    found = await asyncio.to_thread(look)
    if not repair:
        return found
    if found:
        for context in await threads.read(_contexts, name):
            with suppress(StoreDamagedError):  # which the next look tells
                await threads.write(mend, context)
                await renew(threads, context, seen, wait_s=TURN_S)
                await threads.write_indexed(catch_up, context)
                if await asyncio.to_thread(_has_vector_problems, threads.folder, context):
                    await threads.write(mend_vectors, context)
                    await embed(context)
        if name is None:
            await threads.read(delete_orphaned, threads.folder)
    await collect(threads)
    return await asyncio.to_thread(look) if found else found


def _has_vector_problems(folder: StorePaths, context: Context) -> bool:
    with closing(folder.connect(writes=False)) as connection:
        return any(vector_problems(connection, folder, context))


async def collect(threads: WorkerThreads) -> int:
    """Delete the originals that no document refers to any more; returns how many they were."""
    count, before = 0, time() - GRACE_S
    while some := await threads.write(threads.originals.collect, before):
        count += some
    return count
