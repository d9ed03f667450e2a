"""Who may come in: the host that a request must name, the key it must show, and how much is let in at once."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from nexus_core.server.errors import Failure
from nexus_core.server.identity import ANYBODY, Identity
from nexus_core.server.routes import Route
from nexus_core.server.settings import Limits

Verify = Callable[[str], Awaitable[Identity | None]]
"""Tells whose key it is; `None` is nobody's."""


class Gate:
    """Lets requests in."""

    def __init__(self, limits: Limits, *, verify: Verify | None = None, loopback: bool = True) -> None:
        self._verify = verify
        """Without it there are no keys, and whoever reaches this machine's own address may do all."""
        self._loopback = loopback
        self._limits = limits
        self._running = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._empty = asyncio.Event()
        self.is_draining = False

    def check_host(self, request: web.Request) -> None:
        """Refuse requests for other hosts: a page in a browser could reach a server on this machine by them."""
        if self._loopback and not _is_local(request.host):
            raise Failure(421, "wrong_host", "this server listens on this machine alone: ask it as localhost")

    async def identify(self, request: web.Request, route: Route) -> Identity:
        """Return who asks; raises Failure where they may not ask this."""
        if self._verify is None:
            return ANYBODY
        found = await self._verify(_key_of(request))
        if found is None:
            raise Failure(401, "invalid_api_key", "the API key is missing or not valid", {"WWW-Authenticate": "Bearer"})
        if not found.may(route.scope):
            raise Failure(403, "forbidden", f"this key may not do this: it lacks the scope {route.scope!r}")
        return found

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places for runs, after a short wait if need be; raises Failure where there is none."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing runs any more, for so long at most; returns whether that is so."""
        self.is_draining = True
        if self._running:
            self._empty.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        return not self._running

    async def _enter(self) -> None:
        if self.is_draining:
            raise Failure(503, "server_shutting_down", "the server is about to stop", {"Retry-After": "5"})
        if self._running < self._limits.running and not self._waiting:
            self._running += 1
            return
        if len(self._waiting) >= self._limits.waiting:
            raise _overloaded()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await turn
        except TimeoutError as error:
            if not turn.done() or turn.cancelled():  # else the place came in the last moment
                raise _overloaded() from error
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _leave(self) -> None:
        """Give the place to who waits longest, or back."""
        while self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1
        if not self._running:
            self._empty.set()


def _overloaded() -> Failure:
    return Failure(503, "overloaded", "the server is busy: try again in a moment", {"Retry-After": "1"})


def _key_of(request: web.Request) -> str:
    """Return the key that a request shows, `""` for none; raises Failure where it shows several."""
    shown: list[str] = [*request.headers.getall("Authorization", ()), *request.headers.getall("X-Api-Key", ())]
    if len(shown) > 1:
        raise Failure(400, "several_credentials", "the request shows several keys: send one")
    if not shown:
        return ""
    scheme, _, key = shown[0].partition(" ")
    if "Authorization" in request.headers:
        return key.strip() if scheme.lower() == "bearer" else ""
    return shown[0].strip()


def _is_local(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
