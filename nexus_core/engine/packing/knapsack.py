"""Chooses passages for a number of tokens: best first, what does not fit is skipped, the rest goes to neighbours."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

from attrs import define, field

from nexus_core.contract.values import Item
from nexus_core.engine.packing.candidates import CandidatePool
from nexus_core.engine.packing.item_selection import ItemSelection, runs, set_bits
from nexus_core.engine.packing.line_counts import TokenCosts
from nexus_core.engine.packing.repetition import SAME_SENTENCE, Repetition, stems_of_passage
from nexus_core.toolkit.text.bm25 import codes

_CRUMB = 4
"""Fewer tokens than this are left as they are; the search for passages ends at a 200th of the room."""
_MISSES = 8
"""After so many passages in a row that do not fit, the rest is not tried."""
_WORDS_ALONE = 4 * 3
"""Bytes of three stems: what is left of a passage and has fewer is not worth a place of its own."""
_BYTES_PER_TOKEN = 8
"""Prose and code in any encoding have fewer: what does not fit even so is not counted."""


@define(eq=False, repr=False)
class Selection:
    """A growing choice of passages. `fill` adds what fits, `shrink` takes the last additions back."""

    pool: CandidatePool
    items: tuple[Item, ...]
    """Those of the ranking."""
    prices: TokenCosts
    quota: dict[str, int]
    """What is left of each, by glob."""
    drop_duplicates: bool
    neighbours: bool = True
    overflow: Literal["cut", "skip", "stop"] = "skip"
    pinned: tuple[Item, ...] = ()
    """In the prompt already, whole."""
    rest: int = field(default=0, init=False)
    """Tokens that are left."""
    slots: dict[int, ItemSelection] = field(factory=dict, init=False)
    """By the item's place in the pool."""
    _places: dict[int, int] = field(factory=dict, init=False)
    """The place in the pool of an item, by its index in the ranking."""
    _log: list[tuple[ItemSelection, int, int]] = field(factory=list, init=False)
    """Each addition: sentences as bits, and tokens."""
    _filled_from: int = field(default=0, init=False)
    _next: int = field(default=0, init=False)
    _refused: list[int] = field(factory=list, init=False)
    """The passages that did not fit."""
    _cut: ItemSelection | None = field(default=None, init=False)
    """The item that was cut, where the unit is the item: what is freed goes to it first."""
    _ended: bool = field(default=False, init=False)
    """An item did not fit, and the policy is to look at no other."""
    _taken: Repetition | None = field(default=None, init=False)
    """What the prompt says so far; `None` where something was taken back."""
    _suspects: list[bool] | None = field(default=None, init=False)
    """For each passage of the pool whether it may repeat another; `None` where each may."""

    def __attrs_post_init__(self) -> None:
        # Stems of two languages cannot be compared: then each passage is looked at.
        if self.drop_duplicates and not self.pinned and len({cut.language for cut in self.pool.cuts}) == 1:
            self._suspects = self.pool.stems.suspects()

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
        self._taken = None
        for glob in slot.quotas:
            self.quota[glob] += cost
        return cost

    # One passage

    def _offer(self, passage: int) -> bool:
        """Take a passage if it may be taken; tell whether it was, or needs not be."""
        slot, first, last = self._locate(passage)
        span = (1 << last) - (1 << first)
        if slot.chosen & span == span:
            return True
        cost = self._affordable(slot, first, last)
        if cost is None:
            self._refused.append(passage)
            return self._overflow(slot)
        fresh = span & ~slot.chosen
        if self._is_suspect(passage) and (fresh := self._new_in(slot, passage, fresh)) != span & ~slot.chosen:
            if not fresh:
                return True
            cost = self._price_of(slot, fresh)
        self._take(slot, fresh, cost)
        return True

    def _locate(self, passage: int) -> tuple[ItemSelection, int, int]:
        """Return the slot of a passage, its first sentence and the one after its last."""
        place = self.pool.item_of[passage]
        slot = self.slots.get(place) or self._slot(place)
        number = passage - self.pool.starts[place]
        firsts = slot.cut.firsts
        return slot, firsts[number], firsts[number + 1]

    def _slot(self, place: int) -> ItemSelection:
        """Return a new slot for the item at a place of the pool."""
        index, cut = self.pool.items[place], self.pool.cuts[place]
        item = self.items[index]
        globs = tuple([glob for glob in self.quota if fnmatchcase(item.source, glob)]) if self.quota else ()
        slot = ItemSelection(index, item, cut, self.prices.header(item, cut), globs)
        self.slots[place] = slot
        self._places[index] = place
        return slot

    def _affordable(self, slot: ItemSelection, first: int, last: int) -> int | None:
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

    def _price(self, slot: ItemSelection, first: int, last: int) -> int:
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

    def _price_of(self, slot: ItemSelection, span: int) -> int:
        """Return what some sentences would add, wherever they stand."""
        counted = self.prices.counted
        cost = sum([counted(slot.item, slot.cut, first, last) for first, last in runs(span)])
        gaps = slot.gaps_with(span) if slot.chosen else len(runs(span)) - 1
        return cost + self.prices.gap * gaps + (0 if slot.chosen else slot.header)

    def _take(self, slot: ItemSelection, span: int, cost: int) -> None:
        slot.chosen |= span
        slot.tokens += cost
        self.rest -= cost
        for glob in slot.quotas:
            self.quota[glob] -= cost
        self._log.append((slot, span, cost))
        if self.drop_duplicates and self._taken is not None:
            self._remember(self._taken, slot, span)

    # What was said already

    def _is_suspect(self, passage: int) -> bool:
        return self.drop_duplicates and (self._suspects is None or self._suspects[passage])

    def _said(self) -> Repetition:
        """Return what the prompt says so far."""
        if self._taken is None:
            self._taken = Repetition()
            for item in self.pinned:
                self._taken.add(item, item.text)
            for slot in self.slots.values():
                self._remember(self._taken, slot, slot.chosen)
        return self._taken

    def _remember(self, taken: Repetition, slot: ItemSelection, span: int) -> None:
        for first, last in runs(span):
            taken.add(slot.item, _text(slot, first, last))

    def _new_in(self, slot: ItemSelection, passage: int, fresh: int) -> int:
        """Return the sentences of a passage that say something new, of those not chosen; note the others."""
        said, number = self._said(), passage - self.pool.starts[self.pool.item_of[passage]]
        first, last = slot.cut.firsts[number], slot.cut.firsts[number + 1]
        stems = stems_of_passage(slot.cut, number) if fresh == (1 << last) - (1 << first) else None
        original = said.original(slot.item, slot.text_of(fresh), stems)
        if slot.item.kind == "code" or not self.neighbours:  # what is left of a program, or an item, with holes in it
            if original is None:
                return fresh
            slot.alike |= fresh
            slot.refuse("duplicate", original.id, 0)
            return 0
        repeated = 0
        for start, stop in runs(fresh):
            sentences = [_text(slot, k, k + 1) for k in range(start, stop)]
            for k, other in enumerate(said.originals(slot.item, sentences, original), start):
                if other is not None:
                    repeated |= 1 << k
                    slot.refuse("duplicate", other.id, 0)
        for k in set_bits(fresh & ~repeated):
            beside = (fresh & ~repeated) >> k
            alone = not beside & 2 and not (k and (fresh & ~repeated) >> k - 1 & 1)
            # A heading, say, whose text stands elsewhere.
            if repeated and alone and len(codes(_text(slot, k, k + 1))) < _WORDS_ALONE:
                repeated |= 1 << k
        if repeated and all(self._stands(slot, k) for k in set_bits(fresh & ~repeated)):
            repeated = fresh
        slot.alike |= repeated
        return fresh & ~repeated

    def _stands(self, slot: ItemSelection, k: int) -> bool:
        """Tell whether a sentence, a short one too, stands in the prompt: what is left of a passage may be all old."""
        text = _text(slot, k, k + 1)
        said = self._said()
        return len(codes(text)) < _WORDS_ALONE or said.original(slot.item, text, share=SAME_SENTENCE) is not None

    def _is_said(self, slot: ItemSelection, k: int) -> bool:
        """Tell whether a single sentence, or the passage that it is in, says nothing new; note it if so."""
        if slot.alike >> k & 1:
            return True
        firsts, place = slot.cut.firsts, self._places[slot.index]
        number = bisect_right(firsts, k) - 1
        if not self._is_suspect(self.pool.starts[place] + number):
            return False
        fresh = (1 << firsts[number + 1]) - (1 << firsts[number]) & ~slot.chosen
        if not self._new_in(slot, self.pool.starts[place] + number, fresh) >> k & 1:
            return True
        if not slot.chosen and self._stands(slot, k):
            slot.alike |= 1 << k
            return True
        return False

    # Single sentences

    def _take_sentence(self, slot: ItemSelection, k: int, most: float) -> bool:
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
        if self.drop_duplicates and self._is_said(slot, k):
            return False
        self._take(slot, 1 << k, cost)
        return True

    def _take_in_order(self, slot: ItemSelection, sentences: Iterable[int]) -> None:
        """Take the sentences up to the first that does not fit, but for those that say nothing new."""
        for k in sentences:
            taken = slot.chosen >> k & 1 or self._take_sentence(slot, k, self.rest)
            if not taken and not slot.alike >> k & 1:
                return

    def _overflow(self, slot: ItemSelection) -> bool:
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
            slot, first, last = self._locate(passage)
            self._take_in_order(slot, range(first, last))
        self._refused.clear()


def _text(slot: ItemSelection, first: int, last: int) -> str:
    bounds = slot.cut.bounds
    return slot.item.text[bounds[2 * first] : bounds[2 * last - 1]]
