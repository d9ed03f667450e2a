"""Who asks, and what they may do: a key is looked up among those of the store, which are at hand as a whole."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from time import monotonic, time
from typing import Literal

from attrs import frozen

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.contract.errors import StoreError, StoreUnavailableError
from nexus_core.contract.run_context import Viewer
from nexus_core.store.access.api_keys import ApiKey, ApiKeys, digest_of, parse

Scope = Literal["query", "read", "admin", "any", "public"]
"""`query` asks and sees its own conversations; `read` sees contexts and figures; `admin` changes them; `any` is for
whoever has a key, where its scopes decide what the handler does; `public` is for whoever comes, without a key."""

FRESH_S = 5.0
"""So long what was read of the store holds: a key that another process revokes is refused after it."""
STALE_S = 30.0
"""So long it holds where the store is too busy to be read."""
SEEN_S = 60.0
"""So long a key goes on that was seen, where the database of the store is lost; nobody can say of others."""
AGAIN_S = 1.0
"""So often it is looked whether a database that was lost is there again, and for a key that is not known."""
_NOTED_S = 60.0
_NOBODY = digest_of("")


@frozen(kw_only=True)
class Identity:
    """Somebody whose key was verified, or whoever reaches a server without keys on this machine."""

    owner: str
    """Whose conversations are seen; the empty text where there are no keys."""
    scopes: frozenset[str]
    key_id: str = ""
    limits: RateLimitPolicy | None = None
    """What they may ask of one process; `None` is as much as anybody."""
    viewer: Viewer | None = None
    """Whose eyes they see the store with; `None` sees all."""
    groups: tuple[str, ...] = ()
    """The groups that they are in, as `group:hr`; what they use counts for these."""

    def may(self, scope: Scope) -> bool:
        """Tell whether a route of this scope is open to them; `admin` may do all."""
        return scope in ("any", "public") or scope in self.scopes or "admin" in self.scopes


ANYBODY = Identity(owner="", scopes=frozenset({"query", "read", "admin"}))
"""Who asks a server without keys, which listens on this machine alone."""


class Keyring:
    """The keys of a store, by name; whoever shows one of them is known, and nobody else is.

    Where the store has never had a key, anybody is let in if `open_without` says so; where it has lost those that were
    read once, nobody is.
    """

    def __init__(
        self,
        keys: ApiKeys,
        *,
        open_without: bool,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
        stamp: Callable[[], int] = int,
    ) -> None:
        """Take the keys of a store; `stamp` returns another number whenever they were changed."""
        self._keys = keys
        self._open_without = open_without
        self._clock = clock
        self._wall = wall
        self._stamp, self._stamped = stamp, -1
        self._known: dict[str, tuple[ApiKey, Identity]] = {}
        self._read_at: float | None = None
        self._noted_at = 0.0
        self._seen: dict[str, float] = {}
        """When keys were seen, to be noted in the store."""
        self._seen_at: dict[str, float] = {}
        """When keys were last seen while the store could be read."""
        self._lost: StoreUnavailableError | None = None
        """Why the store cannot be read, as long as that is so."""
        self._reading = asyncio.Lock()

    async def has_keys(self) -> bool:
        """Tell whether a key is needed."""
        await self._refresh()
        return bool(self._known)

    async def verify(self, text: str) -> Identity | None:
        """Return whose key a text is; `None` for one that is nobody's, revoked or expired.

        Raises StoreUnavailableError where nobody can say.
        """
        if not self._is_fresh:
            await self._refresh()
        if not self._known and self._open_without:
            return ANYBODY
        name, secret = parse(text) or ("", "")
        if name and name not in self._known:  # another server may have made it
            await self._look_for(name)
        key, identity = self._known.get(name, (None, None))
        # Compared also where the name is unknown, so that the time tells nothing.
        fits = hmac.compare_digest(digest_of(secret), _NOBODY if key is None else key.digest)
        now = self._wall()
        holds = key is not None and fits and key.holds(now)
        if self._lost is not None:
            if key is None or not holds or self._clock() - self._seen_at.get(key.id, -SEEN_S) >= SEEN_S:
                raise self._lost
            return identity
        if key is None or not holds:
            return None
        self._seen[key.id], self._seen_at[key.id] = now // 60 * 60, self._clock()
        return identity

    @property
    def _is_fresh(self) -> bool:
        is_new = self._read_at is not None and self._clock() - self._read_at < FRESH_S
        return is_new and self._stamp() == self._stamped

    async def renew(self) -> None:
        """Read the keys now: they have just been changed."""
        await self._refresh()

    async def note_used(self) -> None:
        """Write down when keys were last seen."""
        seen, self._seen = self._seen, {}
        if seen:
            await self._keys.note_used(seen)

    async def _look_for(self, name: str) -> None:
        """Read the keys for one that is not among them, unless that was done a moment ago."""
        async with self._reading:
            is_recent = self._read_at is not None and self._clock() - self._read_at < AGAIN_S
            if name not in self._known and not is_recent:
                await self._read()

    async def _refresh(self) -> None:
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        """Read the keys anew; those that were read stay for a while where the store cannot be read."""
        before, now = self._read_at, self._clock()
        stamped_before, stamped = self._stamped, self._stamp()
        if before is not None:
            self._read_at = now  # whoever comes meanwhile goes by what is known
            self._stamped = stamped
        try:
            if now - self._noted_at >= _NOTED_S:
                self._noted_at = now
                await self.note_used()
            self._known = {key.id: (key, _identity(key)) for key in await self._keys.everything()}
            # Keys are revoked and stay as rows: a store without any where some were is not the one that it was.
            self._open_without = self._open_without and not self._known
            self._read_at, self._stamped, self._lost = now, stamped, None
            self._seen_at = {id: seen for id, seen in self._seen_at.items() if id in self._known}
        except StoreUnavailableError as error:
            self._stamped = stamped_before
            if before is None:
                self._read_at = None
                raise
            self._lost, self._read_at = error, self._clock() - FRESH_S + AGAIN_S
        except BaseException as error:
            self._read_at, self._stamped = before, stamped_before
            if before is None or now - before >= STALE_S or not isinstance(error, StoreError):
                raise


def _identity(key: ApiKey) -> Identity:
    limits = RateLimitPolicy(
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        concurrency=key.concurrency,
        queue=0,
    )
    # What is bound to a part of the store is nobody who may change all of it, whatever its row says.
    bound = key.contexts is not None or key.tags is not None
    scopes = frozenset(key.scopes) - ({"admin"} if bound else frozenset())
    return Identity(owner=key.owner, scopes=scopes, key_id=key.id, limits=limits, viewer=key.viewer, groups=key.groups)
