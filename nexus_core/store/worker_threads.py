"""The two threads of an open store, each with its connection: one writes, the other reads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from typing import Concatenate, ParamSpec, TypeVar

from nexus_core.contract.errors import StoreDamagedError, StoreError, UsageError
from nexus_core.store.blobs import SMALLEST, BlobStore, place_of
from nexus_core.store.database.connection import is_open, snapshot, transaction, translated
from nexus_core.store.database.crash_check import OpenMarker, check_after_crash
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.places import connect_to
from nexus_core.store.database.sql import LostTransactionError, SqlConnection, WriteConflictError
from nexus_core.store.database.table_copy import refuse_unfinished
from nexus_core.store.search.index_updates import IndexUpdater, Restore
from nexus_core.store.search.indexes import VectorIndexes, WordIndexes
from nexus_core.store.search.search import ContextSearch
from nexus_core.store.search.tantivy_index import TantivyIndexes
from nexus_core.store.vectors.meaning import MeaningSearch

_P = ParamSpec("_P")
_T = TypeVar("_T")

_AGAIN = 2
"""So often a transaction is begun again."""
_CLOSED = "the store is not open: use `async with Store(...) as store`"


def repeated(work: Callable[[], _T]) -> _T:
    """Return what a transaction returns, begun again where the database has undone it because of others."""
    for _ in range(_AGAIN):
        try:
            return work()
        except (WriteConflictError, LostTransactionError):
            continue
    return work()


class WorkerThreads:
    """Opened once and closed once; `objects`, `salvage` and `unfinished` are those of the store."""

    def __init__(self, folder: StorePaths, objects: str | None, salvage: bool, unfinished: bool = False) -> None:
        self.folder = folder
        self.words: WordIndexes = TantivyIndexes(folder.indexes)
        """The engine for words: another one is set before the store is opened."""
        self.vectors: Callable[[StorePaths, SqlConnection], VectorIndexes] = MeaningSearch
        """What makes the engine for vectors, with the connection that reads: another one is set likewise."""
        self._objects, self._salvage, self._unfinished = objects, salvage, unfinished
        self._originals: BlobStore | None = None
        self.restore: Restore | None = None
        """What may put an index in place that another server has made."""
        self._is_over = False
        self._writing = ThreadPoolExecutor(1, "nexus-store-writer")
        self._reading = ThreadPoolExecutor(1, "nexus-store-reader")
        self._writer: SqlConnection | None = None
        self._searching: ContextSearch | None = None
        self._mark: OpenMarker | None = None

    async def open(self) -> None:
        """Open the store, and make it where there is none; raises StoreError."""
        try:
            await self.writing(self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close it; what has begun to be written is written."""
        await self.reading(self._close_reader)
        await self.writing(self._close_writer)
        self._is_over = True
        self._writing.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    async def reading(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function returns in the thread that reads."""
        return await self._in(self._reading, work, *args, **kwargs)

    async def writing(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function returns in the thread that writes."""
        return await self._in(self._writing, work, *args, **kwargs)

    async def read(self, work: Callable[Concatenate[SqlConnection, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function makes of the connection that reads, in the thread that reads."""
        connection = self.opened().connection

        def run() -> _T:
            with snapshot(connection, self.folder.database):
                return work(connection, *args, **kwargs)

        return await self.reading(repeated, run)

    async def write(
        self, work: Callable[Concatenate[SqlConnection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return what a function makes of the connection that writes, in one transaction: all or nothing."""
        self.opened()

        def run() -> _T:
            with transaction(self.connection(), self.folder.database) as connection:
                return work(connection, *args, **kwargs)

        return await self.writing(repeated, run)

    async def write_indexed(
        self, work: Callable[Concatenate[IndexUpdater, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return what a function makes of the indexes, in the thread that writes; it makes its own transactions."""
        self.opened()
        return await self.writing(lambda: work(self.indexing(), *args, **kwargs))

    async def keep_original(self, data: bytes) -> str | None:
        """Keep the bytes of a document, if they are many enough, and return their key."""
        if len(data) <= SMALLEST:
            return None
        key = await asyncio.to_thread(lambda: sha256(data).hexdigest())
        await self.write(self.originals.note, key, len(data))
        await asyncio.to_thread(self.originals.put, key, data)
        return key

    @property
    def may_write(self) -> bool:
        """Whether this process may change the store."""
        return self._writer is not None

    def opened(self) -> ContextSearch:
        """Return the search, with the connection that reads; raises UsageError where the store is not open."""
        if self._searching is None:
            raise UsageError(_CLOSED)
        return self._searching

    @property
    def originals(self) -> BlobStore:
        """The large originals; raises UsageError where the store is not open."""
        if self._originals is None:
            raise UsageError(_CLOSED)
        return self._originals

    # In the thread that writes

    def connection(self) -> SqlConnection:
        """Return the connection that writes, another one where the disk has failed under it."""
        if self._writer is None:
            self.opened()
            raise StoreError(f"the store at {self.folder.name} may only be read here: ask who owns it to change it")
        if isinstance(self._writer, sqlite3.Connection) and not is_open(self._writer):  # the disk has failed under it
            self._writer = connect_to(self.folder, writes=True)
        return self._writer

    def indexing(self) -> IndexUpdater:
        """Return the indexes, with that connection."""
        return IndexUpdater(self.folder, self.connection(), self.words, self.restore)

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if self._is_over:
            raise UsageError("the store is not open any more: make another `Store`")
        return await asyncio.get_running_loop().run_in_executor(threads, lambda: work(*args, **kwargs))

    def _open(self) -> None:
        may_write = self.folder.may_be_written()
        if may_write:
            self.folder.prepare()
            self._writer = connect_to(self.folder, writes=True)
            if not self._salvage and isinstance(self._writer, sqlite3.Connection):
                check_after_crash(self.folder, self._writer)
        reader = connect_to(self.folder, writes=False)
        try:
            if not (self._salvage or self._unfinished):
                with translated(self.folder.database):
                    refuse_unfinished(reader, self.folder.name)
            self._originals = BlobStore(
                self.folder.objects, self._place_of_originals(reader), is_apart=self.folder.is_server
            )
            self._mark = OpenMarker(self.folder) if may_write and not self.folder.is_server else None
        except BaseException:
            reader.close()
            raise
        vectors = self.vectors(self.folder, reader)
        self._searching = ContextSearch(self.folder, reader, self.words, vectors, may_write=self._writer is not None)

    def _place_of_originals(self, connection: SqlConnection) -> str:
        try:
            with translated(self.folder.database):
                return place_of(connection, self._objects)
        except StoreDamagedError:
            if self._salvage:
                return ""
            raise

    def _close_reader(self) -> None:
        if self._searching is not None:
            self._searching.close()
            self._searching = None

    def _close_writer(self) -> None:
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None
        if self._mark is not None:
            self._mark.remove()
            self._mark = None
