"""A scripted upstream: a real server on a loopback socket that plays exact bytes, pauses, half-closes and resets.

    async with ScriptedUpstream(json_answer(completion("Yes."))) as upstream:
        connector = MyConnector(model="m", base_url=upstream.url)
        ...
        assert await upstream.left_open() == []
    assert upstream.requests[0].json()["model"] == "m"

A script is the list of what happens after one request: bytes are written as they are, everything else is a step of
script.py. The n-th request gets the n-th script, and the last script serves all that follow.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from attrs import define, evolve, field, frozen

from nexus_core.testing.answers import (
    DONE,
    chat_events,
    close_answer,
    completion,
    delta,
    error_body,
    event,
    http_answer,
    http_chunk,
    http_head,
    informational,
    json_answer,
    stream_answer,
    usage_chunk,
)
from nexus_core.testing.script import Gate, HalfClose, Pause, Repeat, Reset, Script, Silence, Step
from nexus_core.toolkit.suggest import counted

__all__ = [
    "DONE",
    "Connection",
    "Gate",
    "HalfClose",
    "Pause",
    "ReceivedRequest",
    "Repeat",
    "Reset",
    "Script",
    "ScriptedUpstream",
    "Silence",
    "Step",
    "chat_events",
    "close_answer",
    "completion",
    "delta",
    "error_body",
    "event",
    "http_answer",
    "http_chunk",
    "http_head",
    "informational",
    "json_answer",
    "stream_answer",
    "usage_chunk",
]


@frozen(kw_only=True)
class ReceivedRequest:
    """A request as it came."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """By name in lower case; of several with one name the last."""
    body: bytes = b""

    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)


@define
class Connection:
    """One connection of a client."""

    number: int = 0
    """From 0, in the order in which they were made."""
    requests: list[ReceivedRequest] = field(factory=list)
    closed: asyncio.Event = field(factory=asyncio.Event)
    """Set when the client has closed or reset it, and when the upstream itself goes away."""

    async def closed_within(self, seconds: float) -> bool:
        """Tell whether the client closes it within a time."""
        try:
            await asyncio.wait_for(self.closed.wait(), seconds)
        except TimeoutError:
            return False
        return True


class ScriptedUpstream:
    """Serves scripts on 127.0.0.1, on a free port or on `port`; an async context manager.

    `deaf=True` accepts connections and never reads. `early=True` answers at the head of a request, before its body has
    come. With `keep_open=False` every script ends with FIN. `close_before` is the number of requests after which a
    connection is closed at the next request, unanswered, as servers do with connections that were idle for too long.
    """

    def __init__(
        self,
        *scripts: Script,
        deaf: bool = False,
        early: bool = False,
        keep_open: bool = True,
        close_before: int | None = None,
        port: int = 0,
    ) -> None:
        self.scripts = list(scripts)
        self.requests: list[ReceivedRequest] = []
        """All requests, in the order in which they were complete."""
        self.started = 0
        """How many requests have begun to come, whole or not."""
        self.connections: list[Connection] = []
        """All connections, in the order in which they were made."""
        self._deaf = deaf
        self._early = early
        self._keep_open = keep_open
        self._close_before = close_before
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address, up to /v1."""
        return f"{self.origin}/v1"

    @property
    def origin(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def open_connections(self) -> list[Connection]:
        """The connections that the client holds now."""
        return [connection for connection in self.connections if not connection.closed.is_set()]

    async def left_open(self, within_s: float = 0.5) -> list[str]:
        """Return a line for each connection that the client does not close within a time; none is as it should be."""
        waiting = [connection.closed_within(within_s) for connection in self.connections]
        closed = await asyncio.gather(*waiting)
        return [
            f"connection {connection.number} is still open after {counted(len(connection.requests), 'request')}"
            for connection, done in zip(self.connections, closed, strict=False)
            if not done
        ]

    async def __aenter__(self) -> ScriptedUpstream:
        """Begin to listen."""
        listening = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        if self._deaf:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._server = await asyncio.start_server(self._accept, sock=listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close every connection and stop listening."""
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(len(self.connections))
        self.connections.append(connection)
        # asyncio does so only for sockets that it made itself; without it, small pieces wait 40 ms for each other.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._serve(connection, reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            connection.closed.set()
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._deaf:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        arrived: asyncio.Queue[ReceivedRequest] = asyncio.Queue()
        listener = asyncio.create_task(self._listen(connection, reader, arrived))
        try:
            while request := await _first(arrived.get(), connection.closed):
                self.requests.append(request)
                connection.requests.append(request)
                if len(connection.requests) - 1 == self._close_before:
                    return
                script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
                if not await self._play(script, connection, writer):
                    await connection.closed.wait()
                    return
        finally:
            listener.cancel()

    async def _play(self, script: Script, connection: Connection, writer: asyncio.StreamWriter) -> bool:
        """Play a script; return whether the connection serves further requests."""
        for step in script:
            if connection.closed.is_set():
                return False
            match step:
                case bytes():
                    await _write(step, writer)
                case Gate():
                    step.reached.set()
                    await _first(step.opened.wait(), connection.closed)
                case Pause():
                    await asyncio.sleep(step.seconds)
                case Silence():
                    await connection.closed.wait()
                case Repeat():
                    written = 0
                    while not connection.closed.is_set() and written != step.times:
                        await _write(step.data, writer)
                        written += 1
                case HalfClose():
                    writer.write_eof()
                    return False
                case Reset():
                    reset(writer)
                    return False
        if not self._keep_open:
            writer.write_eof()
        return self._keep_open

    async def _listen(
        self, connection: Connection, reader: asyncio.StreamReader, arrived: asyncio.Queue[ReceivedRequest]
    ) -> None:
        """Read requests until the client closes, also while a script plays: so its leaving is noticed at once."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.started += 1
                line, *fields = head.rstrip("\r\n").split("\r\n")
                method, target, _ = line.split(" ", 2)
                headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
                request = ReceivedRequest(method=method, target=target, headers=headers)
                if self._early:
                    arrived.put_nowait(request)
                body = await _read_body(headers, reader)
                if not self._early:
                    arrived.put_nowait(evolve(request, body=body))
        except (asyncio.IncompleteReadError, ConnectionError):
            connection.closed.set()


async def _read_body(headers: Mapping[str, str], reader: asyncio.StreamReader) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", "").lower():
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while (await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers
        continue
    return body


async def _first(awaitable: Any, closed: asyncio.Event) -> Any:
    """Return what `awaitable` gives, or `None` if the client closes before."""
    tasks = [asyncio.ensure_future(awaitable), asyncio.ensure_future(closed.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0] in done else None
    finally:
        for task in tasks:
            task.cancel()


async def _write(data: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(data)
    await writer.drain()
    # The client shares this loop: after some rounds it has read what was written, so writes stay apart.
    for _ in range(4):
        await asyncio.sleep(0)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
