"""Bridge to ASGI: one request of aiohttp is answered by an ASGI application, whole or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from nexus_core.server.errors import Failure
from nexus_core.server.http.sse import EventStream
from nexus_core.server.settings import ServerLimits
from nexus_core.toolkit.timers import TimeLimit

AsgiMessage = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[AsgiMessage]], Callable[[AsgiMessage], Awaitable[None]]],
    Awaitable[None],
]
_EVENTS = "text/event-stream"
_KEPT = ("content-type", "allow")
"""Headers of the application that go to the client; the rest is the server's own affair."""


class AsgiExchange:
    """One request, as an ASGI application sees it, and the answer that it gives.

    A client that leaves cancels the task of the request, and so the application with all that it has begun.
    """

    def __init__(
        self,
        request: web.Request,
        body: bytes,
        limits: ServerLimits,
        slow: TimeLimit,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take a request and its body; `headers` are added to those of the answer."""
        self._request = request
        self._body: bytes | None = body
        self._limits = limits
        self._slow = slow
        self._headers = headers or {}
        self._opened = AsyncExitStack()
        self._gone = asyncio.Event()
        self._status, self._told = 0, dict[str, str]()
        self._pieces: list[bytes] = []
        self._stream: EventStream | None = None

    async def answer(self, app: AsgiApp, extra: Mapping[str, Any]) -> web.StreamResponse:
        """Return what the application answers; it finds `extra` in its scope."""
        try:
            async with self._opened:
                await app({**self._scope(), **extra}, self._receive, self._send)
        except asyncio.CancelledError:  # a client that has all may leave while the application still tidies up
            task = asyncio.current_task()
            if self._stream is None or not self._stream.is_whole or task is None or task.uncancel():
                raise
        if self._stream is not None:
            return self._stream.response
        if not self._status:
            raise Failure(500, "internal_error", "an error inside the server; its log has more under the request's id")
        return web.Response(status=self._status, body=b"".join(self._pieces), headers={**self._told, **self._headers})

    def _scope(self) -> dict[str, Any]:
        request = self._request
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.scheme,
            "path": request.path,
            "raw_path": request.raw_path.partition("?")[0].encode(),
            "query_string": request.query_string.encode(),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
            "client": None,
            "server": None,
        }

    async def _receive(self) -> AsgiMessage:
        """Return the body, and once the client is gone that it is."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: AsgiMessage) -> None:
        """Take the head of the answer or a piece of it; what comes for a client that is gone is dropped."""
        if self._gone.is_set():
            return
        try:
            if message["type"] == "http.response.start":
                await self._begin(message)
            else:
                await self._continue(message.get("body", b""), more=message.get("more_body", False))
        except ConnectionError:
            self._gone.set()

    async def _begin(self, message: AsgiMessage) -> None:
        told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message.get("headers", ())}
        self._status = message["status"]
        self._told = {name: told[name] for name in _KEPT if name in told}
        if told.get("content-type", "").startswith(_EVENTS) and self._status == 200:
            stream = EventStream(self._request, self._limits, self._slow, lambda request, failure: b"")
            stream.response.headers.update(self._headers)
            self._stream = await self._opened.enter_async_context(stream)

    async def _continue(self, data: bytes, *, more: bool) -> None:
        if self._stream is None:
            self._pieces.append(data)
        elif not more:
            await self._stream.end(data)
        elif data:
            await self._stream.send(data)
