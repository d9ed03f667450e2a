"""A function in a process of its own: its result, its error, and its end in any case."""

from __future__ import annotations

import asyncio
import operator
import os
import re
import sys
import time

import pytest

from nexus_core.toolkit.processes.call import ApartError, call_apart


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
