"""Time for tests: a clock that is set by hand, and an event loop whose waits take no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from functools import partial
from random import Random
from typing import Any, TypeVar

import pytest
from attrs import define

from nexus_core import AttemptFinished, Event, ModelInfo, StreamRestarted
from nexus_core.config.policies import CallPolicy
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.calls.call import Call
from nexus_core.engine.calls.caller import Caller, CallResult
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.packer import Draft
from nexus_core.engine.steps import BareQuery
from nexus_core.testing.fakes import FakeConnector

T = TypeVar("T")


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


_OF_A_THREAD_S = 20.0


class _Selector(selectors.DefaultSelector):
    """Jumps over the time that the loop would wait."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(_OF_A_THREAD_S)  # what works in a thread sets no timer, and ends by itself
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


class Bench:
    """A chain of connectors, and what came of calling it, in simulated time."""

    shown = ""
    """The text that a reader of the stream has before it."""

    def __init__(
        self,
        loop: SimulatedLoop,
        *connectors: FakeConnector,
        calls: CallPolicy | None = None,
        deadline_s: float | None = None,
        **model: Any,
    ) -> None:
        self.loop = loop
        self.connectors = connectors
        self.models = tuple(
            Model(name=f"m{n}", connector=c, info=c.model_info, **model) for n, c in enumerate(connectors)
        )
        self.registry = ModelRegistry(self.models)
        self.attempts = Caller(self.registry, ComponentLifecycle(), calls=calls, clock=loop.clock(), random=Random(1))
        self.events: list[Event] = []
        draft = Draft(template=BareQuery(), ranking=Ranking(()), query="Why?")
        self.call = Call(id="c", run_id="r", draft=draft, chain=self.models, deadline_s=deadline_s)

    @property
    def rows(self) -> list[AttemptFinished]:
        """The ledger."""
        return [event for event in self.events if isinstance(event, AttemptFinished)]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """Who was asked, and how it ended."""
        return [(row.model, row.outcome) for row in self.rows]

    @property
    def requests(self) -> list[int]:
        """How often each connector was asked."""
        return [len(connector.prompts) for connector in self.connectors]

    @property
    def seconds(self) -> float:
        """How much time has passed."""
        return self.loop.time() - 1000.0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in simulated time."""
        return self.loop.run_until_complete(work)

    def complete(self) -> CallResult:
        """Make the call."""
        return self.run(self.completing())

    def stream(self) -> tuple[str, CallResult | None]:
        """Make the call as a stream, and return what a reader has at its end."""
        return self.run(self.streaming())

    async def completing(self) -> CallResult:
        return await self.attempts.complete(self.call, self.events.append)

    async def streaming(self) -> tuple[str, CallResult | None]:
        answered = None
        self.shown = ""
        async with aclosing(self.attempts.stream(self.call, self.see)) as parts:  # type: ignore[type-var]
            async for part in parts:
                if isinstance(part, CallResult):
                    answered = part
                else:
                    self.shown += part if isinstance(part, str) else part.text
        return self.shown, answered

    def leave_after(self, count: int) -> None:
        """Read so many parts of the stream and leave."""

        async def reader() -> None:
            left = count
            async with aclosing(self.attempts.stream(self.call, self.see)) as parts:  # type: ignore[type-var]
                async for part in parts:
                    left -= bool(part)
                    if left <= 0:
                        break

        self.run(reader())

    def see(self, event: Event) -> None:
        """Keep an event; one that says so makes what was shown void."""
        self.events.append(event)
        if isinstance(event, StreamRestarted):
            self.shown = ""

    def assert_nothing_is_left(self) -> None:
        """No request runs, no slot is taken, no deadline is watched, no task is left."""
        assert [connector.running for connector in self.connectors] == [0] * len(self.connectors)
        setting = self.attempts._setting
        assert not setting.timer._running
        assert not asyncio.all_tasks(self.loop)
        for model in self.models:
            target = setting.targets.of(model)
            assert target.limiter is None or (target.limiter.inside, target.limiter.waiting) == (0, 0)
            assert target.breaker._probe is None


@pytest.fixture
def bench(loop: SimulatedLoop) -> Callable[..., Bench]:
    """Set up a chain: `bench(connector, ...)`."""
    return partial(Bench, loop)


@pytest.fixture
def fake() -> Callable[..., FakeConnector]:
    """Make a connector that plays its replies."""

    def made(*replies: Any, window: int = 4096, can: tuple[str, ...] = (), **fields: Any) -> FakeConnector:
        info = ModelInfo(id="fake", provider="fake", window=window, capabilities=frozenset(can))
        return FakeConnector(replies=replies, model_info=info, **fields)

    return made


@pytest.fixture
def simulated_loop() -> type[SimulatedLoop]:
    """For tests that make more than one."""
    return SimulatedLoop
