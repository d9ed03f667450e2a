"""What text costs in a prompt, in tokens."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from attrs import field, frozen

from nexus_core.contract.values import Item
from nexus_core.engine.pool import Passages, passages_of


@frozen(kw_only=True)
class Prices:
    """The prices of one template with one encoding; the counts of sentences are kept with their item."""

    count: Callable[[str], int]
    encoding: str
    size: int
    """Of the passages, whose sentences the counts belong to."""
    gap: int
    """The mark of a gap."""
    per_item: int = 0
    """What the template puts around an item, its title aside."""
    _sentences: tuple[str, str, int] = field(init=False)
    _title: tuple[str, str] = field(init=False)
    """The keys of what is kept with an item: made once, since every item holds on to them."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_sentences", ("sentence tokens", self.encoding, self.size))
        object.__setattr__(self, "_title", ("title tokens", self.encoding))

    def kept(self, item: Item, cut: Passages) -> array[int]:
        """Return the tokens of each sentence, -1 where it was not counted yet."""
        known: array[int] | None = item.derived.get(self._sentences)
        if known is None:
            known = item.derived[self._sentences] = array("i", [-1]) * (len(cut.bounds) // 2)
        return known

    def counted(self, item: Item, cut: Passages, first: int, last: int, kept: array[int]) -> int:
        """Return the tokens of the sentences from `first` up to `last`, each with the white space before it."""
        known = kept[first:last]
        if -1 not in known:
            return sum(known)
        bounds, text = cut.bounds, item.text
        for k in range(first, last):
            if kept[k] < 0:
                kept[k] = self.count(text[bounds[2 * k - 1] if k else bounds[0] : bounds[2 * k + 1]])
        return sum(kept[first:last])

    def whole(self, item: Item) -> int:
        """Return the tokens of an item's text."""
        cut = passages_of(item, self.size)
        return self.counted(item, cut, 0, len(cut.bounds) // 2, self.kept(item, cut))

    def title(self, item: Item) -> int:
        """Return the tokens of a title; something mostly stands before it, and a space costs nothing."""
        if not item.title:
            return 0
        known: int | None = item.derived.get(self._title)
        if known is None:
            known = item.derived[self._title] = self.count(f" {item.title}")
        return known

    def header(self, item: Item) -> int:
        """Return what an item costs before any text."""
        return self.per_item + self.title(item)
