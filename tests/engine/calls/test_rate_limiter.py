"""What is admitted, what waits and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from math import inf, nan
from typing import Any

import pytest

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.contract.errors import LimitError
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.calls.rate_limiter import Admission, RateLimiter

WAIT = 60.0


def admitted(limiter: RateLimiter, tokens: int = 1) -> Admission:
    found = limiter.try_enter(tokens)
    assert isinstance(found, Admission)
    return found


def test_without_limits_everybody_is_admitted(fake_clock: Any) -> None:
    """Nothing is counted that nobody limits."""
    limiter = RateLimiter(RateLimitPolicy(), fake_clock.clock())
    assert RateLimitPolicy().unlimited
    assert all(isinstance(limiter.try_enter(10**9), Admission) for _ in range(1000))


def test_concurrency_is_freed_by_leaving(fake_clock: Any) -> None:
    """When a place comes free cannot be told."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=2), fake_clock.clock())
    first, _ = admitted(limiter), admitted(limiter)
    assert limiter.try_enter(1) == inf
    limiter.leave(first, None)
    assert isinstance(limiter.try_enter(1), Admission)


def test_leaving_twice_frees_one_place(fake_clock: Any) -> None:
    """`leave` may stand in more than one `finally`."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=2), fake_clock.clock())
    first, _ = admitted(limiter), admitted(limiter)
    limiter.leave(first, 1)
    limiter.leave(first, 1)
    assert limiter.inside == 1


@pytest.mark.parametrize(("per_minute", "burst", "wait_s"), [(60, 10, 1), (600, 100, 0.1), (6, 1, 10), (1, 1, 60)])
def test_requests_come_in_a_burst_and_then_at_the_rate(
    fake_clock: Any, per_minute: int, burst: int, wait_s: float
) -> None:
    """Ten seconds' worth at once, at least one; then one per `60 / limit` seconds."""
    limiter = RateLimiter(RateLimitPolicy(requests_per_minute=per_minute), fake_clock.clock())
    for _ in range(burst):
        admitted(limiter)
    assert limiter.try_enter(1) == pytest.approx(wait_s)
    fake_clock.time += wait_s
    admitted(limiter)


def test_a_refused_request_is_charged_nothing(fake_clock: Any) -> None:
    """What the tokens refuse, the requests and the concurrency do not count."""
    limiter = RateLimiter(
        RateLimitPolicy(requests_per_minute=12, tokens_per_minute=600, concurrency=5), fake_clock.clock()
    )
    limiter.leave(admitted(limiter, 100), 100)
    assert limiter.try_enter(10) == pytest.approx(1.0)
    assert limiter.inside == 0
    assert isinstance(limiter.try_enter(0), Admission)  # the second request of the burst of two is still there


def test_all_limits_hold_together(fake_clock: Any) -> None:
    """The longest of the waits is told, whichever limit it is of."""
    limiter = RateLimiter(RateLimitPolicy(requests_per_minute=60, tokens_per_minute=6000), fake_clock.clock())
    for _ in range(10):
        admitted(limiter, 1)
    assert limiter.try_enter(1) == pytest.approx(1)
    assert limiter.try_enter(1000) == pytest.approx(1)
    fake_clock.time += 5
    admitted(limiter, 1000)
    assert limiter.try_enter(1000) == pytest.approx(10)


def test_unused_tokens_come_back(fake_clock: Any) -> None:
    """A reservation of prompt and longest answer is put right by what was used."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=6000), fake_clock.clock())
    limiter.leave(admitted(limiter, 1000), 100)
    assert limiter.try_enter(901) == pytest.approx(0.01)
    admitted(limiter, 900)


def test_a_refund_never_fills_more_than_the_burst(fake_clock: Any) -> None:
    """A reservation that was held for long has been made up for by the time."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=6000), fake_clock.clock())
    slow = admitted(limiter, 1000)
    fake_clock.time += 60
    limiter.leave(slow, 0)
    admitted(limiter, 1000)
    assert limiter.try_enter(1) == pytest.approx(0.01)


def test_a_debt_is_waited_for_and_ends_at_a_minute(fake_clock: Any) -> None:
    """Who used a million more than was reserved holds the others up for a minute and its burst, no longer."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=6000), fake_clock.clock())
    limiter.leave(admitted(limiter, 10), 110)
    assert limiter.try_enter(1000) == pytest.approx(1.1)
    limiter.leave(admitted(limiter, 10), 1_000_000)
    assert limiter.try_enter(1000) == pytest.approx(70)


def test_unknown_use_leaves_the_reservation_as_it_is(fake_clock: Any) -> None:
    """Unknown is not zero."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=6000), fake_clock.clock())
    limiter.leave(admitted(limiter, 1000), None)
    assert limiter.try_enter(1) == pytest.approx(0.01)


def test_a_request_larger_than_the_burst_is_admitted_alone(fake_clock: Any) -> None:
    """It needs the whole burst, and what follows waits until its debt is paid: late rather than never."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=6000), fake_clock.clock())
    admitted(limiter, 1)
    assert limiter.try_enter(4000) == pytest.approx(0.01)
    fake_clock.time += 0.01
    admitted(limiter, 4000)
    assert limiter.try_enter(1) == pytest.approx(30.01)


def test_one_waits_its_turn_in_the_queue(loop: Any) -> None:
    """First in, first out, each at the moment the rate allows it."""
    limiter = RateLimiter(RateLimitPolicy(requests_per_minute=60, queue_wait_s=WAIT), loop.clock())
    order: list[tuple[int, float]] = []

    async def call(number: int) -> None:
        await limiter.enter(1, WAIT)
        order.append((number, round(loop.time() - 1000, 2)))

    async def all_of_them() -> None:
        await asyncio.gather(*(call(number) for number in range(13)))

    loop.run_until_complete(all_of_them())
    assert order == [*((number, 0) for number in range(10)), (10, 1), (11, 2), (12, 3)]


def test_nobody_overtakes_the_queue(loop: Any) -> None:
    """A small request that would fit waits behind a large one that does not yet."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=6000, queue_wait_s=WAIT), loop.clock())

    async def scene() -> float:
        admitted(limiter, 500)
        large = asyncio.ensure_future(limiter.enter(1000, WAIT))
        await asyncio.sleep(0)
        refused = limiter.try_enter(10)
        assert isinstance(refused, float)
        await large
        return refused

    assert loop.run_until_complete(scene()) == pytest.approx(5.1)


def test_a_freed_place_goes_to_the_first_who_waits(loop: Any) -> None:
    """Also where its holder leaves at once and comes back."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1, queue_wait_s=WAIT), loop.clock())

    async def scene() -> list[bool]:
        held = admitted(limiter)
        waiting = asyncio.ensure_future(limiter.enter(1, WAIT))
        await asyncio.sleep(0)
        limiter.leave(held, None)
        again = limiter.try_enter(1)
        return [again == inf or isinstance(again, float), isinstance(await waiting, Admission)]

    assert loop.run_until_complete(scene()) == [True, True]


def test_a_refund_wakes_the_queue_before_its_timer(loop: Any) -> None:
    """Tokens that come back are used at once."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=6000, queue_wait_s=WAIT), loop.clock())

    async def scene() -> float:
        held = admitted(limiter, 1000)
        waiting = asyncio.ensure_future(limiter.enter(500, WAIT))
        await asyncio.sleep(1)
        limiter.leave(held, 100)
        await waiting
        return float(loop.time() - 1000)

    assert loop.run_until_complete(scene()) == pytest.approx(1, abs=0.01)


def run_refused(loop: Any, call: Coroutine[Any, Any, Any]) -> tuple[LimitError, float]:
    """Run a call that is refused; return the error and after how many seconds."""
    before = loop.time()
    with pytest.raises(LimitError) as caught:
        loop.run_until_complete(call)
    return caught.value, loop.time() - before


@pytest.mark.parametrize(("queue_wait", "timeout", "expected"), [(5, 60, 5), (60, 2, 2)])
def test_a_wait_ends_with_its_time(loop: Any, queue_wait: float, timeout: float, expected: float) -> None:
    """`queue_wait` or what is left of the call, whichever is shorter; nothing stays in the queue."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1, queue_wait_s=queue_wait), loop.clock(), "main")
    admitted(limiter)
    error, after = run_refused(loop, limiter.enter(1, timeout))
    assert after == pytest.approx(expected, abs=0.01)
    assert (error.retry_after_s, error.request_sent, limiter.waiting) == (None, False, 0)
    assert "`limits` of 'main'" in str(error)
    assert "concurrency: 1" in str(error)


def test_a_wait_that_cannot_succeed_is_not_made(loop: Any) -> None:
    """A minute's limit that will not have room in time is said at once, with the time when it will."""
    limiter = RateLimiter(RateLimitPolicy(requests_per_minute=1), loop.clock())
    admitted(limiter)
    error, after = run_refused(loop, limiter.enter(1, 60))
    assert after == 0
    assert error.retry_after_s == pytest.approx(60)


def test_a_wait_that_a_refund_may_end_is_made(loop: Any) -> None:
    """Reserved tokens may come back: only where even all of them would not do is nothing waited for."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=600, queue_wait_s=5), loop.clock())
    admitted(limiter, 100)
    _, after = run_refused(loop, limiter.enter(100, 60))
    assert after == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize("timeout", [0, -1, nan, -inf])
def test_no_time_is_no_wait(loop: Any, timeout: float) -> None:
    """A call whose deadline is here is refused at once."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1), loop.clock())
    admitted(limiter)
    _, after = run_refused(loop, limiter.enter(1, timeout))
    assert after == 0


def test_a_full_queue_refuses_at_once(loop: Any) -> None:
    """So many wait and no more."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1, queue=2, queue_wait_s=WAIT), loop.clock())

    async def scene() -> None:
        held = admitted(limiter)
        waiting = [asyncio.ensure_future(limiter.enter(1, WAIT)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(LimitError, match="all 2 places of its queue are taken"):
            await limiter.enter(1, WAIT)
        for task in waiting:
            limiter.leave(held, None)
            held = await task

    loop.run_until_complete(scene())


def test_a_queue_of_none_refuses_at_once(loop: Any) -> None:
    """`queue: 0` never waits."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1, queue=0), loop.clock())
    admitted(limiter)
    assert run_refused(loop, limiter.enter(1, 60))[1] == 0


@pytest.mark.parametrize("freed_first", [False, True], ids=["waiting", "woken"])
def test_a_cancelled_wait_leaves_nothing_behind(loop: Any, freed_first: bool) -> None:
    """Also where the place was just freed for it: the next in the queue gets it."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1, queue_wait_s=WAIT), loop.clock())

    async def scene() -> None:
        held = admitted(limiter)
        first, second = (asyncio.ensure_future(limiter.enter(1, WAIT)) for _ in range(2))
        await asyncio.sleep(0)
        if freed_first:
            limiter.leave(held, None)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        limiter.leave(held, None)
        limiter.leave(await second, None)

    loop.run_until_complete(scene())
    assert (limiter.inside, limiter.waiting) == (0, 0)


def test_callers_of_two_event_loops_share_the_limits() -> None:
    """A place that is freed in one loop wakes a waiter of another."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1, queue_wait_s=WAIT), Clock())
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    held = one.run_until_complete(limiter.enter(1, WAIT))
    waiting = two.create_task(limiter.enter(1, WAIT))
    two.run_until_complete(asyncio.sleep(0))

    async def leave() -> None:
        limiter.leave(held, None)

    one.run_until_complete(leave())
    assert isinstance(two.run_until_complete(waiting), Admission)
    one.close()
    two.close()


def test_a_waiter_of_a_stopped_loop_does_not_block_the_queue(fake_clock: Any) -> None:
    """Who is still in the queue long after its time will never leave it by itself."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1), fake_clock.clock())
    held = admitted(limiter)
    stopped = asyncio.new_event_loop()
    waiting = stopped.create_task(limiter.enter(1, 5))
    stopped.run_until_complete(asyncio.sleep(0))
    limiter.leave(held, None)
    assert not isinstance(limiter.try_enter(1), Admission)
    fake_clock.time += 10
    assert isinstance(limiter.try_enter(1), Admission)
    with pytest.raises(LimitError):
        stopped.run_until_complete(waiting)
    stopped.close()


def test_a_waiter_of_a_closed_loop_is_passed_over() -> None:
    """A place goes to the next who can take it."""
    limiter = RateLimiter(RateLimitPolicy(concurrency=1, queue_wait_s=WAIT), Clock())
    held = admitted(limiter)
    closed, alive = asyncio.new_event_loop(), asyncio.new_event_loop()
    lost = limiter.enter(1, WAIT)
    closed.run_until_complete(_begin(lost))
    waiting = alive.create_task(limiter.enter(1, WAIT))
    alive.run_until_complete(asyncio.sleep(0))
    closed.close()
    limiter.leave(held, None)
    assert isinstance(alive.run_until_complete(waiting), Admission)
    lost.close()
    alive.close()


async def _begin(waiting: Coroutine[Any, Any, Any]) -> None:
    """Let a coroutine run up to its first wait, and leave it there."""
    waiting.send(None)


def test_tokens_may_be_reserved_anew(fake_clock: Any) -> None:
    """In the place of those that were; what is larger than the bucket takes a full one, its own part counted."""
    limiter = RateLimiter(RateLimitPolicy(tokens_per_minute=600), fake_clock.clock())
    first = admitted(limiter, 60)
    assert limiter.reserve(first, 1000) == 0.0
    assert limiter.try_enter(1) == pytest.approx(90.1)
    limiter.leave(first, 30)
    second, third = admitted(limiter, 20), admitted(limiter, 20)
    assert limiter.reserve(third, 51) == pytest.approx(0.1)
    assert [room.left for room in limiter.rooms()] == [30.0]
    limiter.leave(second, 0)
    assert limiter.reserve(third, 51) == 0.0
    limiter.leave(third, 0)
    assert [room.left for room in limiter.rooms()] == [70.0]
    assert limiter.reserve(third, 51) == 0.0
    assert [room.left for room in limiter.rooms()] == [70.0]


def test_who_is_refused_after_all_has_not_asked(fake_clock: Any) -> None:
    """Neither the request nor its tokens count."""
    limiter = RateLimiter(RateLimitPolicy(requests_per_minute=12, tokens_per_minute=600), fake_clock.clock())
    before = limiter.rooms()
    limiter.leave(admitted(limiter, 50), 0, was_refused=True)
    assert limiter.rooms() == before
    limiter.leave(admitted(limiter, 50), 0)
    assert [room.left for room in limiter.rooms()] == [1.0, 100.0]


def test_rooms_tell_what_is_left_and_when_all_is(fake_clock: Any) -> None:
    """Of the limits per minute that there are."""
    limiter = RateLimiter(RateLimitPolicy(requests_per_minute=60, concurrency=2), fake_clock.clock())
    admitted(limiter)
    (room,) = limiter.rooms()
    assert (room.of, room.limit, room.left, room.full_in_s) == ("requests", 60, 9.0, 1.0)
    assert RateLimiter(RateLimitPolicy(concurrency=2), fake_clock.clock()).rooms() == ()
