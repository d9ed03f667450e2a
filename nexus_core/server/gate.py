"""Who may come in: the host that a request must name, the key it must show, and how much is let in at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from urllib.parse import urlsplit

from aiohttp import web

from nexus_core.engine.attempts.clock import Clock
from nexus_core.server.addresses import origin_of
from nexus_core.server.admission import Admissions, Entry
from nexus_core.server.errors import Failure
from nexus_core.server.failures import Failures
from nexus_core.server.identity import ANYBODY, Identity
from nexus_core.server.memory import OwnMemory, SharedMemory
from nexus_core.server.places import Places, Slot
from nexus_core.server.routes import Route
from nexus_core.server.settings import Limits, Worker
from nexus_core.server.turnstile import Turnstile

Verify = Callable[[str], Awaitable[Identity | None]]
"""Tells whose key it is; `None` is nobody's."""

_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_IN_QUERY = frozenset({"api_key", "apikey", "api-key", "access_token", "key"})
_NOTHING: AbstractContextManager[Entry | None] = nullcontext()


class Gate:
    """Lets requests in."""

    def __init__(
        self,
        limits: Limits,
        *,
        verify: Verify | None = None,
        loopback: bool = True,
        clock: Clock | None = None,
        worker: Worker | None = None,
    ) -> None:
        """Take what holds; a `worker` remembers with the others what they let in."""
        self._verify = verify
        """Without it there are no keys, and whoever reaches this machine's own address may do all."""
        self._loopback = loopback
        self._most = limits.body_bytes
        clock = clock or Clock()
        keys = None if worker is None else SharedMemory(worker.file, "keys")
        addresses = OwnMemory() if worker is None else SharedMemory(worker.file, "addresses")
        self._failures = Failures(addresses, clock)
        self._admissions = Admissions(clock, keys)
        self.places = Places(limits)
        self.turnstile = Turnstile()

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to stop."""
        return self.places.is_draining

    def check_host(self, request: web.Request) -> None:
        """Refuse requests for other hosts, and from pages of others: a browser on this machine could bring them."""
        if not self._loopback:
            return
        hosts = request.headers.getall("Host", ())
        if len(hosts) != 1 or not _is_local(hosts[0]) or not _is_local(request.host):
            raise Failure(421, "wrong_host", "this server listens on this machine alone: ask it as localhost")
        origin = request.headers.get("Origin")
        if origin is not None and not _is_local(_host_of(origin)):
            raise Failure(403, "wrong_origin", "this server takes no requests from pages of other hosts")

    async def identify(self, request: web.Request, route: Route) -> Identity:
        """Return who asks; raises Failure where they may not ask this."""
        if self._verify is None:
            return ANYBODY
        shown = _key_of(request)
        found = await self._verify(shown)
        if found is None:
            if shown:
                self._note_failure(request.remote or "")
            raise Failure(401, "invalid_api_key", "the API key is missing or not valid", {"WWW-Authenticate": "Bearer"})
        if not found.may(route.scope):
            raise Failure(403, "forbidden", f"this key may not do this: it lacks the scope {route.scope!r}")
        return found

    def admit(self, who: Identity, request: web.Request, route: Route) -> AbstractContextManager[Entry | None]:
        """Return what holds a request inside the limits of its key; raises Failure where it is beyond them.

        Nothing of its body has been read yet.
        """
        runs = route.method == "POST" and route.scope == "query"
        if runs:
            self.places.check_room()
        size = min(request.content_length or 0, self._most)  # more is refused, whatever it says
        return self._admissions.enter(who, size, runs=runs) or _NOTHING

    def slot(self) -> Slot:
        """Return an async context manager for one of the places for runs; entering raises Failure where none is."""
        return self.places.slot()

    async def drained(self, seconds: float) -> bool:
        """Let requests come to their end, for so long at most, then cut them; returns whether none had to be cut."""
        return await self.places.drained(seconds)

    def _note_failure(self, address: str) -> None:
        """Count a key that is nobody's; raises Failure where an address has shown too many in a minute."""
        wait = self._failures.note(origin_of(address))
        if wait:
            raise Failure(
                429,
                "too_many_failures",
                "too many keys that are not valid came from this address",
                {"Retry-After": str(ceil(wait))},
            )


def _key_of(request: web.Request) -> str:
    """Return the key that a request shows, `""` for none; raises Failure where it shows several, or in the address."""
    if request.query_string and not _IN_QUERY.isdisjoint(map(str.lower, request.query)):
        raise Failure(400, "key_in_address", "a key in an address ends in logs: send it as Authorization: Bearer KEY")
    headers = request.headers
    bearer, own = headers.getall("Authorization", ()), headers.getall("X-Api-Key", ())
    if len(bearer) + len(own) > 1:
        raise Failure(400, "several_credentials", "the request shows several keys: send one")
    if own:
        return own[0].strip()
    scheme, _, key = bearer[0].partition(" ") if bearer else ("", "", "")
    return key.strip() if scheme.lower() == "bearer" else ""


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_local(host: str) -> bool:
    """Tell whether a host, with or without a port, is this machine by name; anything odd is not."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["name"].strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
