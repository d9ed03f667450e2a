"""Calls a function in a process of its own: for what parses foreign input, and may crash or never end.

`python -P -m nexus_core.toolkit.processes.call` reads a pickled call on standard input, and writes what comes of it.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar, cast

from nexus_core.toolkit.processes.environment import environment, module_command, safe_path

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ApartError(Exception):
    """The process has ended without a result, or took too long."""


async def call_apart(limit_s: float, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what a function of a module returns, or raise what it raises; all must be such that it can be pickled.

    The process is killed when its time is over or the caller is cancelled. Raises ApartError where it gave no result.
    """
    call = pickle.dumps(safe_path()) + pickle.dumps((function, args, kwargs))
    process = await start_module("nexus_core.toolkit.processes.call")
    try:
        async with asyncio.timeout(limit_s):
            answer, _ = await process.communicate(call)
    except TimeoutError as error:
        raise ApartError(f"did not end within {limit_s:g} s") from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.communicate())
    if process.returncode:
        raise ApartError(f"its process ended with code {process.returncode}")
    found, raised = pickle.loads(answer)
    if raised is not None:
        raise raised
    return cast(_T, found)


async def start_module(module: str) -> Process:
    """Start a module in another process, to be talked to by its standard input and output."""
    # Cancelled meanwhile, asyncio would wait for its end for ever, so it is let begin.
    beginning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *module_command(module), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment(sys.path)
        )
    )
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        with suppress(OSError):
            process = await beginning
            process.kill()
            await process.communicate()
        raise


def main() -> None:
    """Do one call."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no answer
    told = pickle.load(sys.stdin.buffer)
    sys.path[:] = [*told, *(entry for entry in sys.path if entry not in told)]
    function, args, kwargs = pickle.load(sys.stdin.buffer)
    try:
        answer = pickle.dumps((function(*args, **kwargs), None))
    except Exception as error:  # noqa: BLE001 - it is raised where the function was called
        answer = pickle.dumps((None, error))
    answers.write(answer)
    answers.flush()


if __name__ == "__main__":
    main()
