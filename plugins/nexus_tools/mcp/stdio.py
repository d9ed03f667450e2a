"""The transport to an MCP server that is a program: one JSON-RPC message a line, each bounded in its size.

Not that of the SDK, which keeps a line however long it is, copies it with every piece that comes, logs what a program
prints, and starts it without a watcher. Imports the SDK, so it is imported at first use only.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import StreamReader
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from nexus_core import PluginError
from nexus_core.toolkit import RunningProgram, start_program
from nexus_tools.mcp.definitions import McpServer

MOST_MESSAGE = 8 * 2**20
"""Bytes of one message; a program that sends more is ended."""
_PIECE = 64 * 2**10
_LOGGED_LINES = 200
_LOGGED_CHARACTERS = 500

_log = logging.getLogger(__name__)


@asynccontextmanager
async def program_streams(
    server: McpServer, ending: asyncio.Event, note_size: Callable[[], None]
) -> AsyncGenerator[tuple[Any, Any], None]:
    """Start a program and give the streams of its messages; it is ended with the block.

    `ending` is set when it says no more; before that `note_size` is called where a message is too large. Raises
    PluginError where the program cannot be started.
    """
    try:
        program = await start_program(
            server.path, server.arguments, folder=server.folder, environment=server.environment
        )
    except OSError as error:
        raise PluginError(f"{server.shown} cannot be started: {error.strerror or type(error).__name__}") from error
    into, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, waiting = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_receive(program, server.shown, into, ending, note_size)),
        asyncio.create_task(_send(program, server.shown, waiting, ending)),
        asyncio.create_task(_log_errors(program, server.shown)),
    ]
    try:
        yield received, sent
    finally:
        tasks[0].cancel()
        tasks[1].cancel()
        try:
            await program.stop()
        finally:
            tasks[2].cancel()
            await asyncio.wait(tasks)
            for stream in (into, received, sent, waiting):
                stream.close()


async def _receive(
    program: RunningProgram, shown: str, into: Any, ending: asyncio.Event, note_size: Callable[[], None]
) -> None:
    assert program.process.stdout is not None
    junk = 0
    try:
        async with into:
            async for line in _lines(program.process.stdout, note_size):
                try:
                    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    junk += 1
                    if junk <= 5:
                        _log.debug("%s prints what is no message: %s", shown, _shown(line))
                    continue
                await into.send(SessionMessage(message))
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # nobody reads any more
    finally:
        ending.set()


async def _lines(stream: StreamReader, note_size: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a stream that are not blank; ends where one is too long."""
    buffer = bytearray()
    while piece := await stream.read(_PIECE):
        searched = len(buffer)
        buffer += piece
        while (end := buffer.find(b"\n", searched)) >= 0:
            line = bytes(buffer[:end]).strip()
            del buffer[: end + 1]
            searched = 0
            if line:
                yield line
        if len(buffer) > MOST_MESSAGE:
            note_size()
            return


async def _send(program: RunningProgram, shown: str, waiting: Any, ending: asyncio.Event) -> None:
    assert program.process.stdin is not None
    try:
        async for message in waiting:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            program.process.stdin.write(text.encode() + b"\n")
            await program.process.stdin.drain()
    except (OSError, anyio.ClosedResourceError):
        return
    except ValueError as error:  # what cannot be written as JSON; nothing after it would be heard
        _log.warning("%s is left: a message to it cannot be written (%s)", shown, type(error).__name__)
    finally:
        ending.set()


async def _log_errors(program: RunningProgram, shown: str) -> None:
    """Log what a program prints on stderr, as far as that is bounded; the rest is read and forgotten."""
    assert program.process.stderr is not None
    lines = 0
    while piece := await program.process.stderr.read(_PIECE):
        for line in piece.splitlines() if lines < _LOGGED_LINES else ():
            lines += 1
            if lines <= _LOGGED_LINES:
                _log.debug("%s: %s", shown, _shown(line))


def _shown(line: bytes) -> str:
    return ascii(line[:_LOGGED_CHARACTERS].decode("utf-8", "replace"))
