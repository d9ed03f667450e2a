"""A scripted upstream: a real server on a loopback socket that plays exact bytes, pauses, half-closes and resets.

    async with ScriptedUpstream(json_answer(completion("Yes."))) as upstream:
        connector = MyConnector(model="m", base_url=upstream.url)
        ...
    assert upstream.requests[0].json()["model"] == "m"

A script is the list of what happens after one request: bytes are written as they are, everything else is a step below.
The n-th request gets the n-th script, and the last script serves all that follow.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from attrs import define, evolve, field, frozen


@define
class Gate:
    """Waits until the test calls `open()`; `reached` tells the test that the script has come here."""

    reached: asyncio.Event = field(factory=asyncio.Event, init=False)
    opened: asyncio.Event = field(factory=asyncio.Event, init=False)

    def open(self) -> None:
        """Let the script go on."""
        self.opened.set()


@frozen
class Pause:
    """Waits for a time, a tiny one: prefer a `Gate`."""

    seconds: float = 0.0


@frozen
class Silence:
    """Says nothing more until the client goes away."""


@frozen
class HalfClose:
    """Sends FIN and goes on reading."""


@frozen
class Reset:
    """Closes with RST: what was sent and not yet read by the client may be lost."""


Step = bytes | Gate | Pause | Silence | HalfClose | Reset
Script = Sequence[Step]


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

    requests: list[ReceivedRequest] = field(factory=list)
    closed: asyncio.Event = field(factory=asyncio.Event)
    """Set when the client has closed or reset it."""


class ScriptedUpstream:
    """Serves scripts on a free port of 127.0.0.1; an async context manager.

    `deaf=True` accepts connections and never reads. `early=True` answers at the head of a request, before its body has
    come. With `keep_open=False` every script ends with FIN.
    """

    def __init__(self, *scripts: Script, deaf: bool = False, early: bool = False, keep_open: bool = True) -> None:
        self.scripts = list(scripts)
        self.requests: list[ReceivedRequest] = []
        """All requests, in the order in which they were complete."""
        self.connections: list[Connection] = []
        """All connections, in the order in which they were made."""
        self._deaf = deaf
        self._early = early
        self._keep_open = keep_open
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address, up to /v1."""
        return f"{self.origin}/v1"

    @property
    def origin(self) -> str:
        """The address, without a path."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> ScriptedUpstream:
        """Begin to listen."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
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
        connection = Connection()
        self.connections.append(connection)
        try:
            await self._serve(connection, reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            connection.closed.set()
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._deaf:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        arrived: asyncio.Queue[ReceivedRequest] = asyncio.Queue()
        listener = asyncio.create_task(_listen(connection, reader, arrived, early=self._early))
        try:
            while request := await _first(arrived.get(), connection.closed):
                self.requests.append(request)
                connection.requests.append(request)
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
                    writer.write(step)
                    await writer.drain()
                    await _let_others_run()
                case Gate():
                    step.reached.set()
                    await _first(step.opened.wait(), connection.closed)
                case Pause():
                    await asyncio.sleep(step.seconds)
                case Silence():
                    await connection.closed.wait()
                case HalfClose():
                    writer.write_eof()
                    return False
                case Reset():
                    _reset(writer)
                    return False
        if not self._keep_open:
            writer.write_eof()
        return self._keep_open


async def _listen(
    connection: Connection, reader: asyncio.StreamReader, arrived: asyncio.Queue[ReceivedRequest], *, early: bool
) -> None:
    """Read requests until the client closes, also while a script plays: so its leaving is noticed at once."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.rstrip("\r\n").split("\r\n")
            method, target, _ = line.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            request = ReceivedRequest(method=method, target=target, headers=headers)
            if early:
                arrived.put_nowait(request)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if not early:
                arrived.put_nowait(evolve(request, body=body))
    except (asyncio.IncompleteReadError, ConnectionError):
        connection.closed.set()


async def _first(awaitable: Any, closed: asyncio.Event) -> Any:
    """Return what `awaitable` gives, or `None` if the client closes before."""
    tasks = [asyncio.ensure_future(awaitable), asyncio.ensure_future(closed.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0] in done else None
    finally:
        for task in tasks:
            task.cancel()


async def _let_others_run() -> None:
    # The client shares this loop: after some rounds it has read what was written, so writes stay apart.
    for _ in range(4):
        await asyncio.sleep(0)


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def http_answer(
    body: bytes, *, status: int = 200, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> list[Step]:
    """Return the script of a whole answer with a `Content-Length`."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    return [http_head(fields, status=status) + body]


def json_answer(payload: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Step]:
    """Return the script of an answer in JSON."""
    return http_answer(json.dumps(payload).encode(), status=status, headers=headers)


def stream_answer(pieces: Iterable[Step], *, content_type: str = "text/event-stream", ends: bool = True) -> list[Step]:
    """Return the script of a chunked answer: each piece of bytes is one HTTP chunk, other steps stay where they are.

    With `ends=False` the final chunk is missing, so that the body never comes to its end.
    """
    head = http_head({"Content-Type": content_type, "Transfer-Encoding": "chunked"})
    steps: list[Step] = [head, *(http_chunk(piece) if isinstance(piece, bytes) else piece for piece in pieces)]
    return [*steps, b"0\r\n\r\n"] if ends else steps


def http_head(headers: Mapping[str, str], *, status: int = 200) -> bytes:
    """Return a status line and headers."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def http_chunk(data: bytes) -> bytes:
    """Return `data` as one chunk of the chunked encoding; nothing for no data, since that would be the end."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


DONE = b"data: [DONE]\n\n"
"""The event that ends a stream of the OpenAI protocol."""


def event(payload: Any, *, newline: bytes = b"\n") -> bytes:
    """Return a server-sent event with `payload` in JSON."""
    return b"data: " + json.dumps(payload).encode() + 2 * newline


def completion(text: str | None, *, finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    """Return a chat completion; `fields` replace or add to its own."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        **fields,
    }


def delta(
    text: str | None = None, *, finish_reason: str | None = None, role: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Return one chunk of a streamed chat completion; `fields` replace or add to its own."""
    parts = {"role": role, "content": text}
    choice = {"index": 0, "delta": {k: v for k, v in parts.items() if v is not None}, "finish_reason": finish_reason}
    start = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted-1"}
    return {**start, "choices": [choice], **fields}


def usage_chunk(prompt_tokens: int = 7, completion_tokens: int = 3) -> dict[str, Any]:
    """Return the chunk without choices that carries the usage of a stream."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return delta(choices=[], usage={**counts, "total_tokens": prompt_tokens + completion_tokens})


def chat_events(*texts: str, finish_reason: str = "stop") -> list[bytes]:
    """Return the events of a whole, well-formed stream as OpenAI sends it."""
    payloads = [delta("", role="assistant"), *map(delta, texts), delta(finish_reason=finish_reason), usage_chunk()]
    return [*map(event, payloads), DONE]


def error_body(message: str, *, code: str | int | None = None, type: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    return {"error": {"message": message, "type": type, "param": None, "code": code}}
