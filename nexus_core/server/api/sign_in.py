"""Addresses of the sign-in to the page: to the issuer, back from it, who is signed in, and out again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web

from nexus_core.server.access.access import AccessControl
from nexus_core.server.errors import Failure
from nexus_core.server.http.bodies import json_answer
from nexus_core.server.http.json_schema import MOMENT, TEXT, array, closed, or_null
from nexus_core.server.routes import Route
from nexus_core.server.settings import CALLBACK
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.server.access import people, sign_in
else:  # for servers with an issuer
    people, sign_in = map(LazyModule, ("nexus_core.server.access.people", "nexus_core.server.access.sign_in"))

_PERSON = {"name": TEXT, "owner": TEXT, "groups": array(TEXT), "isAdmin": {"type": "boolean"}, "expires": MOMENT}
SESSION = closed(
    {"signIn": {"type": "boolean"}, "person": or_null(closed(_PERSON, required=tuple(_PERSON), name="Person"))},
    required=("signIn", "person"),
    name="Session",
)
"""What `GET /auth/session` answers."""


class SignInApi:
    """Serves the sign-in, where the server has an issuer; where it has none, it says so."""

    def __init__(self, signs_in: sign_in.SignIn | None, gate: AccessControl) -> None:
        self._sign_in = signs_in
        self._gate = gate

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path="/auth/login", handler=self.login, scope="public", bare=True, status=303,
                name="signIn", summary="Send a browser to the issuer to sign in.", answers_as=(), errors=(404,),
            ),
            Route(
                method="GET", path=CALLBACK, handler=self.callback, scope="public", bare=True, status=303,
                name="finishSignIn",
                summary="Take a browser in that comes back from the issuer.", answers_as=(), errors=(403, 404, 429),
            ),
            Route(
                method="DELETE", path="/auth/session", handler=self.logout, scope="public", bare=True, status=204,
                name="signOut", summary="Sign out, on all servers of the store.", errors=(403, 404),
            ),
            Route(
                method="GET", path="/auth/session", handler=self.session, scope="public", bare=True, answer=SESSION,
                name="getSession", summary="Tell whether there is a sign-in, and who is signed in.",
            ),
        ]  # fmt: skip

    async def login(self, request: web.Request) -> web.Response:
        """Send a browser to the issuer."""
        needed = self._needed()
        return await _shown(request, lambda: needed.begin(request))

    async def callback(self, request: web.Request) -> web.Response:
        """Take a browser in that comes back."""
        needed = self._needed()

        async def finish() -> web.Response:
            try:
                return await needed.finish(request)
            except Failure as failure:
                if failure.status == 400:
                    self._gate.note_failure(request)  # whoever guesses is slowed down, as with keys
                raise

        return await _shown(request, finish)

    async def logout(self, request: web.Request) -> web.Response:
        """Sign out."""
        cookies = self._needed().cookies
        cookies.check_same_origin(request)
        await cookies.end(request)
        response = web.Response(status=204)
        cookies.forget(response)
        return response

    async def session(self, request: web.Request) -> web.Response:
        """Tell who is signed in."""
        if self._sign_in is None:
            return json_answer({"signIn": False, "person": None})
        session = await self._sign_in.cookies.find(request)
        person = None
        with suppress(Failure):  # of who is in no group any more that is let in
            if session is not None:
                who = people.identity_of(session.owner, session.groups, self._sign_in.oidc)
                person = {
                    "name": session.name, "owner": session.owner, "groups": [*session.groups],
                    "isAdmin": who.may("admin"), "expires": session.expires,
                }  # fmt: skip
        return json_answer({"signIn": bool(self._sign_in.oidc.client_id), "person": person})

    def _needed(self) -> sign_in.SignIn:
        return self._sign_in if self._sign_in is not None else _refuse()


def _refuse() -> NoReturn:
    raise Failure(404, "no_sign_in", "this server has no sign-in: `nexus serve --oidc-issuer` gives it one")


async def _shown(request: web.Request, work: Callable[[], Awaitable[web.Response]]) -> web.Response:
    """Return what a browser sees, of a failure a page that says what to do; programs get it as JSON."""
    try:
        return await work()
    except Failure as failure:
        if "text/html" not in request.headers.get("Accept", ""):
            raise
        return sign_in.refusal_page(failure)
