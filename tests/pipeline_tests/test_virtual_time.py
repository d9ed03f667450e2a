"""Time is put forward, never waited for, and nothing is connected to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from nexus_core.pipeline_tests.virtual_time import VirtualTimeLoop


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield runner


def loop_of(runner: asyncio.Runner) -> VirtualTimeLoop:
    loop = runner.get_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def test_what_stalls_meets_every_timer_in_its_order(runner: asyncio.Runner) -> None:
    """Hours pass at once, and a timer that was cancelled is passed over."""
    loop = loop_of(runner)
    fired: list[str] = []

    async def stall() -> None:
        for hours, name in ((3, "third"), (1, "first"), (2, "second")):
            loop.call_later(3600 * hours, fired.append, name)
        loop.call_later(1800, fired.append, "cancelled").cancel()
        async with asyncio.timeout(4 * 3600):
            await loop.stall()

    with pytest.raises(TimeoutError):
        runner.run(stall())
    assert fired == ["first", "second", "third"]


def test_a_sleep_takes_as_long_as_it_says_by_the_clock_of_calls(runner: asyncio.Runner) -> None:
    """So that what has waited knows how long."""
    clock = loop_of(runner).clock()

    async def sleep() -> float:
        began = clock.now()
        await clock.sleep(86_400)
        return clock.now() - began

    assert runner.run(sleep()) == pytest.approx(86_400, abs=60)


def test_what_stalls_without_a_timer_waits_for_others(runner: asyncio.Runner) -> None:
    """A thread that works meanwhile comes to its end in real time."""
    loop = loop_of(runner)

    async def stall() -> str:
        stalled = asyncio.ensure_future(loop.stall())
        done = await asyncio.to_thread(str, "done")
        stalled.cancel()
        return done

    assert runner.run(stall()) == "done"


@pytest.mark.parametrize("host", ["127.0.0.1", "service.example"])
def test_a_connection_is_refused_and_its_address_noted(host: str, runner: asyncio.Runner) -> None:
    """By name and by number, before anything is sent or looked up."""
    loop = loop_of(runner)

    async def connect() -> None:
        await asyncio.open_connection(host, 443)

    with pytest.raises(OSError, match=f"a test of a pipeline makes no connections, and this one is to {host}"):
        runner.run(connect())
    assert loop.refused == [f"{host}:443"]
