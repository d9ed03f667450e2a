"""Cancellation in every phase of a call: nothing is left, and what was sent is in the ledger."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from math import inf
from random import Random
from typing import Any

import pytest

from nexus_core import Chunk, ServerError
from nexus_core.config.policies import RateLimitPolicy, RetryPolicy

WAITS = RetryPolicy(first_wait_s=60.0, longest_wait_s=60.0)


def cancelled_after(tried: Any, work: Any, seconds: float) -> None:
    """Begin something, cancel it after a time, and see that it ends at once and as cancelled."""

    async def scene() -> None:
        task = asyncio.ensure_future(work)
        await asyncio.sleep(seconds)
        assert not task.done()
        task.cancel()
        ended_at = tried.loop.time()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tried.loop.time() - ended_at <= 0.05

    tried.run(scene())
    tried.assert_nothing_is_left()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_cancelled_before_the_first_byte(bench: Any, fake: Any, streamed: bool) -> None:
    """The request is out: one row, no retry, no verdict for the breaker."""
    tried = bench(fake([inf]))
    cancelled_after(tried, tried.streaming() if streamed else tried.completing(), 1.0)
    assert (tried.outcomes, tried.requests) == ([("m0", "cancelled")], [1])
    assert tried.rows[0].duration_s == 1.0


def test_cancelled_in_mid_stream(bench: Any, fake: Any) -> None:
    """What had come is in the row."""
    tried = bench(fake([Chunk("one two"), inf]), limits=RateLimitPolicy(concurrency=1))
    cancelled_after(tried, tried.streaming(), 1.0)
    assert (tried.outcomes, tried.shown, tried.connectors[0].closed) == ([("m0", "cancelled")], "one two", 1)
    assert tried.rows[0].completion_tokens


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_cancelled_while_it_waits_for_a_retry(bench: Any, fake: Any, streamed: bool) -> None:
    """Fault 84: a cancellation is neither retried nor made into an error; no row, since nothing more was sent."""
    tried = bench(fake(ServerError("no")), retry=WAITS)
    cancelled_after(tried, tried.streaming() if streamed else tried.completing(), 0.1)
    assert tried.outcomes == [("m0", "server_error")]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_cancelled_while_it_is_queued(bench: Any, fake: Any, streamed: bool) -> None:
    """The place in the queue is free, the slot of the other call is not touched, and nothing was sent."""
    tried = bench(fake([10.0, Chunk("Because.", "stop")]), limits=RateLimitPolicy(concurrency=1))

    async def scene() -> None:
        first = asyncio.ensure_future(tried.completing())
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(tried.streaming() if streamed else tried.completing())
        await asyncio.sleep(1.0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert tried.outcomes == []
        await first

    tried.run(scene())
    assert tried.outcomes == [("m0", "ok")]
    tried.assert_nothing_is_left()


def test_cancelled_while_the_connector_is_opened(bench: Any, fake: Any) -> None:
    """Nothing was sent, so there is no row."""

    class Slow(type(fake())):  # type: ignore[misc]
        async def __aenter__(self) -> None:
            await asyncio.Event().wait()

        async def __aexit__(self, *_: object) -> None:
            """Nothing is open."""

    tried = bench(Slow())
    cancelled_after(tried, tried.completing(), 1.0)
    assert (tried.outcomes, tried.requests) == ([], [0])


def test_left_between_two_attempts(bench: Any, fake: Any) -> None:
    """A reader who leaves where a wait is announced has cancelled no attempt."""
    tried = bench(fake(ServerError("no")), retry=WAITS)

    async def reader() -> None:
        async with aclosing(tried.attempts.stream(tried.call, tried.see)) as parts:
            async for _ in parts:
                if tried.rows:
                    break

    tried.run(reader())
    assert tried.outcomes == [("m0", "server_error")]
    tried.assert_nothing_is_left()


def test_left_before_the_request_goes_out(bench: Any, fake: Any) -> None:
    """A reader who leaves at once has sent nothing, and the breaker and the limits know of nothing."""
    tried = bench(fake("Because."), limits=RateLimitPolicy(concurrency=1))
    tried.leave_after(0)
    assert (tried.outcomes, tried.requests) == ([], [0])
    tried.assert_nothing_is_left()


def test_left_by_a_slow_reader(bench: Any, fake: Any) -> None:
    """A reader who pauses holds the stream, and frees it when it goes."""
    tried = bench(fake("one two three"), limits=RateLimitPolicy(concurrency=1))

    async def reader() -> None:
        async with aclosing(tried.attempts.stream(tried.call, tried.see)) as parts:
            async for part in parts:
                if part:
                    await asyncio.sleep(300.0)
                    break

    tried.run(reader())
    assert tried.outcomes == [("m0", "cancelled")]
    tried.assert_nothing_is_left()


def test_the_deadline_never_fires_in_the_reader(bench: Any, fake: Any) -> None:
    """Fault 74: a reader who takes longer than the call may is not cancelled; the stream ends when it comes back."""
    from nexus_core import DeadlineError

    tried = bench(fake("one two three"), deadline_s=5.0)

    async def reader() -> None:
        async with aclosing(tried.attempts.stream(tried.call, tried.see)) as parts:
            async for part in parts:
                if part:
                    await asyncio.sleep(60.0)

    with pytest.raises(DeadlineError):
        tried.run(reader())
    assert [(row.outcome, row.code) for row in tried.rows] == [("timeout", "deadline")]
    tried.assert_nothing_is_left()


@pytest.mark.slow
def test_a_thousand_leave_at_random(bench: Any, fake: Any) -> None:
    """Fault 80: after every kind of leaving all slots are free, and each request has its row."""
    random = Random(7)
    slow = [0.05, Chunk("one "), 0.05, Chunk("two "), 0.05, Chunk("three", "stop")]
    connector = fake(*[slow, ServerError("no"), slow, slow] * 1000)
    tried = bench(connector, limits=RateLimitPolicy(concurrency=5, queue=2000, queue_wait_s=1000.0), breaker=None)

    async def one() -> None:
        task = asyncio.ensure_future(tried.streaming() if random.random() < 0.5 else tried.completing())
        await asyncio.sleep(random.uniform(0.0, 0.5))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None or isinstance(task.exception(), ServerError)

    async def crowd() -> None:
        async def come(after: float) -> None:
            await asyncio.sleep(after)
            await one()

        await asyncio.gather(*(come(random.uniform(0.0, 30.0)) for _ in range(1000)))

    tried.run(crowd())
    assert len(tried.rows) == tried.requests[0] > 500
    tried.assert_nothing_is_left()
