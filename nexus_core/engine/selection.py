"""Chooses passages for a number of tokens: best first, what does not fit is skipped, neighbours come along if cheap."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from attrs import define, field

from nexus_core.contract.values import Item
from nexus_core.engine.pool import Pool
from nexus_core.engine.prices import Prices
from nexus_core.engine.slot import Slot

if TYPE_CHECKING:
    from nexus_core.engine.few import FewDuplicates
    from nexus_core.engine.worth import Duplicates

_CRUMB = 4
"""Fewer tokens than this are left as they are; the search for passages ends at a 200th of the room."""
_MISSES = 8
"""After so many passages in a row that do not fit, the rest is not tried."""
_NEIGHBOUR = 0.1
"""A neighbouring sentence comes along when it costs at most this share of what is left."""
_BYTES_PER_TOKEN = 8
"""Prose and code in any encoding have fewer: what does not fit even so is not counted."""


@define(eq=False, repr=False)
class Selection:
    """A growing choice of passages. `fill` adds what fits, `shrink` takes the last additions back."""

    pool: Pool
    items: tuple[Item, ...]
    """Those of the ranking."""
    prices: Prices
    quota: dict[str, int]
    """What is left of each, by glob."""
    drop_duplicates: bool
    neighbours: bool = True
    overflow: Literal["cut", "skip", "stop"] = "skip"
    rest: int = field(default=0, init=False)
    """Tokens that are left."""
    slots: dict[int, Slot] = field(factory=dict, init=False)
    """By the item's place in the pool."""
    _log: list[tuple[Slot, int, int]] = field(factory=list, init=False)
    """Each addition: sentences as bits, and tokens."""
    _filled_from: int = field(default=0, init=False)
    _next: int = field(default=0, init=False)
    _refused: list[int] = field(factory=list, init=False)
    """The passages that did not fit."""
    _cut: Slot | None = field(default=None, init=False)
    """The item that was cut, where the unit is the item: what is freed goes to it first."""
    _ended: bool = field(default=False, init=False)
    """An item did not fit, and the policy is to look at no other."""
    _duplicates: Duplicates | FewDuplicates = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._duplicates = self.pool.triples.duplicates()

    @property
    def tokens(self) -> int:
        """What is chosen, by the prices."""
        return sum([cost for _, _, cost in self._log])

    @property
    def exhausted(self) -> bool:
        """Whether everything in the pool was offered."""
        return not self._ended and self._next == len(self.pool.order)

    def fill(self, rest: int) -> bool:
        """Add what fits into `rest` tokens, and tell whether that was anything."""
        self.rest = rest
        self._filled_from = len(self._log)
        order, misses, little = self.pool.order, 0, max(_CRUMB, rest // 200)
        if self._cut is not None:
            self._take_in_order(self._cut, range(len(self._cut.cut.tokens)))
        while not self._ended and self._next < len(order) and self.rest >= little and misses < _MISSES:
            misses = 0 if self._offer(order[self._next]) else misses + 1
            self._next += 1
        if self.neighbours:
            self._widen()
            self._take_parts()
        return len(self._log) > self._filled_from

    def shrink(self, tokens: int) -> None:
        """Take back the latest additions until at least so many tokens are free."""
        freed = 0
        while self._log and freed < tokens:
            freed += self._take_back()
            self._ended = self._ended or self.overflow == "stop"

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

    # One passage

    def _offer(self, passage: int) -> bool:
        """Take a passage if it may be taken; tell whether it was, or needs not be."""
        slot, first, last = self._found(passage)
        span = (1 << last) - (1 << first)
        if slot.chosen & span == span:
            return True
        cost = self._affordable(slot, first, last)
        if cost is None:
            self._refused.append(passage)
            return self._overflow(slot)
        if self.drop_duplicates and self._repeats(slot, passage):
            return True
        self._take(slot, span & ~slot.chosen, cost)
        if self.neighbours:
            self._take_neighbours(slot, first, last)
        return True

    def _found(self, passage: int) -> tuple[Slot, int, int]:
        """Return the slot of a passage, its first sentence and the one after its last."""
        place = self.pool.item_of[passage]
        slot = self.slots.get(place) or self._slot(place)
        number = passage - self.pool.starts[place]
        firsts = slot.cut.firsts
        return slot, firsts[number], firsts[number + 1]

    def _slot(self, place: int) -> Slot:
        """Return a new slot for the item at a place of the pool."""
        index, cut = self.pool.items[place], self.pool.cuts[place]
        item = self.items[index]
        globs = tuple([glob for glob in self.quota if fnmatchcase(item.source, glob)]) if self.quota else ()
        slot = Slot(index, item, cut, self.prices.header(item, cut), globs)
        self.slots[place] = slot
        return slot

    def _affordable(self, slot: Slot, first: int, last: int) -> int | None:
        """Return what the sentences from `first` up to `last` cost, or `None` after noting why they cannot be had."""
        bounds, rest = slot.cut.bounds, self.rest
        if not slot.chosen and bounds[2 * last - 1] - bounds[2 * first] > rest * _BYTES_PER_TOKEN:
            slot.refuse("room", rest, 0)
            return None
        cost = self._price(slot, first, last)
        if cost > rest:
            slot.refuse("room", rest, cost)
            return None
        for glob in slot.quotas:
            if cost > self.quota[glob]:
                slot.refuse("quota", glob, cost)
                return None
        return cost

    def _price(self, slot: Slot, first: int, last: int) -> int:
        """Return what the sentences from `first` up to `last` would add."""
        counted, chosen = self.prices.counted, slot.chosen
        if not chosen:
            return slot.header + counted(slot.item, slot.cut, first, last)
        span = (1 << last) - (1 << first)
        if chosen & span:
            fresh = [k for k in range(first, last) if not chosen >> k & 1]
            cost = sum([counted(slot.item, slot.cut, k, k + 1) for k in fresh])
        else:
            cost = counted(slot.item, slot.cut, first, last)
        return cost + self.prices.gap * slot.gaps_with(span)

    def _take(self, slot: Slot, span: int, cost: int) -> None:
        slot.chosen |= span
        slot.tokens += cost
        self.rest -= cost
        for glob in slot.quotas:
            self.quota[glob] -= cost
        self._log.append((slot, span, cost))

    def _repeats(self, slot: Slot, passage: int) -> bool:
        """Tell whether a passage says what one that was taken says, after noting which."""
        original = self._duplicates.original(passage, self._text_of)
        if original is None:
            return False
        slot.refuse("duplicate", self.slots[self.pool.item_of[original]].item.id, 0)
        return True

    def _text_of(self, passage: int) -> str:
        slot, first, last = self._found(passage)
        bounds = slot.cut.bounds
        return slot.item.text[bounds[2 * first] : bounds[2 * last - 1]]

    # Single sentences

    def _take_sentence(self, slot: Slot, k: int, most: float) -> bool:
        """Take a sentence if it costs no more than `most`; tell whether it was taken."""
        counts, chosen = slot.cut.tokens, slot.chosen
        if not chosen or counts[k] < 0:
            cost = self._price(slot, k, k + 1)
        else:
            # It starts a run of its own, extends one, or joins two.
            beside = (chosen >> k - 1 & 1 if k else 0) + (chosen >> k + 1 & 1)
            cost = counts[k] + self.prices.gap * (1 - beside)
        if cost > most or (slot.quotas and any(cost > self.quota[glob] for glob in slot.quotas)):
            return False
        self._take(slot, 1 << k, cost)
        return True

    def _take_neighbours(self, slot: Slot, first: int, last: int) -> None:
        if first and not slot.chosen >> first - 1 & 1:
            self._take_sentence(slot, first - 1, self.rest * _NEIGHBOUR)
        if last < len(slot.cut.tokens) and not slot.chosen >> last & 1:
            self._take_sentence(slot, last, self.rest * _NEIGHBOUR)

    def _take_in_order(self, slot: Slot, sentences: Iterable[int]) -> None:
        """Take the sentences up to the first that does not fit."""
        for k in sentences:
            if not slot.chosen >> k & 1 and not self._take_sentence(slot, k, self.rest):
                return

    def _overflow(self, slot: Slot) -> bool:
        """Deal with an item that does not fit: take the sentences that do, end the choice, or go on."""
        if self.overflow == "skip":
            return False
        if self.overflow == "cut":
            self._cut = slot
            self._take_in_order(slot, range(len(slot.cut.tokens)))
        self._ended = slot.refusal is not None and slot.refusal[0] == "room"
        return slot.chosen > 0

    def _widen(self) -> None:
        """Spend what is left on the sentences beside those chosen, the best item's first."""
        for slot in dict.fromkeys([slot for slot, _, _ in self._log]):
            if self.rest < _CRUMB:
                return
            for k in slot.beside():
                self._take_sentence(slot, k, self.rest)

    def _take_parts(self) -> None:
        """Spend what is still left on the first sentences of passages that did not fit as a whole."""
        for passage in self._refused:
            if self.rest < _CRUMB:
                return
            slot, first, last = self._found(passage)
            if not (self.drop_duplicates and self._repeats(slot, passage)):
                self._take_in_order(slot, range(first, last))
        self._refused.clear()
