"""Connections of clients: no more than a cap of them, and a short word to who sends what is no HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from secrets import token_hex
from time import monotonic
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from nexus_core.server.bodies import json_answer
from nexus_core.server.errors import Failure, own_shape
from nexus_core.server.settings import Limits

_TELL_S = 10.0
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nServer: nexus\r\nContent-Length: %d\r\n\r\n%s"
)
_BUSY_BODY = b'{"error": "too many connections: try again in a moment", "statusCode": 503, "code": "overloaded"}'

_log = logging.getLogger(__name__)


class Malformed:
    """Counts requests that are no HTTP, and writes a line about them now and then."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._told_at = -_TELL_S
        self._untold = 0

    def note(self, address: str | None) -> None:
        """Count one."""
        self._untold += 1
        if self._clock() - self._told_at >= _TELL_S:
            _log.warning("%d malformed requests, the last one from %s", self._untold, address)
            self._told_at, self._untold = self._clock(), 0


class Connection(RequestHandler):
    """aiohttp's connection, but for what it says of malformed requests: nothing of them comes back or into the log."""

    __slots__ = ("malformed",)

    def __init__(self, manager: web.Server, malformed: Malformed, **options: Any) -> None:
        self.malformed = malformed
        super().__init__(manager, **options)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed; it always closes the connection."""
        self.malformed.note(request.remote)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        failure = Failure(status if 400 <= status < 500 else 400, "malformed_request", "the request is no valid HTTP")
        answer = json_answer(own_shape(failure, token_hex(12)), status=failure.status, headers={"Server": "nexus"})
        answer.force_close()
        return answer


class Refusal(asyncio.Protocol):
    """A connection beyond the cap: it is told so and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and close."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(_BUSY % (len(_BUSY_BODY), _BUSY_BODY))
        transport.close()


def acceptor(server: web.Server, limits: Limits) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of each new connection."""
    malformed, loop = Malformed(), asyncio.get_running_loop()

    def accept() -> asyncio.Protocol:
        if len(server.connections) >= limits.connections:
            return Refusal()
        return Connection(server, malformed, loop=loop, keepalive_timeout=limits.header_s, access_log=None)

    return accept
