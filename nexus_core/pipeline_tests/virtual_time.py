"""An event loop whose time can be put forward, and that makes no connections.

A wait before a retry, or of a model that has gone silent, is over at once, and every timer of the engine still fires in
its order: deadlines, shares, the timeouts of steps. In between time passes as it does, so that threads and files are
waited for as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any, Never, TypeVarTuple

from nexus_core.engine.calls.deadline import Clock

_Ts = TypeVarTuple("_Ts")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is ahead of the machine's by what has been skipped."""

    def __init__(self, *, connects: bool = False) -> None:
        """Make one; one that `connects` makes connections, and waits before a retry."""
        self._connects = connects
        self._skipped_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self.refused: list[str] = []
        """The addresses that somebody wanted to connect to."""
        super().__init__()

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
        if self._connects:
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
        if not self._connects:
            self._refuse(f"{_text(host)}:{_text(port)}")
        return await super().getaddrinfo(host, port, **more)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Refuse to connect, unless it does."""
        if not self._connects:
            self._refuse(":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address))
        await super().sock_connect(sock, address)

    def _refuse(self, address: str) -> Never:
        self.refused.append(address)
        raise ConnectionRefusedError(f"a test of a pipeline makes no connections, and this one is to {address}")


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
