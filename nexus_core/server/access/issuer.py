"""OpenID Connect issuer: its addresses and public keys, read over HTTP and kept for a while, and codes for tokens.

Keys are looked up anew where a token names one that is not known, but never more often than every ten seconds, so that
nobody makes this server ask for others. Where the issuer cannot be reached, what was read holds for an hour.
"""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import aiohttp

from nexus_core.contract.errors import NexusError, UsageError
from nexus_core.server.access.request_origin import is_local
from nexus_core.server.errors import Failure
from nexus_core.server.settings import OidcSettings
from nexus_core.toolkit.http.bodies import open_session, read_body
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from joserfc import jwk
else:
    jwk = LazyModule("joserfc.jwk")  # an extra, for servers with an issuer alone

FRESH_S = 600.0
"""So long what was read of the issuer holds."""
STALE_S = 3600.0
"""So long it holds where the issuer cannot be reached."""
LOOK_AGAIN_S = 10.0
"""Not more often is the issuer asked for its keys."""
TIMEOUT_S = 10.0
_CAP = 2**20
"""Bytes of one of its answers."""
_MOST_KEYS = 100
_RETRY_S = "10"

_log = logging.getLogger(__name__)


def check_issuer(settings: OidcSettings) -> None:
    """Raise UsageError for an issuer whose answers anybody on the way could replace, and for what names no audience."""
    if find_spec("authlib") is None or find_spec("joserfc") is None:
        raise UsageError("to let people of an issuer in takes an extra: pip install 'contextnexus[oidc]'")
    _check_address(settings.issuer, "the issuer", settings.issuer, UsageError)
    if urlsplit(settings.issuer).query or urlsplit(settings.issuer).fragment:
        raise UsageError(f"the issuer {settings.issuer!r} is an address without ? and #, as it stands in `iss`")
    if not settings.accepts:
        raise UsageError(
            "tokens of an issuer are made out for somebody: give --oidc-client-id, so that people can sign in, or "
            "--oidc-audience, so that bearer tokens are taken"
        )


class Issuer:
    """What is known of the issuer; an async context manager."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._metadata: Mapping[str, Any] = {}
        self._keys: tuple[Any, ...] = ()
        self._read_at: float | None = None
        """When it was last read."""
        self._tried_at: float | None = None
        """When that was last tried."""
        self._problem = ""
        """Why the last try failed."""

    async def __aenter__(self) -> Issuer:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def metadata(self) -> Mapping[str, Any]:
        """Return the issuer's own description; raises Failure where it was not reached for an hour."""
        await self._refresh()
        return self._metadata

    async def keys(self, algorithm: str, name: str | None) -> Sequence[Any]:
        """Return the public keys that can have signed something, none where the issuer has none such.

        Raises Failure where the issuer cannot be reached, so that nobody knows.
        """
        await self._refresh()
        found = self._fitting(algorithm, name)
        if not found and self._may_try():
            await self._read()
            found = self._fitting(algorithm, name)
        if not found and self._problem:
            raise self._unreachable()
        return found

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Mapping[str, Any]:
        """Return the tokens for a code of the issuer; raises Failure where it gives none."""
        settings, metadata = self._settings, await self.metadata()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier,
        }  # fmt: skip
        headers = {"Accept": "application/json"}
        methods = metadata.get("token_endpoint_auth_methods_supported", ("client_secret_basic",))
        if settings.client_secret and "client_secret_basic" in methods:
            pair = f"{quote(settings.client_id, safe='')}:{quote(settings.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = settings.client_id
            if settings.client_secret:
                form["client_secret"] = settings.client_secret
        status, told = await self._request("POST", _endpoint(metadata, "token_endpoint"), data=form, headers=headers)
        if status != 200:
            said = str(told.get("error", ""))[:80]
            raise Failure(
                400, "sign_in_refused", "the sign-in was not confirmed: sign in again",
                noted=f"the token endpoint of {settings.issuer} answered with status {status} {said!a}",
            )  # fmt: skip
        return told

    async def user_info(self, access_token: str) -> Mapping[str, Any]:
        """Return the claims that the issuer tells of somebody beside a token, none where it has no address for them."""
        metadata = await self.metadata()
        if not metadata.get("userinfo_endpoint"):
            return {}
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        status, told = await self._request("GET", _endpoint(metadata, "userinfo_endpoint"), headers=headers)
        return told if status == 200 else {}

    def _may_try(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= LOOK_AGAIN_S

    async def _refresh(self) -> None:
        """Read what is too old; raises Failure where that is not possible and nothing holds that was read before."""
        if self._age() >= STALE_S:
            await self._read()
            if self._age() >= STALE_S:
                raise self._unreachable()
        elif self._age() >= FRESH_S and self._may_try() and not self._reading.locked():
            # Beside the request, which need not wait for an issuer that is slow or gone.
            self._refreshing = asyncio.create_task(self._read())

    def _age(self) -> float:
        return inf if self._read_at is None else self._clock() - self._read_at

    async def _read(self) -> None:
        """Read description and keys, unless that was tried a moment ago; what goes wrong is noted."""
        async with self._reading:  # whoever waits here finds that it was tried
            if not self._may_try():
                return
            self._tried_at = self._clock()
            try:
                metadata = await self._read_metadata()
                self._keys = await self._read_keys(_endpoint(metadata, "jwks_uri"))
                self._metadata = metadata
            except Failure as error:
                self._problem = str(error)
                _log.warning("%s", self._problem)
            else:
                self._problem, self._read_at = "", self._clock()

    async def _read_metadata(self) -> Mapping[str, Any]:
        issuer = self._settings.issuer
        address = issuer.rstrip("/") + "/.well-known/openid-configuration"
        status, told = await self._request("GET", address)
        if status != 200 or told.get("issuer") != issuer:
            of = f"status {status}" if status != 200 else f"the description of {str(told.get('issuer'))[:200]!a}"
            raise _unreachable(f"{address} gives {of}: --oidc-issuer must be as in `issuer` there")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            if name in told:
                _check_address(told[name], f"{name} of the issuer", issuer, _unreachable)
        return told

    async def _read_keys(self, address: str) -> tuple[Any, ...]:
        status, told = await self._request("GET", address)
        listed = told.get("keys")
        if status != 200 or not isinstance(listed, list):
            raise _unreachable(f"{address} gives no keys (status {status})")
        return tuple(key for each in listed[:_MOST_KEYS] if (key := _public_key(each)) is not None)

    async def _request(self, method: str, address: str, **more: Any) -> tuple[int, Mapping[str, Any]]:
        """Return status and JSON of an answer of the issuer; raises Failure where there is none."""
        if self._session is None:
            self._session = open_session(connections=10)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._session.request(method, address, allow_redirects=False, **more) as response,
            ):
                body = await read_body(response, _CAP)
        except (TimeoutError, aiohttp.ClientError, OSError, NexusError) as error:
            raise _unreachable(f"{address} does not answer: {type(error).__name__}: {str(error)[:200]}") from error
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None  # such as a page of a proxy in between
        return (response.status, told) if isinstance(told, dict) else (response.status, {})

    def _fitting(self, algorithm: str, name: str | None) -> list[Any]:
        fitting = [key for key in self._keys if _fits(key, algorithm)]
        return fitting if name is None else [key for key in fitting if key.as_dict().get("kid") == name]

    def _unreachable(self) -> Failure:
        return _unreachable(self._problem)


def _unreachable(why: str) -> Failure:
    said = "the issuer of tokens cannot be reached, so nobody new can be let in: try again in a moment"
    return Failure(503, "issuer_unreachable", said, {"Retry-After": _RETRY_S}, noted=why)


def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
    address = metadata.get(name)
    if not isinstance(address, str):
        raise _unreachable(f"the description of the issuer has no {name}")
    return address


def _check_address(address: object, what: str, issuer: str, error: Callable[[str], Exception]) -> None:
    """Refuse addresses whose answers somebody on the way could replace; this machine alone may do without TLS."""
    parts = urlsplit(address) if isinstance(address, str) else None
    near = parts is not None and is_local(parts.netloc) and is_local(urlsplit(issuer).netloc)
    if parts is None or not parts.netloc or not (parts.scheme == "https" or (parts.scheme == "http" and near)):
        raise error(f"{what}, {str(address)[:200]!a}, must begin with https://")


_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def _fits(key: Any, algorithm: str) -> bool:
    """Tell whether a key is of the kind that an algorithm takes, and not meant for anything else."""
    told = key.as_dict()
    kind = ("EC", _CURVES[algorithm]) if algorithm in _CURVES else ("RSA", None)
    return (
        (told["kty"], told.get("crv")) == kind
        and told.get("use", "sig") == "sig"
        and told.get("alg", algorithm) == algorithm
    )


def _public_key(told: object) -> Any:
    """Return a key for signatures, `None` for any other: above all no symmetric one."""
    if not isinstance(told, dict) or told.get("kty") not in ("RSA", "EC"):
        return None
    names = ("kty", "n", "e", "crv", "x", "y", "kid", "use", "alg")
    try:
        return jwk.import_key({name: told[name] for name in names if name in told})
    except Exception as error:  # noqa: BLE001 - one odd key of an issuer is no reason to refuse the others
        _log.warning("a key of the issuer is passed over: %s", type(error).__name__)
        return None
