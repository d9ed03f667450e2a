"""Snapshots of indexes beside the originals: a new server of a store in a database begins with one, and catches up.

Published from what a server has itself, in the background, once it has grown by a fifth since the last one. The
database names what was published, so that nothing else is ever taken; who is about to publish notes it there before,
so that no other server does the same, and what a killed one has left is deleted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Event

from attrs import evolve
from filelock import FileLock, Timeout

from nexus_core.contract.errors import NexusError, StoreError
from nexus_core.store import contexts
from nexus_core.store.database.connection import translated
from nexus_core.store.database.sql import SqlConnection, copies_of
from nexus_core.store.records import Context
from nexus_core.store.search.index_checksums import META, is_whole, live_files, note
from nexus_core.store.search.index_updates import IndexState, IndexUpdater, keep_copied_words, name_index
from nexus_core.store.search.indexes import IndexDamagedError
from nexus_core.store.search.tantivy_index import FORMAT, ContextIndex
from nexus_core.store.snapshots.snapshot_archive import (
    GraphPart,
    Manifest,
    SnapshotError,
    StoppedError,
    pack,
    read_manifest,
    unpack,
)
from nexus_core.store.snapshots.snapshot_rows import (
    claim_snapshot,
    forget_snapshot,
    name_snapshot,
    published_snapshots,
    stale_snapshots,
)
from nexus_core.store.vectors.context_vectors import graph_state
from nexus_core.store.vectors.graph import (
    FORMAT as GRAPH_FORMAT,
    GraphDamagedError,
    VectorGraph,
    delete_graph,
    has_graphs,
    rows_in_graph,
)
from nexus_core.store.vectors.graph_upkeep import graph_folder, name_graph, vectors_turn
from nexus_core.store.vectors.vector_model import known_model
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.suggest import counted

SMALLEST = 1_000
"""Items: an index of fewer is built from the rows in tenths of a second."""
GROWN = 0.2
"""The share of the last snapshot's items that have come or gone since, or of its vectors, when another is due."""
_WORDS, _GRAPH = "words", "graph"

_log = logging.getLogger(__name__)


class IndexSnapshots:
    """The snapshots of one open store."""

    def __init__(self, threads: WorkerThreads) -> None:
        self._threads = threads

    @property
    def are_kept(self) -> bool:
        """Whether there can be any: of a store in a database, whose originals have a place of their own."""
        return self._threads.folder.is_server and bool(self._threads.originals.url)

    # In the thread that writes, by who has the turn at the index

    def restore(self, indexing: IndexUpdater, context: Context) -> bool:
        """Put the index of the newest snapshot in place, as a whole or not at all; returns whether there is one now."""
        if not self.are_kept:
            return False
        work = self._folder("restored", context)
        for key, text in published_snapshots(indexing.connection, context):
            shutil.rmtree(work, ignore_errors=True)
            try:
                manifest = read_manifest(text)
                _check_usable(manifest, context, indexing.state(context).analyzer)
                work.mkdir(parents=True, mode=0o700)
                self._threads.originals.get_file(key, work / key)
                _restore_words(indexing, context, work / key, manifest)
                _log.info("the index of %r begins with the snapshot %s", context.name, key)
                _restore_graph(indexing, context, work / key, manifest)
            except (SnapshotError, FileNotFoundError, OSError, StoreError, IndexDamagedError) as error:
                _log.warning("the snapshot %s of %r is passed over: %s", key, context.name, error)
            else:
                return True
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return False

    # Publishing

    async def publish_due(self) -> int:
        """Publish snapshots of the indexes here that have grown, and delete older ones; returns how many it were."""
        if not self.are_kept or not self._threads.may_write:
            return 0
        count = 0
        for context, last in await self._threads.read(_due, self._threads):
            count += await self._publish(context, last)
        await self._delete_stale()
        return count

    async def _publish(self, context: Context, last: str) -> bool:
        """Publish one, where nobody else is about to, or has since the snapshot of a key was the `last` one."""
        lock = FileLock(self._threads.folder.lock(f"snapshot-{context.id}"), mode=0o600, thread_local=False)
        try:
            lock.acquire(timeout=0.0)
        except (Timeout, OSError):
            return False
        work = self._folder("snapshot", context)
        try:
            shutil.rmtree(work, ignore_errors=True)
            taken = await self._threads.write_indexed(_take, context, work)
            if taken is None:
                return False
            generation, manifest = taken
            key = f"snapshot-{context.id}-{generation}-{manifest.newest}-{token_hex(4)}.zip"
            if not await self._threads.write(claim_snapshot, context, key, last):
                return False
            published = await self._archived(context, work, manifest, key)
            done = await self._threads.write(name_snapshot, key, published.text())
        except (StoreError, SnapshotError, IndexDamagedError, OSError) as error:
            _log.warning("no snapshot of the index of %r is published: %s", context.name, error)
            return False
        else:
            _log.info("the snapshot %s is published", key)
            return done
        finally:
            shutil.rmtree(work, ignore_errors=True)
            lock.release()

    async def _archived(self, context: Context, work: Path, manifest: Manifest, key: str) -> Manifest:
        stop = Event()

        def archive() -> Manifest:
            packed = _pack(work, manifest, key, stop)
            self._threads.originals.put_file(key, work / key)
            return packed

        working = asyncio.ensure_future(asyncio.to_thread(archive))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([working])
            with suppress(Exception):
                working.result()
            raise

    async def _delete_stale(self) -> None:
        keys = await self._threads.read(stale_snapshots)
        for key in keys:
            try:
                await asyncio.to_thread(self._threads.originals.remove, key)
            except NexusError as error:
                _log.warning("the snapshot %s, which nobody needs, cannot be deleted: %s", key, error)
            else:
                await self._threads.write(forget_snapshot, key)

    def _folder(self, kind: str, context: Context) -> Path:
        return self._threads.folder.snapshots / f"{context.id}-{kind}"


# What is due


def _due(connection: SqlConnection, threads: WorkerThreads) -> list[tuple[Context, str]]:
    """Return contexts whose index here has grown enough, each with the key of its last snapshot, if there is one."""
    copies = copies_of(connection)
    named = copies.execute("SELECT context_id FROM indexes WHERE generation LIKE ?", (f"{FORMAT}-%",))
    here = {number for (number,) in named}
    found = connection.execute("SELECT id, name FROM contexts WHERE items >= ?", (SMALLEST,)).fetchall() if here else []
    due = []
    for context in [contexts.find(connection, name) for number, name in found if number in here]:
        published = published_snapshots(connection, context)
        if _is_due(connection, threads, context, [text for _, text in published]):
            due.append((context, published[0][0] if published else ""))
    return due


def _is_due(connection: SqlConnection, threads: WorkerThreads, context: Context, published: Sequence[str]) -> bool:
    state = IndexState(connection, context)
    last = _last_usable(published, context, state.analyzer)
    if last is None or not state.generation:
        return bool(state.generation)
    gone = state.removed - last.removed
    come = state.items + state.last_removed - last.items - last.removed
    if max(gone, come) > GROWN * last.items:
        return True
    known = _graph_here(connection, threads, context)
    if known is None:
        return False
    number, rows = known
    return last.graph is None or last.graph.model != number or rows > (1 + GROWN) * last.graph.rows


def _last_usable(published: Sequence[str], context: Context, analyzer: int) -> Manifest | None:
    for text in published:
        with suppress(SnapshotError):
            manifest = read_manifest(text)
            _check_usable(manifest, context, analyzer)
            return manifest
    return None


def _graph_here(connection: SqlConnection, threads: WorkerThreads, context: Context) -> tuple[int, int] | None:
    """Return the number of the model of a context's graph on this server, and its rows, `None` where there is none."""
    known = known_model(connection, context) if context.embedder and has_graphs() else None
    state = None if known is None else graph_state(connection, context, known.number)
    if known is None or state is None:
        return None
    rows = rows_in_graph(graph_folder(threads.folder, context, known.number, state[0]))
    return (known.number, rows) if rows else None


def _check_usable(manifest: Manifest, context: Context, analyzer: int) -> None:
    """Raise SnapshotError where a snapshot is not of this context, or not as this version makes it."""
    if manifest.context != context.id:
        raise SnapshotError(f"it is of context {manifest.context}")
    if manifest.words_format != FORMAT:
        raise SnapshotError(f"its index is of format {manifest.words_format!r}, and this version reads {FORMAT!r}")
    if manifest.analyzer != analyzer:
        raise SnapshotError(f"its words are of version {manifest.analyzer}, and those of the context of {analyzer}")


# Files


def _take(indexing: IndexUpdater, context: Context, work: Path) -> tuple[str, Manifest] | None:
    """Link the files of an index as it is now into a folder, and say up to where it goes; `None` while it is written.

    The files of an index and of a graph are written once: what changes has another name.
    """
    with indexing.turn(context, 0.0) as ours:
        state = indexing.state(context)
        if not ours or not state.generation:
            return None
        source = indexing.folder.indexes / f"{context.id}-{state.generation}"
        index = ContextIndex(source)
        words = work / _WORDS
        words.mkdir(parents=True, mode=0o700)
        names = live_files(source)
        for name in (*names, META):
            _link(source / name, words / name)
        # What tantivy may delete once it is merged; it lists files that are not here.
        (words / ".managed.json").write_text(_managed(names), "utf-8")
        items = len(index)
    with translated(indexing.folder.database):
        graph = _link_graph(indexing, context, work)
    manifest = Manifest(
        context=context.id, newest=state.newest, removed=state.removed, items=items, analyzer=state.analyzer,
        words_format=FORMAT, graph=graph,
    )  # fmt: skip
    return state.generation, manifest


def _managed(names: list[str]) -> str:
    return "[" + ",".join(f'"{name}"' for name in (*names, META)) + "]\n"


def _link_graph(indexing: IndexUpdater, context: Context, work: Path) -> GraphPart | None:
    known = known_model(indexing.connection, context) if context.embedder and has_graphs() else None
    state = None if known is None else graph_state(indexing.connection, context, known.number)
    if known is None or state is None:
        return None
    source = graph_folder(indexing.folder, context, known.number, state[0])
    target = work / source.name
    try:
        target.mkdir(mode=0o700)
        for path in source.iterdir():
            _link(path, target / path.name)
    except OSError as error:  # one that is replaced just now
        _log.info("the snapshot of %r has no graph of its vectors: %s", context.name, error)
        return None
    return GraphPart(
        format=GRAPH_FORMAT, model=known.number, generation=state[0], newest=state[1], rows=rows_in_graph(target),
        width=known.model.width,
    )  # fmt: skip


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _pack(work: Path, manifest: Manifest, key: str, stop: Event) -> Manifest:
    """Write the archive of what was linked, whose sums are looked at first."""

    def check() -> None:
        if stop.is_set():
            raise StoppedError

    words = work / _WORDS
    for name in live_files(words):
        check()
        if not is_whole(words / name):
            raise SnapshotError(f"{name} of the index is damaged: run `nexus context check --repair`")
    folders, graph = {_WORDS: words}, manifest.graph
    if graph is not None:
        folder = work / f"{manifest.context}-{graph.model}-{graph.generation}"
        try:
            VectorGraph(folder, graph.width)  # which looks at its sums
            folders[_GRAPH] = folder
        except GraphDamagedError as error:  # it is mended by who searches it
            _log.warning("the snapshot %s has no graph of vectors: %s", key, error)
            manifest = evolve(manifest, graph=None)
    return pack(work / key, folders, manifest, check)


def _restore_words(indexing: IndexUpdater, context: Context, archive: Path, manifest: Manifest) -> None:
    """Put the index of words in place: it counts once it is named, and is complete by then."""
    generation = f"{FORMAT}-{token_hex(8)}"
    path = indexing.folder.indexes / f"{context.id}-{generation}"
    try:
        unpack(archive, manifest, _WORDS, path)
        note(path)
        if len(ContextIndex(path)) != manifest.items:
            raise SnapshotError(f"its index does not hold {counted(manifest.items, 'item')}")
        copies = copies_of(indexing.connection)
        with translated(indexing.folder.database):
            name_index(copies, context, generation, manifest.newest, manifest.removed)
            keep_copied_words(copies, context, manifest.analyzer)
    except BaseException:
        indexing.words.delete(path.name)
        raise


def _restore_graph(indexing: IndexUpdater, context: Context, archive: Path, manifest: Manifest) -> None:
    """Put the graph in place, where there is none and it is of the model of the context; without it one is made."""
    graph = manifest.graph
    if graph is None or graph.format != GRAPH_FORMAT or not has_graphs():
        return
    with vectors_turn(indexing.folder, context) as ours, translated(indexing.folder.database):
        known = known_model(indexing.connection, context)
        if not ours or known is None or (known.number, known.model.width) != (graph.model, graph.width):
            return
        if graph_state(indexing.connection, context, known.number) is not None:
            return
        path = graph_folder(indexing.folder, context, graph.model, graph.generation)
        delete_graph(path)
        try:
            unpack(archive, manifest, _GRAPH, path)
            name_graph(indexing.connection, context, graph.model, graph.generation, graph.newest)
        except (SnapshotError, OSError) as error:
            delete_graph(path)
            _log.warning("the graph in the snapshot of %r is passed over: %s", context.name, error)
