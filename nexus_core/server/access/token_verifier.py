"""Token verification: whether a JWT was signed by the issuer, for this server, and holds now.

What a token says of itself is never believed further than to find the key: the algorithm must be one of a fixed list of
asymmetric ones and fit the kind of the key, so neither `none` nor a public key taken for a secret passes.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any

from nexus_core.server.access.issuer import Issuer
from nexus_core.server.settings import OidcSettings
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from authlib.oidc import core as oidc
    from joserfc import errors as jose, jws, jwt
else:  # an extra, for servers with an issuer alone
    oidc, jose, jws, jwt = map(LazyModule, ("authlib.oidc.core", "joserfc.errors", "joserfc.jws", "joserfc.jwt"))

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
LEEWAY_S = 30
"""So far the clocks of issuer and server may be apart."""
LONGEST = 16 * 1024
"""Characters of a token that is looked at."""
_TYPES = ("", "jwt", "at+jwt")
"""Of access and ID tokens; others, such as those of logouts, are for the same audience and say other things."""
_MOST_KEYS = 5
"""Keys that are tried for a token that names none."""


class TokenError(Exception):
    """A token that is not taken: why, in words that its sender may read."""

    def __init__(self, message: str, *, is_genuine: bool = False) -> None:
        super().__init__(message)
        self.why = message
        self.is_genuine = is_genuine
        """Whether the issuer has signed it: who sends it is at least no guesser."""


def is_token(text: str) -> bool:
    """Tell whether a text has the form of a signed JWT; no key has."""
    return text.count(".") == 2


class TokenVerifier:
    """Verifies the tokens of one issuer."""

    def __init__(self, issuer: Issuer, settings: OidcSettings, wall: Callable[[], float] = time) -> None:
        self._issuer = issuer
        self._settings = settings
        self._wall = wall

    async def bearer(self, text: str) -> Mapping[str, Any]:
        """Return the claims of a bearer token; raises TokenError, and Failure where the issuer cannot be reached."""
        _, claims = await self._decode(text)
        self._check(claims, self._settings.accepts)
        return claims

    async def id_token(self, text: str, *, nonce: str, access_token: str | None) -> Mapping[str, Any]:
        """Return the claims of the ID token of a sign-in with this nonce; raises as `bearer` does."""
        header, claims = await self._decode(text)
        client = self._settings.client_id
        self._check(claims, (client,))
        params = {"nonce": nonce, "client_id": client, "access_token": access_token}
        checked = oidc.CodeIDToken(dict(claims), header, params=params)
        try:
            checked.validate(now=int(self._wall()), leeway=LEEWAY_S)
        except jose.JoseError as error:
            raise TokenError("the ID token is not that of this sign-in", is_genuine=True) from error
        return claims

    async def _decode(self, text: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """Return header and claims of a token that the issuer has signed."""
        header = _header(text)
        keys = await self._issuer.keys(header["alg"], header.get("kid"))
        for key in keys[:_MOST_KEYS]:
            registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
            registry.max_header_length = LONGEST
            try:
                claims = jwt.decode(text, key, algorithms=[header["alg"]], registry=registry).claims
            except (jose.JoseError, ValueError):
                continue
            return header, claims
        raise TokenError("the token is not signed by the issuer of this server")

    def _check(self, claims: Mapping[str, Any], audiences: Sequence[str]) -> None:
        """Raise TokenError unless claims are of this issuer, for this server, and hold now."""
        told = claims.get("aud")
        aud = told if isinstance(told, list) else [told]
        if claims.get("iss") != self._settings.issuer:
            raise TokenError("the token is of another issuer", is_genuine=True)
        if not any(isinstance(each, str) and each in audiences for each in aud):
            raise TokenError("the token is made out for others (aud)", is_genuine=True)
        essential: Any = {name: {"essential": True} for name in ("iss", "sub", "aud", "exp")}
        try:
            jwt.JWTClaimsRegistry(int(self._wall()), LEEWAY_S, **essential).validate(dict(claims))
        except jose.ExpiredTokenError as error:
            raise TokenError("the token has expired", is_genuine=True) from error
        except jose.JoseError as error:
            raise TokenError("the token lacks a claim, or does not hold yet", is_genuine=True) from error


def _header(text: str) -> dict[str, Any]:
    """Return the header of a token, which nobody has verified; raises TokenError for one that is not taken at all."""
    if len(text) > LONGEST or not text.isascii():
        raise TokenError("the token is too long, or no token")
    first = text.partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise TokenError("the token cannot be read") from error
    if not isinstance(header, dict) or header.get("alg") not in ALGORITHMS:
        raise TokenError("the token is signed by an algorithm that is not taken here")
    kind = str(header.get("typ", "")).lower().removeprefix("application/")
    if kind not in _TYPES or "crit" in header or not isinstance(header.get("kid", ""), str):
        raise TokenError("the token is of a kind that is not taken here")
    return header
