"""Search in conversations: those of an owner whose title, or a question or answer of them, has some words as they are.

Large and small letters are the same. A search looks at `LOOKED_AT` conversations at most, the last changed first, and
of each at its newest `TURNS` turns; it says where the next one goes on. Earlier versions of turns are not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from nexus_core.contract.values import Value
from nexus_core.store.conversations.conversation import Conversation
from nexus_core.store.conversations.conversation_rows import Hidden, as_seen, list_rows
from nexus_core.store.conversations.turn_sources import HiddenTurns
from nexus_core.store.database.sql import SqlConnection, like_pattern, lowered

LOOKED_AT = 200
"""Conversations of one search."""
TURNS = 500
"""Of one conversation, the newest."""
_BEFORE, _AFTER = 40, 120
"""Characters of a text that are shown before and after the words."""
_TEXTS = (
    "SELECT number, query, answer FROM turns WHERE conversation_key = ?"
    " AND number IN (SELECT value FROM json_each(?) AS numbers) ORDER BY number DESC"
)


@frozen(kw_only=True, eq=False, repr=False)
class Excerpt(Value):
    """Where words stand in a turn: they, and what stands around them in one line."""

    turn: int
    """Its number."""
    before: str
    words: str
    """As they are written there."""
    after: str


@frozen(kw_only=True, eq=False, repr=False)
class FoundConversation(Value):
    """A conversation that has some words."""

    conversation: Conversation
    excerpt: Excerpt | None
    """Of the newest turn that has them; `None` where its title has them."""


def search(
    connection: SqlConnection,
    owner: str,
    now: float,
    words: str,
    after: tuple[float, int],
    limit: int,
    hidden: Hidden | None,
) -> tuple[tuple[FoundConversation, ...], tuple[float, int] | None]:
    """Return the conversations that somebody may see to have words, and after which place the next search begins.

    What is hidden from them is not there: no title that may tell of it, and no turn.
    """
    rows = list_rows(connection, owner, now, after, LOOKED_AT + 1)
    page = rows[:LOOKED_AT]
    pattern = re.compile(re.escape(words), re.IGNORECASE)
    numbers = _find_candidates(connection, [each.key for each in page], words)
    found: list[FoundConversation] = []
    for place, row in enumerate(page, 1):
        match = _match(connection, row, pattern, numbers.get(row.key, ()), hidden)
        if match is not None:
            found.append(match)
        if len(found) == limit:
            return tuple(found), row.place if place < len(rows) else None
    return tuple(found), page[-1].place if len(rows) > len(page) else None


def candidates(words: str) -> str:
    """Return the query for the turns that may have words: in this form both databases tell letters of ASCII apart."""
    query, answer = lowered("turns.query", words), lowered("turns.answer", words)
    return (
        "SELECT conversation_key, number FROM turns JOIN conversations ON conversations.key = turns.conversation_key"
        " WHERE turns.conversation_key IN (SELECT value FROM json_each(?) AS numbers)"
        f" AND turns.number > conversations.turns - {TURNS}"
        rf" AND ({query} LIKE ? ESCAPE '\' OR {answer} LIKE ? ESCAPE '\')"
    )


def _find_candidates(connection: SqlConnection, keys: Sequence[int], words: str) -> Mapping[int, Sequence[int]]:
    """Return the numbers of the turns that may have the words, by the key of their conversation."""
    like = like_pattern(words)
    found: dict[int, list[int]] = {}
    for key, number in connection.execute(candidates(words), (json.dumps(keys), like, like)):
        found.setdefault(key, []).append(number)
    return found


def _match(
    connection: SqlConnection, row: Conversation, words: re.Pattern[str], numbers: Sequence[int], hidden: Hidden | None
) -> FoundConversation | None:
    if not numbers and not words.search(row.title):
        return None
    unseen = HiddenTurns() if hidden is None else hidden(connection, row.key)
    seen = as_seen(row, unseen)
    if words.search(seen.title):
        return FoundConversation(conversation=seen, excerpt=None)
    shown = [each for each in numbers if each not in unseen.numbers]
    for number, query, answer in connection.execute(_TEXTS, (row.key, json.dumps(shown))) if shown else ():
        for text in (query, answer):
            if (place := words.search(text)) is not None:
                return FoundConversation(conversation=seen, excerpt=_excerpt(number, text, place))
    return None


def _excerpt(number: int, text: str, place: re.Match[str]) -> Excerpt:
    begin, end = place.span()
    before, after = text[max(0, begin - _BEFORE) : begin], text[end : end + _AFTER]
    return Excerpt(
        turn=number,
        before=("…" if begin > _BEFORE else "") + re.sub(r"\s+", " ", before),
        words=place[0],
        after=re.sub(r"\s+", " ", after) + ("…" if end + _AFTER < len(text) else ""),
    )
