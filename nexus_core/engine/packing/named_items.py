"""Items that the best passages name by their title: the second half of an answer that stands in two places.

    passage: "The bridge was designed by Ines Holt."  ->  the item "Ines Holt" is worth a part of the passage more

Who asks where the designer of the bridge was born shares no word with the item that tells it. The passage about the
bridge does, and says whose item that is. Titles are compared by their stems, without what they have in brackets at the
end: `Love and Theft (duo)` is named by `Love and Theft`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.bm25 import CODE_SIZE, codes
from nexus_core.toolkit.text.passages import Passages

LOOKED_AT = 2
"""So many of the best passages are read for names."""
PART = 0.25
"""What being named is worth, against the passage that names."""
_LEAST = 2 * CODE_SIZE
"""Titles of one word are no names: `Overview`, `Help`."""
_NO_NAME = bytes(_LEAST)
_MOST_ALIKE = 3
"""A title that more items have says nothing of any of them: the parts of one page have the same."""


class PassageStems(Protocol):
    """The stems of passages by their number."""

    def passage(self, number: int) -> bytes:
        """Return the codes of the stems of a passage, without its title."""


@frozen(eq=False, repr=False)
class NamedItems:
    """The names of the items of a pool, and where to look for them."""

    names: Sequence[bytes]
    """For each item the stems of its title; empty where that is no name."""
    item_of: Sequence[int]
    """For each passage the place of its item."""
    stems: PassageStems

    @classmethod
    def of(
        cls,
        items: Sequence[Item],
        cuts: Sequence[Passages],
        titles: Sequence[bytes],
        item_of: Sequence[int],
        stems: PassageStems,
    ) -> NamedItems | None:
        """Return the names of some items, `titles` being the stems of their titles; `None` where there are none."""
        if not any(len(title) >= _LEAST for title in titles):
            return None
        names = [_name(item, cut, title) for item, cut, title in zip(items, cuts, titles, strict=True)]
        alike = Counter(names)
        return cls([name if alike[name] <= _MOST_ALIKE else b"" for name in names], item_of, stems)

    def added(self, order: Sequence[int], worth: Sequence[float]) -> Mapping[int, float]:
        """Return what the passages of each item that is named are worth more, given all passages, best first."""
        best = [passage for passage in order[:LOOKED_AT] if worth[passage] > 0]
        texts = [self.stems.passage(passage) for passage in best]
        # Few titles begin with two words that stand side by side there: only those are looked for.
        pairs = set[int]().union(*[pair for text in texts for pair in _pairs(text)])
        heads = memoryview(b"".join([name[:_LEAST] or _NO_NAME for name in self.names])).cast("Q")
        maybe = [place for place, head in enumerate(heads) if head in pairs and self.names[place]]
        added: dict[int, float] = {}
        for passage, text in zip(best, texts, strict=True) if maybe else ():
            own, more = self.names[self.item_of[passage]], PART * float(worth[passage])
            for place in maybe:
                name = self.names[place]
                if name != own and more > added.get(place, 0.0) and _stands_in(text, name):
                    added[place] = more
        return added


def _name(item: Item, cut: Passages, title: bytes) -> bytes:
    if "(" in item.title:
        title = codes(item.title[: item.title.index("(")], cut.language)
    return title if len(title) >= _LEAST else b""


def _pairs(passage: bytes) -> Iterator[memoryview]:
    """Yield every two neighbouring codes as a number, those at even places first."""
    for start in (0, CODE_SIZE):
        stop = len(passage) - (len(passage) - start) % _LEAST
        yield memoryview(passage[start:stop]).cast("Q")


def _stands_in(passage: bytes, name: bytes) -> bool:
    """Tell whether the codes of a name stand in a passage, and not across its codes."""
    start = passage.find(name)
    while start % CODE_SIZE > 0 and start >= 0:
        start = passage.find(name, start + 1)
    return start >= 0
