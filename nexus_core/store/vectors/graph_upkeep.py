"""Upkeep of the graph of a context: when one is due, how it is made beside the one in use, and what goes with it.

A graph is made in a thread of its own, from pages of rows: neither who writes nor who reads the store waits for it. It
is named in the database once it is whole; what a build that was killed has left is deleted by the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from threading import Event
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.records import Context
from nexus_core.store.vectors.context_vectors import graph_state, newest_part, read_parts
from nexus_core.store.vectors.graph import EXACT, GraphDamagedError, VectorGraph, build_graph, delete_graph, has_graphs
from nexus_core.store.vectors.matrix import VectorMatrix
from nexus_core.store.vectors.vector_model import VectorModel
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.embedding.embedder import KEPT_NUMBERS
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

Seen = Callable[[int, int, str], None]
"""Told of progress: how many are done, of how many, and what was done last."""
_PAGE = 10_000
"""Rows that are added to a graph at a time."""
_GONE = 0.25
"""The share of a graph's items that are gone, from which on it is made anew."""

WITHOUT_GRAPH = (
    "{name} has more than {most:,} vectors, and each search by meaning compares them one by one: "
    "pip install 'contextnexus[minilm]' has usearch, by which they are arranged when something is added next"
)
"""What is said of a context that is searched slowly."""

_log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """Nobody waits for the graph any more."""


@contextmanager
def vectors_turn(folder: StorePaths, context: Context) -> Iterator[bool]:
    """Give whether this process may write the vectors of a context now; another may be at it, or none at all."""
    lock = FileLock(folder.lock(f"vectors-{context.id}"), mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0.0)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


async def update_graph(threads: WorkerThreads, context: Context, model: VectorModel, seen: Seen | None = None) -> None:
    """Make the graph of a context anew, where there are many vectors that are not in it, or few of its items left.

    To be called by who has the turn at its vectors.
    """
    number = await threads.read(_due_graph, threads.folder, context, model)
    if number is None:
        return
    if has_graphs():
        await _replace(threads, context, model, number, seen)
        await threads.read(delete_unnamed, threads.folder, context)
    else:
        _log.warning(WITHOUT_GRAPH.format(name=repr(context.name), most=EXACT))


def _due_graph(connection: SqlConnection, folder: StorePaths, context: Context, model: VectorModel) -> int | None:
    """Return the number of the model where its graph is to be made anew; deletes what a killed build has left."""
    delete_unnamed(connection, folder, context)
    number = model.number(connection)
    return number if number is not None and _is_graph_due(connection, folder, context, model, number) else None


async def _replace(
    threads: WorkerThreads, context: Context, model: VectorModel, number: int, seen: Seen | None
) -> None:
    generation, stop = token_hex(8), Event()
    folder = graph_folder(threads.folder, context, number, generation)
    told = _told_in_loop(seen)
    building = asyncio.ensure_future(
        asyncio.to_thread(_build, threads.folder, context, model, number, folder, stop, told)
    )
    try:
        newest = await asyncio.shield(building)
        await threads.write(name_graph, context, number, generation, newest)
    except BaseException:
        stop.set()
        await asyncio.wait([building])
        delete_graph(folder)
        raise


def _told_in_loop(seen: Seen | None) -> Seen | None:
    """Return what a thread may call, so that progress is told where everything else is."""
    if seen is None:
        return None
    loop, tell = asyncio.get_running_loop(), seen

    def report(done: int, total: int, what: str) -> None:
        loop.call_soon_threadsafe(tell, done, total, what)

    return report


def graph_folder(folder: StorePaths, context: Context, number: int, generation: str) -> Path:
    """Return where the graph of a context is, of a model by its number."""
    return folder.vectors / f"{context.id}-{number}-{generation}"


def delete_unnamed(connection: SqlConnection, folder: StorePaths, context: Context) -> None:
    """Delete the graphs of a context that the database does not name; by who has the turn at its vectors."""
    for path in unnamed_graphs(connection, folder, context):
        delete_graph(path)


def unnamed_graphs(connection: SqlConnection, folder: StorePaths, context: Context) -> list[Path]:
    """Return the folders of a context's graphs that the database does not name."""
    rows = copies_of(connection).execute(
        "SELECT model_id, generation FROM vector_indexes WHERE context_id = ?", (context.id,)
    )
    named = {graph_folder(folder, context, number, generation) for number, generation in rows}
    return sorted({*folder.vectors.glob(f"{context.id}-*")} - named)


def _is_graph_due(
    connection: SqlConnection, folder: StorePaths, context: Context, model: VectorModel, number: int
) -> bool:
    found = graph_state(connection, context, number)
    newest, items = 0, 0
    if found is not None:
        try:
            graph = VectorGraph(graph_folder(folder, context, number, found[0]), model.width)
        except GraphDamagedError as error:
            _log.warning("the vectors of %r are arranged anew: %s", context.name, error)
            return True
        newest, items = found[1], graph.items
    fresh = count_rows(connection, context, model, number, newest_part(connection), newest)
    (left,) = connection.execute("SELECT items FROM contexts WHERE id = ?", (context.id,)).fetchone()
    return bool(fresh > EXACT or (items and items - left > _GONE * items))


def count_rows(
    connection: SqlConnection, context: Context, model: VectorModel, number: int, until: int, after: int = 0
) -> int:
    """Return how many vectors of a model the items of a context have, of those between two keys."""
    (size,) = connection.execute(
        "SELECT coalesce(sum(length(data)), 0) FROM vector_parts JOIN items ON items.key = item_key"
        " WHERE vector_parts.key > ? AND vector_parts.key <= ? AND model_id = ? AND items.context_id = ?",
        (after, until, number, context.id),
    ).fetchone()
    return int(size) // (model.width * np.dtype(KEPT_NUMBERS).itemsize)


def _build(
    folder: StorePaths, context: Context, model: VectorModel, number: int, target: Path, stop: Event, seen: Seen | None
) -> int:
    connection = folder.connect(writes=False)
    try:
        newest = newest_part(connection)
        total = count_rows(connection, context, model, number, newest) if seen is not None else 0
        parts = _matrices(connection, context, model, number, newest)
        build_graph(target, model.width, _watched(parts, context, total, stop, seen))
        return newest
    finally:
        connection.close()


def _watched(
    parts: Iterator[VectorMatrix], context: Context, total: int, stop: Event, seen: Seen | None
) -> Iterator[VectorMatrix]:
    """Pass the rows on, tell how many have gone before, and end where nobody waits any more."""
    done = 0
    for part in parts:
        if stop.is_set():
            raise _StoppedError
        if seen is not None:
            seen(done, total, f"the graph of {context.name}")
        yield part
        done += len(part)


def _matrices(
    connection: SqlConnection, context: Context, model: VectorModel, number: int, newest: int
) -> Iterator[VectorMatrix]:
    """Yield the rows of a context, some at a time."""
    pieces: list[tuple[int, bytes]] = []
    for key, data in read_parts(connection, context, number, 0, newest):
        if len(pieces) >= _PAGE and key != pieces[-1][0]:
            yield VectorMatrix.of(pieces, model.width)
            pieces = []
        pieces.append((key, data))
    if pieces:
        yield VectorMatrix.of(pieces, model.width)


def name_graph(connection: SqlConnection, context: Context, number: int, generation: str, newest: int) -> None:
    """Let searches use a graph that is whole."""
    copies_of(connection).execute(
        "INSERT INTO vector_indexes (context_id, model_id, generation, newest) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (context_id, model_id) DO UPDATE SET generation = excluded.generation, newest = excluded.newest",
        (context.id, number, generation, newest),
    )
