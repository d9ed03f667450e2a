"""Processes that read documents, kept for a while for the documents that come next: see `reader` for their inside."""

from __future__ import annotations

import asyncio
import pickle
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from nexus_core.contract.errors import SourceError
from nexus_core.store.ingest.read_document import DocumentEnd, DocumentPart, DocumentReading, Due
from nexus_core.store.ingest.reader_process import LENGTH, ReadRequest
from nexus_core.toolkit.processes.call import kill, start_module
from nexus_core.toolkit.processes.environment import safe_path

START_S = 60.0
"""The time that a process may take to begin, on a machine that is busy, too."""
MOST_DEATHS = 3
"""One after the other at the start; what ends them ends the next one, too."""
IDLE_S = 30.0
"""How long a process is kept for the next document: its start costs more than a short one."""

_NO_ANSWER = (OSError, TimeoutError, asyncio.IncompleteReadError, pickle.UnpicklingError, EOFError)
_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError)


class ReaderUnusable(Exception):
    """No other process can read for this one: the source cannot be sent there."""


def told_of(reading: DocumentReading, limit_s: float) -> ReadRequest:
    """Return what a process is told of how to read; raises ReaderUnusable."""
    try:
        return ReadRequest(pickle.dumps(reading), limit_s)
    except _UNPICKLABLE as error:
        raise ReaderUnusable(str(error)) from error


class ReaderProcess:
    """One process. Where it ends or takes too long, a document is to blame, and another one goes on."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._told: ReadRequest | None = None
        self._is_reading = False
        self.unread: deque[Due] = deque()

    @property
    def is_ready(self) -> bool:
        """Whether it may be given documents."""
        return self._process is not None and self._process.returncode is None and not self._is_reading

    async def start(self) -> None:
        """Start it; raises what `_NO_ANSWER` has where it does not begin."""
        self._process = await start_module("nexus_core.store.ingest.reader_process")
        async with asyncio.timeout(START_S):
            await self._send(safe_path())
            await self._receive()

    async def tell(self, told: ReadRequest) -> None:
        """Tell it how to read; raises ReaderUnusable where it cannot do that."""
        if told is self._told:
            return
        async with asyncio.timeout(START_S):
            await self._send(told)
            refused = await self._receive()
        if refused:
            raise ReaderUnusable(refused)
        self._told = told

    async def read(self, some: Sequence[Due]) -> AsyncIterator[Sequence[DocumentPart]]:
        """Yield the parts of some documents; `unread` are those that are left where one of them ends the process."""
        assert self._told is not None
        limit_s = self._told.limit_s
        self.unread, self._is_reading, is_begun = deque(some), True, False
        try:
            await self._send(some)
            while self.unread:
                async with asyncio.timeout(limit_s):
                    parts: Sequence[DocumentPart] = await self._receive()
                for part in parts:
                    if part.end is not None:
                        self.unread.popleft()
                is_begun = parts[-1].end is None
                yield parts
            self._is_reading = False
            return
        except TimeoutError:
            await self.stop(at_once=True)
            failure = f"was not read within {limit_s:g} s"
        except (OSError, asyncio.IncompleteReadError):
            failure = f"the process that read it ended {_ended(await self.stop())}"
        if is_begun or len(self.unread) == 1:  # otherwise what was done after the last answer is not known
            mark, _ = self.unread.popleft()
            yield (DocumentPart(mark, end=DocumentEnd(failure=failure)),)

    async def stop(self, *, at_once: bool = False) -> int | None:
        """End the process and return its code; not at once, it may just be ending by itself."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            # What it has yet to say is read: asyncio takes no process for ended that cannot get rid of its words.
            async with asyncio.timeout(0.0 if at_once else 0.2):
                await process.communicate()
        except TimeoutError:
            kill(process)
            await process.communicate()
        finally:
            kill(process)
        return process.returncode

    async def _send(self, value: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        data = pickle.dumps(value)
        self._process.stdin.write(LENGTH.pack(len(data)) + data)
        await self._process.stdin.drain()

    async def _receive(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        head = await self._process.stdout.readexactly(LENGTH.size)
        return pickle.loads(await self._process.stdout.readexactly(*LENGTH.unpack(head)))


class ReaderProcesses:
    """The processes of one store: taken, given back, and ended when nothing has come for a while."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._idle: list[ReaderProcess] = []
        self._starting: asyncio.Task[ReaderProcess] | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._ended: set[asyncio.Task[None]] = set()
        self._deaths = 0
        self.refused: set[tuple[str, str]] = set()
        """Sources that no other process can read, by module and name: it is not tried again."""

    def prepare(self) -> None:
        """Start a process for the document that is about to come, beside what is done until then."""
        if self._starting is None and not self._idle:
            self._starting = asyncio.create_task(_started())

    async def take(self, told: ReadRequest) -> ReaderProcess:
        """Return a process that is told how to read; raises ReaderUnusable, and SourceError where none can begin."""
        while True:
            reader = None
            try:
                reader = self._idle.pop() if self._idle else await self._begin()
                await reader.tell(told)
            except _NO_ANSWER as error:
                code = await reader.stop() if reader is not None else getattr(error, "code", None)
                self._note_death(_ended(code) if code is not None else f"({type(error).__name__})")
            except BaseException:
                if reader is not None:
                    await reader.stop(at_once=True)
                raise
            else:
                self._deaths = 0
                return reader

    async def give(self, reader: ReaderProcess) -> None:
        """Take a process back; one that is at a document still is ended."""
        if not reader.is_ready:
            await reader.stop(at_once=True)
            return
        self._idle.append(reader)
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    async def close(self) -> None:
        """End all processes."""
        starting, self._starting = self._starting, None
        if self._ending is not None:
            self._ending.cancel()
        if starting is not None:
            starting.cancel()
            (done,) = await asyncio.gather(starting, return_exceptions=True)
            self._idle += [done] if isinstance(done, ReaderProcess) else []
        self._end_idle()
        await asyncio.gather(*self._ended)

    async def _begin(self) -> ReaderProcess:
        starting, self._starting = self._starting, None
        return await (starting if starting is not None else _started())

    def _end_idle(self) -> None:
        idle, self._idle = self._idle, []
        for reader in idle:
            task = asyncio.create_task(_ended_idle(reader))
            self._ended.add(task)
            task.add_done_callback(self._ended.discard)

    def _note_death(self, how: str) -> None:
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            self._deaths = 0
            raise SourceError(
                f"no process that reads documents can be started: {MOST_DEATHS} of them ended at their start, the last "
                f"one {how}; `python -P -m nexus_core.store.ingest.reader_process` says why"
            )


class _NotBegun(OSError):
    """A process has ended before it could be told anything."""

    def __init__(self, code: int | None) -> None:
        super().__init__("a process has ended at its start")
        self.code = code


async def _started() -> ReaderProcess:
    reader = ReaderProcess()
    try:
        await reader.start()
    except _NO_ANSWER as error:
        raise _NotBegun(await reader.stop()) from error
    except BaseException:
        await reader.stop(at_once=True)
        raise
    return reader


async def _ended_idle(reader: ReaderProcess) -> None:
    await reader.stop(at_once=True)


def _ended(code: int | None) -> str:
    return f"by signal {-code}" if code and code < 0 else f"with code {code}"
