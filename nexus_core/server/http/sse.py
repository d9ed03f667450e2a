"""Server-sent events to one client: never silent for long, never waiting for ever on a client that does not read.

What goes wrong before the head is sent is an HTTP status; what goes wrong after it is the last event, an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from nexus_core.server.access.run_slots import take_back
from nexus_core.server.errors import Failure, cancelled_within, failure_of
from nexus_core.server.http.app import BEGUN, REQUEST_ID, ROUTE, failure_body, is_there, limit_headers, log_failure
from nexus_core.server.settings import ServerLimits
from nexus_core.toolkit.timers import TimeLimit

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "Server": "nexus",
}
_HEARTBEAT = b": ping\n"
"""With one newline: an empty line would end an event, and some clients would take that for one."""
_NEVER_WAITS = 16 * 2**10
"""Bytes: with no more in its buffer a transport is not paused, and takes as many again without being so."""


def event(data: Any) -> bytes:
    """Return one event whose data is JSON."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def error_event(request: web.Request, failure: Failure) -> bytes:
    """Return the event that ends a stream that has failed, in the shape of the API that was asked."""
    route = request.get(ROUTE)
    if route is not None and route.openai:
        return event(failure_body(request, failure, openai=True))
    return event({"type": "error", **failure_body(request, failure, openai=False)})


WriteFailure = Callable[[web.Request, Failure], bytes]


class SlowReaderError(ConnectionError):
    """A client does not take what it has asked for."""


class _Response(web.StreamResponse):
    """An answer whose head goes out with its first event: each piece that goes alone costs a call of the system."""

    _send_headers_immediately = False


class EventStream:
    """The answer to one request, event by event; an async context manager.

    It begins with the first event, or after a while without any. An error that leaves the block becomes the last event
    where the answer has begun; else it goes on to become a status.
    """

    def __init__(
        self, request: web.Request, limits: ServerLimits, slow: TimeLimit, failed: WriteFailure | None = None
    ) -> None:
        """Answer a request; `failed` writes the last event of an answer that fails, else it is that of the API."""
        self._request = request
        self._failed = failed or error_event
        self._limits = limits
        self._slow = slow
        """For the time that one event may take, shared by all streams."""
        headers = {**_HEADERS, "X-Request-Id": request[REQUEST_ID], **limit_headers(request)}
        self.response = _Response(headers=headers)
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._is_fresh = False
        self.has_begun = False
        """Whether an event was sent."""
        self._has_ended = False
        self.is_whole = False
        """Whether its end was sent, too."""

    async def __aenter__(self) -> Self:
        first_s = min(self._limits.commit_s, self._limits.heartbeat_s)
        self._timer = asyncio.get_running_loop().call_later(first_s, self._beat)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        if self._beating is not None and not self._beating.done():
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        if not self.response.prepared or isinstance(error, ConnectionError):
            return False
        if isinstance(error, asyncio.CancelledError) and is_there(self._request):
            take_back()
            error = cancelled_within(error)
        if isinstance(error, Exception):
            failure = failure_of(error)
            log_failure(self._request, failure)
            await self.end(self._failed(self._request, failure))
        if error is None or isinstance(error, Exception):
            await self.end()
            return True
        return False

    async def send(self, data: bytes) -> None:
        """Send an event; waits until the client has taken enough of what came before."""
        self.has_begun = self._is_fresh = True
        await self._write(data)

    async def end(self, data: bytes = b"") -> None:
        """Send the last event and the end of the stream in one; nothing can follow, and a second end is none."""
        self._has_ended = True
        await self._begin()
        await self._within(self.response.write_eof(data))
        self.is_whole = True

    async def _begin(self) -> None:
        if not self.response.prepared:
            self._request[BEGUN] = self.response
            await self.response.prepare(self._request)

    async def _write(self, data: bytes) -> None:
        await self._begin()
        response = self.response
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size() + len(data) < _NEVER_WAITS:
            await response.write(data)
        else:
            await self._within(response.write(data))

    async def _within(self, work: Any) -> None:
        """Await a write for as long as a client may take for it, and cut who takes longer."""
        try:
            with self._slow.block():
                await work
        except TimeoutError as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise SlowReaderError("the client does not read") from error

    def _beat(self) -> None:
        """Say now and then that the stream is alive, while nothing else is said."""
        loop = asyncio.get_running_loop()
        if not self._is_fresh and (self._beating is None or self._beating.done()):
            self._beating = loop.create_task(self._say_alive())
        self._is_fresh = False
        self._timer = loop.call_later(self._limits.heartbeat_s, self._beat)

    async def _say_alive(self) -> None:
        with suppress(ConnectionError):  # then the request itself ends, too
            if not self._has_ended:
                await self._write(_HEARTBEAT)
