"""Deadlines and the clock: ends what is awaited when the time of its call, or its share of it, is up.

Most calls end long before their deadline, so that nothing is done for one but to enter it in a table.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

from attrs import frozen

from nexus_core.contract.errors import DeadlineError, RunError


@frozen(kw_only=True, eq=False, repr=False)
class Clock:
    """What tells the time and lets it pass."""

    now: Callable[[], float] = time.monotonic
    """Seconds since some moment; never goes back."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    wall: Callable[[], float] = time.time
    """Seconds since 1970, for records that people read."""


class Deadline:
    """The end of one call's time. As a context manager it stands around awaits.

    Around a `yield` it must not hold, since it would cancel the reader: there `task` is set to `None` before, and
    `resume` is called after.
    """

    __slots__ = ("_cancelling", "_error", "due", "expired", "task")

    def __init__(self, due: float, error: Callable[[], RunError]) -> None:
        self.due = due
        """By the clock of the event loop."""
        self.expired = False
        self._error = error
        self.task: asyncio.Task[object] | None = None
        """What would be cancelled now."""
        self._cancelling = 0

    def __enter__(self) -> None:
        if self.expired:
            raise self._error()
        self.task = task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()

    def resume(self) -> None:
        """Hold again; raises where the time is up meanwhile."""
        if self.expired:
            raise self._error()
        self.task = asyncio.current_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        if not self.expired or task is None:
            return
        # Whoever else has cancelled the task meanwhile goes before us.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._error()

    def forget(self) -> None:
        """Let go of the call, which holds its deadline: what refers to itself is freed late."""
        self._error = _over

    def expire(self) -> None:
        """Cancel what is awaited; where nothing is, the next that would be."""
        self.expired = True
        if self.task is not None:
            self.task.cancel()


def _over() -> DeadlineError:
    return DeadlineError("the call is over")


class DeadlineWatch:
    """Lets deadlines expire."""

    __slots__ = ("_handle", "_loop", "_running")

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, seconds: float, error: Callable[[], RunError]) -> Deadline:
        """Return a deadline so many seconds from now; give it back with `end`."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what was watched in another loop has ended with it
            self._loop, self._handle = loop, None
            self._running.clear()
        deadline = Deadline(loop.time() + seconds, error)
        self._running.add(deadline)
        if self._handle is None or deadline.due < self._handle.when():
            self._arm(deadline.due)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """Watch a deadline no longer."""
        self._running.discard(deadline)
        deadline.forget()

    def _arm(self, due: float) -> None:
        assert self._loop is not None
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(due, self._check)

    def _check(self) -> None:
        assert self._loop is not None
        self._handle = None
        now = self._loop.time()
        for deadline in [deadline for deadline in self._running if deadline.due <= now]:
            self._running.discard(deadline)
            deadline.expire()
        if self._running:
            self._arm(min(deadline.due for deadline in self._running))


SHARE_CODE = "deadline_share"
"""The code of an attempt that its share ended."""


class DeadlineShare:
    """An attempt's part of its call's time. As a context manager it stands around awaits, within the call's deadline.

    It lasts until the first content of a stream: then `drop` it, since what flows is not cut for a target that could
    not go on with it.
    """

    __slots__ = ("_deadline", "_error", "_seconds", "_watch")

    def __init__(self, watch: DeadlineWatch, seconds: float, error: Callable[[], RunError]) -> None:
        self._watch = watch
        self._seconds = seconds
        self._error = error
        self._deadline: Deadline | None = None

    def __enter__(self) -> None:
        self._deadline = self._watch.begin(self._seconds, self._error)
        self._deadline.__enter__()

    def drop(self) -> None:
        """Hold no longer."""
        if self._deadline is not None:
            self._deadline.task = None
            self._watch.end(self._deadline)
            self._deadline = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._deadline is None:
            return
        try:
            self._deadline.__exit__(kind, error, traceback)
        finally:
            self.drop()
