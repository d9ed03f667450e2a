"""Results of tools as messages: packed into the room there is, numbered so that an answer can cite them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen

from nexus_core.contract.errors import PromptTooLongError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import PackedItem, TraceEntry
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Item, Message, ToolResult
from nexus_core.engine.packing.message_tokens import AROUND_RESULT
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack
from nexus_core.toolkit.tokens.counter import token_counter

MOST_IN_LOOP = 16_384
"""Characters of results beyond which they are packed in a thread: they take about 50 ms of CPU, a million 0.5 s."""
_NOTHING = "nothing was found"
NO_ROOM = "(there is no room left for this result)"
"""What stands for a result of which nothing fits."""
_CUT = "(cut to what matters most) "
_WHOLE_RESULT = "result"
"""The id of the item that a result is packed as which has none."""
_SLACK = 4
"""Tokens that a count of joined texts may exceed the sum of the counts by."""


@frozen(kw_only=True, eq=False, repr=False)
class PackedResult:
    """A result as the model reads it."""

    text: str
    items: tuple[PackedItem, ...] = ()
    """What can be cited."""
    trace: Sequence[TraceEntry] = ()
    was_cut: bool = False


@frozen(eq=False, repr=False)
class ResultTemplate:
    """Items one after the other, with numbers from `first` on where they can be cited."""

    first: int | None
    variables: frozenset[str] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return them as one message."""
        return (Message("user", "\n\n".join([self._item(item) for item in variables["items"]])),)

    def _item(self, item: Mapping[str, Any]) -> str:
        if self.first is None:
            return str(item["text"])
        head = f"[{self.first + item['number'] - 1}] {item['title'] or item['id']}"
        return f"{head}\n{item['text']}"


@frozen(kw_only=True, eq=False, repr=False)
class ResultPacker:
    """Packs results for a model."""

    info: ModelInfo

    def count(self, text: str) -> int:
        """Return the tokens of a text by the model's encoding."""
        return token_counter(self.info.encoding).count(text)

    async def fit_beside(self, results: Sequence[tuple[str, ToolResult]], room: int, first: int) -> list[PackedResult]:
        """Return what `fit` does, and let other runs go on where that takes long."""
        if sum([characters_of(result) for _, result in results]) <= MOST_IN_LOOP:
            return self.fit(results, room, first)
        return await asyncio.to_thread(self.fit, results, room, first)

    def fit(self, results: Sequence[tuple[str, ToolResult]], room: int, first: int) -> list[PackedResult]:
        """Return results, each with what it was asked for, in at most `room` tokens together; numbers begin at `first`.

        What is short is left whole, and what it does not need goes to the longer ones.
        """
        whole = [self._whole(result) for _, result in results]
        needs = [self.count(text) + AROUND_RESULT for text in whole]
        packed: dict[int, PackedResult] = {}
        left, number = max(0, room), first
        by_need = sorted(range(len(results)), key=needs.__getitem__)
        allotted: dict[int, int] = {}
        for place, index in enumerate(by_need):
            allotted[index] = min(needs[index] + 16, left // (len(by_need) - place))
            left -= allotted[index]
        for index, (query, result) in enumerate(results):
            packed[index] = self._pack(query, result, allotted[index] - AROUND_RESULT, number)
            number += len(packed[index].items)
        return [packed[index] for index in range(len(results))]

    def _whole(self, result: ToolResult) -> str:
        items = "\n\n".join([f"[0000] {item.title or item.id}\n{item.text}" for item in result.items])
        return "\n\n".join(filter(None, (result.text, items))) or _NOTHING

    def _pack(self, query: str, result: ToolResult, room: int, first: int) -> PackedResult:
        text = result.text if result.text or result.items else _NOTHING
        parts: list[PackedResult] = []
        if text:
            own = room if not result.items else min(room // 2, self.count(text) + _SLACK)
            parts.append(self._text(query, text, own))
            room -= self.count(parts[0].text) + _SLACK
        if result.items:
            parts.append(self._items(query, Ranking(tuple(result.items), result.scores), room, first))
        return PackedResult(
            text="\n\n".join([part.text for part in parts]),
            items=tuple([item for part in parts for item in part.items]),
            trace=[entry for part in parts for entry in part.trace],
            was_cut=any(part.was_cut for part in parts),
        )

    def _text(self, query: str, text: str, room: int) -> PackedResult:
        if self.count(text) <= room:
            return PackedResult(text=text)
        room -= self.count(_CUT)
        found = self._chosen(query, Ranking((Item(id=_WHOLE_RESULT, text=text),)), room, None)
        return evolve(found, text=_CUT + found.text, items=(), was_cut=True) if found.items else _nothing_of(found)

    def _items(self, query: str, ranking: Ranking, room: int, first: int) -> PackedResult:
        found = self._chosen(query, ranking, room, first)
        return found if found.items else _nothing_of(found)

    def _chosen(self, query: str, ranking: Ranking, room: int, first: int | None) -> PackedResult:
        """Return the best passages of items that fit."""
        around = self.info.tokens_per_prompt + self.info.tokens_per_message + self.count("user")
        info = evolve(
            self.info,
            window=max(1, room) + around,
            max_input=None,
            max_output=None,
            joins_roles=False,
            requires=frozenset(),
        )
        draft = Draft(template=ResultTemplate(first), ranking=ranking, query=query, policy=PackingPolicy())
        try:
            prompt = pack(draft, info, reserved=0, counter=partial(token_counter, info.encoding))
        except PromptTooLongError:
            return PackedResult(text="")
        numbered = (
            prompt.items if first is None else [evolve(one, number=first + one.number - 1) for one in prompt.items]
        )
        return PackedResult(
            text=prompt.messages[0].text,
            items=tuple(numbered),
            trace=prompt.trace,
            was_cut=any(entry.decision != "kept" for entry in prompt.trace),
        )


def characters_of(result: ToolResult) -> int:
    """Return how long a result is, in characters."""
    return len(result.text) + sum([len(item.text) + len(item.title) for item in result.items])


def _nothing_of(found: PackedResult) -> PackedResult:
    return PackedResult(text=NO_ROOM, trace=found.trace, was_cut=True)
