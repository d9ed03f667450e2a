"""Connections of clients: no more than so many, in all and of one address, and a short word to who sends no HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from secrets import token_hex
from time import monotonic
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from nexus_core.server.access.request_origin import HERE, origin_of
from nexus_core.server.errors import Failure, shape
from nexus_core.server.http.bodies import json_answer
from nexus_core.server.http.listener import ConnectionSlot, ThrottledLog
from nexus_core.server.settings import ServerLimits

_TELL_S = 10.0
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\nServer: nexus\r\nContent-Length: %d\r\n\r\n%s"
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


class ConnectionCounter:
    """Counts the connections that are open, in all and of each address; whoever has left is forgotten."""

    def __init__(
        self, limits: ServerLimits, origin: Callable[[str], str] = origin_of, *, most: int | None = None
    ) -> None:
        """Take the limits; `most` is how many connections the process has files for, where those are fewer."""
        self._most = limits.connections if most is None else most
        why = (
            "raise --connections" if self._most == limits.connections else "open files allow no more: raise `ulimit -n`"
        )
        self._refused = ThrottledLog(_log, f"%d connections refused, of at most %s at once; {why}")
        self._most_of_one = limits.connections_per_address
        self._origin = origin
        self.open = 0
        self.by_origin: dict[str, int] = {}
        """Without those of this machine, of which there may be as many as there may be at all."""

    def enter(self, address: str) -> str | None:
        """Count one more, and return what to give back with `leave`; `None` where there are too many."""
        origin = self._origin(address) if self._most_of_one else HERE
        of_one = self.by_origin.get(origin, 0)
        if self.open >= self._most:
            self._refused.note(f"{self._most:,}")
            return None
        if origin != HERE and of_one >= self._most_of_one:
            return None
        self.open += 1
        if origin != HERE:
            self.by_origin[origin] = of_one + 1
        return origin

    def leave(self, origin: str) -> None:
        """Count one less."""
        self.open -= 1
        if origin != HERE:
            self.by_origin[origin] -= 1
            if not self.by_origin[origin]:
                del self.by_origin[origin]


class ClientConnection(RequestHandler):
    """aiohttp's connection, but counted, and of malformed requests nothing comes back or into the log."""

    __slots__ = ("crowd", "malformed", "origin", "slot")

    def __init__(
        self,
        manager: web.Server,
        malformed: Malformed,
        crowd: ConnectionCounter,
        slot: ConnectionSlot | None,
        **options: Any,
    ) -> None:
        self.malformed = malformed
        self.crowd = crowd
        self.slot = slot
        self.origin: str | None = None
        """What it is counted as."""
        super().__init__(manager, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection, or say that it is one too many."""
        # Counted here and not when it is accepted: many are accepted before the first of them is made.
        self.origin = self.crowd.enter((transport.get_extra_info("peername") or ("",))[0])
        if self.origin is None:
            # By what it can do and not by its class: other event loops (uvloop) have transports of their own.
            refuse(cast(asyncio.Transport, transport), self.slot)
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        if self.origin is not None:
            self.crowd.leave(self.origin)
            self.origin = None
        if self.slot is not None:
            self.slot.free()
        super().connection_lost(exc)

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
        told = shape(failure, token_hex(12), openai=False, to_operator=False)
        headers = {"Server": "nexus", "Cache-Control": "no-store"}
        answer = json_answer(told, status=failure.status, headers=headers)
        answer.force_close()
        return answer


class _Refused(asyncio.Protocol):
    """What is left of a connection that is one too many."""

    def __init__(self, slot: ConnectionSlot | None) -> None:
        self._slot = slot

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._slot is not None:
            self._slot.free()


def refuse(transport: asyncio.Transport, slot: ConnectionSlot | None = None) -> None:
    """Say that a connection is one too many, and close it; what it sends is nobody's."""
    transport.set_protocol(_Refused(slot))
    transport.write(_BUSY % (len(_BUSY_BODY), _BUSY_BODY))
    transport.close()


class Accept(Protocol):
    """Makes the protocol of a connection."""

    def __call__(self, slot: ConnectionSlot | None = None) -> asyncio.Protocol:
        """Return it; it frees the slot at its end."""


def acceptor(server: web.Server, limits: ServerLimits, crowd: ConnectionCounter | None = None) -> Accept:
    """Return what makes the protocol of each new connection."""
    malformed, loop = Malformed(), asyncio.get_running_loop()
    crowd = crowd or ConnectionCounter(limits)

    def accept(slot: ConnectionSlot | None = None) -> asyncio.Protocol:
        return ClientConnection(
            server, malformed, crowd, slot, loop=loop, keepalive_timeout=limits.header_s, access_log=None
        )

    return accept
