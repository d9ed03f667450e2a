"""Reads many documents at a time: in other processes where there are many, or where a parser may crash or never end."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, TypeAlias

from attrs import field, frozen

from nexus_core.store.reader import LENGTH
from nexus_core.store.reading import Due, End, Part, Reading

MANY = 100
"""Documents, or"""
MUCH = 2_000_000
"""bytes from which other processes are worth their start, of about half a second."""
MOST_PROCESSES = 8
LIMIT_S = 120.0
"""The time that one document may take before the next items of it come."""

_TOGETHER = 32
"""Documents, or"""
_TOGETHER_BYTES = 250_000
"""bytes that one process is given at a time: a tenth of a second, and the way there and back counts for little."""

_Queue: TypeAlias = "asyncio.Queue[Sequence[Part] | asyncio.Task[None]]"


class ReaderUnusable(Exception):
    """No other process can read for this one: the source cannot be sent there, or none can be started."""


async def read_all(
    reading: Reading, due: Sequence[Due], *, processes: int | None = None, limit_s: float = LIMIT_S
) -> AsyncGenerator[Part, None]:
    """Yield the parts of all documents, those of one in order, those of several mixed.

    An async generator: closing it early ends the processes.
    """
    many = len(due) >= MANY or sum(mark.size for mark, _ in due) >= MUCH or (processes or 0) > 1
    apart = deque(each for each in due if many or each[0].apart)
    here = deque(each for each in due if not (many or each[0].apart))
    count = min(processes or os.cpu_count() or 1, MOST_PROCESSES, len(apart))
    team = _Team(reading, apart, here, limit_s)
    async with aclosing(team.parts(count)) as parts:
        async for part in parts:
            yield part


@frozen(eq=False)
class _Team:
    reading: Reading
    apart: deque[Due]
    here: deque[Due]
    limit_s: float
    alone: deque[Due] = field(factory=deque)
    """Of those apart, what was to be read together with one that has ended the process."""

    async def parts(self, count: int) -> AsyncGenerator[Part, None]:
        # Readers that are ahead of the one who writes wait.
        done: _Queue = asyncio.Queue(2 * count + 4)
        work = [self._read_here(self.here, done), *(self._read_apart(done) for _ in range(count))]
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

    async def _read_here(self, due: deque[Due], done: _Queue) -> None:
        while due:
            parts = self.reading.parts(*due.popleft())
            while (part := await asyncio.to_thread(next, parts, None)) is not None:
                await done.put((part,))

    async def _read_apart(self, done: _Queue) -> None:
        reader = _Reader(self.reading, self.limit_s)
        try:
            while some := self._some():
                try:
                    await reader.start()
                except ReaderUnusable:
                    self.apart.extend((*some, *self.alone))
                    self.alone.clear()
                    return await self._read_here(self.apart, done)
                async for parts in reader.read(some):
                    await done.put(parts)
                self.alone.extend(reader.unread)
        finally:
            await reader.stop()

    def _some(self) -> list[Due]:
        """Take what one process is to read next: several small documents, but one alone of those that may crash."""
        if self.alone:
            return [self.alone.popleft()]
        some: list[Due] = []
        size = 0
        while self.apart and len(some) < _TOGETHER:
            mark, _ = self.apart[0]
            size += mark.size
            if some and (mark.apart or size > _TOGETHER_BYTES):
                break
            some.append(self.apart.popleft())
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


async def _begun() -> Process:
    """Start a process that reads. Cancelled meanwhile, asyncio would wait for its end for ever, so it is let begin."""
    beginning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable, "-m", "nexus_core.store.reader",
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    )  # fmt: skip
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        with suppress(OSError):
            process = await beginning
            process.kill()
            await process.communicate()
        raise


class _Reader:
    """One process; where it ends or takes too long, a document is to blame and another process goes on."""

    def __init__(self, reading: Reading, limit_s: float) -> None:
        self._reading = reading
        self._limit_s = limit_s
        self._process: Process | None = None
        self.unread: deque[Due] = deque()

    async def start(self) -> None:
        """Start it where it does not run."""
        if self._process is not None:
            return
        try:
            told = pickle.dumps((self._reading, self._limit_s))
            self._process = await _begun()
            await self._send(sys.path)
            await self._send(told)
            async with asyncio.timeout(self._limit_s):
                refused = await self._receive()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, *_UNPICKLABLE) as error:
            await self.stop()
            raise ReaderUnusable(str(error)) from error
        if refused:
            await self.stop()
            raise ReaderUnusable(refused)

    async def read(self, some: Sequence[Due]) -> AsyncIterator[Sequence[Part]]:
        """Yield the parts of some documents; `unread` are those that are left where one of them ends the process."""
        self.unread, is_begun = deque(some), False
        try:
            await self._send(some)
            while self.unread:
                async with asyncio.timeout(self._limit_s):
                    parts: Sequence[Part] = await self._receive()
                for part in parts:
                    if part.end is not None:
                        self.unread.popleft()
                is_begun = parts[-1].end is None
                yield parts
            return
        except TimeoutError:
            await self.stop()
            failure = f"was not read within {self._limit_s:g} s"
        except (OSError, asyncio.IncompleteReadError):
            code = await self.stop()
            why = f"by signal {-code}" if code and code < 0 else f"with code {code}"
            failure = f"the process that read it ended {why}"
        if is_begun or len(self.unread) == 1:  # otherwise what was done after the last answer is not known
            mark, _ = self.unread.popleft()
            yield (Part(mark, end=End(failure=failure)),)

    async def stop(self) -> int | None:
        """End the process, and return its code."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            # Without anything to read it ends by itself, unless it is at a document still. What it has yet to say is
            # read: asyncio takes no process for ended that cannot get rid of its words.
            async with asyncio.timeout(0.2):
                await process.communicate()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
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


_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError)
