"""Chooses passages for a number of tokens: best first, what does not fit is skipped, neighbours come along if cheap."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Literal

from attrs import define, field, frozen

from nexus_core.contract.values import Item
from nexus_core.engine.pool import Passages, Pool

_CRUMB = 4
"""Fewer tokens than this are left as they are; the search for passages ends at a 200th of the room."""
_MISSES = 16
"""After so many passages in a row that do not fit, the rest is not tried."""
_NEIGHBOUR = 0.1
"""A neighbouring sentence comes along when it costs at most this share of what is left."""
_SAME = 0.6
"""The share of its word triples that makes a passage a near-duplicate."""
_BYTES_PER_TOKEN = 8
"""Prose and code in any encoding have fewer: what does not fit even so is not counted."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

Why = Literal["room", "duplicate", "quota"]
Refusal = tuple[Why, object, int]
"""Why something was not taken: what kind, of what (an item's id, a glob, what was left), and its tokens."""


@frozen(kw_only=True)
class Prices:
    """What text costs in a prompt, in tokens."""

    count: Callable[[str], int]
    encoding: str
    size: int
    """Of the passages, whose sentences the counts kept with an item belong to."""
    gap: int
    """The mark of a gap."""
    per_item: int = 0
    """What the template puts around an item, its title aside."""

    def kept(self, item: Item, cut: Passages) -> array[int]:
        """Return the tokens of each sentence, -1 where it was not counted yet; kept with the item."""
        key = ("tokens", self.encoding, self.size)
        known: array[int] | None = item.derived.get(key)
        if known is None:
            known = item.derived[key] = array("i", [-1]) * (len(cut.bounds) // 2)
        return known

    def header(self, item: Item) -> int:
        """Return what an item costs before any text."""
        return self.per_item + self.title(item)

    def title(self, item: Item) -> int:
        """Return the tokens of a title; something mostly stands before it, and a space costs nothing."""
        return self.count(" " + item.title) if item.title else 0


@define(eq=False)
class Slot:
    """An item, and what is chosen of it."""

    index: int
    item: Item
    cut: Passages
    sentences: array[int]
    """The tokens of each, -1 where not counted yet."""
    header: int
    quotas: tuple[str, ...]
    chosen: int = 0
    """A bit for each sentence."""
    tokens: int = 0
    refusal: Refusal | None = None
    """The first one, of its best passage."""

    @property
    def whole(self) -> bool:
        """Whether every sentence is chosen."""
        return self.chosen == (1 << len(self.sentences)) - 1

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the chosen sentences as runs: the first, and the one after the last."""
        left, start = self.chosen, 0
        while left:
            skip = (left & -left).bit_length() - 1
            left >>= skip
            length = (~left & left + 1).bit_length() - 1
            yield start + skip, start + skip + length
            left >>= length
            start += skip + length

    def text(self) -> str:
        """Return what is chosen, as it stands in the item, gaps marked."""
        bounds, text = self.cut.bounds, self.item.text
        mark = " … " if self.item.kind == "text" else "\n…\n"
        return mark.join([text[bounds[2 * first] : bounds[2 * last - 1]] for first, last in self.runs()])


@define(eq=False)
class Selection:
    """A growing choice of passages. `fill` adds what fits, `shrink` takes the last additions back."""

    pool: Pool
    items: tuple[Item, ...]
    """Those of the ranking."""
    prices: Prices
    rest: int
    """Tokens that are left."""
    quota: dict[str, int]
    """What is left of each, by glob."""
    drop_duplicates: bool
    neighbours: bool = True
    overflow: Literal["cut", "skip", "stop"] = "skip"
    slots: dict[int, Slot] = field(factory=dict)
    """By the item's place in the pool."""
    _log: list[tuple[Slot, int, int]] = field(factory=list)
    """Each addition: sentences as bits, and tokens."""
    _next: int = 0
    _filled_from: int = 0
    _cut: Slot | None = None
    """The item that was cut, where the unit is the item: what is freed goes to it first."""
    _seen: set[int] = field(factory=set)
    """The word triples of all passages that were taken ..."""
    _taken: list[tuple[int, list[int]]] = field(factory=list)
    """... and of each."""

    @property
    def tokens(self) -> int:
        """What is chosen costs, by the prices."""
        return sum(cost for _, _, cost in self._log)

    def fill(self, rest: int | None = None) -> bool:
        """Add what fits into the rest, or into what is given as the rest, and tell whether that was anything."""
        self.rest = self.rest if rest is None else rest
        self._filled_from = len(self._log)
        order, misses = self.pool.order, 0
        little = max(_CRUMB, self.rest // 200)
        if self._cut is not None:
            self._take_first(self._cut)
        while self._next < len(order) and self.rest >= little and misses < _MISSES:
            misses = 0 if self._offer(order[self._next]) else misses + 1
            self._next += 1
        if self.neighbours:
            self._widen()
        return len(self._log) > self._filled_from

    def shrink(self, tokens: int) -> None:
        """Take back the latest additions until at least so many tokens are free."""
        freed = 0
        while self._log and freed < tokens:
            freed += self._take_back()

    def back(self) -> None:
        """Take back what the last `fill` added."""
        while len(self._log) > self._filled_from:
            self._take_back()

    def _take_back(self) -> int:
        slot, span, cost = self._log.pop()
        slot.chosen &= ~span
        slot.tokens -= cost
        for glob in slot.quotas:
            self.quota[glob] += cost
        return cost

    def _offer(self, passage: int) -> bool:
        """Take a passage if it may be taken; tell whether it did or had nothing new."""
        pool = self.pool
        slot = self.slot(pool.item_of[passage])
        first, last = pool.first[passage], pool.last[passage]
        span = (1 << last) - (1 << first)
        if slot.chosen & span == span:
            return True
        cost = self._affordable(slot, first, last)
        if cost is None:
            return self._overflow(slot)
        if self.drop_duplicates and self._repeats(slot, passage):
            return True
        self._take(slot, span & ~slot.chosen, cost)
        if self.neighbours:
            self._take_neighbours(slot, first, last)
        return True

    def slot(self, place: int) -> Slot:
        """Return the slot of the item at a place of the pool."""
        slot = self.slots.get(place)
        if slot is None:
            index, cut = self.pool.items[place], self.pool.cuts[place]
            item = self.items[index]
            slot = self.slots[place] = Slot(
                index=index,
                item=item,
                cut=cut,
                sentences=self.prices.kept(item, cut),
                header=self.prices.header(item),
                quotas=tuple(glob for glob in self.quota if fnmatchcase(item.source, glob)),
            )
        return slot

    def _affordable(self, slot: Slot, first: int, last: int) -> int | None:
        """Return what the sentences from `first` up to `last` cost, or `None` after noting why they cannot be had."""
        bounds = slot.cut.bounds
        if not slot.chosen and (bounds[2 * last - 1] - bounds[2 * first]) > self.rest * _BYTES_PER_TOKEN:
            _refuse(slot, "room", self.rest, 0)
            return None
        cost = self._price(slot, first, last)
        if cost > self.rest:
            _refuse(slot, "room", self.rest, cost)
            return None
        for glob in slot.quotas:
            if cost > self.quota[glob]:
                _refuse(slot, "quota", glob, cost)
                return None
        return cost

    def _price(self, slot: Slot, first: int, last: int) -> int:
        """Return what the sentences from `first` up to `last` would add."""
        chosen, span = slot.chosen, (1 << last) - (1 << first)
        if not chosen:
            return slot.header + self._counted(slot, first, last)
        if chosen & span:
            cost = sum(self._counted(slot, k, k + 1) for k in range(first, last) if not chosen >> k & 1)
        else:
            cost = self._counted(slot, first, last)
        return cost + self.prices.gap * (_runs(chosen | span) - _runs(chosen))

    def _counted(self, slot: Slot, first: int, last: int) -> int:
        """Return the tokens of the sentences, each with the white space before it."""
        known = slot.sentences[first:last]
        if min(known) >= 0:
            return sum(known)
        bounds, text = slot.cut.bounds, slot.item.text
        for k in range(first, last):
            if slot.sentences[k] < 0:
                start = bounds[2 * k - 1] if k else bounds[0]
                slot.sentences[k] = self.prices.count(text[start : bounds[2 * k + 1]])
        return sum(slot.sentences[first:last])

    def _take(self, slot: Slot, span: int, cost: int) -> None:
        slot.chosen |= span
        slot.tokens += cost
        self.rest -= cost
        for glob in slot.quotas:
            self.quota[glob] -= cost
        self._log.append((slot, span, cost))

    def _take_neighbours(self, slot: Slot, first: int, last: int) -> None:
        for k in (first - 1, last):
            if 0 <= k < len(slot.sentences) and not slot.chosen >> k & 1:
                cost = self._price(slot, k, k + 1)
                if cost <= self.rest * _NEIGHBOUR and all(cost <= self.quota[glob] for glob in slot.quotas):
                    self._take(slot, 1 << k, cost)

    def _widen(self) -> None:
        """Spend what is left on the sentences beside those chosen, the best item's first."""
        for slot in dict.fromkeys(slot for slot, _, _ in self._log):
            if self.rest < _CRUMB:
                return
            beside = (slot.chosen << 1 | slot.chosen >> 1) & ~slot.chosen & (1 << len(slot.sentences)) - 1
            for k in _bits(beside):
                cost = self._price(slot, k, k + 1)
                if cost <= self.rest and all(cost <= self.quota[glob] for glob in slot.quotas):
                    self._take(slot, 1 << k, cost)

    def _overflow(self, slot: Slot) -> bool:
        """Deal with an item that does not fit: take the sentences that do, end the choice, or go on."""
        if self.overflow == "skip":
            return False
        if self.overflow == "cut":
            self._take_first(slot)
            self._cut = slot
        if slot.refusal is not None and slot.refusal[0] == "room":
            self._next = len(self.pool.order)
        return slot.chosen > 0

    def _take_first(self, slot: Slot) -> None:
        """Take the sentences of an item in order, as far as they fit."""
        for k in range(len(slot.sentences)):
            if slot.chosen >> k & 1:
                continue
            cost = self._price(slot, k, k + 1)
            if cost > self.rest or any(cost > self.quota[glob] for glob in slot.quotas):
                return
            self._take(slot, 1 << k, cost)

    def _repeats(self, slot: Slot, passage: int) -> bool:
        """Tell whether a passage says what one that was taken says, and remember its words if it does not."""
        triples = self.pool.triples.of(passage)
        enough = _SAME * len(triples)
        if len(self._seen.intersection(triples)) > enough:
            for other, known in self._taken:
                if len(set(known).intersection(triples)) > enough and not self._adds_number(passage, other):
                    _refuse(slot, "duplicate", self.slot(self.pool.item_of[other]).item.id, 0)
                    return True
        self._seen.update(triples)
        self._taken.append((passage, triples))
        return False

    def _adds_number(self, passage: int, other: int) -> bool:
        """Tell whether a passage has a number that the other lacks: rows of a table differ in little else."""
        return not set(_NUMBER.findall(self._text_of(passage))) <= set(_NUMBER.findall(self._text_of(other)))

    def _text_of(self, passage: int) -> str:
        slot = self.slot(self.pool.item_of[passage])
        bounds = slot.cut.bounds
        return slot.item.text[bounds[2 * self.pool.first[passage]] : bounds[2 * self.pool.last[passage] - 1]]


def _refuse(slot: Slot, kind: Why, of: object, tokens: int) -> None:
    if slot.refusal is None:
        slot.refusal = (kind, of, tokens)


def _runs(bits: int) -> int:
    """Return how many runs of ones `bits` has."""
    return (bits & ~(bits << 1)).bit_count()


def _bits(bits: int) -> Iterator[int]:
    """Yield the places of the ones."""
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1
