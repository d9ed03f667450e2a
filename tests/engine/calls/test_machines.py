"""The machines of attempts against simple models of them, in any order of events, with time that only moves by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from random import Random
from typing import Any

import pytest
from attrs import define, field
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from nexus_core.config.policies import BreakerPolicy, RateLimitPolicy
from nexus_core.contract.errors import LimitError
from nexus_core.engine.calls.circuit_breaker import SLOTS, CircuitBreaker, Permit
from nexus_core.engine.calls.rate_limiter import Admission, RateLimiter
from nexus_core.engine.calls.retry_budget import RetryBudget

pytestmark = pytest.mark.slow

SETTINGS = settings(max_examples=60, stateful_step_count=40, deadline=None)
TOKENS = st.sampled_from([0, 1, 10, 100, 1000]) | st.integers(0, 2000)
WAITS = st.floats(0, 100) | st.sampled_from([0.0, 0.001, 1.0, 5.0, 6.0, 60.0])


class BudgetMachine(RuleBasedStateMachine):
    """Calls, each with retries as long as the budget gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget()
        self.calls = self.retries = 0
        self.model = 100

    @rule(failures=st.integers(0, 5))
    def call(self, failures: int) -> None:
        self.calls += 1
        self.budget.first()
        self.model = min(100, self.model + 1)
        for _ in range(failures):
            assert self.budget.take() is (self.model >= 10)
            if self.model < 10:
                break
            self.model -= 10
            self.retries += 1

    @rule(calls=st.integers(1, 200))
    def quiet_time(self, calls: int) -> None:
        for _ in range(calls):
            self.call(0)

    @invariant()
    def attempts_are_bounded(self) -> None:
        assert 10 * (self.calls + self.retries) <= 11 * self.calls + 100


class BreakerMachine(RuleBasedStateMachine):
    """A breaker, and a model that keeps every outcome there ever was."""

    permits = Bundle("permits")

    @initialize(seed=st.integers(0, 99), failures=st.integers(2, 6), share=st.sampled_from([0.3, 0.5, 1.0]))
    def begin(self, seed: int, failures: int, share: float) -> None:
        self.policy = BreakerPolicy(failures=failures, share=share)
        self.breaker = CircuitBreaker(self.policy, Random(seed))
        self.now = 0.0
        self.state = "closed"
        self.outcomes: list[tuple[int, bool]] = []
        self.openings = self.answered = 0
        self.opened_at = self.alone_until = -inf
        self.probe: Permit | None = None
        self.born: dict[int, int] = {}
        self.turns = 0

    @rule(seconds=WAITS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=permits, alone=st.booleans())
    def enter(self, alone: bool) -> Any:
        wait = self.breaker.opens_at(self.now, alone=alone)
        permit = self.breaker.enter(self.now, alone=alone)
        assert (permit is not None) == (wait == 0)
        if permit is None:
            assert self.now < self.alone_until or self.state == "open"
            return multiple()
        assert self.now >= self.alone_until
        assert permit.probe == (self.state == "open")
        if permit.probe:
            assert self.probe is None  # never two at the same time
            shortest = min(self.policy.longest_open_s, 5 * 2 ** (self.openings - 1)) * 0.8
            assert self.now >= self.opened_at + (min(shortest, 4) if alone or self.short else shortest) - 1e-6
            self.probe = permit
        return (permit, self.turns)

    @rule(entered=consumes(permits), ok=st.sampled_from([True, False, False, None]), alone=st.booleans())
    def leave(self, entered: tuple[Permit, int], ok: bool | None, alone: bool) -> None:
        permit, turn = entered
        self.breaker.leave(permit, ok, self.now, alone=alone)
        if permit.probe:
            self.probe = None
            self._probed(ok, alone)
        elif ok is not None and turn == self.turns:
            self.outcomes.append((int(self.now), ok))
            if not ok and self._is_too_much():
                self._opened(alone)

    @rule(entered=permits)
    def leave_twice(self, entered: tuple[Permit, int]) -> None:
        """A probe that was given back before is not given back again; a normal one without a verdict says nothing."""
        if entered[0] is not self.probe:
            self.breaker.leave(entered[0], None, self.now)

    @rule(seconds=WAITS | st.sampled_from([-1.0, inf]), park=st.booleans())
    def leave_alone(self, seconds: float, park: bool) -> None:
        (self.breaker.park if park else self.breaker.gate)(self.now, seconds)
        if seconds > 0:
            self.alone_until = max(self.alone_until, self.now + min(seconds, 3600))

    def _probed(self, ok: bool | None, alone: bool) -> None:
        if ok is False:
            self._opened(alone)
        self.answered += ok is True
        if self.answered == 2:
            self.state, self.openings, self.answered = "closed", 0, 0
            self.outcomes, self.turns = [], self.turns + 1

    def _opened(self, alone: bool) -> None:
        self.state, self.opened_at, self.short = "open", self.now, alone
        self.openings, self.answered = self.openings + 1, 0
        self.outcomes, self.turns = [], self.turns + 1

    def _is_too_much(self) -> bool:
        in_a_row = 0
        for _, ok in self.outcomes:
            in_a_row = 0 if ok else in_a_row + 1
        recent = [ok for second, ok in self.outcomes if second > int(self.now) - SLOTS]
        failed = recent.count(False)
        return in_a_row >= self.policy.failures or (len(recent) >= 10 and failed >= self.policy.share * len(recent))

    @invariant()
    def state_is_that_of_the_model(self) -> None:
        if not hasattr(self, "breaker"):
            return
        state = self.breaker.state(self.now)
        if self.now < self.alone_until:
            assert state == "parked"
        else:
            assert (state == "closed") == (self.state == "closed")
        if self.breaker.closed:
            assert state == "closed"

    @invariant()
    def it_opens_again_in_bounded_time(self) -> None:
        if hasattr(self, "breaker") and self.probe is None:
            assert self.breaker.opens_at(self.now) <= max(72, self.alone_until - self.now) + 1e-6
            assert self.breaker.opens_at(self.now, alone=True) <= max(5, self.alone_until - self.now) + 1e-6


@define
class ModelBucket:
    """What a bucket is, said in the plainest way; and what has been charged, with the time."""

    limit: float | None
    now: float
    level: float = 0.0
    charges: list[tuple[float, float]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.level = self.burst

    @property
    def burst(self) -> float:
        return inf if self.limit is None else max(1.0, self.limit / 6)

    def fill(self, now: float) -> None:
        if self.limit is not None:
            self.level = min(self.burst, self.level + self.limit / 60 * (now - self.now))
        self.now = now

    def allows(self, amount: float, now: float) -> bool:
        self.fill(now)
        return self.limit is None or self.level >= min(amount, self.burst) - 1e-3

    def charge(self, amount: float, now: float) -> None:
        self.fill(now)
        if self.limit is not None:
            self.level -= amount
            self.charges.append((now, amount))

    def put_right(self, spare: float, now: float) -> None:
        self.fill(now)
        if self.limit is not None:
            floor = min(self.level, -self.limit)
            self.charge(self.level - max(floor, min(self.burst, self.level + spare)), now)

    def check_windows(self, last: float) -> None:
        """No window that ends now holds more than the burst and what came in, one request larger than that apart."""
        if self.limit is None:
            return
        total = 0.0
        for time, amount in reversed(self.charges):
            total += amount
            most = self.burst + self.limit / 60 * (self.now - time) + max(0.0, last - self.burst)
            assert total <= most * (1 + 1e-6) + 1e-3


class LimiterMachine(RuleBasedStateMachine):
    """Callers that enter, wait, give up and leave, in a loop of simulated time."""

    admissions = Bundle("admissions")
    waiters = Bundle("waiters")

    def __init__(self, make_loop: Callable[[], Any]) -> None:
        super().__init__()
        self.make_loop = make_loop
        self.inside: list[Admission] = []
        self.queue: list[asyncio.Task[None]] = []
        self.entered: dict[asyncio.Task[None], Admission] = {}
        self.needs: dict[asyncio.Task[None], int] = {}
        self.limiter: RateLimiter | None = None

    @initialize(
        requests=st.none() | st.sampled_from([1, 6, 60, 600]),
        tokens=st.none() | st.sampled_from([60, 6000, 60_000]),
        concurrency=st.none() | st.integers(1, 4),
        queue=st.integers(0, 5),
    )
    def begin(self, requests: int | None, tokens: int | None, concurrency: int | None, queue: int) -> None:
        limits = RateLimitPolicy(
            requests_per_minute=requests,
            tokens_per_minute=tokens,
            concurrency=concurrency,
            queue=queue,
            queue_wait_s=30,
        )
        self.limits = limits
        self.loop = self.make_loop()
        self.limiter = RateLimiter(limits, self.loop.clock())
        self.requests = ModelBucket(requests, self.loop.time())
        self.tokens = ModelBucket(tokens, self.loop.time())

    def _allows(self, tokens: int) -> bool:
        now = self.loop.time()
        free = self.limits.concurrency is None or len(self.inside) < self.limits.concurrency
        return free and self.requests.allows(1, now) and self.tokens.allows(tokens, now)

    def _admitted(self, admission: Admission, tokens: int) -> None:
        assert self._allows(tokens)
        self.inside.append(admission)
        self.requests.charge(1, self.loop.time())
        self.tokens.charge(tokens, self.loop.time())
        self.requests.check_windows(1)
        self.tokens.check_windows(tokens)

    def _run(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        # Timers are at least a millisecond long: give the one who is first the time to see that it may enter.
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.queue = [task for task in self.queue if not task.done()]

    @rule(target=admissions, tokens=TOKENS)
    def try_enter(self, tokens: int) -> Any:
        assert self.limiter is not None
        found = self.limiter.try_enter(tokens)
        if isinstance(found, Admission):
            assert not self.queue  # nobody is overtaken
            self._admitted(found, tokens)
            return found
        assert found > 0
        assert self.queue or not self._allows(tokens) or found < 0.01
        return multiple()

    @rule(target=waiters, tokens=TOKENS, timeout=st.sampled_from([0.0, 1.0, 10.0, 60.0]))
    def enter(self, tokens: int, timeout: float) -> asyncio.Task[None]:
        limiter = self.limiter
        assert limiter is not None

        async def call() -> None:
            admission = await limiter.enter(tokens, timeout)
            earlier = self.queue[: self.queue.index(task)] if task in self.queue else self.queue
            assert all(other.done() or other in self.entered for other in earlier)  # first in, first out
            self._admitted(admission, tokens)
            self.entered[task] = admission

        task: asyncio.Task[None] = self.loop.create_task(call())
        self.queue.append(task)
        self.needs[task] = tokens
        self._run(0)
        return task

    @rule(task=consumes(waiters), used=st.none() | st.integers(0, 4000))
    def finish(self, task: asyncio.Task[None], used: int | None) -> None:
        """End a call, wherever it is: still in the queue it is cancelled, else it leaves or was refused."""
        if not task.done():
            task.cancel()
            self._run(0)
        admission = self.entered.pop(task, None)
        if admission is not None:
            self.leave(admission, used)
        elif not task.cancelled():
            assert isinstance(task.exception(), LimitError)

    @rule(holder=consumes(admissions), used=st.sampled_from([None, 0]))
    @precondition(lambda self: self.queue)
    def cancel_at_the_moment_of_admission(self, holder: Admission, used: int | None) -> None:
        """The place comes free and the one it is for is cancelled, before it could take a step."""
        self.leave(holder, used, run=False)
        self.queue[0].cancel()
        self._run(0)

    @rule(admission=consumes(admissions), used=st.none() | st.integers(0, 4000))
    def leave_with(self, admission: Admission, used: int | None) -> None:
        self.leave(admission, used)

    def leave(self, admission: Admission, used: int | None, *, run: bool = True) -> None:
        assert self.limiter is not None
        for _ in range(2):  # the second time does nothing
            self.limiter.leave(admission, used)
        self.inside.remove(admission)
        if used is not None:
            self.tokens.put_right(admission.tokens - used, self.loop.time())
        if run:
            self._run(0)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 7.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self._run(seconds)

    @invariant()
    @precondition(lambda self: self.limiter is not None)
    def counts_are_right(self) -> None:
        assert self.limiter is not None
        assert self.limiter.inside == len(self.inside)
        assert self.limiter.waiting == len([task for task in self.queue if not task.done()]) <= self.limits.queue

    @invariant()
    @precondition(lambda self: self.limiter is not None)
    def levels_are_right(self) -> None:
        assert self.limiter is not None
        now = self.loop.time()
        for bucket, model in ((self.limiter._requests, self.requests), (self.limiter._tokens, self.tokens)):
            model.fill(now)
            assert bucket is None or bucket.level(now) == pytest.approx(model.level, abs=1e-3)

    @invariant()
    @precondition(lambda self: self.queue and not self.queue[0].done())
    def nobody_waits_without_need(self) -> None:
        tokens = self.needs[self.queue[0]]
        barely = self.tokens.limit is not None and abs(self.tokens.level - min(tokens, self.tokens.burst)) < 0.02
        assert not self._allows(tokens) or barely or self.requests.level < 1

    def teardown(self) -> None:
        """When all have gone, nothing of them is left."""
        if self.limiter is None:
            return
        try:
            for task in self.needs:
                task.cancel()
            self._run(0)
            assert all(task.cancelled() or isinstance(task.exception(), LimitError | None) for task in self.needs)
            for admission in list(self.inside):
                self.leave(admission, None)
            assert (self.limiter.inside, self.limiter.waiting, self.limiter._reserved) == (0, 0, 0)
        finally:
            self.loop.close()


@pytest.mark.parametrize("machine", [BudgetMachine, BreakerMachine], ids=["budget", "breaker"])
def test_a_machine_is_its_model(machine: type[RuleBasedStateMachine]) -> None:
    """Whatever happens, in whatever order (fault 10)."""
    run_state_machine_as_test(machine, settings=SETTINGS)


def test_the_limiter_is_its_model(simulated_loop: Callable[[], Any]) -> None:
    """Every interleaving of callers, every moment of giving up: nothing is lost, nobody is overtaken."""
    machine: Any = partial(LimiterMachine, simulated_loop)
    run_state_machine_as_test(machine, settings=SETTINGS)
