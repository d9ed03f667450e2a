"""Reads documents in other processes, many at a time: what parses foreign input may crash or never end."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

from attrs import field, frozen

from nexus_core.store.ingest.read_document import DocumentEnd, DocumentPart, DocumentReading, Due
from nexus_core.store.ingest.reader_process import ReadRequest
from nexus_core.store.ingest.reader_processes import ReaderProcess, ReaderProcesses, ReaderUnusable, told_of
from nexus_core.toolkit.processes.daemon_threads import in_thread

MANY = 100
"""Documents, or"""
MUCH = 2_000_000
"""bytes for which one process more is worth its start, and to meet their words anew."""
MOST_PROCESSES = 64
LIMIT_S = 120.0
"""The time that one document may take before the next items of it come."""

_TOGETHER = 32
"""Documents, or"""
_TOGETHER_BYTES = 250_000
"""bytes that one process is given at a time: a tenth of a second, and the way there and back counts for little."""

_Queue: TypeAlias = "asyncio.Queue[Sequence[DocumentPart] | asyncio.Task[None]]"


async def read_all(
    reading: DocumentReading,
    due: Sequence[Due],
    readers: ReaderProcesses,
    *,
    processes: int | None = None,
    limit_s: float = LIMIT_S,
) -> AsyncGenerator[DocumentPart, None]:
    """Yield the parts of all documents, those of one in order, those of several mixed.

    An async generator: closing it early ends the processes that are at a document. A source that cannot be sent to
    another process is read in threads of this one.
    """
    count = min(processes or processes_for(due, os.cpu_count() or 1), MOST_PROCESSES, len(due))
    team = _Team(reading, deque(due), readers, limit_s)
    async with aclosing(team.parts(count)) as parts:
        async for part in parts:
            yield part


def processes_for(due: Sequence[Due], processors: int) -> int:
    """Return how many processes some documents are worth, on so many processors."""
    return min(processors, 1 + max(len(due) // MANY, sum(mark.size for mark, _ in due) // MUCH))


@frozen(eq=False)
class _Team:
    reading: DocumentReading
    due: deque[Due]
    readers: ReaderProcesses
    limit_s: float
    alone: deque[Due] = field(factory=deque)
    """What was to be read together with one that has ended the process."""

    async def parts(self, count: int) -> AsyncGenerator[DocumentPart, None]:
        # Readers that are ahead of the one who writes wait.
        done: _Queue = asyncio.Queue(2 * count + 4)
        told = self._request_for_readers()
        work = [self._read_here(done)] if told is None else [self._read_apart(told, done) for _ in range(count)]
        tasks = {asyncio.create_task(_until_done(each, done)) for each in work}
        try:
            while tasks:
                parts = await done.get()
                if isinstance(parts, asyncio.Task):
                    tasks.remove(parts)
                    await parts
                else:
                    for part in parts:
                        yield part
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _request_for_readers(self) -> ReadRequest | None:
        """Return what other processes are told, `None` where they cannot read this source."""
        try:
            return None if self._source in self.readers.refused else told_of(self.reading, self.limit_s)
        except ReaderUnusable:
            return None

    @property
    def _source(self) -> tuple[str, str]:
        kind = type(self.reading.source)
        return kind.__module__, kind.__qualname__

    async def _read_here(self, done: _Queue) -> None:
        """Read in threads. One that is stuck is left behind: nothing can end it, and nothing waits for it."""
        while self.alone or self.due:
            mark, known = self.alone.popleft() if self.alone else self.due.popleft()
            parts = self.reading.parts(mark, known)
            try:
                async with asyncio.timeout(None) as limit:
                    while True:
                        limit.reschedule(asyncio.get_running_loop().time() + self.limit_s)
                        part = await in_thread(next, parts, None)
                        limit.reschedule(None)
                        if part is None:
                            break
                        await done.put((part,))
            except TimeoutError:
                await done.put(
                    (DocumentPart(mark, end=DocumentEnd(failure=f"was not read within {self.limit_s:g} s")),)
                )

    async def _read_apart(self, told: ReadRequest, done: _Queue) -> None:
        reader: ReaderProcess | None = None
        try:
            while some := self._some():
                try:
                    if reader is None or not reader.is_ready:
                        reader = await self.readers.take(told)
                except ReaderUnusable:
                    self.readers.refused.add(self._source)
                    self.alone.extend(some)
                    return await self._read_here(done)
                async for parts in reader.read(some):
                    await done.put(parts)
                self.alone.extend(reader.unread)
        finally:
            if reader is not None:
                await self.readers.give(reader)

    def _some(self) -> list[Due]:
        """Take what one process is to read next: several small documents, but one alone of those that may crash."""
        if self.alone:
            return [self.alone.popleft()]
        some: list[Due] = []
        size = 0
        while self.due and len(some) < _TOGETHER:
            mark, _ = self.due[0]
            size += mark.size
            if some and (mark.apart or size > _TOGETHER_BYTES):
                break
            some.append(self.due.popleft())
            if mark.apart:
                break
        return some


async def _until_done(work: Coroutine[Any, Any, None], done: _Queue) -> None:
    """Do some work, and at its end, whatever that is, hand on the task itself."""
    task = asyncio.current_task()
    assert task is not None
    try:
        await work
    except asyncio.CancelledError:
        raise  # nobody waits any more
    except BaseException:
        await done.put(task)
        raise
    await done.put(task)
