"""An event loop whose time can be put forward, and that makes no connections.

A wait before a retry, or of a model that has gone silent, is over at once, and every timer of the engine still fires in
its order: deadlines, shares, the timeouts of steps. So is any other sleep, as soon as nothing but timers is waited for:
while a thread works or a pipe is open, time passes as it does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from selectors import DefaultSelector, SelectorKey
from typing import Any, Never, TypeVar, TypeVarTuple

from nexus_core.engine.calls.deadline import Clock
from nexus_core.pipeline_tests.connection_guard import refuse

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")

_BEFORE_ANY_TEST = frozenset(threading.enumerate())
"""Threads that do nothing for a test: plugins are imported later."""
_OWN_POOL = "asyncio_"
"""How the threads of a loop's own pool are named. They stay when they have nothing to do; what they do is counted."""


class DeadlockError(RuntimeError):
    """All that still runs waits for something that nothing will bring about."""


class _TimerSelector(DefaultSelector):
    """Waits for files as every selector does, and skips the time where only timers are waited for."""

    def __init__(self, is_idle: Callable[[], bool], skip: Callable[[float], None]) -> None:
        super().__init__()
        self._is_idle = is_idle
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return what is ready; nothing at once where nothing can become so."""
        # Looked at first: what a thread has sent before it ended is seen by the poll.
        idle = (timeout is None or timeout > 0) and self._is_idle()
        found = super().select(0 if idle else timeout)
        if idle and not found:
            if timeout is None:
                raise DeadlockError("it waits for something that nothing will bring about: there is no timer left")
            self._skip(timeout)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is ahead of the machine's by what has been skipped."""

    def __init__(self, *, connects: bool = False, besides: Collection[threading.Thread] = _BEFORE_ANY_TEST) -> None:
        """Make one; one that `connects` makes connections, and waits as long as it takes.

        Threads `besides` its own are not waited for.
        """
        self.connects = connects
        """Whether it makes connections."""
        self._besides = {*besides, threading.current_thread()}
        self._in_threads = 0
        self._skipped_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self.refused: list[str] = []
        """The addresses that somebody wanted to connect to."""
        self._files = _TimerSelector(self._is_idle, self.skip)
        super().__init__(self._files)

    def _is_idle(self) -> bool:
        """Tell whether nothing but timers is waited for."""
        if self.connects or self._in_threads or len(self._files.get_map()) > 1:  # the one wakes it
            return False
        threads = (thread for thread in threading.enumerate() if thread not in self._besides)
        return all(thread.name.startswith(_OWN_POOL) for thread in threads)

    def run_in_executor(self, executor: Any, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        """Call something in a thread, which is waited for."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._leave_thread)
        return future

    def _leave_thread(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1

    def time(self) -> float:
        """Return the seconds since some moment, those that were skipped among them."""
        return super().time() + self._skipped_s

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something at a time of this loop; noted, so that it can be skipped to."""
        handle = super().call_at(when, callback, *args, context=context)
        heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def skip(self, seconds: float) -> None:
        """Put the time forward."""
        self._skipped_s += max(0.0, seconds)

    async def sleep(self, seconds: float) -> None:
        """Let so much time have passed at once."""
        if self.connects:
            await asyncio.sleep(seconds)
            return
        self.skip(seconds)
        await asyncio.sleep(0)

    async def stall(self) -> Never:
        """Wait for what never comes: each timer fires in its turn, until one of them cancels this."""
        while True:
            now = self.time()
            while self._timers and (self._timers[0][0] <= now or self._timers[0][2].cancelled()):
                heappop(self._timers)
            if self._timers:
                self.skip(self._timers[0][0] - now)
            await asyncio.sleep(0 if self._timers else 0.001)  # without a timer, others may still do something

    def clock(self) -> Clock:
        """Return the clock of calls that goes by this loop."""
        return Clock(now=self.time, sleep=self.sleep)

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> Any:
        """Refuse to look up a host, unless it connects."""
        if not self.connects:
            refuse(f"{_text(host)}:{_text(port)}", self.refused)
        return await super().getaddrinfo(host, port, **more)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Refuse to connect, unless it does."""
        if not self.connects:
            refuse(":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address), self.refused)
        await super().sock_connect(sock, address)


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
