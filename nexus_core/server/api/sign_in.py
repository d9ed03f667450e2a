"""Addresses of the sign-in to the page: to the issuer, back from it, who is signed in, and out again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from aiohttp import web

from nexus_core.server.access.access import AccessControl
from nexus_core.server.access.people import identity_of
from nexus_core.server.access.sign_in import CALLBACK, SignIn, refusal_page
from nexus_core.server.errors import Failure
from nexus_core.server.http.bodies import json_answer
from nexus_core.server.http.json_schema import MOMENT, TEXT, array, closed, or_null
from nexus_core.server.routes import Route

_PERSON = {"name": TEXT, "owner": TEXT, "groups": array(TEXT), "isAdmin": {"type": "boolean"}, "expires": MOMENT}
SESSION = closed(
    {"signIn": {"type": "boolean"}, "person": or_null(closed(_PERSON, required=tuple(_PERSON), name="Person"))},
    required=("signIn", "person"),
    name="Session",
)
"""What `GET /auth/session` answers."""


class SignInApi:
    """Serves the sign-in, where the server has an issuer; where it has none, it says so."""

    def __init__(self, sign_in: SignIn | None, gate: AccessControl) -> None:
        self._sign_in = sign_in
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
        sign_in = self._needed()
        return await _shown(request, lambda: sign_in.begin(request))

    async def callback(self, request: web.Request) -> web.Response:
        """Take a browser in that comes back."""
        sign_in = self._needed()

        async def finish() -> web.Response:
            try:
                return await sign_in.finish(request)
            except Failure as failure:
                if failure.status == 400:
                    self._gate.note_failure(request)  # whoever guesses is slowed down, as with keys
                raise

        return await _shown(request, finish)

    async def logout(self, request: web.Request) -> web.Response:
        """Sign out."""
        sign_in = self._needed()
        sign_in.cookies.check_same_origin(request)
        await sign_in.cookies.end(request)
        response = web.Response(status=204)
        sign_in.cookies.forget(response)
        return response

    async def session(self, request: web.Request) -> web.Response:
        """Tell who is signed in."""
        if self._sign_in is None:
            return json_answer({"signIn": False, "person": None})
        session = await self._sign_in.cookies.find(request)
        person = None
        with suppress(Failure):  # of who is in no group any more that is let in
            if session is not None:
                who = identity_of(session.owner, session.groups, self._sign_in.oidc)
                person = {
                    "name": session.name, "owner": session.owner, "groups": [*session.groups],
                    "isAdmin": who.may("admin"), "expires": session.expires,
                }  # fmt: skip
        return json_answer({"signIn": bool(self._sign_in.oidc.client_id), "person": person})

    def _needed(self) -> SignIn:
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
        return refusal_page(failure)
