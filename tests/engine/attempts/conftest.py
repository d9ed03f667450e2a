"""Time for tests: a clock that is set by hand, and an event loop whose waits take no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define

from nexus_core.engine.attempts.clock import Clock


@define
class FakeClock:
    """A clock that only moves when it is told to, or slept on."""

    time: float = 1000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    def clock(self) -> Clock:
        return Clock(now=self.now, sleep=self.sleep, wall=self.now)


class _Selector(selectors.DefaultSelector):
    """Jumps over the time that the loop would wait."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits and no timer is set: this would hang for ever")
        if not ready and timeout:
            self.skipped += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer: a minute of waiting takes no time."""

    def __init__(self) -> None:
        self._jumps = _Selector()
        super().__init__(self._jumps)

    def time(self) -> float:
        return 1000.0 + self._jumps.skipped

    def clock(self) -> Clock:
        return Clock(now=self.time, wall=self.time)


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    """A loop of simulated time; run with `loop.run_until_complete`."""
    made = SimulatedLoop()
    yield made
    made.close()
