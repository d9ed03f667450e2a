"""State of a sign-in that has begun: what its browser holds until it comes back from the issuer.

It is a cookie that the store's own secret signs, so that any server of the store finishes what another began, none
remembers what strangers begin, and nobody finishes a sign-in in the browser of somebody else.
"""

from __future__ import annotations

import binascii
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from secrets import token_urlsafe

from attrs import asdict, frozen

LIVES_S = 600.0
"""So long somebody may take to sign in at the issuer."""
LONGEST = 3000
"""Characters of the cookie."""
_PURPOSE = b"sign-in state 1"


@frozen(kw_only=True)
class SignInState:
    """One sign-in."""

    state: str
    """Comes back in the address, and shows that this browser began it."""
    nonce: str
    """Comes back in the ID token, and shows that it was made for this sign-in."""
    verifier: str
    """Shows the issuer who began it (PKCE)."""
    next: str
    """The part of the page to show then, as `#contexts`."""
    began: float

    @classmethod
    def begin(cls, next: str, now: float) -> SignInState:
        """Return a new one."""
        return cls(state=token_urlsafe(24), nonce=token_urlsafe(24), verifier=token_urlsafe(48), next=next, began=now)

    def sign(self, secret: bytes) -> str:
        """Return the text of the cookie."""
        body = urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")
        return f"{body}.{_signature(body, secret)}"

    @classmethod
    def read(cls, text: str, secret: bytes, now: float) -> SignInState | None:
        """Return what a cookie holds that was signed so, and not too long ago; `None` for any other."""
        body, _, signature = text.partition(".")
        if len(text) > LONGEST or not text.isascii() or not hmac.compare_digest(signature, _signature(body, secret)):
            return None
        try:
            found = cls(**json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4))))
        except (binascii.Error, ValueError, TypeError):
            return None
        return found if 0 <= now - found.began < LIVES_S else None


def _signature(body: str, secret: bytes) -> str:
    key = hmac.digest(secret, _PURPOSE, sha256)
    return hmac.new(key, body.encode(), sha256).hexdigest()
