"""Requests that come together begin a few at a time, in the order in which they have come."""

from __future__ import annotations

import asyncio

from nexus_core.server.access.start_pacing import AT_ONCE, StartPacing

MANY = 10 * AT_ONCE + 1


class Passes:
    """Counts the passes of the event loop while it runs."""

    def __init__(self) -> None:
        self.count = 0
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self.count += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def stop(self) -> None:
        """Count no more."""
        self._handle.cancel()


async def test_who_comes_alone_does_not_wait() -> None:
    """Not even for the next pass."""
    turnstile, passes = StartPacing(), Passes()
    for _ in range(3):
        before = passes.count
        await turnstile.enter()
        assert passes.count == before
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    passes.stop()


async def test_few_begin_in_one_pass() -> None:
    """And nobody is passed by."""
    turnstile, passes, begun = StartPacing(), Passes(), list[tuple[int, int]]()

    async def request(number: int) -> None:
        await turnstile.enter()
        begun.append((number, passes.count))

    await asyncio.gather(*map(request, range(MANY)))
    passes.stop()
    assert [number for number, _ in begun] == list(range(MANY))
    in_pass = [sum(1 for _, each in begun if each == number) for number in {number for _, number in begun}]
    assert max(in_pass) == AT_ONCE
    assert len(in_pass) == MANY // AT_ONCE + 1


async def test_what_one_has_begun_goes_on_while_others_wait() -> None:
    """Its next steps are done before the last has begun: this is what it is for."""
    turnstile, steps = StartPacing(), list[str]()

    async def request() -> None:
        await turnstile.enter()
        steps.append("begun")
        await asyncio.sleep(0)
        steps.append("sent")

    await asyncio.gather(*(request() for _ in range(MANY)))
    assert steps.index("sent") < 2 * AT_ONCE + 1
    assert steps.count("sent") == MANY


async def test_who_leaves_takes_no_turn() -> None:
    """Nobody waits for somebody who has gone, and who comes later does not either."""
    turnstile, passes = StartPacing(), Passes()
    tasks = [asyncio.create_task(turnstile.enter()) for _ in range(MANY)]
    await asyncio.sleep(0)
    for task in tasks[AT_ONCE:-1]:
        task.cancel()
    before = passes.count
    await tasks[-1]
    assert passes.count - before <= 3
    assert all(task.cancelled() for task in tasks[AT_ONCE:-1])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = passes.count
    await turnstile.enter()
    assert passes.count == before
    passes.stop()
