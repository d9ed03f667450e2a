"""Sessions at rest: who is signed in to the page, by the SHA-256 of what their browser holds.

A session's id is 256 random bits, so a plain hash is enough, and a copy of the store signs nobody in. It belongs to the
store and not to a process: every server of the store knows it, and a restart ends none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from secrets import token_urlsafe
from time import time
from typing import TYPE_CHECKING

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Value
from nexus_core.store.database.sql import SqlConnection

if TYPE_CHECKING:
    from nexus_core.store.store import Store

MOST_OF_ONE = 50
"""Sessions of one person; the oldest of more are ended."""
LONGEST = 128
"""Characters of a text that is looked at as the id of a session at all."""
_COLUMNS = "owner, name, groups, created, expires"


@frozen(kw_only=True, eq=False, repr=False)
class Session(Value):
    """Somebody who is signed in; times are seconds since the epoch."""

    owner: str
    """Whose conversations are seen."""
    name: str
    """What to call them on the page; nothing is decided by it."""
    groups: tuple[str, ...]
    """The groups that they were in when they signed in, as `group:hr`."""
    created: float
    expires: float


class Sessions:
    """The sessions of a store."""

    def __init__(self, store: Store, wall: Callable[[], float] = time) -> None:
        self._store = store
        self._wall = wall

    async def begin(self, owner: str, name: str, groups: Sequence[str], *, lives_s: float, state: str) -> str:
        """Sign somebody in, and return the id that their browser is to hold; it is kept nowhere.

        `state` is that of the sign-in: raises UsageError where another session has begun with it.
        """
        id, now = token_urlsafe(32), self._wall()
        session = Session(owner=owner, name=name, groups=tuple(groups), created=now, expires=now + lives_s)
        if not await self._store.write(_begin, _digest(id), session, _digest(state)):
            raise UsageError("this sign-in was used already: sign in again")
        return id

    async def find(self, id: str) -> Session | None:
        """Return the session of an id, `None` where there is none or its time is over."""
        found = await self._store.read(_find, _digest(id)) if 0 < len(id) <= LONGEST else None
        return found if found is not None and self._wall() < found.expires else None

    async def end(self, id: str) -> None:
        """Sign somebody out; an id that is nobody's is no error."""
        await self._store.write(_end, _digest(id))


def _digest(id: str) -> bytes:
    return sha256(id.encode("utf-8", "surrogateescape")).digest()


def _begin(connection: SqlConnection, digest: bytes, session: Session, state: bytes) -> bool:
    """Keep a session, and drop those that are over; returns whether its sign-in was used for the first time."""
    connection.execute("DELETE FROM sessions WHERE expires < ?", (session.created,))
    groups = json.dumps(session.groups, ensure_ascii=False)
    values = (digest, state, session.owner, session.name, groups, session.created, session.expires)
    done = connection.execute(
        f"INSERT INTO sessions (digest, state, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (state) DO NOTHING",
        values,
    )
    connection.execute(
        "DELETE FROM sessions WHERE owner = ? AND digest NOT IN"
        " (SELECT digest FROM sessions WHERE owner = ? ORDER BY created DESC, digest LIMIT ?)",
        (session.owner, session.owner, MOST_OF_ONE),
    )
    return done.rowcount > 0


def _find(connection: SqlConnection, digest: bytes) -> Session | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM sessions WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        return None
    owner, name, groups, created, expires = row
    return Session(owner=owner, name=name, groups=tuple(json.loads(groups)), created=created, expires=expires)


def _end(connection: SqlConnection, digest: bytes) -> None:
    connection.execute("DELETE FROM sessions WHERE digest = ?", (digest,))
