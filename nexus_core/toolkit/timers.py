"""Timers: end what is awaited when its time is up, cheaper than `asyncio.timeout`; and work side by side.

Most blocks end in time, so that nothing is done for one but to enter it in a table: a `Timer` has one timer of the
event loop for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from math import inf
from types import TracebackType
from typing import Any, TypeVar

_T = TypeVar("_T")


class TimedBlock:
    """A block of awaits that an error ends when its time is up: as a context manager it stands around them.

    Around a `yield` it must not stand, since the consumer of the generator would be cancelled instead.
    """

    __slots__ = ("_cancelling", "_error", "due", "expired", "task")

    due: float
    """By the clock of the event loop; set by the timer."""
    task: asyncio.Task[object] | None
    """What would be cancelled now."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        self._error = error
        self.expired = False
        self.task = None

    def __enter__(self) -> None:
        if self.expired:
            raise self._error()
        self.task = task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        if not self.expired or task is None:
            return
        # Whoever else has cancelled the task meanwhile goes before us.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._error()

    def expire(self) -> None:
        """Cancel what is awaited; where nothing is, the next that would be."""
        self.expired = True
        if self.task is not None:
            self.task.cancel()


class Timer:
    """Lets blocks expire, each at its own time. It serves one event loop after another."""

    __slots__ = ("_due", "_handle", "_loop", "_running")

    def __init__(self) -> None:
        self._running: dict[TimedBlock, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._due = inf
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, block: TimedBlock, seconds: float) -> None:
        """Let a block expire so many seconds from now; take it back with `end`."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the blocks of another loop have ended with it
            self._loop, self._handle, self._due = loop, None, inf
            self._running.clear()
        block.due = due = loop.time() + seconds
        self._running[block] = None
        if due < self._due:
            self._arm(due)

    def end(self, block: TimedBlock) -> None:
        """Let a block expire no longer."""
        self._running.pop(block, None)

    def close(self) -> None:
        """Drop the timer of the loop; a block that still runs has no limit any more."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._due = None, inf
        self._running.clear()

    def _arm(self, due: float) -> None:
        assert self._loop is not None
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._due = self._loop.call_at(due, self._check), due

    def _check(self) -> None:
        assert self._loop is not None
        self._handle, self._due = None, inf
        now = self._loop.time()
        for block in [block for block in self._running if block.due <= now]:
            del self._running[block]
            block.expire()
        if self._running:
            self._arm(min(block.due for block in self._running))


class LimitedBlock(TimedBlock):
    """A block whose time begins when it is entered."""

    __slots__ = ("_seconds", "_timer")

    def __init__(self, timer: Timer, seconds: float, error: Callable[[], BaseException]) -> None:
        super().__init__(error)
        self._timer = timer
        self._seconds = seconds

    def __enter__(self) -> None:
        super().__enter__()
        self._timer.begin(self, self._seconds)

    def drop(self) -> None:
        """Hold no longer."""
        self.task = None
        self._timer.end(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.end(self)
        if self.expired:
            super().__exit__(kind, error, traceback)


class TimeLimit:
    """Ends blocks of awaits after a time, as `asyncio.timeout` does, with one timer for all at a sixth of its cost.

    For blocks that contain no `yield`: the consumer of a generator would be cancelled instead.
    """

    __slots__ = ("_timer", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer = Timer()

    def block(self) -> LimitedBlock:
        """Return a context manager that raises `TimeoutError` when the time of its block is up."""
        return LimitedBlock(self._timer, self.seconds, TimeoutError)

    def close(self) -> None:
        """Drop the timer; a block that still runs has no limit any more."""
        self._timer.close()


async def run_all(works: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return the results of works that run at the same time; the first that fails ends the others and is raised.

    No `asyncio.TaskGroup`: in Python 3.11 one whose task fails leaves its caller counted as being cancelled.
    """
    tasks = [asyncio.create_task(work) for work in works]
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is not None]
    finally:
        await _end(tasks)
    try:
        return [task.result() for task in failed or tasks]
    finally:
        del tasks, failed  # the traceback of an error holds this frame


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the tasks that are not done and wait for their end, also where the caller is cancelled meanwhile."""
    cancelled = None
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at: the loop would tell of each that nobody has seen
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            del cancelled
