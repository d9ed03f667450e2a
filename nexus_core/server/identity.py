"""Who asks, and what they may do."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Scope = Literal["query", "read", "admin", "public"]
"""`query` asks and sees its own conversations; `read` sees contexts and figures; `admin` changes them; `public` is for
whoever comes, without a key."""


@frozen(kw_only=True)
class Identity:
    """Somebody whose key was verified, or whoever reaches a server without keys on this machine."""

    owner: str
    """Whose conversations are seen; the empty text where there are no keys."""
    scopes: frozenset[str]
    key_id: str = ""

    def may(self, scope: Scope) -> bool:
        """Tell whether a route of this scope is open to them; `admin` may do all."""
        return scope == "public" or scope in self.scopes or "admin" in self.scopes


ANYBODY = Identity(owner="", scopes=frozenset({"query", "read", "admin"}))
"""Who asks a server without keys, which listens on this machine alone."""
