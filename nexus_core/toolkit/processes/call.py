"""Calls a function in a process of its own: for what parses foreign input, and may crash or never end.

`python -P -m nexus_core.toolkit.processes.call` reads a pickled call on standard input, and writes what comes of it:
values one by one, pickled behind their length.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from threading import Thread
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

from nexus_core.contract.errors import describe_error
from nexus_core.toolkit.processes.environment import environment, module_command, safe_path
from nexus_core.toolkit.processes.limits import end_with, limit_memory

_P = ParamSpec("_P")
_T = TypeVar("_T")

START_S = 60.0
"""The time that a process may take to begin, on a machine that is busy, too."""
_LENGTH = struct.Struct("<Q")
_BEGUN, _VALUE, _RAISED, _END = "begun", "value", "raised", "end"


class ApartError(Exception):
    """The process has ended without a result, or took too long."""


class ApartStartError(ApartError):
    """The process has not come to do anything: what it was asked is not to blame."""


async def call_apart(limit_s: float, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what a function of a module returns, or raise what it raises; all must be such that it can be pickled.

    The process is killed when its time is over or the caller is cancelled. Raises ApartError where it gave no result.
    """
    async with aclosing(stream_apart(limit_s, _call, function, args, kwargs)) as results:
        async for result in results:
            return cast(_T, result)
    raise ApartError("its process gave no result")


def call_apart_blocking(limit_s: float, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Do what `call_apart` does where nothing can be awaited: in any thread, with or without an event loop."""
    outcome: list[_T | BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(call_apart(limit_s, function, *args, **kwargs)))
        except BaseException as error:  # noqa: BLE001 - it is raised where the function was called
            outcome.append(error)

    # A loop of its own, in a thread of its own: the caller's thread may be that of a loop that runs.
    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


async def stream_apart(
    limit_s: float, function: Callable[_P, Iterator[_T]], *args: _P.args, **kwargs: _P.kwargs
) -> AsyncGenerator[_T, None]:
    """Yield what a generator function of a module yields; each value may take so long from the one before it.

    An async generator: closing it early kills the process. Raises ApartError as `call_apart` does.
    """
    try:
        process = await start_module("nexus_core.toolkit.processes.call")
    except OSError as error:
        raise ApartStartError(f"its process cannot be started ({error.strerror or error})") from error
    try:
        try:
            async with _limit(START_S, "did not begin"):
                await _send_call(process, (function, args, kwargs))
                await _receive(process)
        except ApartError as error:
            raise ApartStartError(str(error)) from error
        while True:
            async with _limit(limit_s, "did not end"):
                kind, value = await _receive(process)
            if kind == _RAISED:
                raise value
            if kind == _END:
                return
            yield value
    finally:
        kill(process)
        await asyncio.shield(process.communicate())


@asynccontextmanager
async def _limit(limit_s: float, failure: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise ApartError(f"{failure} within {limit_s:g} s") from error


async def _send_call(process: Process, call: tuple[Any, ...]) -> None:
    assert process.stdin is not None
    data = pickle.dumps(safe_path()) + pickle.dumps(call)
    with suppress(OSError):  # how it has ended is told where its words are missing
        process.stdin.write(data)
        await process.stdin.drain()


async def _receive(process: Process) -> tuple[str, Any]:
    assert process.stdout is not None
    try:
        head = await process.stdout.readexactly(_LENGTH.size)
        data = await process.stdout.readexactly(*_LENGTH.unpack(head))
    except (OSError, asyncio.IncompleteReadError) as error:
        raise ApartError(f"its process ended with code {await process.wait()}") from error
    return cast("tuple[str, Any]", pickle.loads(data))


def _call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    yield function(*args, **kwargs)


async def start_module(module: str) -> Process:
    """Start a module in another process, to be talked to by its standard input and output."""
    # Cancelled meanwhile, asyncio would wait for its end for ever, so it is let begin.
    beginning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *module_command(module),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=environment(sys.path),
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        with suppress(OSError):
            process = await beginning
            kill(process)
            await process.communicate()
        raise


def kill(process: Process) -> None:
    """End a process of `start_module`, and what it has begun: that may hold its pipes, and be waited for as well."""
    if sys.platform == "win32":
        with suppress(ProcessLookupError):
            process.kill()
        return
    # Not by `process.kill`, which looks for an exit code first, and takes it from asyncio: then that warns.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Do one call."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end decides when it is over
    limit_memory()
    end_with(os.getppid())
    path = pickle.load(sys.stdin.buffer)
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
    function, args, kwargs = pickle.load(sys.stdin.buffer)
    _send(answers, _BEGUN, None)
    try:
        for value in function(*args, **kwargs):
            _send(answers, _VALUE, value)
        _send(answers, _END, None)
    except Exception as error:  # noqa: BLE001 - it is raised where the function was called
        _send(answers, _RAISED, _portable(error))


def _send(stream: BinaryIO, kind: str, value: Any) -> None:
    data = pickle.dumps((kind, value), protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _portable(error: Exception) -> Exception:
    """Return the error, or one with its words where it cannot be pickled and read back."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a class of others does with that
        return RuntimeError(describe_error(error))
    return error


if __name__ == "__main__":
    from nexus_core.toolkit.processes.call import main as begin  # by its name, by which what it is sent knows it

    begin()
