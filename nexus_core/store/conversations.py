"""Conversations at rest: what was asked and answered in turns, each owner's apart from those of all others.

A turn is kept in one transaction with its number, so that the numbers of a conversation have no gap however many runs
write to it. What has expired is gone for readers at once, and deleted by the writes that follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from math import inf
from secrets import token_urlsafe
from time import time
from typing import Literal

from attrs import evolve, frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Item, Message, Value
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import checked_name
from nexus_core.store.turn_sources import TurnVisibility, sources_json
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.suggest import did_you_mean

MOST_TURNS = 200
"""No more of the newest turns are loaded for a run, whatever its window."""
_PAGE = 10_000
"""The most that one call lists."""
_ALONG = 50
"""So many expired conversations are deleted along with a write: it must not take long because of them."""
_LARGEST = 2**62
"""No number of a turn is as large, and SQLite knows none that is much larger."""
_AT_ONCE = 500
"""So many are deleted in one transaction: others want to write, too."""
_SETTING = "conversation_ttl_s"
TITLE_CHARACTERS = 200
"""Characters of a conversation's title."""
_CONVERSATION = (
    "SELECT key, owner, id, created, changed, ttl_s, expires, turns, "
    f"(SELECT substr(query, 1, {TITLE_CHARACTERS}) FROM turns"
    " WHERE conversation_key = conversations.key AND number = 1), title "
    "FROM conversations"
)
COMMENT_CHARACTERS = 2_000
"""Characters of what is said of an answer."""
Rating = Literal["up", "down"]
"""What its owner thinks of an answer."""
_TURN = "SELECT number, run_id, time, query, answer, model, rating, comment FROM turns WHERE conversation_key = ?"
Hidden = Callable[[SqlConnection, int], Collection[int]]
"""Returns the numbers of the turns of a conversation, by its key, that are hidden from whoever looks."""
_ALIVE = "(expires IS NULL OR expires > ?)"


@frozen(kw_only=True, eq=False, repr=False)
class Conversation(Value):
    """What is known of a conversation beside its turns; times are seconds since the epoch."""

    key: int
    owner: str
    """Whose it is: of those who name nobody `""`."""
    id: str
    """Unique among those of its owner."""
    created: float
    changed: float
    """When its last turn was kept."""
    ttl_s: float | None
    """How long it lives after its last turn; `None` is for ever."""
    expires: float | None
    turns: int
    title: str
    """What its owner calls it, else how its first question begins; nothing before the first turn."""
    is_renamed: bool = False
    """Whether its owner has given the title."""

    @property
    def place(self) -> tuple[float, int]:
        """Where it stands in a list: the next page comes after it."""
        return self.changed, self.key


@frozen(kw_only=True, eq=False, repr=False)
class Turn(Value):
    """A question with its whole answer."""

    number: int
    """From 1, without gaps, in the order in which the runs came to their end."""
    run_id: str
    time: float
    """When it was kept, in seconds since the epoch."""
    query: str
    """As the user asked it."""
    answer: str
    model: str
    """The name in the pipeline of the model that answered."""
    rating: Rating | None = None
    comment: str | None = None
    """Why it is rated so."""


class StoredConversations:
    """The conversations of a store, as `store.conversations`; give it to `Pipeline.load(..., conversations=...)`."""

    def __init__(self, threads: WorkerThreads, clock: Callable[[], float] = time) -> None:
        self._threads = threads
        self._clock = clock

    # For a run

    async def history(self, id: str, *, owner: str = "", characters: int | None = None) -> tuple[Message, ...]:
        """Return what was said so far, oldest first; nothing where there is no such conversation yet.

        It is the newest 200 turns at most, and of them no more than are needed to come to so many characters. A turn
        whose answer is blank (a call of a tool) is left out, since services refuse messages without text.
        """
        return await self.history_for(None, id, owner=owner, characters=characters)

    async def history_for(
        self, viewer: Viewer | None, id: str, *, owner: str = "", characters: int | None = None
    ) -> tuple[Message, ...]:
        """Return what was said so far, as `history` does, but for the turns made of what a viewer may not see."""
        _check(id, owner)
        limit = inf if characters is None else characters
        return await self._threads.read(_history, owner, id, self._clock(), limit, self._hidden(viewer))

    async def add(self, id: str, *, query: str, answer: str, model: str, run_id: str, owner: str = "") -> int:
        """Keep a turn, durably, and return its number; begins the conversation where there is none.

        Of a run that is kept already nothing is written again. Halves of surrogate pairs, as of a model that broke off
        inside one, are kept as U+FFFD.
        """
        return await self.add_turn(None, id, query=query, answer=answer, model=model, run_id=run_id, owner=owner)

    async def add_turn(
        self,
        viewer: Viewer | None,
        id: str,
        *,
        query: str,
        answer: str,
        model: str,
        run_id: str,
        owner: str = "",
        contexts: Sequence[str] = (),
        items: Sequence[Item] = (),
    ) -> int:
        """Keep a turn, as `add` does, with what it was made of: from who may not see that it is hidden from now on."""
        _check(id, owner)
        texts = (run_id, query, answer, model)
        turn = tuple(_whole(text, takes_nul=not self._threads.folder.is_server) for text in texts)
        unseen: Sequence[int] = ()
        if viewer is not None:
            unseen = await self._threads.read(_unseen, owner, id, self._clock(), self._hidden(viewer))
        sources = sources_json(contexts, items, unseen)
        return await self._threads.write(_add, owner, id, self._clock(), (*turn, sources))

    def _hidden(self, viewer: Viewer | None) -> Hidden | None:
        """Return what tells the numbers of the turns that a viewer may not see; `None` where they see all."""
        return None if viewer is None else TurnVisibility(self._threads.opened(), viewer).hidden

    # For those who keep them

    async def new(
        self, id: str | None = None, *, owner: str = "", ttl_s: float | Literal["default"] | None = "default"
    ) -> Conversation:
        """Begin a conversation, under an id that nobody guesses where none is given; UsageError where there is one.

        `ttl_s` is how many seconds it lives after its last turn, `None` for ever; else as the store's default says.
        """
        made = token_urlsafe(16) if id is None else id
        _check(made, owner)
        lives = ttl_s if ttl_s == "default" else _checked_ttl(ttl_s)
        return await self._threads.write(_new, owner, made, self._clock(), lives)

    async def get(self, id: str, *, owner: str = "", viewer: Viewer | None = None) -> Conversation:
        """Return a conversation, to a viewer as they may see it; UsageError where there is none."""
        _check(id, owner)
        return await self._threads.read(_get_seen, owner, id, self._clock(), self._hidden(viewer))

    async def list(
        self,
        *,
        owner: str | None = "",
        after: tuple[float, int] | None = None,
        limit: int = 100,
        viewer: Viewer | None = None,
    ) -> tuple[Conversation, ...]:
        """Return conversations, the last changed first: those of an owner, or with `None` those of all owners.

        The next page comes with `after=page[-1].place`. A conversation that changes meanwhile moves to the front.
        """
        if owner:
            checked_name(owner, "the owner of a conversation")
        place, hidden = after or (inf, 0), self._hidden(viewer)
        return await self._threads.read(_list_seen, owner, self._clock(), place, _checked_limit(limit), hidden)

    async def turns(
        self, id: str, *, owner: str = "", after: int = 0, limit: int = 100, viewer: Viewer | None = None
    ) -> tuple[Turn, ...]:
        """Return the next turns after a number, in their order; UsageError where there is no such conversation.

        To a viewer, those that are made of what they may see.
        """
        _check(id, owner)
        return await self._threads.read(
            _turns, owner, id, self._clock(), min(after, _LARGEST), _checked_limit(limit), self._hidden(viewer)
        )

    async def rename(self, id: str, title: str | None, *, owner: str = "") -> None:
        """Give a conversation a title of at most 200 characters; without one it is called by its first question again.

        It counts as no change, so that its time to live goes on. UsageError where there is no such conversation.
        """
        _check(id, owner)
        told = _whole((title or "").strip(), takes_nul=not self._threads.folder.is_server)
        if len(told) > TITLE_CHARACTERS:
            raise UsageError(f"the title has {len(told):,} characters: give at most {TITLE_CHARACTERS}")
        await self._threads.write(_rename, owner, id, self._clock(), told or None)

    async def rate(
        self,
        id: str,
        run_id: str,
        rating: Rating | None,
        *,
        comment: str | None = None,
        owner: str = "",
        viewer: Viewer | None = None,
    ) -> Turn:
        """Keep with the answer of a run what its owner thinks of it, in place of what was kept; `None` takes it back.

        A comment has at most 2,000 characters. UsageError where the viewer sees no such turn.
        """
        _check(id, owner)
        if rating not in ("up", "down", None):
            raise UsageError(f"the rating is {rating!r}: give 'up', 'down' or None")
        said = _whole((comment or "").strip(), takes_nul=not self._threads.folder.is_server)
        if len(said) > COMMENT_CHARACTERS:
            raise UsageError(f"the comment has {len(said):,} characters: give at most {COMMENT_CHARACTERS:,}")
        now = self._clock()
        unseen = await self._threads.read(_unseen, owner, id, now, self._hidden(viewer))
        return await self._threads.write(
            _rate, owner, id, now, run_id, (rating, (said or None) if rating else None), unseen
        )

    async def delete(self, id: str, *, owner: str = "") -> None:
        """Delete a conversation with all its turns; UsageError where there is none."""
        _check(id, owner)
        await self._threads.write(_delete, owner, id, self._clock())

    async def expire(self, now: float | None = None, *, idle_s: float | None = None) -> int:
        """Delete what has expired by now, of all owners, and what had no turn for `idle_s`; returns how many."""
        moment = self._clock() if now is None else now
        idle_since = -inf if idle_s is None else moment - (_checked_ttl(idle_s) or 0.0)
        count = 0
        while gone := await self._threads.write(_expire, moment, idle_since, _AT_ONCE):
            count += gone
        return count

    async def default_ttl(self) -> float | None:
        """Return how many seconds conversations live after their last turn that do not say so; `None` is for ever."""
        return await self._threads.read(_default_ttl)

    async def set_default_ttl(self, seconds: float | None) -> None:
        """Set that for all conversations that are begun from now on, by whatever process."""
        await self._threads.write(_set_default_ttl, _checked_ttl(seconds))


# On a connection


def _history(
    connection: SqlConnection, owner: str, id: str, now: float, limit: float, hidden: Hidden | None
) -> tuple[Message, ...]:
    unseen = frozenset(_unseen(connection, owner, id, now, hidden)) if hidden is not None else frozenset()
    rows = connection.execute(
        "SELECT number, query, answer FROM turns WHERE conversation_key = "
        f"(SELECT key FROM conversations WHERE owner = ? AND id = ? AND {_ALIVE}) ORDER BY number DESC LIMIT ?",
        (owner, id, now, MOST_TURNS),
    )
    found: list[Message] = []
    for number, query, answer in rows:
        if number in unseen:
            continue
        if answer.strip():
            found += (Message("assistant", answer), Message("user", query))
        limit -= len(query) + len(answer)
        if limit <= 0:
            break
    return tuple(reversed(found))


def _unseen(connection: SqlConnection, owner: str, id: str, now: float, hidden: Hidden | None) -> tuple[int, ...]:
    """Return the numbers of the turns of a conversation, if it is there, that are hidden."""
    row = _row(connection, owner, id, now)
    return () if row is None or hidden is None else tuple(sorted(hidden(connection, row.key)))


def _add(connection: SqlConnection, owner: str, id: str, now: float, turn: tuple[str, ...]) -> int:
    _forget(connection, owner, id, now)
    row = _row(connection, owner, id, now) or _begin(connection, owner, id, now, _default_ttl(connection))
    known = connection.execute(
        "SELECT number FROM turns WHERE conversation_key = ? AND run_id = ?", (row.key, turn[0])
    ).fetchone()
    if known is not None:
        return int(known[0])
    number = row.turns + 1
    connection.execute(
        "INSERT INTO turns (conversation_key, number, time, run_id, query, answer, model, sources)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (row.key, number, now, *turn),
    )
    connection.execute(
        "UPDATE conversations SET turns = ?, changed = ?, expires = ? + ttl_s WHERE key = ?",
        (number, now, now, row.key),
    )
    return number


def _new(
    connection: SqlConnection, owner: str, id: str, now: float, ttl_s: float | Literal["default"] | None
) -> Conversation:
    _forget(connection, owner, id, now)
    if _row(connection, owner, id, now) is not None:
        raise UsageError(f"there is a conversation {id!r} already: choose another id, or go on with it")
    return _begin(connection, owner, id, now, _default_ttl(connection) if ttl_s == "default" else ttl_s)


def _begin(connection: SqlConnection, owner: str, id: str, now: float, ttl_s: float | None) -> Conversation:
    connection.execute(
        "INSERT INTO conversations (owner, id, created, changed, ttl_s, expires) VALUES (?, ?, ?, ?, ?, ?)",
        (owner, id, now, now, ttl_s, None if ttl_s is None else now + ttl_s),
    )
    return _get(connection, owner, id, now)


def _row(connection: SqlConnection, owner: str, id: str, now: float) -> Conversation | None:
    row = connection.execute(f"{_CONVERSATION} WHERE owner = ? AND id = ? AND {_ALIVE}", (owner, id, now)).fetchone()
    return None if row is None else _conversation(row)


def _get(connection: SqlConnection, owner: str, id: str, now: float) -> Conversation:
    found = _row(connection, owner, id, now)
    if found is None:
        ids = [each.id for each in _list(connection, owner, now, (inf, 0), 1000)]
        raise UsageError(f"there is no conversation {id!r}, or it has expired{did_you_mean(id, ids)}")
    return found


def _get_seen(connection: SqlConnection, owner: str, id: str, now: float, hidden: Hidden | None) -> Conversation:
    return _as_seen(connection, _get(connection, owner, id, now), hidden)


def _list_seen(
    connection: SqlConnection,
    owner: str | None,
    now: float,
    after: tuple[float, int],
    limit: int,
    hidden: Hidden | None,
) -> tuple[Conversation, ...]:
    return tuple(_as_seen(connection, each, hidden) for each in _list(connection, owner, now, after, limit))


def _as_seen(connection: SqlConnection, row: Conversation, hidden: Hidden | None) -> Conversation:
    """Return a conversation without what is hidden of it, of which a title that was given may tell anything."""
    unseen = hidden(connection, row.key) if hidden is not None else ()
    if not unseen:
        return row
    return evolve(row, turns=row.turns - len(unseen), title="" if 1 in unseen or row.is_renamed else row.title)


def _list(
    connection: SqlConnection, owner: str | None, now: float, after: tuple[float, int], limit: int
) -> tuple[Conversation, ...]:
    rest = f"{_ALIVE} AND (changed, key) < (?, ?) ORDER BY changed DESC, key DESC LIMIT ?"
    if owner is None:
        rows = connection.execute(f"{_CONVERSATION} WHERE {rest}", (now, *after, limit))
    else:
        rows = connection.execute(f"{_CONVERSATION} WHERE owner = ? AND {rest}", (owner, now, *after, limit))
    return tuple(map(_conversation, rows))


def _turns(
    connection: SqlConnection, owner: str, id: str, now: float, after: int, limit: int, hidden: Hidden | None
) -> tuple[Turn, ...]:
    key = _get(connection, owner, id, now).key
    unseen = sorted(hidden(connection, key)) if hidden is not None else []
    rows = connection.execute(
        f"{_TURN} AND number > ? AND number NOT IN (SELECT value FROM json_each(?) AS numbers) ORDER BY number LIMIT ?",
        (key, after, json.dumps(unseen), limit),
    )
    return tuple(map(_turn, rows))


def _rename(connection: SqlConnection, owner: str, id: str, now: float, title: str | None) -> None:
    key = _get(connection, owner, id, now).key
    connection.execute("UPDATE conversations SET title = ? WHERE key = ?", (title, key))


def _rate(
    connection: SqlConnection,
    owner: str,
    id: str,
    now: float,
    run_id: str,
    rated: tuple[Rating | None, str | None],
    unseen: Collection[int],
) -> Turn:
    key = _get(connection, owner, id, now).key
    row = connection.execute(f"{_TURN} AND run_id = ?", (key, run_id)).fetchone()
    if row is None or row[0] in unseen:
        raise UsageError(f"the conversation {id!r} has no turn of the run {run_id!r}")
    connection.execute(
        "UPDATE turns SET rating = ?, comment = ? WHERE conversation_key = ? AND number = ?", (*rated, key, row[0])
    )
    return evolve(_turn(row), rating=rated[0], comment=rated[1])


def _delete(connection: SqlConnection, owner: str, id: str, now: float) -> None:
    connection.execute("DELETE FROM conversations WHERE key = ?", (_get(connection, owner, id, now).key,))


def _forget(connection: SqlConnection, owner: str, id: str, now: float) -> None:
    """Delete this conversation if it has expired, and some others that have."""
    connection.execute("DELETE FROM conversations WHERE owner = ? AND id = ? AND expires <= ?", (owner, id, now))
    _expire(connection, now, -inf, _ALONG)


def _expire(connection: SqlConnection, now: float, idle_since: float, most: int) -> int:
    found = "SELECT key FROM conversations WHERE expires <= ?"
    if idle_since == -inf:
        return connection.execute(f"DELETE FROM conversations WHERE key IN ({found} LIMIT ?)", (now, most)).rowcount
    return connection.execute(
        f"DELETE FROM conversations WHERE key IN ({found} OR changed <= ? LIMIT ?)", (now, idle_since, most)
    ).rowcount


def _default_ttl(connection: SqlConnection) -> float | None:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (_SETTING,)).fetchone()
    return None if row is None else float(row[0])


def _set_default_ttl(connection: SqlConnection, seconds: float | None) -> None:
    if seconds is None:
        connection.execute("DELETE FROM settings WHERE name = ?", (_SETTING,))
    else:
        connection.execute(
            "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (_SETTING, repr(seconds)),
        )


def _conversation(
    row: tuple[int, str, str, float, float, float | None, float | None, int, str | None, str | None],
) -> Conversation:
    key, owner, id, created, changed, ttl_s, expires, turns, question, title = row
    return Conversation(
        key=key, owner=owner, id=id, created=created, changed=changed, ttl_s=ttl_s, expires=expires, turns=turns,
        title=title or question or "", is_renamed=title is not None,
    )  # fmt: skip


def _turn(row: tuple[int, str, float, str, str, str, Rating | None, str | None]) -> Turn:
    number, run_id, when, query, answer, model, rating, comment = row
    return Turn(
        number=number, run_id=run_id, time=when, query=query, answer=answer, model=model, rating=rating,
        comment=comment,
    )  # fmt: skip


# What callers give


def _check(id: object, owner: object) -> None:
    checked_name(id, "the id of a conversation")
    if owner != "":
        checked_name(owner, "the owner of a conversation")


def _checked_ttl(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds < inf:
        raise UsageError(f"a time to live of {seconds} s is none: give seconds above 0, or None for ever")
    return None if seconds is None else float(seconds)


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= _PAGE:
        raise UsageError(f"limit is {limit}: give a number from 1 to {_PAGE:,}")
    return limit


def _whole(text: str, *, takes_nul: bool = True) -> str:
    """Return a text that can be kept: pairs of surrogates joined, halves replaced, NUL if need be."""
    text = text if takes_nul else text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
