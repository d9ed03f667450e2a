"""Conversations and their turns in the tables, on a connection: whose they are, and what a viewer may see of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from math import inf
from secrets import token_urlsafe
from typing import Literal

from attrs import evolve

from nexus_core.contract.errors import UsageError
from nexus_core.contract.optional_protocols import RecalledHistory
from nexus_core.contract.values import Message
from nexus_core.store.conversations.cited_passages import KeptSources, kept_json, read_passages
from nexus_core.store.conversations.conversation import TITLE_CHARACTERS, Conversation, Rating, Turn
from nexus_core.store.conversations.conversation_files import ImportedConversation
from nexus_core.store.conversations.turn_sources import HiddenTurns
from nexus_core.store.conversations.turn_versions import (
    BESIDE,
    COLUMNS,
    VERSION,
    VERSIONS,
    find_shown,
    keep_aside,
    kept_number,
    leave,
    show_branch,
    shown_number,
)
from nexus_core.store.database.sql import SqlConnection
from nexus_core.toolkit.suggest import did_you_mean

MOST_TURNS = 200
"""No more of the newest turns are loaded for a run, whatever its window."""
LARGEST = 2**62
"""No number of a turn is as large, and SQLite knows none that is much larger."""
_ALONG = 50
"""So many expired conversations are deleted along with a write: it must not take long because of them."""
_SETTING = "conversation_ttl_s"
_CONVERSATION = (
    "SELECT key, owner, id, created, changed, ttl_s, expires, turns, "
    f"(SELECT substr(query, 1, {TITLE_CHARACTERS}) FROM turns"
    " WHERE conversation_key = conversations.key AND number = 1), title "
    "FROM conversations"
)
_TURN = f"SELECT {COLUMNS}, {VERSION}, {VERSIONS} FROM turns WHERE conversation_key = ?"
Hidden = Callable[[SqlConnection, int], HiddenTurns]
"""Returns what of the turns of a conversation, by its key, is hidden from whoever looks."""
_ALIVE = "(expires IS NULL OR expires > ?)"


def read_history(
    connection: SqlConnection,
    owner: str,
    id: str,
    now: float,
    limit: float,
    hidden: Hidden | None,
    replaces: str | None = None,
) -> RecalledHistory:
    """Return what was said so far, oldest first: the newest turns, as many as come to `limit` characters.

    Where a run's turn is to be replaced, those before that turn; UsageError where there is none.
    """
    before = LARGEST if replaces is None else get_number(connection, owner, id, now, replaces, hidden)
    conversation = find_row(connection, owner, id, now)
    if conversation is None:
        return RecalledHistory(messages=())
    unseen = find_unseen(connection, owner, id, now, hidden)
    rows = connection.execute(
        "SELECT number, query, answer FROM turns WHERE conversation_key = ?"
        " AND number < ? ORDER BY number DESC LIMIT ?",
        (conversation.key, before, MOST_TURNS),
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
    return RecalledHistory(
        messages=tuple(reversed(found)), unseen=unseen, last=conversation.turns, begun=conversation.created,
        follows=find_shown(connection, conversation.key, conversation.turns),
    )  # fmt: skip


def find_unseen(connection: SqlConnection, owner: str, id: str, now: float, hidden: Hidden | None) -> tuple[int, ...]:
    """Return the numbers of the turns of a conversation, if it is there, that are hidden."""
    return tuple(sorted(find_hidden(connection, owner, id, now, hidden).numbers))


def find_hidden(connection: SqlConnection, owner: str, id: str, now: float, hidden: Hidden | None) -> HiddenTurns:
    """Return what of the turns of a conversation, if it is there, is hidden."""
    row = find_row(connection, owner, id, now)
    return HiddenTurns() if row is None or hidden is None else hidden(connection, row.key)


def get_number(connection: SqlConnection, owner: str, id: str, now: float, run_id: str, hidden: Hidden | None) -> int:
    """Return the number of the turn that is shown of which a run has made a version; UsageError where none is seen."""
    key = _get(connection, owner, id, now).key
    number = shown_number(connection, key, run_id)
    if number is None or (hidden is not None and number in hidden(connection, key).numbers):
        raise _no_turn(id, run_id)
    return number


def _no_turn(id: str, run_id: str) -> UsageError:
    return UsageError(f"the conversation {id!r} has no turn of the run {run_id!r}")


def add_turn(
    connection: SqlConnection,
    owner: str,
    id: str,
    now: float,
    turn: tuple[str | None, ...],
    replaces: str | None = None,
    follows: str | None = None,
) -> int:
    """Keep a turn, and return its number; of a run that is kept already nothing is written.

    It takes the place of the turn that the run `replaces` has made, whichever version is shown by now, and those after
    that one leave with it. Else it comes after all others. Where what it replaces, or the turn of the run that it
    `follows`, is shown no more, it is kept there, and not shown either.
    """
    _forget(connection, owner, id, now)
    row = find_row(connection, owner, id, now) or _begin(connection, owner, id, now, read_default_ttl(connection))
    known = kept_number(connection, row.key, str(turn[0]))
    if known is not None:
        return known
    number = None if replaces is None else shown_number(connection, row.key, replaces)
    other, last, aside = replaces or follows, row.turns, None
    if number is not None:
        leave(connection, row.key, number, now)
        last = number
    elif other is not None:
        aside = keep_aside(connection, row.key, other, now, turn, beside=replaces is not None)
    if aside is None:
        number = last = number or row.turns + 1
        connection.execute(
            "INSERT INTO turns (conversation_key, number, time, run_id, query, answer, model, sources,"
            " passages) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (row.key, number, now, *turn),
        )
    connection.execute(
        "UPDATE conversations SET turns = ?, changed = ?, expires = ? + ttl_s WHERE key = ?",
        (last, now, now, row.key),
    )
    return last if aside is None else aside


def make(
    connection: SqlConnection, owner: str, id: str, now: float, ttl_s: float | Literal["default"] | None
) -> Conversation:
    """Begin a conversation; UsageError where there is one of its id."""
    _forget(connection, owner, id, now)
    if find_row(connection, owner, id, now) is not None:
        raise UsageError(f"there is a conversation {id!r} already: choose another id, or go on with it")
    return _begin(connection, owner, id, now, read_default_ttl(connection) if ttl_s == "default" else ttl_s)


def _begin(connection: SqlConnection, owner: str, id: str, now: float, ttl_s: float | None) -> Conversation:
    connection.execute(
        "INSERT INTO conversations (owner, id, created, changed, ttl_s, expires) VALUES (?, ?, ?, ?, ?, ?)",
        (owner, id, now, now, ttl_s, None if ttl_s is None else now + ttl_s),
    )
    return _get(connection, owner, id, now)


def find_row(connection: SqlConnection, owner: str, id: str, now: float) -> Conversation | None:
    """Return a conversation as it is kept, `None` where there is none or it has expired."""
    row = connection.execute(f"{_CONVERSATION} WHERE owner = ? AND id = ? AND {_ALIVE}", (owner, id, now)).fetchone()
    return None if row is None else _conversation(row)


def _get(connection: SqlConnection, owner: str, id: str, now: float) -> Conversation:
    found = find_row(connection, owner, id, now)
    if found is None:
        ids = [each.id for each in list_rows(connection, owner, now, (inf, 0), 1000)]
        raise UsageError(f"there is no conversation {id!r}, or it has expired{did_you_mean(id, ids)}")
    return found


def get_seen(connection: SqlConnection, owner: str, id: str, now: float, hidden: Hidden | None) -> Conversation:
    """Return a conversation as somebody may see it; UsageError where there is none."""
    return _seen(connection, _get(connection, owner, id, now), hidden)


def list_seen(
    connection: SqlConnection,
    owner: str | None,
    now: float,
    after: tuple[float, int],
    limit: int,
    hidden: Hidden | None,
) -> tuple[Conversation, ...]:
    """Return the next conversations, the last changed first, as somebody may see them."""
    return tuple(_seen(connection, each, hidden) for each in list_rows(connection, owner, now, after, limit))


def _seen(connection: SqlConnection, row: Conversation, hidden: Hidden | None) -> Conversation:
    return row if hidden is None else as_seen(row, hidden(connection, row.key))


def as_seen(row: Conversation, unseen: HiddenTurns) -> Conversation:
    """Return a conversation without what is hidden of it, of which a title that was given may tell anything."""
    if not unseen:
        return row
    title = "" if 1 in unseen.numbers or row.is_renamed else row.title
    return evolve(row, turns=row.turns - len(unseen.numbers), title=title)


def list_rows(
    connection: SqlConnection, owner: str | None, now: float, after: tuple[float, int], limit: int
) -> tuple[Conversation, ...]:
    """Return the next conversations as they are kept, the last changed first: of an owner, or with `None` of all."""
    rest = f"{_ALIVE} AND (changed, key) < (?, ?) ORDER BY changed DESC, key DESC LIMIT ?"
    if owner is None:
        rows = connection.execute(f"{_CONVERSATION} WHERE {rest}", (now, *after, limit))
    else:
        rows = connection.execute(f"{_CONVERSATION} WHERE owner = ? AND {rest}", (owner, now, *after, limit))
    return tuple(map(_conversation, rows))


def read_turns(
    connection: SqlConnection, owner: str, id: str, now: float, after: int, limit: int, hidden: Hidden | None
) -> tuple[Turn, ...]:
    """Return the next turns that somebody may see, in their order."""
    key = _get(connection, owner, id, now).key
    unseen = sorted(hidden(connection, key).numbers) if hidden is not None else []
    return turns_of(connection, key, unseen, after, limit)


def turns_of(
    connection: SqlConnection, key: int, unseen: Collection[int], after: int, limit: int, until: int = LARGEST
) -> tuple[Turn, ...]:
    """Return the next turns after a number of a conversation by its key, but for some, and none after another."""
    rows = connection.execute(
        f"{_TURN} AND number > ? AND number <= ?"
        " AND number NOT IN (SELECT value FROM json_each(?) AS numbers) ORDER BY number LIMIT ?",
        (key, after, until, json.dumps([*unseen]), limit),
    )
    return tuple(map(_turn, rows))


def take(
    connection: SqlConnection, conversations: Sequence[ImportedConversation], now: float, sources: str
) -> tuple[Conversation | None, ...]:
    """Keep conversations out of a file, and return them in their order; `None` for one that is there as it is."""
    # The newest is to be the last that is kept: lists begin with it.
    order = sorted(range(len(conversations)), key=lambda at: conversations[at].turns[-1].time or now)
    found = {at: _take(connection, conversations[at], now, sources) for at in order}
    return tuple(found[at] for at in range(len(conversations)))


def _take(connection: SqlConnection, told: ImportedConversation, now: float, sources: str) -> Conversation | None:
    _forget(connection, told.owner, told.id, now)
    there = find_row(connection, told.owner, told.id, now)
    texts = [(turn.run_id, turn.query, turn.answer) for turn in told.turns]
    if there is not None:
        kept = turns_of(connection, there.key, (), 0, len(texts) + 1)
        if [(turn.run_id, turn.query, turn.answer) for turn in kept[: len(texts)]] == texts:
            return None
    id = told.id if there is None else token_urlsafe(16)
    begun = _begin(connection, told.owner, id, now, read_default_ttl(connection))
    connection.executemany(
        "INSERT INTO turns (conversation_key, number, time, run_id, query, answer, model, rating, comment, sources,"
        " passages) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                begun.key, number, min(now if turn.time is None else turn.time, now), turn.run_id, turn.query,
                turn.answer, turn.model, turn.rating, turn.comment or None, sources,
                kept_json(KeptSources(turn.context, turn.passages, turn.files)),
            )
            for number, turn in enumerate(told.turns, 1)
        ],
    )  # fmt: skip
    created = min(turn.time or now for turn in told.turns)
    connection.execute(
        "UPDATE conversations SET turns = ?, created = ?, title = ? WHERE key = ?",
        (len(told.turns), min(created, now), told.title, begun.key),
    )
    return _get(connection, told.owner, id, now)


def read_versions(
    connection: SqlConnection,
    owner: str,
    id: str,
    now: float,
    run_id: str,
    hidden: Hidden | None,
) -> tuple[Turn, ...]:
    """Return the versions of a turn that somebody may see, the newest last; UsageError where they see none of it."""
    number = get_number(connection, owner, id, now, run_id, hidden)
    key = _get(connection, owner, id, now).key
    shown = _turn(connection.execute(f"{_TURN} AND number = ?", (key, number)).fetchone())
    others = connection.execute(
        f"SELECT {COLUMNS}, version, version FROM replaced_turns AS other WHERE conversation_key = ? AND number = ?"
        f" AND {BESIDE} ORDER BY version",
        (key, number),
    )
    every = [*map(_turn, others)]
    every.insert(shown.version - 1, shown)
    unseen = hidden(connection, key).versions if hidden is not None else ()
    numbered = [evolve(each, version=place, versions=len(every)) for place, each in enumerate(every, 1)]
    return tuple(each for each in numbered if each.run_id not in unseen)


def show_version(connection: SqlConnection, owner: str, id: str, now: float, run_id: str, unseen: HiddenTurns) -> None:
    """Show the version that a run has made of a turn, with what had followed it; UsageError where none is seen."""
    key = _get(connection, owner, id, now).key
    number = shown_number(connection, key, run_id)
    is_shown = number is not None and find_shown(connection, key, number) == run_id
    if number is None or run_id in unseen.versions or (is_shown and number in unseen.numbers):
        raise _no_turn(id, run_id)
    if is_shown:
        return
    last = show_branch(connection, key, run_id, now)
    connection.execute("UPDATE conversations SET turns = ? WHERE key = ?", (last, key))


def rename(connection: SqlConnection, owner: str, id: str, now: float, title: str | None) -> None:
    """Give a conversation a title; with `None` it has none of its own."""
    key = _get(connection, owner, id, now).key
    connection.execute("UPDATE conversations SET title = ? WHERE key = ?", (title, key))


def rate(
    connection: SqlConnection,
    owner: str,
    id: str,
    now: float,
    run_id: str,
    rated: tuple[Rating | None, str | None],
    unseen: Collection[int],
) -> Turn:
    """Keep with the answer of a run what its owner thinks of it, and return its turn."""
    key = _get(connection, owner, id, now).key
    row = connection.execute(f"{_TURN} AND run_id = ?", (key, run_id)).fetchone()
    if row is None or row[0] in unseen:
        raise _no_turn(id, run_id)
    connection.execute(
        "UPDATE turns SET rating = ?, comment = ? WHERE conversation_key = ? AND number = ?", (*rated, key, row[0])
    )
    return evolve(_turn(row), rating=rated[0], comment=rated[1])


def delete(connection: SqlConnection, owner: str, id: str, now: float) -> None:
    """Delete a conversation with all its turns."""
    connection.execute("DELETE FROM conversations WHERE key = ?", (_get(connection, owner, id, now).key,))


def _forget(connection: SqlConnection, owner: str, id: str, now: float) -> None:
    """Delete this conversation if it has expired, and some others that have."""
    connection.execute("DELETE FROM conversations WHERE owner = ? AND id = ? AND expires <= ?", (owner, id, now))
    expire(connection, now, -inf, _ALONG)


def expire(connection: SqlConnection, now: float, idle_since: float, most: int) -> int:
    """Delete what has expired, or had no turn since a moment, and return how many they were."""
    found = "SELECT key FROM conversations WHERE expires <= ?"
    if idle_since == -inf:
        return connection.execute(f"DELETE FROM conversations WHERE key IN ({found} LIMIT ?)", (now, most)).rowcount
    return connection.execute(
        f"DELETE FROM conversations WHERE key IN ({found} OR changed <= ? LIMIT ?)", (now, idle_since, most)
    ).rowcount


def read_default_ttl(connection: SqlConnection) -> float | None:
    """Return how many seconds conversations live that do not say so."""
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (_SETTING,)).fetchone()
    return None if row is None else float(row[0])


def set_default_ttl(connection: SqlConnection, seconds: float | None) -> None:
    """Set how many seconds conversations live that do not say so."""
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


def _turn(row: tuple[int, str, float, str, str, str, Rating | None, str | None, str | None, int, int]) -> Turn:
    number, run_id, when, query, answer, model, rating, comment, cited, version, versions = row
    kept = read_passages(cited)
    return Turn(
        number=number, run_id=run_id, time=when, query=query, answer=answer, model=model, rating=rating,
        comment=comment, context=kept.context, passages=kept.passages, files=kept.files, version=version,
        versions=versions,
    )  # fmt: skip
