"""What text costs in a prompt, in tokens."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.passages import Key, Passages, count_title, counted, key_of, passages_of


@frozen(kw_only=True, eq=False, repr=False)
class TokenCosts:
    """The prices of one template with one encoding; what is counted is kept with the items."""

    count: Callable[[str], int]
    encoding: str
    size: int
    """Of the passages, in tokens."""
    gap: int
    """The mark of a gap."""
    per_item: int = 0
    """What the template puts around an item, its title aside."""

    @property
    def key(self) -> Key:
        """What the counts are kept under."""
        return key_of(self.size, self.encoding)

    def counted(self, item: Item, cut: Passages, first: int, last: int) -> int:
        """Return the tokens of the sentences from `first` up to `last`, each with the white space before it."""
        return counted(item, cut, first, last, self.count)

    def whole(self, item: Item) -> int:
        """Return the tokens of an item's text."""
        cut = passages_of(item, self.key)
        return self.counted(item, cut, 0, len(cut.tokens))

    def title(self, item: Item) -> int:
        """Return the tokens of a title; something mostly stands before it, and a space costs nothing."""
        return count_title(item, passages_of(item, self.key), self.count)

    def header(self, item: Item, cut: Passages) -> int:
        """Return what an item costs before any text."""
        return self.per_item + (cut.title if cut.title >= 0 else self.title(item))
