"""`Store`: contexts at rest. One folder, one writer at a time, as many readers as like."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from secrets import token_bytes
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Concatenate, ParamSpec, Self, TypeVar, Unpack

from nexus_core.contract.protocols import Documents
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Item
from nexus_core.store import contexts, usage
from nexus_core.store.answer_cache import StoredAnswers
from nexus_core.store.blobs import BlobStore
from nexus_core.store.conversations.stored_conversations import StoredConversations
from nexus_core.store.database.connection import transaction, translated
from nexus_core.store.database.places import place_of_store
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.ingest.successors import find_visible
from nexus_core.store.items import rows
from nexus_core.store.items.documents import documents_of
from nexus_core.store.items.tags import tag_items
from nexus_core.store.items.vectors import keep_vectors
from nexus_core.store.records import Added, Context, Imported, StoredDocument
from nexus_core.store.runs import StoredRuns
from nexus_core.store.search.index_updates import IndexUpdater
from nexus_core.store.search.store_search import SearchOptions, StoreSearch
from nexus_core.store.usage import DailyUsage
from nexus_core.store.vectors.embedders import StoreEmbedders
from nexus_core.store.vectors.graph_mending import GraphMending
from nexus_core.store.vectors.store_vectors import StoreVectors
from nexus_core.store.vectors.vector_model import VectorState
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.filters import EVERYTHING, Filter
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.text.languages import AUTO

if TYPE_CHECKING:
    from nexus_core.store import copying, export_import, integrity
    from nexus_core.store.copying import Copied
    from nexus_core.store.ingest import batch_add, ingest, reader_processes
    from nexus_core.store.ingest.ingest import Ingested, Ingester
    from nexus_core.store.search import renewal
    from nexus_core.store.search.renewal import Seen
    from nexus_core.store.snapshots import index_snapshots
    from nexus_core.store.vectors import graph
else:  # for those who write or keep up a store; who searches one, such as a server, does without
    copying, export_import, integrity = (
        LazyModule(f"nexus_core.store.{name}") for name in ("copying", "export_import", "integrity")
    )
    batch_add, ingest, reader_processes = (
        LazyModule(f"nexus_core.store.ingest.{name}") for name in ("batch_add", "ingest", "reader_processes")
    )
    renewal = LazyModule("nexus_core.store.search.renewal")
    index_snapshots = LazyModule("nexus_core.store.snapshots.index_snapshots")
    graph = LazyModule("nexus_core.store.vectors.graph")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Store:
    """Contexts, their items and conversations at rest; an async context manager.

    async with Store() as store:
        await store.create("handbook")
        await store.add("handbook", items)
        ranking = await store.search("handbook", "carry over leave")

    Writing happens in one thread and reading in another; what is acknowledged is durable. Several processes may use
    one store at a time.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        objects: str | None = None,
        salvage: bool = False,
        unfinished: bool = False,
    ) -> None:
        """Take the store in a folder or by its URL, by default the one that NEXUS_STORE names, else the user's own.

        `objects` says where large originals are kept, as a folder or a URL of fsspec, by default what NEXUS_OBJECTS
        says, else the store's folder; that is remembered with the first of them.
        With `salvage` a damaged one is opened, too: to export what can still be read; with `unfinished` one that a copy
        was begun into and is not whole, which else is a StoreError: to go on with `copy_to`.
        """
        self.folder = place_of_store(path)
        self._threads = WorkerThreads(self.folder, objects, salvage, unfinished)
        self._answers = StoredAnswers(self._threads)
        self._embedders = StoreEmbedders()
        self._searching = StoreSearch(self._threads, self._embedders)
        self._vectors = StoreVectors(self._threads, self._embedders)
        self._graphs = GraphMending(self._threads)
        if self.folder.is_server:  # no other store has snapshots
            self._threads.restore = self.snapshots.restore
        self._readers: reader_processes.ReaderProcesses | None = None
        self._secret = b""

    async def __aenter__(self) -> Self:
        """Open the store, and make it where there is none; raises StoreError."""
        await self._threads.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it; what has begun to be written is written."""
        if self._readers is not None:
            await self._readers.close()
        await self._graphs.close()
        await self._embedders.close()
        await self._answers.settle()
        await self._threads.close()

    # Contexts

    async def create(
        self,
        name: str,
        *,
        description: str = "",
        language: str = AUTO,
        encoding: str = "o200k_base",
        readers: Sequence[str] = (),
    ) -> Context:
        """Make an empty context, which `readers` alone may see; raises UsageError where there is one of this name."""
        return await self.write(
            contexts.create, name, description=description, language=language, encoding=encoding, readers=readers
        )

    async def grant(self, name: str, readers: Sequence[str]) -> None:
        """Let some groups, as `group:hr`, alone see a context from now on; without any, everyone who may ask it."""
        await self.write(contexts.grant, name, readers)

    async def contexts(self, *, viewer: Viewer | None = None) -> tuple[Context, ...]:
        """Return all contexts that a viewer may see, by name, each with the number of items that they may see."""
        return await self.read(lambda connection: self._threads.opened().contexts(viewer))

    async def context(self, name: str, *, viewer: Viewer | None = None) -> Context:
        """Return one context; raises UsageError where there is none of this name that the viewer may see."""
        return await self.read(lambda connection: self._threads.opened().context(name, viewer))

    async def delete(self, name: str) -> None:
        """Delete a context with all that is in it."""
        await self._threads.writing(self._delete, name)

    # Items

    async def add(self, name: str, items: Iterable[Item]) -> Added:
        """Add items to a context, or their new states; what is there already as it is, is left alone.

        Every batch of 2,000 is durable when it is done; where it ends with an error, what was added before it stays.
        """

        def begin(indexing: IndexUpdater) -> batch_add.BatchAdd:
            return batch_add.BatchAdd(indexing, self._find(name), iter(items))

        with self._searching.bulk():
            await self.renew(name)
            adding = await self.write_indexed(begin)
            try:
                while await self._threads.writing(adding.step):
                    continue
            except BaseException:
                await asyncio.shield(self._threads.writing(adding.finish, has_failed=True))
                raise
            await asyncio.shield(self._threads.writing(adding.finish))
        await self._searching.note_written()
        await self._vectors.embed_new(name)
        return adding.total

    async def embed(self, name: str, model: str, *, seen: Seen | None = None) -> int:
        """Let a context be searched by meaning, too, with a model by its name or path; returns how many items it read.

        Until all have vectors it is searched as before. What was killed goes on where it was; another model than
        before takes its place at the end. Raises StoreError where the model cannot be used.
        """
        return await self._vectors.embed(name, model, seen)

    async def unembed(self, name: str) -> None:
        """Let a context be searched by words alone, and delete its vectors."""
        await self._vectors.forget(name)

    async def vectors_note(self, name: str) -> str:
        """Return why searches by meaning in a context are slower than they might be; mostly nothing."""
        return await self._vectors.note(name)

    async def vector_state(self, name: str) -> VectorState | None:
        """Return how many items of a context have vectors, `None` where it is searched by words alone."""
        return await self._vectors.state(name)

    async def items(
        self,
        name: str,
        *,
        after: int = 0,
        limit: int = 100,
        tag: str | None = None,
        where: Filter = EVERYTHING,
        viewer: Viewer | None = None,
    ) -> list[tuple[int, Item]]:
        """Return the next items after a key, each with its key, in the order in which they were added."""

        def read_page(connection: SqlConnection) -> list[tuple[int, Item]]:
            context = contexts.find(connection, name, viewer)
            visible = self._threads.opened().visible(context, viewer, where)
            if visible is None:
                keys = rows.page_of_keys(connection, context, after=after, limit=limit, tag=tag)
            else:
                keys = visible.page(connection, context, after=after, limit=limit, tag=tag)
            return [*rows.read_items(connection, keys).items()]

        return await self.read(read_page)

    async def get(self, name: str, ids: Sequence[str], *, viewer: Viewer | None = None) -> tuple[Item, ...]:
        """Return the items with these ids, as many as there are and a viewer may see, in the order of the ids.

        What another reader has made of a document since is found by its old ids, too.
        """

        return await self._searching.get(name, ids, viewer)

    async def visible_ids(self, name: str, ids: Sequence[str], *, viewer: Viewer | None = None) -> frozenset[str]:
        """Return those of some ids, now or before, whose items are there and may be seen."""

        def find(connection: SqlConnection) -> frozenset[str]:
            context = contexts.find(connection, name, viewer)
            return frozenset(find_visible(connection, context, ids, self._threads.opened().visible(context, viewer)))

        return await self.read(find)

    async def read_secret(self) -> bytes:
        """Return random bytes that are this store's for ever; where nothing may be written, this object's."""
        if not self._secret:
            kept = await self.read(contexts.secret)
            if not kept and self._threads.may_write:
                kept = await self.write(contexts.keep_secret, token_bytes(16))
            self._secret = kept or token_bytes(16)
        return self._secret

    async def remove(self, name: str, ids: Sequence[str]) -> int:
        """Remove items by their ids; returns how many there were."""

        def remove(connection: SqlConnection) -> int:
            context = contexts.find(connection, name)
            return rows.remove_keys(connection, context, list(rows.keys_of(connection, context, ids).values()))

        count = await self.write(remove)
        await self._threads.writing(self._catch_up, name)
        return count

    async def search(self, name: str, query: str, **options: Unpack[SearchOptions]) -> Ranking:
        """Return the best items for a query, best first, by BM25 over the whole context, by meaning, or by both.

        With `tags`, those that have all of them; with `where`, those that it lets through; to a `viewer`, those that
        they may see. Word statistics count all items: what is told of scores to a viewer is to be rounded. `by` is
        `both` where the context has vectors, unless it says otherwise; where their model cannot be used, `both` goes
        by words and tells so to `note` and the log, and `meaning` raises StoreError.

        A phrase in quotes is held by all that is found, where any item holds it. With `typos`, a word of five letters
        and more that no item holds stands for one that is a typing error away. With `like`, the id of an item, its text
        is what is searched for, and the query comes first in it.
        """
        found = await self._searching.search(name, query, **options)
        self._graphs.look(name)
        return found

    async def counts(
        self, name: str, field: str = "tags", *, where: Filter = EVERYTHING, viewer: Viewer | None = None
    ) -> dict[str, int]:
        """Return how many items have each value of a field, such as `tags`, `kind` or one of the metadata, most first.

        Of a list each element counts. Of items that a viewer may see, and a filter lets through.
        """
        return await self._searching.counts(name, field, where, viewer)

    async def fresh_vectors(self) -> None:
        """Return as soon as a ranker has worked out vectors of items that a search has found."""
        await self._threads.opened().fresh.arrival()

    async def keep_vectors(self) -> None:
        """Keep the vectors that rankers have worked out since the last time."""
        vectors = self._threads.opened().fresh.take()
        if vectors:
            await self.write(keep_vectors, vectors)

    # Documents

    async def ingest(self, name: str, source: Documents, *, origin: str, **asked: Unpack[Ingester]) -> Ingested:
        """Bring the documents of a source into a context, reading only those that have changed since the last time.

        `origin` names what they are part of, such as a folder; the same documents go by the same origin. What cannot be
        read is told in the result and stops nothing. Cancelled or killed, it goes on where it was when called again.
        """
        await self.renew(name, seen=asked.get("seen"))
        ingested = await ingest.ingest(self._threads, self.readers, name, source, origin=origin, **asked)
        await self._vectors.embed_new(name)
        return ingested

    @property
    def readers(self) -> reader_processes.ReaderProcesses:
        """The processes that read documents for this store."""
        if self._readers is None:
            self._readers = reader_processes.ReaderProcesses()
        return self._readers

    async def documents(
        self, name: str, *, origin: str | None = None, viewer: Viewer | None = None
    ) -> tuple[StoredDocument, ...]:
        """Return the documents of a context by name: all that were read, or those of one origin.

        To a viewer, those of which they may see all items.
        """
        return tuple(each for each in await self._documents(name, origin, viewer) if not each.skipped)

    async def skipped(
        self, name: str, *, origin: str | None = None, viewer: Viewer | None = None
    ) -> tuple[StoredDocument, ...]:
        """Return what was found and not read, by name, each with its reason in `skipped`."""
        return tuple(each for each in await self._documents(name, origin, viewer) if each.skipped)

    async def _documents(self, name: str, origin: str | None, viewer: Viewer | None) -> tuple[StoredDocument, ...]:
        def read_documents(connection: SqlConnection) -> tuple[StoredDocument, ...]:
            return documents_of(connection, contexts.find(connection, name, viewer), origin, viewer)

        return await self.read(read_documents)

    async def remove_documents(self, name: str, documents: Sequence[str]) -> int:
        """Remove documents with their items; returns how many items that were."""

        def remove(connection: SqlConnection) -> int:
            context = contexts.find(connection, name)
            return sum(rows.remove_document(connection, context, document) for document in documents)

        count = await self.write(remove)
        await self._threads.writing(self._catch_up, name)
        return count

    @property
    def originals(self) -> BlobStore:
        """The large originals of this store, for who writes documents in a thread."""
        return self._threads.originals

    async def keep_original(self, data: bytes) -> str | None:
        """Keep the bytes of a document that is about to be written, and return their key; `None` up to 64 KiB.

        What no document refers to within an hour may be deleted again.
        """
        return await self._threads.keep_original(data)

    async def original(self, key: str) -> bytes:
        """Return the bytes of a document by their key; raises StoreDamagedError where they are gone or others."""
        return await asyncio.to_thread(self.originals.get, key)

    # Upkeep

    async def tag(self, name: str, ids: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
        """Add and remove tags of items; returns how many items have changed."""

        def change(connection: SqlConnection) -> int:
            return tag_items(connection, contexts.find(connection, name), ids, add, remove)

        count = await self.write(change)
        if count:
            await self._threads.writing(self._catch_up, name)
        return count

    async def renew(self, name: str, *, seen: Seen | None = None) -> None:
        """Make the words of a context anew where another version has made them; `add` and `ingest` do so by themselves.

        Until it is done the context is searched as it was. `seen` is told how many items are done, of how many.
        """
        await renewal.renew(self._threads, await self.context(name), seen)

    async def check(
        self, name: str | None = None, *, repair: bool = False, seen: Seen | None = None
    ) -> tuple[str, ...]:
        """Return what is wrong with one context or the whole store: what, where and what to do; nothing if all is well.

        With `repair`, indexes and counts are made anew where anything is wrong, and what is left is returned.
        """
        return await integrity.check(self._threads, name, repair=repair, embed=self._vectors.mend, seen=seen)

    async def collect(self) -> int:
        """Delete originals that no document refers to any more; returns how many they were."""
        return await integrity.collect(self._threads)

    async def export(self, name: str, target: str | os.PathLike[str] | BinaryIO, *, vectors: bool = False) -> int:
        """Write a context as JSON Lines to a file, or to what is open for bytes; returns how many items it were."""
        return await asyncio.to_thread(export_import.export, self.folder, name, target, vectors=vectors)

    async def import_(self, source: str | os.PathLike[str] | BinaryIO, name: str | None = None) -> Imported:
        """Add what an export holds to the context of its name, or of another, which is made if it is not there.

        Lines that cannot be taken are told in the result and do not stop the rest.
        """
        return await export_import.take_in(self._threads, source, name)

    async def backup(self, target: str | os.PathLike[str]) -> Copied:
        """Copy the whole store into a folder, or bring a backup there up to it: only what differs is written.

        The copy can be opened as a store. Raises UsageError where the folder holds something else.
        """
        copy = type(self)(target, unfinished=True)
        copying.check_target(copy.folder)
        async with copy:
            return await self.copy_to(copy, as_backup=True)

    async def copy_to(self, target: Store, *, as_backup: bool = False, seen: Seen | None = None) -> Copied:
        """Make another open store, empty or the copy of this one that was begun before, a copy of this one.

        Killed, it goes on where it was when it is called again, with the target opened as `unfinished`. At the end
        every row was compared, and every original was read; raises StoreDamagedError where they differ, and UsageError
        where the target holds something else. A backup stays known as one, and can be brought up again. Indexes are not
        copied: each store makes its own.
        """
        name = (await self.read_secret()).hex()
        return await copying.copy_store(self._threads, target._threads, name, as_backup=as_backup, seen=seen)

    async def differences(self, other: Store) -> tuple[str, ...]:
        """Return in which tables another open store differs, and which originals it lacks; nothing if in none."""
        return await copying.compare_stores(self._threads, other._threads)

    @property
    def snapshots(self) -> index_snapshots.IndexSnapshots:
        """Snapshots of indexes beside the originals, for servers that have none; for who keeps a store up."""
        return index_snapshots.IndexSnapshots(self._threads)

    # Conversations, answers and usage

    @property
    def conversations(self) -> StoredConversations:
        """The conversations of this store, for `Pipeline.load(..., conversations=store.conversations)`."""
        return StoredConversations(self._threads)

    @property
    def answers(self) -> StoredAnswers:
        """The answer cache of this store, for `Pipeline.load(..., answers=store.answers)`."""
        return self._answers

    @property
    def runs(self) -> StoredRuns:
        """The runs of servers of this store, while they are under way and some minutes longer."""
        return StoredRuns(self._threads)

    async def usage(self, since: str = "") -> tuple[DailyUsage, ...]:
        """Return what models have used by day, pipeline, model and outcome, from a day on such as `2026-11-23`."""
        return await self.read(usage.read, usage.checked_day(since))

    async def add_usage(self, rows: Sequence[DailyUsage], *, keep_days: int = 400) -> None:
        """Add to that, and drop the days that are over for longer than `keep_days`."""
        await self.write(usage.add, rows, time(), keep_days)

    # Threads

    async def read(self, work: Callable[Concatenate[SqlConnection, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function makes of the connection that reads, in the thread that reads."""
        return await self._threads.read(work, *args, **kwargs)

    async def write(
        self, work: Callable[Concatenate[SqlConnection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return what a function makes of the connection that writes, in one transaction: all or nothing."""
        return await self._threads.write(work, *args, **kwargs)

    async def write_indexed(
        self, work: Callable[Concatenate[IndexUpdater, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return what a function makes of the indexes, in the thread that writes; it makes its own transactions."""
        return await self._threads.write_indexed(work, *args, **kwargs)

    # In the thread that writes

    def _find(self, name: str) -> Context:
        with translated(self.folder.database):
            return contexts.find(self._threads.connection(), name)

    def _delete(self, name: str) -> None:
        context = self._find(name)
        with transaction(self._threads.connection(), self.folder.database) as connection:
            contexts.remove(connection, context)
        for index in self._threads.words.names_of(context.id):
            self._threads.words.delete(index)
        for path in self.folder.vectors.glob(f"{context.id}-*"):
            graph.delete_graph(path)

    def _catch_up(self, name: str) -> bool:
        return self._threads.indexing().catch_up(self._find(name))
