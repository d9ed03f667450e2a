"""Access control: by which way a request may come in, with which key, and how much of it at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from typing import TYPE_CHECKING

from aiohttp import web

from nexus_core.contract.errors import StoreError
from nexus_core.engine.calls.deadline import Clock
from nexus_core.server.access.identity import ANYBODY, Identity
from nexus_core.server.access.key_limits import AdmittedRequest, KeyAdmissions, LimiterSource, MakeRoom
from nexus_core.server.access.request_origin import came_by_proxy, check_address, check_host, check_origin, origin_of
from nexus_core.server.access.run_slots import RunSlot, RunSlots
from nexus_core.server.access.spend_counter import SpendCounter
from nexus_core.server.access.start_pacing import StartPacing
from nexus_core.server.errors import Failure
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerLimits, WorkerSettings
from nexus_core.server.workers.shared_counters import CounterStore, LocalCounters, SharedCounters, State
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.server.access import token_verifier
    from nexus_core.server.access.sign_in import SignIn
else:
    token_verifier = LazyModule("nexus_core.server.access.token_verifier")  # for servers with an issuer

WRONG_KEYS_PER_MINUTE = 20
"""Keys that are nobody's, from one address; more are told to wait."""
_MINUTE_S = 60.0


class AuthThrottle:
    """Counts the wrong keys of each address, minute by minute."""

    def __init__(self, memory: CounterStore, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock

    def note(self, origin: str) -> float:
        """Count one, and return the seconds that its sender has to wait, 0 for none."""
        now = self._clock.now()

        def one_more(state: State | None) -> tuple[State, float]:
            since, count = state[:2] if state is not None else (now, 0.0)
            if now - since >= _MINUTE_S:
                since, count = now, 0.0
            return (since, count + 1), since + _MINUTE_S - now if count >= WRONG_KEYS_PER_MINUTE else 0.0

        return self._memory.change(origin, one_more)

    def learn(self, origin: str, total: int) -> None:
        """Note that there were so many in its minute, with those that came to other servers."""

        def at_least(state: State | None) -> tuple[State, None]:
            since, count = state[:2] if state is not None else (self._clock.now(), 0.0)
            return (since, max(count, float(total))), None

        self._memory.change(origin, at_least)


Verify = Callable[[str], Awaitable[Identity | None]]
"""Tells whose key it is; `None` is nobody's."""

_NOTHING: AbstractContextManager[AdmittedRequest | None] = nullcontext()


class AccessControl:
    """Lets requests in."""

    def __init__(
        self,
        limits: ServerLimits,
        *,
        verify: Verify | None = None,
        loopback: bool = True,
        scheme: str = "http",
        clock: Clock | None = None,
        worker: WorkerSettings | None = None,
        sign_in: SignIn | None = None,
        spend: SpendCounter | None = None,
        leases: LimiterSource | None = None,
    ) -> None:
        """Take what holds; a `worker` remembers with the others what they let in, and so do servers with `leases`.

        With `loopback` only this machine's own names are served; `scheme` is what clients speak. `sign_in` knows those
        whom an issuer vouches for, and `spend` counts what everybody uses.
        """
        self._verify = verify
        self._sign_in = sign_in
        """Without it there are no keys, and whoever reaches this machine's own address may do all."""
        self._checks_host = loopback
        self._scheme = scheme
        self._most = limits.body_bytes
        clock = clock or Clock()
        keys = None if worker is None else SharedCounters(worker.file, "keys")
        addresses = LocalCounters() if worker is None else SharedCounters(worker.file, "addresses")
        self.failures = AuthThrottle(addresses, clock)
        self.on_wrong_key: Callable[[str], None] = lambda origin: None
        """Is told from where each key came that is nobody's."""
        self._admissions = KeyAdmissions(clock, keys, spend, leases)
        self.places = RunSlots(limits)
        self.turnstile = StartPacing()

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to stop."""
        return self.places.is_draining

    async def check_way(self, request: web.Request) -> None:
        """Refuse what comes by a way that nobody should: other names, other pages, proxies, keys in addresses."""
        if self._checks_host:
            check_host(request)
        check_origin(request, self._scheme)
        check_address(request)
        if came_by_proxy(request.headers) and await self._is_open():
            said = "this server has no keys, so it serves this machine alone and nobody through a proxy: make a key"
            raise Failure(403, "forwarded_request", said)

    async def identify(self, request: web.Request, *, cookies: bool = True) -> Identity:
        """Return who asks; raises Failure where that is nobody. Without `cookies` a session of the page is none."""
        if self._verify is None:
            return ANYBODY
        shown = _key_of(request)
        if self._sign_in is not None and token_verifier.is_token(shown):
            return await self._identify_by_token(self._sign_in, shown, request)
        if self._sign_in is not None and not shown and cookies:
            found = await self._sign_in.cookies.identify(request)
            if found is not None:
                return found
        found = await self._verify(shown)
        if found is None:
            if shown:
                self.note_failure(request)
            raise Failure(401, "invalid_api_key", "the API key is missing or not valid", {"WWW-Authenticate": "Bearer"})
        return found

    async def _identify_by_token(self, sign_in: SignIn, text: str, request: web.Request) -> Identity:
        """Return who shows a token of the issuer; raises Failure."""
        try:
            return await sign_in.bearer(text)
        except token_verifier.TokenError as error:
            if not error.is_genuine:
                self.note_failure(request)
            told = f'Bearer error="invalid_token", error_description="{error.why}"'
            raise Failure(401, "invalid_token", error.why, {"WWW-Authenticate": told}) from error

    async def _is_open(self) -> bool:
        """Tell whether whoever comes without a key may do all."""
        try:
            return self._verify is None or await self._verify("") is ANYBODY
        except StoreError:  # then none of those is let in either
            return False

    def admit(
        self, who: Identity, request: web.Request, route: Route
    ) -> AbstractContextManager[AdmittedRequest | None]:
        """Return what holds a request inside the limits of its key; raises Failure where it is beyond them.

        Nothing of its body has been read yet.
        """
        if runs := _runs(route):
            self.places.check_room()
        return self._admissions.enter(who, self._size(request), runs=runs) or _NOTHING

    async def prepare(self, who: Identity, request: web.Request, route: Route) -> None:
        """Fetch what a request needs from limits that several servers share; what is at hand is not waited for."""
        await self._admissions.prepare(who, self._size(request), runs=_runs(route))

    def _size(self, request: web.Request) -> int:
        return min(request.content_length or 0, self._most)  # more is refused, whatever it says

    def slot(self, key_id: str = "") -> RunSlot:
        """Return an async context manager for one of the places for runs; entering raises Failure where none is."""
        return self.places.slot(key_id)

    def let_make_room(self, make_room: MakeRoom) -> None:
        """Say what ends a run that nobody reads where there is no place for another."""
        self.places.make_room = self._admissions.make_room = make_room

    async def drained(self, seconds: float) -> bool:
        """Let requests come to their end, for so long at most, then cut them; returns whether none had to be cut."""
        return await self.places.drained(seconds)

    def note_failure(self, request: web.Request) -> None:
        """Count a key that is nobody's; raises Failure where an address has shown too many in a minute."""
        origin = origin_of(request.remote or "")
        self.on_wrong_key(origin)
        wait = self.failures.note(origin)
        if wait:
            raise Failure(
                429,
                "too_many_failures",
                "too many keys that are not valid came from this address",
                {"Retry-After": str(ceil(wait))},
            )


def _runs(route: Route) -> bool:
    """Tell whether requests of a route ask models."""
    return route.method == "POST" and route.scope in ("query", "any") and route.body is not None


def check_scope(who: Identity, route: Route) -> None:
    """Raise Failure where somebody may not ask this."""
    if not who.may(route.scope):
        raise Failure(403, "forbidden", f"this key may not do this: it lacks the scope {route.scope!r}")


def _key_of(request: web.Request) -> str:
    """Return the key that a request shows, `""` for none; raises Failure where it shows several."""
    headers = request.headers
    bearer, own = headers.getall("Authorization", ()), headers.getall("X-Api-Key", ())
    if len(bearer) + len(own) > 1:
        raise Failure(400, "several_credentials", "the request shows several keys: send one")
    if own:
        return own[0].strip()
    scheme, _, key = bearer[0].partition(" ") if bearer else ("", "", "")
    return key.strip() if scheme.lower() == "bearer" else ""
