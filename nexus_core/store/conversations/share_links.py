"""Links by which others read a conversation: up to the turn that was its last when the link was made, and no further.

A link's token is 256 random bits and its SHA-256 alone is kept, so a copy of the store opens nothing. A link widens
nothing: whoever opens it is shown the turns that are made of what they may see themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from secrets import token_urlsafe
from time import time

from attrs import evolve, frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Value
from nexus_core.store.conversations import conversation_rows as rows
from nexus_core.store.conversations.conversation import Turn, checked_ttl
from nexus_core.store.conversations.conversation_rows import Hidden
from nexus_core.store.conversations.turn_sources import HiddenTurns, TurnVisibility
from nexus_core.store.conversations.turn_versions import replaced_since
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.worker_threads import WorkerThreads

LONGEST_TOKEN = 128
"""Characters of a text that is looked at as a link's token at all."""
_OPEN = (
    "SELECT key, share_links.title, share_links.turns, share_links.created, share_links.expires"
    " FROM share_links JOIN conversations ON key = conversation_key WHERE digest = ?"
    " AND (share_links.expires IS NULL OR share_links.expires > ?)"
    " AND (conversations.expires IS NULL OR conversations.expires > ?)"
)


@frozen(kw_only=True, eq=False, repr=False)
class ShareLink(Value):
    """A link to a conversation; times are seconds since the epoch."""

    title: str
    """Of the conversation when it was made."""
    turns: int
    """How many turns it shows, as far as whoever is told of it sees them."""
    created: float
    expires: float | None
    """`None` is never: it ends with the conversation, or when it is withdrawn."""


@frozen(kw_only=True, eq=False, repr=False)
class SharedConversation(Value):
    """What a link shows to whoever opens it."""

    link: ShareLink
    """Without its title where a turn is hidden, or an earlier version of one, of which it may tell."""
    turns: tuple[Turn, ...]
    """The next of those that they may see, in their order."""
    is_partial: bool
    """Whether some are not shown: made of what they may not see, or asked again since the link was made."""


class StoredShareLinks:
    """The links to conversations of a store, one of each at most, as `store.conversations.links`."""

    def __init__(self, threads: WorkerThreads, clock: Callable[[], float] = time) -> None:
        self._threads = threads
        self._clock = clock

    async def make(
        self, id: str, *, owner: str = "", ttl_s: float | None = None, viewer: Viewer | None = None
    ) -> tuple[ShareLink, str]:
        """Make a link to a conversation as it is now, and return it with its token, which is kept nowhere.

        It takes the place of the one there was. `ttl_s` is how many seconds it holds, `None` until it is withdrawn.
        UsageError where there is no such conversation, or the viewer sees none of its turns.
        """
        token, hidden = token_urlsafe(32), self._hidden(viewer, by_link=False)
        seen = await self._threads.read(rows.get_seen, owner, id, self._clock(), hidden)
        if not seen.turns:
            raise UsageError(f"the conversation {id!r} has no turn yet: ask something in it, then share it")
        life = checked_ttl(ttl_s)
        link = await self._threads.write(_make, owner, id, self._clock(), seen.title, _digest(token), life)
        unseen = await self._threads.read(rows.find_hidden, owner, id, self._clock(), hidden)
        return _as_seen(link, unseen), token

    async def get(self, id: str, *, owner: str = "", viewer: Viewer | None = None) -> ShareLink | None:
        """Return the link to a conversation that holds, if there is one; UsageError where there is no conversation.

        A viewer is told as many turns as they see of it themselves, and no title that may tell of others.
        """
        hidden = self._hidden(viewer, by_link=False)
        return await self._threads.read(_get, owner, id, self._clock(), hidden)

    async def withdraw(self, id: str, *, owner: str = "") -> bool:
        """End the link to a conversation at once, and return whether there was one; UsageError as `get` does."""
        return await self._threads.write(_withdraw, owner, id, self._clock())

    async def open(
        self, token: str, *, after: int = 0, limit: int = 100, viewer: Viewer | None = None
    ) -> SharedConversation:
        """Return what a link shows to a viewer: its next turns after a number; UsageError where it holds no more."""
        if not 0 < len(token) <= LONGEST_TOKEN:
            raise _nothing()
        hidden = self._hidden(viewer, by_link=True)
        return await self._threads.read(_open, _digest(token), self._clock(), (after, limit), hidden)

    def _hidden(self, viewer: Viewer | None, *, by_link: bool) -> Hidden | None:
        return None if viewer is None else TurnVisibility(self._threads.opened(), viewer, by_link).hidden


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _nothing() -> UsageError:
    return UsageError("this link leads to nothing: it is not whole, was withdrawn, or has expired")


# On a connection


def _make(
    connection: SqlConnection, owner: str, id: str, now: float, title: str, digest: bytes, ttl_s: float | None
) -> ShareLink:
    conversation = rows.get_seen(connection, owner, id, now, None)
    expires = None if ttl_s is None else now + ttl_s
    link = ShareLink(title=title, turns=conversation.turns, created=now, expires=expires)
    connection.execute("DELETE FROM share_links WHERE conversation_key = ?", (conversation.key,))
    connection.execute(
        "INSERT INTO share_links (conversation_key, digest, title, turns, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
        (conversation.key, digest, title, link.turns, now, expires),
    )
    return link


def _get(connection: SqlConnection, owner: str, id: str, now: float, hidden: Hidden | None) -> ShareLink | None:
    key = rows.get_seen(connection, owner, id, now, None).key
    row = connection.execute(
        "SELECT title, turns, created, expires FROM share_links WHERE conversation_key = ?"
        " AND (expires IS NULL OR expires > ?)",
        (key, now),
    ).fetchone()
    if row is None:
        return None
    unseen = HiddenTurns() if hidden is None else hidden(connection, key)
    return _as_seen(ShareLink(title=row[0], turns=row[1], created=row[2], expires=row[3]), unseen)


def _as_seen(link: ShareLink, unseen: HiddenTurns) -> ShareLink:
    """Return a link as somebody is told of it from whom some turns are hidden."""
    turns = link.turns - sum(number <= link.turns for number in unseen.numbers)
    return evolve(link, turns=turns, title="" if unseen else link.title)


def _withdraw(connection: SqlConnection, owner: str, id: str, now: float) -> bool:
    key = rows.get_seen(connection, owner, id, now, None).key
    return connection.execute("DELETE FROM share_links WHERE conversation_key = ?", (key,)).rowcount > 0


def _open(
    connection: SqlConnection, digest: bytes, now: float, page: tuple[int, int], hidden: Hidden | None
) -> SharedConversation:
    row = connection.execute(_OPEN, (digest, now, now)).fetchone()
    if row is None:
        raise _nothing()
    key, title, turns, created, expires = row
    link = ShareLink(title=title, turns=turns, created=created, expires=expires)
    not_seen = HiddenTurns() if hidden is None else hidden(connection, key)
    unseen = [number for number in {*replaced_since(connection, key, created), *not_seen.numbers} if number <= turns]
    found = rows.turns_of(connection, key, unseen, page[0], page[1], until=turns)
    told = evolve(link, title="") if unseen or not_seen.versions else link
    return SharedConversation(link=told, turns=found, is_partial=bool(unseen))
