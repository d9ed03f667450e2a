"""Time is put forward, never waited for, and nothing is connected to."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from nexus_core.pipeline_tests.virtual_time import DeadlockError, VirtualTimeLoop
from nexus_core.toolkit.processes.daemon_threads import in_thread


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    there = threading.enumerate()  # other tests leave some that do nothing here
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, besides=there)) as runner:
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


def test_any_sleep_passes_at_once(runner: asyncio.Runner) -> None:
    """In the order of the timers, whoever sleeps."""
    woken: list[int] = []

    async def sleep(hours: int) -> None:
        await asyncio.sleep(3600 * hours)
        woken.append(hours)

    async def sleep_all() -> None:
        await asyncio.gather(*map(sleep, (8, 2, 5)))

    runner.run(sleep_all())
    assert woken == [2, 5, 8]


@pytest.mark.parametrize("begin", [asyncio.to_thread, in_thread], ids=["pool", "thread of its own"])
def test_a_thread_that_works_is_waited_for(begin: Callable[..., Awaitable[bool]], runner: asyncio.Runner) -> None:
    """Its hour of patience is not over before it has come to its end."""
    loop, gone_on = loop_of(runner), threading.Event()

    def work() -> bool:
        loop.call_soon_threadsafe(gone_on.set)
        return gone_on.wait(60)

    async def wait() -> bool:
        async with asyncio.timeout(3600):
            return await begin(work)

    assert runner.run(wait())


def test_a_program_that_works_is_waited_for(runner: asyncio.Runner) -> None:
    """Time passes as it does while a pipe is open."""

    async def wait() -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('done')", stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(3600):
            return (await process.communicate())[0].strip()

    assert runner.run(wait()) == b"done"


def test_what_nothing_will_bring_about_is_an_error(runner: asyncio.Runner) -> None:
    """Without a timer, a thread or a pipe, it would be waited for without end; afterwards the loop still runs."""

    async def wait() -> None:
        await loop_of(runner).create_future()

    with pytest.raises(DeadlockError, match="nothing will bring about"):
        runner.run(wait())
    runner.run(asyncio.sleep(3600))


@pytest.mark.parametrize("host", ["127.0.0.1", "service.example"])
def test_a_connection_is_refused_and_its_address_noted(host: str, runner: asyncio.Runner) -> None:
    """By name and by number, before anything is sent or looked up."""
    loop = loop_of(runner)

    async def connect() -> None:
        await asyncio.open_connection(host, 443)

    with pytest.raises(OSError, match=f"a test of a pipeline makes no connections, and this one is to {host}"):
        runner.run(connect())
    assert loop.refused == [f"{host}:443"]
