"""What is read of files: once for all who ask meanwhile, and again when a file has changed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from attrs import define, field

from nexus_core.toolkit.file_stamps import Stamp, settled, stamp_of
from nexus_core.toolkit.processes.daemon_threads import in_thread

_T = TypeVar("_T")
_P = TypeVar("_P")


@define(eq=False, repr=False)
class SharedWork(Generic[_T]):
    """Work that callers begin and wait for together; when the last of them leaves, what can be stopped is stopped.

    It belongs to no event loop while nothing runs.
    """

    _under_way: asyncio.Future[_T] | None = None
    _waiters: int = 0
    _stopping: asyncio.Future[Any] | None = None
    """What is stopped when the last waiter leaves."""

    @property
    def running(self) -> bool:
        """Whether there is something to wait for."""
        return self._under_way is not None and not self._under_way.done()

    def begin(self, work: Coroutine[Any, Any, _T]) -> None:
        """Begin the work; wait for its `result` at once."""
        self._under_way = asyncio.ensure_future(work)
        self._under_way.add_done_callback(_note_error)

    async def result(self) -> _T:
        """Wait for what was begun: return its result or raise its error."""
        assert self._under_way is not None
        self._waiters += 1
        try:
            return await asyncio.shield(self._under_way)
        finally:
            self._waiters -= 1
            if not self._waiters and self._stopping is not None:
                self._stopping.cancel()
                self._stopping = self._under_way = None  # the next one begins anew

    async def stoppable(self, part: Coroutine[Any, Any, _P]) -> _P:
        """Wait, within the work, for a part of it that is cancelled when nobody waits any more; return its result."""
        if not self._waiters:
            part.close()
            raise asyncio.CancelledError
        self._stopping = stopping = asyncio.ensure_future(part)
        try:
            return await stopping
        finally:
            if self._stopping is stopping:
                self._stopping = None


@define(eq=False, repr=False)
class WatchedFile(Generic[_T]):
    """What a function reads of a file: the same object until the file changes, is replaced or written to.

    A source keeps one in its state::

        async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
            if self._file is None:
                self._file = WatchedFile(self.path, self._read)  # _read() returns a tuple of items
            return await self._file.value()

    A file that has just been written is read again the next time, since clocks of file systems tick slowly: return what
    you had before where it is equal, so that no index is built twice.
    """

    path: str
    read: Callable[[], _T]
    """Called in the event loop for a small file, in a thread for a larger one."""
    read_apart: Callable[[], Coroutine[Any, Any, _T]] | None = None
    """Reads a larger one instead, in another process (`stream_apart`); cancelled when the last caller leaves."""
    little: int = 500_000
    """Bytes of a small file."""
    _stamp: Stamp | None = None
    _values: list[_T] = field(factory=list)
    """The last one."""
    _work: SharedWork[_T] = field(factory=SharedWork)

    async def value(self) -> _T:
        """Return what was read last, or read the file; raises OSError where there is none, and what `read` raises."""
        if not self._work.running:
            stamp = stamp_of(os.stat(self.path))
            if stamp == self._stamp:
                return self._values[-1]
            if stamp[-1] <= self.little:
                began = time.time_ns()
                return self._keep(self.read(), stamp, began)
            self._work.begin(self._read_large(stamp))
        return await self._work.result()

    async def _read_large(self, stamp: Stamp) -> _T:
        began = time.time_ns()
        reading = self.read_apart() if self.read_apart else in_thread(self.read)
        return self._keep(await self._work.stoppable(reading), stamp, began)

    def _keep(self, value: _T, stamp: Stamp, began: int) -> _T:
        self._values[:] = [value]
        # What was written just now may be written again within the same tick of the file system's clock.
        self._stamp = stamp if settled(stamp, began) else None
        return value


def _note_error(work: asyncio.Future[Any]) -> None:
    """Look at the error of work whose waiters may all have been cancelled."""
    if not work.cancelled():
        work.exception()
