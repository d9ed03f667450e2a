"""A function in a process of its own: its result, its error, and its end in any case."""

from __future__ import annotations

import asyncio
import itertools
import operator
import os
import re
import signal
import sys
import time
from contextlib import aclosing, suppress

import pytest

from nexus_core.toolkit.processes.call import ApartError, call_apart, kill, start_module, stream_apart


@pytest.mark.slow
async def test_result_and_error_of_a_function_come_from_another_process() -> None:
    """As if it had been called here."""
    assert await call_apart(60.0, os.getpid) not in (0, os.getpid())
    assert await call_apart(60.0, operator.mul, "ab", 100_000) == "ab" * 100_000
    with pytest.raises(ValueError, match="invalid literal"):
        await call_apart(60.0, int, "a")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_function_that_ends_its_process_is_an_error() -> None:
    """With how it ended."""
    with pytest.raises(ApartError, match="ended with code -6"):
        await call_apart(60.0, os.abort)


@pytest.mark.slow
async def test_function_that_never_ends_is_an_error() -> None:
    """Though it lets no other thread of its process run."""
    with pytest.raises(ApartError, match="did not end within 0.5 s"):
        await call_apart(0.5, re.match, r"(a+)+$", "a" * 64 + "b")


async def test_process_is_killed_with_its_caller() -> None:
    """Nobody waits for what nobody wants."""
    calling = asyncio.create_task(call_apart(1000.0, time.sleep, 1000))
    await asyncio.sleep(0.1)  # whether it has begun by then or not
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(calling), 60)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
async def test_killing_what_has_ended_leaves_its_exit_code_to_asyncio() -> None:
    """Which else warns on standard error of a child that it does not know."""
    process = await start_module("nexus_core.toolkit.processes.call")
    kill(process)
    with suppress(ChildProcessError):  # where asyncio has it already
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - asyncio is not to learn of its end yet
    kill(process)
    popen = process._transport.get_extra_info("subprocess")  # type: ignore[attr-defined]
    assert popen.returncode is None
    assert await process.wait() == -signal.SIGKILL


async def test_values_of_a_generator_come_one_by_one() -> None:
    """None waits for those after it; closing early kills what would not end."""
    async with aclosing(stream_apart(60.0, itertools.count)) as numbers:
        assert [await anext(numbers) for _ in range(3)] == [0, 1, 2]


@pytest.mark.slow
async def test_limit_counts_from_one_value_to_the_next() -> None:
    """Values that have come before the time was over stay."""
    numbers = stream_apart(0.5, map, re.match, [r"a", r"(a+)+$"], ["b", "a" * 64 + "b"])
    assert await anext(numbers) is None
    with pytest.raises(ApartError, match="did not end within 0.5 s"):
        await anext(numbers)


async def test_error_that_cannot_be_sent_back_keeps_its_words() -> None:
    """An error of a class with a constructor of its own is told, and breaks nothing."""
    with pytest.raises(RuntimeError, match="Odd: cannot be sent"):
        await call_apart(60.0, exec, "class Odd(Exception):\n    pass\nraise Odd('cannot be sent')")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses")
async def test_function_that_takes_all_memory_is_an_error() -> None:
    """A document that asks for more than a reader may have fails alone."""
    with pytest.raises(MemoryError):
        await call_apart(60.0, bytearray, 2**40)
