"""API keys at rest: of each its SHA-256 and what it may do, never the key itself.

A key is `cnx_`, eight characters that name it, `_` and 43 characters that are 256 random bits. Nobody guesses those, so
a plain hash is enough. One that was revoked stays as a row: a store that has had a key never takes requests without.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from math import inf
from pathlib import Path
from secrets import token_bytes
from time import time, time_ns
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from attrs import evolve, frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import NOBODY, Viewer
from nexus_core.contract.values import Value
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import checked_name, checked_readers
from nexus_core.toolkit.suggest import did_you_mean

if TYPE_CHECKING:
    from nexus_core.store.store import Store

_P = ParamSpec("_P")
_T = TypeVar("_T")

SCOPES = ("query", "read", "admin")
CONCURRENCY = 8
"""Requests at once of one key, unless it says otherwise."""
OVERLAP_S = 86_400.0
"""So long a key goes on beside the one that takes its place, unless it is said otherwise."""
LONGEST = 128
"""Characters of a text that is looked at as a key at all."""
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET = 8, 43
_PATTERN = re.compile(f"cnx_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}})")
_COLUMNS = (
    "id, digest, owner, scopes, created, expires, revoked, used, requests_per_minute, tokens_per_minute, concurrency,"
    " groups, contexts, tags"
)


@frozen(kw_only=True, eq=False, repr=False)
class ApiKey(Value):
    """What is known of a key; times are seconds since the epoch."""

    id: str
    """The eight characters that name it, in logs too."""
    digest: bytes
    owner: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None
    used: float | None
    """When it was last seen, to the minute."""
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int
    groups: tuple[str, ...] = ()
    """The groups that whoever shows it is in, as `group:hr`."""
    contexts: tuple[str, ...] | None = None
    """The names of the contexts that it is bound to; `None` is any."""
    tags: tuple[str, ...] | None = None
    """It shows only items that have one of these; `None` is any."""

    @property
    def viewer(self) -> Viewer | None:
        """What may be seen with it; `None` is all: with the scope `admin`, unless it is bound to something."""
        if "admin" in self.scopes and self.contexts is None and self.tags is None:
            return None
        return Viewer(
            groups=frozenset(self.groups),
            contexts=None if self.contexts is None else frozenset(self.contexts),
            tags=None if self.tags is None else frozenset(self.tags),
        )

    def holds(self, now: float) -> bool:
        """Tell whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def parse(text: str) -> tuple[str, str] | None:
    """Return the name and the secret that a text holds, or `None` where it has not the form of a key."""
    found = _PATTERN.fullmatch(text) if len(text) <= LONGEST else None
    return (found[1], found[2]) if found else None


def digest_of(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


class ApiKeys:
    """The keys of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def new(
        self,
        owner: str,
        scopes: Sequence[str] = ("query", "read"),
        *,
        lives_s: float | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        concurrency: int = CONCURRENCY,
        groups: Sequence[str] = (),
        contexts: Sequence[str] = (),
        tags: Sequence[str] = (),
    ) -> tuple[ApiKey, str]:
        """Make a key; returns it with its whole text, which is told this once and kept nowhere.

        Who shows it is in `groups`, and sees of the store only these `contexts`, and of them only items that have one
        of these `tags`; without any, all that is granted to nobody else.
        """
        checked_name(owner, "the owner of a key")
        bound = _checked_bounds(scopes, contexts, tags)
        for scope in scopes:
            if scope not in SCOPES:
                raise UsageError(f"there is no scope {scope!r}{did_you_mean(scope, SCOPES)}: {', '.join(SCOPES)}")
        if not scopes:
            raise UsageError("a key without a scope may do nothing: name at least one of query, read, admin")
        if lives_s is not None and not 0 < lives_s < inf:
            raise UsageError(f"a key cannot live for {lives_s} s: give a time above 0, or none")
        secret, now = _random(_SECRET, 32), time()
        key = ApiKey(
            id=_random(_ID, 6)[-_ID:],
            digest=digest_of(secret),
            owner=owner,
            scopes=tuple(scope for scope in SCOPES if scope in scopes),
            created=now,
            expires=None if lives_s is None else now + lives_s,
            revoked=None,
            used=None,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            concurrency=concurrency,
            groups=_checked_groups(groups),
            contexts=bound[0],
            tags=bound[1],
        )
        await self._change(_insert, key)
        return key, f"cnx_{key.id}_{secret}"

    async def everything(self) -> tuple[ApiKey, ...]:
        """Return all keys, the oldest first, those that hold no more included."""
        return await self._store.read(_all)

    async def revoke(self, id: str) -> None:
        """Let a key hold no more, for good; raises UsageError where there is none of this name."""
        await self._change(_revoke, id, time())

    async def change(
        self,
        id: str,
        *,
        groups: Sequence[str] | None = None,
        contexts: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        """Change what may be seen with a key; `None` leaves a list as it is, an empty one binds to nothing.

        Raises UsageError where there is no key of this name that is not revoked.
        """
        told = {"groups": groups, "contexts": contexts, "tags": tags}
        await self._change(_rebind, id, {name: names for name, names in told.items() if names is not None})

    def stamp(self) -> int:
        """Return what is another number whenever keys were changed, by whatever process of this machine."""
        try:
            return os.stat(self._store.folder.keys_stamp).st_mtime_ns
        except OSError:
            return 0

    async def _change(
        self, work: Callable[Concatenate[SqlConnection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        result = await self._store.write(work, *args, **kwargs)
        await asyncio.to_thread(_mark, self._store.folder.keys_stamp)
        return result

    async def rotate(self, id: str, *, overlap_s: float = OVERLAP_S) -> tuple[ApiKey, str, float]:
        """Make a key that may do what another may, which holds for `overlap_s` on at most.

        Returns it with its whole text, and the time when the other one ends; raises UsageError where there is none of
        this name that holds.
        """
        if not 0 <= overlap_s < inf:
            raise UsageError(f"a key cannot go on for {overlap_s} s: give a time, or 0 to end it at once")
        secret = _random(_SECRET, 32)
        found = await self._change(_rotate, id, _random(_ID, 6)[-_ID:], digest_of(secret), time(), overlap_s)
        return found[0], f"cnx_{found[0].id}_{secret}", found[1]

    async def limit(
        self, id: str, *, requests_per_minute: int | None, tokens_per_minute: int | None, concurrency: int
    ) -> None:
        """Give a key other limits; raises UsageError where there is none of this name."""
        await self._change(_limit, id, (requests_per_minute, tokens_per_minute, concurrency))

    async def note_used(self, seen: Mapping[str, float]) -> None:
        """Note when keys were last seen."""
        await self._store.write(_note_used, seen)


def _checked_groups(groups: Sequence[str]) -> tuple[str, ...]:
    found = checked_readers(tuple(groups), "a key")
    if NOBODY in found:
        raise UsageError(f"{NOBODY} is nobody's group: what cannot be seen by anybody is granted to it")
    return found


def _checked_bounds(
    scopes: Sequence[str], contexts: Sequence[str], tags: Sequence[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return the names of the contexts and the tags that a key is bound to."""
    if "admin" in scopes and (contexts or tags):
        raise UsageError("a key with the scope admin sees and changes all, so it is bound to nothing: leave one out")
    every = [(contexts, "the name of a context"), (tags, "a tag")]
    bound = [tuple(dict.fromkeys(checked_name(each, what) for each in names)) or None for names, what in every]
    return bound[0], bound[1]


def _random(length: int, size: int) -> str:
    """Return so many random letters, made of so many random bytes."""
    number, letters = int.from_bytes(token_bytes(size)), []
    for _ in range(length):
        number, letter = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[letter])
    return "".join(letters)


def _insert(connection: SqlConnection, key: ApiKey) -> None:
    values = (
        key.id, key.digest, key.owner, " ".join(key.scopes), key.created, key.expires, key.revoked, key.used,
        key.requests_per_minute, key.tokens_per_minute, key.concurrency, _as_json(key.groups), _as_json(key.contexts),
        _as_json(key.tags),
    )  # fmt: skip
    connection.execute(f"INSERT INTO keys ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)


def _all(connection: SqlConnection) -> tuple[ApiKey, ...]:
    found = connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created, id")
    names = [name.strip() for name in _COLUMNS.split(",")]
    rows = (dict(zip(names, row, strict=True)) for row in found)
    return tuple(ApiKey(**{**row, "scopes": tuple(row["scopes"].split()), **_bounds(row)}) for row in rows)


def _as_json(names: Iterable[str] | None) -> str | None:
    return None if names is None else json.dumps(list(names), ensure_ascii=False)


def _bounds(row: Mapping[str, str | None]) -> dict[str, tuple[str, ...] | None]:
    """Return the groups of a key and what it is bound to, as the columns of a row have them."""
    told = {name: row[name] for name in ("groups", "contexts", "tags")}
    return {name: None if text is None else tuple(json.loads(text)) for name, text in told.items()}


def _revoke(connection: SqlConnection, id: str, now: float) -> None:
    done = connection.execute("UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (now, id))
    if not done.rowcount:
        known = [name for (name,) in connection.execute("SELECT id FROM keys ORDER BY created")]
        raise _no_key(id, known)


def _rebind(connection: SqlConnection, id: str, told: Mapping[str, Sequence[str]]) -> None:
    known = {key.id: key for key in _all(connection)}
    if id not in known:
        raise _no_key(id, known)
    key = known[id]
    if key.revoked is not None:
        raise UsageError(f"the key {id!r} is revoked, for good: make another one with `nexus keys new`")
    bound = {"contexts": key.contexts or (), "tags": key.tags or (), **told}
    contexts, tags = _checked_bounds(key.scopes, bound["contexts"], bound["tags"])
    groups = _checked_groups(told["groups"]) if "groups" in told else key.groups
    connection.execute(
        "UPDATE keys SET groups = ?, contexts = ?, tags = ? WHERE id = ?",
        (_as_json(groups), _as_json(contexts), _as_json(tags), id),
    )


def _rotate(
    connection: SqlConnection, id: str, new_id: str, digest: bytes, now: float, overlap_s: float
) -> tuple[ApiKey, float]:
    """Keep a key like another one, let that one end, and return the new one with the other's end."""
    known = {key.id: key for key in _all(connection)}
    if id not in known:
        raise _no_key(id, known)
    old = known[id]
    if not old.holds(now):
        raise UsageError(f"the key {id} holds no more, so none takes its place: make a new one")
    expires = None if old.expires is None else now + (old.expires - old.created)
    key = evolve(old, id=new_id, digest=digest, created=now, expires=expires, used=None)
    _insert(connection, key)
    ends = min(now + overlap_s, inf if old.expires is None else old.expires)
    connection.execute("UPDATE keys SET expires = ? WHERE id = ?", (ends, id))
    return key, ends


def _limit(connection: SqlConnection, id: str, limits: tuple[int | None, int | None, int]) -> None:
    done = connection.execute(
        "UPDATE keys SET requests_per_minute = ?, tokens_per_minute = ?, concurrency = ? WHERE id = ?", (*limits, id)
    )
    if not done.rowcount:
        raise _no_key(id, [key.id for key in _all(connection)])


def _no_key(id: str, known: Iterable[str]) -> UsageError:
    return UsageError(f"there is no key {id!r}{did_you_mean(id, known)}: `nexus keys list` shows those there are")


def _mark(stamp: Path) -> None:
    """Let servers look again at once; where that cannot be, they do so after some seconds."""
    with suppress(OSError):
        stamp.touch(mode=0o600)
        now = time_ns()
        os.utime(stamp, ns=(now, now))


def _note_used(connection: SqlConnection, seen: Mapping[str, float]) -> None:
    connection.executemany("UPDATE keys SET used = ? WHERE id = ?", [(when, id) for id, when in seen.items()])
