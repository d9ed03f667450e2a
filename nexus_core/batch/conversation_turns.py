"""Conversation turns: the history of each next record of a conversation, in memory while the conversation goes on.

Of a conversation only the newest turns are kept that a prompt could hold, and of all conversations together so much as
`MOST_KEPT` allows: the memory does not grow with the input. The journal is read for a conversation that goes on from an
earlier run, and for one that was dropped, since too many others have had a turn meanwhile.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from itertools import chain

from attrs import define, field

from nexus_core.batch.journal import Journal
from nexus_core.batch.results import RecordResult
from nexus_core.contract.values import Message

MOST_KEPT = 32 * 2**20
"""Characters of all conversations together, before those are dropped that have waited longest for a turn."""
_OBJECTS = 512
"""What a turn takes besides its text, in characters; so does a conversation."""


@define(eq=False)
class _Turns:
    """The newest turns of one conversation."""

    last: int | None
    """The position of the last of them."""
    newest: deque[tuple[Message, Message]] = field(factory=deque)
    characters: int = 0
    has_gap: bool = False
    """A record of it has no answer, so that those after it can have none."""

    @property
    def size(self) -> int:
        return self.characters + (len(self.newest) + 1) * _OBJECTS


class ConversationTurns:
    """The turns of the conversations that a batch is at."""

    def __init__(self, journal: Journal, characters: int, *, most_kept: int = MOST_KEPT) -> None:
        """Take of each conversation the newest turns that come to so many characters: no prompt could hold more."""
        self._journal = journal
        self._characters = max(characters, 1)
        self._most_kept = most_kept
        self._kept: OrderedDict[str, _Turns] = OrderedDict()
        """By the conversation, the one that has waited longest first."""
        self._size = 0

    def history(self, conversation: str, position: int) -> tuple[Message, ...] | None:
        """Return the turns before the record at a position; `None` where one has no answer.

        Raises StoreError where the journal cannot be read.
        """
        turns = self._kept.get(conversation)
        last = self._journal.position_before(conversation, position)
        # Another one is before it where a line of the conversation was no record, and failed before anything began.
        if turns is None or (turns.last != last and not turns.has_gap):
            self._put(conversation, turns := self._read(conversation, position, last))
        self._kept.move_to_end(conversation)
        self._drop_oldest()
        return None if turns.has_gap else tuple(chain.from_iterable(turns.newest))

    def add(self, conversation: str, position: int, query: str, result: RecordResult) -> None:
        """Note the result of the record of a conversation whose turn it was."""
        turns = self._kept.get(conversation)
        if turns is None:  # dropped meanwhile: the journal has this result as well
            return
        if result.state != "done":
            self._put(conversation, _Turns(position, has_gap=True))
            return
        self._size -= turns.size
        turns.last = position
        turns.newest.append(turn := _turn(query, result.result))
        turns.characters += _length(turn)
        while turns.characters - (oldest := _length(turns.newest[0])) >= self._characters:
            turns.newest.popleft()
            turns.characters -= oldest
        self._size += turns.size
        self._drop_oldest()

    def _read(self, conversation: str, before: int, last: int | None) -> _Turns:
        """Read no more than is kept. After a gap all records have failed, so that the last one tells of it."""
        turns = _Turns(last)
        for state, payload, result in self._journal.turns(conversation, before):
            if state != "done":
                return _Turns(last, has_gap=True)
            turns.newest.appendleft(turn := _turn(json.loads(payload)["query"], result))
            turns.characters += _length(turn)
            if turns.characters >= self._characters:
                break
        return turns

    def _put(self, conversation: str, turns: _Turns) -> None:
        earlier = self._kept.get(conversation)
        self._size += turns.size - (0 if earlier is None else earlier.size)
        self._kept[conversation] = turns

    def _drop_oldest(self) -> None:
        while self._size > self._most_kept and len(self._kept) > 1:
            _, turns = self._kept.popitem(last=False)
            self._size -= turns.size


def _turn(query: str, result: str) -> tuple[Message, Message]:
    return Message("user", query), Message("assistant", json.loads(result)["answer"])


def _length(turn: tuple[Message, Message]) -> int:
    return len(turn[0].content) + len(turn[1].content)
