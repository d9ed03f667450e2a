"""An item, and which of its sentences are chosen: a set of bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import define

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.passages import Passages

Why = Literal["room", "duplicate", "quota"]
Refusal = tuple[Why, object, int]
"""Why a passage was not taken: the kind, of what (tokens that were left, an item's id, a glob), and its tokens."""


@define(eq=False, repr=False)
class ItemSelection:
    """An item, and what is chosen of it."""

    index: int
    """In the ranking's items."""
    item: Item
    cut: Passages
    header: int
    """The tokens of an item before any text."""
    quotas: tuple[str, ...]
    """The globs that its source matches."""
    chosen: int = 0
    """A bit for each sentence."""
    alike: int = 0
    """A bit for each sentence that was left out since what is packed says the same."""
    tokens: int = 0
    refusal: Refusal | None = None
    """The first one, of its best passage."""

    @property
    def whole(self) -> bool:
        """Whether every sentence is chosen."""
        return self.chosen == (1 << len(self.cut.tokens)) - 1

    @property
    def alike_passages(self) -> int:
        """How many passages, or parts of them, were left out since what is packed says the same."""
        left, firsts = self.alike & ~self.chosen, self.cut.firsts
        if not left:
            return 0
        return sum(1 for k in range(len(firsts) - 1) if left >> firsts[k] & (1 << firsts[k + 1] - firsts[k]) - 1)

    def refuse(self, why: Why, of: object, tokens: int) -> None:
        """Note why a passage was not taken."""
        if self.refusal is None:
            self.refusal = (why, of, tokens)

    def packed(self) -> tuple[str, bool]:
        """Return what is chosen, as it stands in the item, gaps marked; and whether it is all."""
        if self.whole:
            bounds = self.cut.bounds
            return self.item.text[bounds[0] : bounds[-1]], True
        return self.text_of(self.chosen), False

    def text_of(self, chosen: int) -> str:
        """Return some sentences, as they stand in the item, gaps marked."""
        bounds, text = self.cut.bounds, self.item.text
        mark = " … " if self.item.kind == "text" else "\n…\n"
        return mark.join([text[bounds[2 * first] : bounds[2 * last - 1]] for first, last in runs(chosen)])

    def beside(self) -> Iterator[int]:
        """Yield the sentences next to those that are chosen."""
        yield from set_bits((self.chosen << 1 | self.chosen >> 1) & ~self.chosen & (1 << len(self.cut.tokens)) - 1)

    def gaps_with(self, span: int) -> int:
        """Return how many gaps more there are when `span` is chosen too; fewer is below zero."""
        together = self.chosen | span
        return (together & ~(together << 1)).bit_count() - (self.chosen & ~(self.chosen << 1)).bit_count()


def set_bits(bits: int) -> Iterator[int]:
    """Yield the places of the ones in `bits`."""
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1


def runs(bits: int) -> list[tuple[int, int]]:
    """Return the runs of ones in `bits`: the first place, and the one after the last."""
    found = []
    start = 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        length = (~bits & bits + 1).bit_length() - 1
        found.append((start + skip, start + skip + length))
        bits >>= length
        start += skip + length
    return found
