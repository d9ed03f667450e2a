"""Server-sent events to one client: never silent for long, never waiting for ever on a client that does not read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from nexus_core.server.application import REQUEST_ID
from nexus_core.server.settings import Limits
from nexus_core.toolkit.http import TimeLimit

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "Server": "nexus",
}
_HEARTBEAT = b": ping\n\n"


def event(data: Any) -> bytes:
    """Return one event whose data is JSON."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


class SlowReaderError(ConnectionError):
    """A client does not take what it has asked for."""


class EventStream:
    """The answer to one request, event by event: it begins with the first one, or after a while without any."""

    def __init__(self, request: web.Request, limits: Limits, slow: TimeLimit) -> None:
        self._request = request
        self._limits = limits
        self._slow = slow
        """For the time that one event may take, shared by all streams."""
        self.response = web.StreamResponse(headers={**_HEADERS, "X-Request-Id": request[REQUEST_ID]})
        self._beats: asyncio.Task[None] | None = None
        self._is_fresh = False

    @property
    def has_begun(self) -> bool:
        """Whether the client has been told that the request succeeds so far."""
        return self.response.prepared

    async def __aenter__(self) -> Self:
        self._beats = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._beats is not None:
            self._beats.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await self._beats
        if kind is None and self.has_begun:
            with suppress(ConnectionError):
                await self.response.write_eof()

    async def send(self, data: bytes) -> None:
        """Send an event; waits until the client has taken enough of what came before."""
        if not self.response.prepared:
            await self.response.prepare(self._request)
        self._is_fresh = True
        try:
            with self._slow.block():
                await self.response.write(data)
        except TimeoutError as error:
            transport = self._request.transport
            if transport is not None:
                transport.abort()
            raise SlowReaderError("the client does not read") from error

    async def _beat(self) -> None:
        """Say now and then that the stream is alive, while nothing else is said."""
        while True:
            await asyncio.sleep(self._limits.heartbeat_s)
            if not self._is_fresh:
                await self.send(_HEARTBEAT)
            self._is_fresh = False
