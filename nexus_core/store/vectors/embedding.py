"""Embedding a context: the vectors of its items, page by page, then the graph of them, then the switch to the model.

What is done is kept: a pass that was killed goes on where it was. Until the switch a context is searched as it was, and
while another model is taken, by the one before.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from secrets import token_hex

import numpy as np
from filelock import FileLock, Timeout

from nexus_core.contract.errors import StoreBusyError
from nexus_core.contract.values import Item
from nexus_core.store import contexts
from nexus_core.store.database.connection import connect
from nexus_core.store.items.rows import read_items
from nexus_core.store.items.vectors import keep_vectors
from nexus_core.store.records import Context
from nexus_core.store.vectors.context_vectors import VectorModel, graph_state, newest_part, read_parts
from nexus_core.store.vectors.graph import EXACT, GraphDamagedError, VectorGraph, build_graph, delete_graph, has_graphs
from nexus_core.store.vectors.matrix import VectorMatrix
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.embedding.embedder import TextEmbedder
from nexus_core.toolkit.embedding.item_parts import KEPT_NUMBERS, item_parts, item_vectors_key

Seen = Callable[[int, int, str], None]
"""Told of progress: how many are done, of how many, and what was done last."""
_PAGE = 256
"""Items that are embedded, and written, at a time."""
_GRAPH_PAGE = 20_000
_GONE = 0.25
"""The share of a graph's items that are gone, from which on it is made anew."""
_TURN_S = 600.0

_log = logging.getLogger(__name__)


async def vector_model(embedder: TextEmbedder) -> VectorModel:
    """Return what the vectors of an embedder are kept under, and how many numbers one has."""
    width = embedder.dimensions
    if width is None:
        width = len((await embedder.embed(["width"]))[0])
    return VectorModel(str(item_vectors_key(embedder.embedding_id).parameter), width)


async def embed_context(
    threads: WorkerThreads, context: Context, name: str, embedder: TextEmbedder, seen: Seen | None = None
) -> int:
    """Give vectors of a model to the items that lack them, and let searches use it; returns how many items that were.

    Raises StoreBusyError where another process is at it.
    """
    lock = FileLock(threads.folder.lock(f"vectors-{context.id}"), mode=0o600, thread_local=False)
    if not await asyncio.to_thread(_acquire, lock):
        raise StoreBusyError(f"another process is embedding {context.name!r}: try again when it is done")
    try:
        model = await vector_model(embedder)
        is_new = context.embedder != name
        newest, embedded = await threads.read(_state, context)
        count = await _fill(threads, context, model, embedder, 0 if is_new else embedded, seen)
        await _update_graph(threads, context, model)
        await threads.write(_switch, context, name, newest)
        if is_new:
            await threads.write(_drop_others, context, model)
        return count
    finally:
        lock.release()


def _acquire(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0.0)
    except Timeout:
        return False
    return True


def _state(connection: sqlite3.Connection, context: Context) -> tuple[int, int]:
    found = connection.execute("SELECT newest, embedded FROM contexts WHERE id = ?", (context.id,)).fetchone()
    if found is None:
        contexts.find(connection, context.name)  # which says that it is not there
    newest, embedded = found
    return int(newest), int(embedded)


def _switch(connection: sqlite3.Connection, context: Context, name: str, newest: int) -> None:
    connection.execute("UPDATE contexts SET embedder = ?, embedded = ? WHERE id = ?", (name, newest, context.id))


def _drop_others(connection: sqlite3.Connection, context: Context, model: VectorModel) -> None:
    """Delete what other models have made of a context."""
    number = model.number(connection)
    connection.execute(
        "DELETE FROM vector_parts WHERE model_id IS NOT ? AND item_key IN (SELECT key FROM items WHERE context_id = ?)",
        (number, context.id),
    )
    connection.execute("DELETE FROM vector_indexes WHERE context_id = ? AND model_id IS NOT ?", (context.id, number))


def forget_vectors(connection: sqlite3.Connection, context: Context) -> None:
    """Let a context be searched by words alone, and delete its vectors."""
    connection.execute("UPDATE contexts SET embedder = '', embedded = 0 WHERE id = ?", (context.id,))
    connection.execute(
        "DELETE FROM vector_parts WHERE item_key IN (SELECT key FROM items WHERE context_id = ?)", (context.id,)
    )
    connection.execute("DELETE FROM vector_indexes WHERE context_id = ?", (context.id,))


# Vectors


async def _fill(
    threads: WorkerThreads, context: Context, model: VectorModel, embedder: TextEmbedder, after: int, seen: Seen | None
) -> int:
    total = await threads.read(_count_lacking, context, model, after) if seen is not None else 0
    count = 0
    while True:
        page = await threads.read(_lacking, context, model, after)
        if not page:
            return count
        after = max(page)
        data = await _embedded([*page.values()], embedder)
        fresh = [(key, model.name, each) for key, each in zip(page, data, strict=True) if each]
        await threads.write(keep_vectors, fresh)
        count += len(fresh)
        if seen is not None:
            seen(count, total, f"the vectors of {context.name}")


_LACKING = (
    "FROM items WHERE context_id = ? AND key > ? AND NOT EXISTS"
    " (SELECT 1 FROM vector_parts WHERE item_key = items.key AND model_id = ?)"
)


def _count_lacking(connection: sqlite3.Connection, context: Context, model: VectorModel, after: int) -> int:
    place = (context.id, after, model.number(connection))
    return int(connection.execute(f"SELECT count(*) {_LACKING}", place).fetchone()[0])


def _lacking(connection: sqlite3.Connection, context: Context, model: VectorModel, after: int) -> dict[int, Item]:
    place = (context.id, after, model.number(connection), _PAGE)
    found = connection.execute(f"SELECT key {_LACKING} ORDER BY key LIMIT ?", place)
    return read_items(connection, [key for (key,) in found])


async def _embedded(items: Sequence[Item], embedder: TextEmbedder) -> list[bytes]:
    """Return the vectors of items as they are kept, nothing for an item without text."""
    parts = await asyncio.to_thread(lambda: [item_parts(item) for item in items])
    texts = [*chain.from_iterable(parts)]
    size = embedder.batch * embedder.at_once
    vectors = []
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        batches = [some[at : at + embedder.batch] for at in range(0, len(some), embedder.batch)]
        vectors += await asyncio.gather(*map(embedder.embed, batches))
    rows = np.concatenate(vectors).astype(KEPT_NUMBERS) if vectors else np.empty((0, 1), KEPT_NUMBERS)
    found, at = [], 0
    for own in parts:
        found.append(rows[at : at + len(own)].tobytes())
        at += len(own)
    return found


# The graph


async def _update_graph(threads: WorkerThreads, context: Context, model: VectorModel) -> None:
    """Make the graph of a context anew, where there are many vectors that are not in it, or few of its items left."""
    if not has_graphs():
        return
    number = await threads.read(lambda connection: model.number(connection))
    if number is None or not await threads.read(_is_graph_due, threads, context, model, number):
        return
    generation = token_hex(8)
    folder = threads.folder.vectors / f"{context.id}-{number}-{generation}"
    try:
        newest = await asyncio.to_thread(_build, threads, context, model, number, folder)
        await threads.write(_publish, context, number, generation, newest)
    except BaseException:
        delete_graph(folder)
        raise
    for other in threads.folder.vectors.glob(f"{context.id}-*"):
        if other != folder:
            delete_graph(other)


def _is_graph_due(
    connection: sqlite3.Connection, threads: WorkerThreads, context: Context, model: VectorModel, number: int
) -> bool:
    found = graph_state(connection, context, number)
    newest, items = 0, 0
    if found is not None:
        try:
            graph = VectorGraph(threads.folder.vectors / f"{context.id}-{number}-{found[0]}", model.width)
        except GraphDamagedError as error:
            _log.warning("the vectors of %r are arranged anew: %s", context.name, error)
            return True
        newest, items = found[1], graph.items
    size = model.width * np.dtype(KEPT_NUMBERS).itemsize
    (fresh,) = connection.execute(
        "SELECT coalesce(sum(length(data)), 0) FROM vector_parts JOIN items ON items.key = item_key"
        " WHERE vector_parts.key > ? AND model_id = ? AND items.context_id = ?",
        (newest, number, context.id),
    ).fetchone()
    (left,) = connection.execute("SELECT items FROM contexts WHERE id = ?", (context.id,)).fetchone()
    return bool(fresh / size > EXACT or (items and items - left > _GONE * items))


def _build(threads: WorkerThreads, context: Context, model: VectorModel, number: int, folder: Path) -> int:
    connection = connect(threads.folder.database, writes=False)
    try:
        newest = newest_part(connection)
        build_graph(folder, model.width, _matrices(connection, context, model, number, newest))
        return newest
    finally:
        connection.close()


def _matrices(
    connection: sqlite3.Connection, context: Context, model: VectorModel, number: int, newest: int
) -> Iterator[VectorMatrix]:
    """Yield the rows of a context, some at a time."""
    pieces: list[tuple[int, bytes]] = []
    for key, data in read_parts(connection, context, number, 0, newest):
        if len(pieces) >= _GRAPH_PAGE and key != pieces[-1][0]:
            yield VectorMatrix.of(pieces, model.width)
            pieces = []
        pieces.append((key, data))
    if pieces:
        yield VectorMatrix.of(pieces, model.width)


def _publish(connection: sqlite3.Connection, context: Context, number: int, generation: str, newest: int) -> None:
    connection.execute(
        "INSERT INTO vector_indexes (context_id, model_id, generation, newest) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET generation = excluded.generation, newest = excluded.newest",
        (context.id, number, generation, newest),
    )
