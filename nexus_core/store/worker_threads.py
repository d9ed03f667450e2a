"""The two threads of an open store, each with its connection: one writes, the other reads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from nexus_core.contract.errors import StoreDamagedError, StoreError, UsageError
from nexus_core.store.database.connection import connect, is_open, translated
from nexus_core.store.database.paths import StorePaths

if TYPE_CHECKING:  # they bring the index and locks, which nobody needs before a store is opened
    from nexus_core.store.blobs import BlobStore
    from nexus_core.store.database.crash_check import OpenMarker
    from nexus_core.store.search.index_updates import IndexUpdater
    from nexus_core.store.search.search import ContextSearch

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CLOSED = "the store is not open: use `async with Store(...) as store`"


class WorkerThreads:
    """Opened once and closed once; `objects` and `salvage` are those of the store."""

    def __init__(self, folder: StorePaths, objects: str | None, salvage: bool) -> None:
        self._folder = folder
        self._objects, self._salvage = objects, salvage
        self._originals: BlobStore | None = None
        self._is_over = False
        self._writing = ThreadPoolExecutor(1, "nexus-store-writer")
        self._reading = ThreadPoolExecutor(1, "nexus-store-reader")
        self._writer: sqlite3.Connection | None = None
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

    def connection(self) -> sqlite3.Connection:
        """Return the connection that writes, another one where the disk has failed under it."""
        if self._writer is None:
            self.opened()
            raise StoreError(f"the store at {self._folder.root} may only be read here: ask who owns it to change it")
        if not is_open(self._writer):  # the disk has failed under it
            self._writer = connect(self._folder.database, writes=True)
        return self._writer

    def indexing(self) -> IndexUpdater:
        """Return the indexes, with that connection."""
        from nexus_core.store.search.index_updates import IndexUpdater

        return IndexUpdater(self._folder, self.connection())

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if self._is_over:
            raise UsageError("the store is not open any more: make another `Store`")
        return await asyncio.get_running_loop().run_in_executor(threads, lambda: work(*args, **kwargs))

    def _open(self) -> None:
        from nexus_core.store.blobs import BlobStore
        from nexus_core.store.database.crash_check import OpenMarker, check_after_crash
        from nexus_core.store.search.search import ContextSearch

        may_write = self._folder.may_be_written()
        if may_write:
            self._folder.prepare()
            self._writer = connect(self._folder.database, writes=True)
            if not self._salvage:
                check_after_crash(self._folder, self._writer)
        reader = connect(self._folder.database, writes=False)
        try:
            self._originals = BlobStore(self._folder.objects, self._place_of_originals(reader))
            self._mark = OpenMarker(self._folder) if may_write else None
        except BaseException:
            reader.close()
            raise
        self._searching = ContextSearch(self._folder, reader)

    def _place_of_originals(self, connection: sqlite3.Connection) -> str:
        from nexus_core.store.blobs import place_of

        try:
            with translated(self._folder.database):
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
