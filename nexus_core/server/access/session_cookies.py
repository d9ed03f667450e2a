"""Session cookies: who asks by what their browser holds, and the proof that a page of this server makes it ask.

A cookie comes with every request of a browser, whoever made it send one. So a request that is to change something must
show by its headers `Origin` or `Sec-Fetch-Site`, which no page can write, that it is from the server's own page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from aiohttp import web

from nexus_core.contract.errors import StoreError
from nexus_core.server.access.identity import Identity
from nexus_core.server.access.people import identity_of
from nexus_core.server.access.request_origin import check_origin
from nexus_core.server.errors import Failure
from nexus_core.server.settings import OidcSettings
from nexus_core.store.access.sessions import Session, Sessions

SEEN_S = 60.0
"""So long a session that was seen goes on where the store cannot be read."""
_MOST_SEEN = 10_000
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class SessionCookies:
    """The sessions behind the cookies of one server."""

    def __init__(
        self, sessions: Sessions, settings: OidcSettings, *, secure: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        """Take the sessions; `secure` where browsers come by HTTPS."""
        self.sessions = sessions
        self._settings = settings
        self._secure = secure
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, Session]] = OrderedDict()
        # Browsers keep a name with this prefix from everybody but this host over HTTPS.
        self.name = "__Host-nexus-session" if secure else "nexus-session"

    async def identify(self, request: web.Request) -> Identity | None:
        """Return who asks by the cookie of a request, `None` for nobody; raises Failure for what other pages ask."""
        session = await self.find(request)
        if session is None:
            return None
        self.check_same_origin(request)
        return identity_of(session.owner, session.groups, self._settings)

    async def find(self, request: web.Request) -> Session | None:
        """Return the session of a request, `None` for none; that of a moment ago where the store cannot be read."""
        id = request.cookies.get(self.name, "")
        if not id:
            return None
        now = self._clock()
        try:
            found = await self.sessions.find(id)
        except StoreError:
            seen, session = self._seen.get(id, (-SEEN_S, None))
            if session is None or now - seen >= SEEN_S:
                raise
            return session
        self._seen.pop(id, None)
        if found is not None:
            self._seen[id] = now, found
            if len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
        return found

    def check_same_origin(self, request: web.Request) -> None:
        """Raise Failure for a request that another page may have made a browser send."""
        site = request.headers.get("Sec-Fetch-Site")
        is_from_elsewhere = site not in (None, "same-origin", "none")
        proves_nothing = "Origin" not in request.headers and site != "same-origin"
        if is_from_elsewhere or (request.method not in _READING and proves_nothing):
            said = (
                "whoever is signed in changes things by the page of this server alone; programs send a key or a token"
            )
            raise Failure(403, "wrong_origin", said)
        check_origin(request, "https" if self._secure else "http")

    async def end(self, request: web.Request) -> None:
        """Sign somebody out, on all servers of the store."""
        id = request.cookies.get(self.name, "")
        self._seen.pop(id, None)
        if id:
            await self.sessions.end(id)

    def keep(self, response: web.StreamResponse, id: str) -> None:
        """Let a browser hold the id of a session for as long as that lives."""
        response.set_cookie(
            self.name, id, max_age=int(self._settings.session_s), path="/", secure=self._secure, httponly=True,
            samesite="Lax",
        )  # fmt: skip

    def forget(self, response: web.StreamResponse) -> None:
        """Let a browser hold none."""
        response.del_cookie(self.name, path="/", secure=self._secure, httponly=True, samesite="Lax")
