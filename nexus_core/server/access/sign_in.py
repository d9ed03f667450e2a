"""Sign-in to the page: OpenID Connect's authorization code flow with PKCE, state and nonce, and sessions by cookie."""

from __future__ import annotations

import hmac
import html
import re
from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web

from nexus_core.contract.errors import UsageError
from nexus_core.server.access.identity import Identity
from nexus_core.server.access.issuer import Issuer, check_issuer
from nexus_core.server.access.people import Person, claim, identity_of, person_of
from nexus_core.server.access.session_cookies import SessionCookies
from nexus_core.server.access.sign_in_state import LIVES_S, SignInState
from nexus_core.server.access.token_verifier import TokenError, TokenVerifier
from nexus_core.server.errors import Failure
from nexus_core.server.settings import CALLBACK, OidcSettings, ServerSettings
from nexus_core.store.access.sessions import Sessions
from nexus_core.store.store import Store
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from authlib.oauth2 import rfc7636
    from authlib.oauth2.rfc6749 import parameters
else:  # an extra, for servers with an issuer alone
    parameters, rfc7636 = map(LazyModule, ("authlib.oauth2.rfc6749.parameters", "authlib.oauth2.rfc7636"))

_VIEW = re.compile(r"#[A-Za-z0-9%/._~-]{0,1000}")
"""Where the page may go on: one of its own views, and never an address."""
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_LONGEST_CODE = 4096
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    "<title>Not signed in · ContextNexus</title><h1>Not signed in</h1><p>{said}</p>"
    '<p><a href="login">Sign in again</a> or <a href="../">go to the page</a>.</p></html>'
)
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class SignIn:
    """Lets people in whom the issuer knows: by bearer tokens, and by signing in to the page."""

    def __init__(
        self, oidc: OidcSettings, settings: ServerSettings, store: Store, cookies: SessionCookies, *, secure: bool
    ) -> None:
        self.oidc = oidc
        self.cookies = cookies
        self.issuer = Issuer(oidc)
        self.tokens = TokenVerifier(self.issuer, oidc)
        self.wall: Callable[[], float] = time
        self._settings = settings
        self._store = store
        self._secure = secure
        self._state_name = "__Host-nexus-sign-in" if secure else "nexus-sign-in"

    async def bearer(self, text: str) -> Identity:
        """Return the identity of who shows a token; raises TokenError or Failure."""
        person = person_of(await self.tokens.bearer(text), self.oidc)
        return identity_of(person.owner, person.groups, self.oidc)

    async def begin(self, request: web.Request) -> web.Response:
        """Send a browser to the issuer."""
        if not self.oidc.client_id:
            raise Failure(404, "no_sign_in", "this server takes bearer tokens of its issuer, and has no sign-in")
        metadata = await self.issuer.metadata()
        state = SignInState.begin(_view(request.query.get("next", "")), self.wall())
        address = parameters.prepare_grant_uri(
            metadata["authorization_endpoint"], self.oidc.client_id, "code", redirect_uri=self._callback(request),
            scope=list(self.oidc.scopes), state=state.state, nonce=state.nonce, code_challenge_method="S256",
            code_challenge=rfc7636.create_s256_code_challenge(state.verifier),
        )  # fmt: skip
        response = _redirect(address)
        response.set_cookie(
            self._state_name, state.sign(await self._store.read_secret()), max_age=int(LIVES_S), path="/",
            secure=self._secure, httponly=True, samesite="Lax",
        )  # fmt: skip
        return response

    async def finish(self, request: web.Request) -> web.Response:
        """Take who comes back from the issuer in, if it was this browser that went there; raises Failure."""
        text = request.cookies.get(self._state_name, "")
        state = SignInState.read(text, await self._store.read_secret(), self.wall())
        told, shown = request.query, request.query.get("state", "")
        if state is None or not hmac.compare_digest(shown.encode("utf-8", "replace"), state.state.encode()):
            _refuse("sign_in_state", "this sign-in was not begun in this browser, or too long ago")
        if "error" in told:
            _refuse("sign_in_denied", "the sign-in was refused there", f"the issuer says {told['error'][:80]!a}")
        if told.get("iss", self.oidc.issuer) != self.oidc.issuer or not 0 < len(told.get("code", "")) <= _LONGEST_CODE:
            _refuse("sign_in_refused", "this is no answer of the issuer of this server")
        person = await self._person(told["code"], state, self._callback(request))
        identity_of(person.owner, person.groups, self.oidc)  # refuses whom no group lets in
        try:
            id = await self.cookies.sessions.begin(
                person.owner, person.name, person.groups, lives_s=self.oidc.session_s, state=state.state
            )
        except UsageError:
            _refuse("sign_in_state", "this sign-in was used already")
        response = _redirect(f"{self._settings.public_url}/{state.next}")
        self.cookies.keep(response, id)
        self.forget_state(response)
        return response

    def forget_state(self, response: web.StreamResponse) -> None:
        """Let a browser hold no sign-in that has begun."""
        response.del_cookie(self._state_name, path="/", secure=self._secure, httponly=True, samesite="Lax")

    async def _person(self, code: str, state: SignInState, callback: str) -> Person:
        """Return who signed in, by the ID token for a code, and what the issuer tells beside it."""
        told = await self.issuer.exchange(code, state.verifier, callback)
        access = told.get("access_token") if isinstance(told.get("access_token"), str) else None
        try:
            claims = await self.tokens.id_token(str(told.get("id_token", "")), nonce=state.nonce, access_token=access)
            if access and claim(claims, self.oidc.groups_claim) is None:
                beside = await self.issuer.user_info(access)
                claims = {**beside, **claims} if beside.get("sub") == claims.get("sub") else claims
            return person_of(claims, self.oidc)
        except TokenError as error:
            _refuse("sign_in_refused", "the issuer's answer is not that of this sign-in", str(error))

    def _callback(self, request: web.Request) -> str:
        """Return the address that the issuer sends browsers back to."""
        if self._settings.public_url:
            return self._settings.public_url + CALLBACK
        if not _HOST.fullmatch(request.host):
            raise Failure(400, "invalid_request", "the header Host names no host")
        return f"{'https' if self._secure else 'http'}://{request.host}{CALLBACK}"


def sign_in_with(oidc: OidcSettings, settings: ServerSettings, store: Store, *, secure: bool) -> SignIn:
    """Return what lets people of an issuer in; raises UsageError for one that cannot be used."""
    check_issuer(oidc)
    return SignIn(oidc, settings, store, SessionCookies(Sessions(store), oidc, secure=secure), secure=secure)


def _view(next: str) -> str:
    """Return where the page goes on; whatever is no view of it is left out."""
    return next if _VIEW.fullmatch(next) else ""


def _refuse(code: str, said: str, noted: str = "") -> NoReturn:
    raise Failure(400, code, f"{said}: sign in again", noted=noted)


def _redirect(address: str) -> web.Response:
    headers = {"Location": address, "Referrer-Policy": "no-referrer", "Content-Security-Policy": _POLICY}
    return web.Response(status=303, headers=headers)


def refusal_page(failure: Failure) -> web.Response:
    """Return what people see of a sign-in that failed: a browser shows it in the place of the page."""
    text = _PAGE.format(said=html.escape(failure.message[:1].upper() + failure.message[1:]) + ".")
    policy = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(
        status=failure.status, text=text, content_type="text/html", headers={**failure.headers, **policy}
    )
