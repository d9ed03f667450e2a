"""Deadlines: who is cancelled by them, and who is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from nexus_core import DeadlineError
from nexus_core.engine.calls.deadline import Deadline
from nexus_core.toolkit.timers import Timer


def over() -> DeadlineError:
    return DeadlineError("over")


def test_what_takes_too_long_ends_with_the_error_of_its_call(loop: Any) -> None:
    """Each at its own time, whatever the order in which they began."""
    timer, ends = Timer(), []

    async def one(seconds: float) -> None:
        deadline = Deadline(timer, seconds, over)
        with pytest.raises(DeadlineError), deadline:
            await asyncio.sleep(100.0)
        ends.append((seconds, round(loop.time() - 1000.0, 3)))
        deadline.end()

    async def all_of_them() -> None:
        await asyncio.gather(one(5.0), one(1.0), one(3.0))

    loop.run_until_complete(all_of_them())
    assert ends == [(1.0, 1.0), (3.0, 3.0), (5.0, 5.0)]
    assert not timer._running


def test_whoever_cancels_at_the_same_moment_goes_first(loop: Any) -> None:
    """Fault 84: a cancellation is never made into an error."""
    timer = Timer()

    async def work() -> None:
        with Deadline(timer, 1.0, over):
            await asyncio.sleep(100.0)

    async def scene() -> None:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        loop.call_at(1001.0, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(scene())


def test_a_task_that_survived_a_cancellation_has_deadlines_like_any_other(loop: Any) -> None:
    """What was cancelled before the call began is not asked again."""
    timer = Timer()

    async def work() -> None:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError:
            with Deadline(timer, 1.0, over):
                await asyncio.sleep(100.0)

    async def scene() -> None:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(DeadlineError):
            await task

    loop.run_until_complete(scene())


def test_a_deadline_that_does_not_hold_cancels_nobody(loop: Any) -> None:
    """Fault 74: while the reader of a stream is at work it is not cancelled; it learns of it when it comes back."""
    timer = Timer()

    async def read() -> None:
        with (deadline := Deadline(timer, 1.0, over)):
            deadline.task = None
            await asyncio.sleep(5.0)
            deadline.resume()

    async def scene() -> None:
        with pytest.raises(DeadlineError):
            await read()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    loop.run_until_complete(scene())


def test_a_timer_serves_one_loop_after_another() -> None:
    """A pipeline may be opened again in another loop; the timer of the old one is not waited for."""
    timer = Timer()

    async def work() -> None:
        with Deadline(timer, 0.02, over):
            await asyncio.sleep(10.0)

    async def early() -> None:
        Deadline(timer, 600.0, over)

    asyncio.run(early())
    for _ in range(2):
        with pytest.raises(DeadlineError):
            asyncio.run(work())
