"""What passage_scores.py works out, for pools so small that importing numpy would take longer than the work.

A short run from the shell is over before numpy has loaded. Both ways give the same order of passages; which is taken
depends on the size of the pool alone, so that the same input packs the same prompt in every process.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from attrs import frozen

from nexus_core.engine.packing.named_items import NamedItems
from nexus_core.engine.packing.repetition import LEAST, SAME, triples_of
from nexus_core.toolkit.text.bm25 import BREAK, CODE_SIZE, length_norm
from nexus_core.toolkit.text.coded_texts import CodedTexts
from nexus_core.toolkit.text.query_words import QueryWords

FEW_ITEMS = 512
FEW_STEMS = 1 << 14
"""Of no more items and stems a pool is small: some 5 ms of work."""
LONGEST_QUERY = 512
"""The stems of a query that count."""
_IN_A_ROW = bytes([True] * LEAST)


@frozen(eq=False, repr=False)
class SmallStems:
    """The stems of each passage."""

    passages: list[bytes]
    titles: Sequence[bytes]
    title_of: Sequence[int]
    """For each passage the number of its title."""

    @classmethod
    def read(
        cls, codes: Sequence[bytes], lengths: Sequence[bytes], titles: Sequence[bytes], title_of: Sequence[int]
    ) -> SmallStems:
        """Return the stems of the passages of several items, and of the items' titles."""
        every = b"".join(codes)
        ends = [CODE_SIZE * end for end in accumulate(array("I", b"".join(lengths)))]
        passages = [every[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return cls(passages, titles, title_of)

    def passage(self, number: int) -> bytes:
        """Return the stems of a passage."""
        return self.passages[number]

    def scores(self, query: QueryWords[bytes]) -> list[float]:
        """Return the BM25 score of each passage, with its title, for the codes of a query's words."""
        under = [self.titles[place] for place in self.title_of]
        lengths = [len(title) + len(codes) for title, codes in zip(under, self.passages, strict=True)]
        mean = sum(lengths) / max(len(lengths), 1)
        norms = [length_norm(length, mean) for length in lengths]
        titled = [title + BREAK + codes if title else codes for title, codes in zip(under, self.passages, strict=True)]
        return CodedTexts(titled).scores(query, norms, norms)

    def suspects(self) -> list[bool]:
        """Tell of each passage whether enough of it stands in the pool twice that it may repeat another."""
        triples = [triples_of(codes) for codes in self.passages]
        counts = Counter([triple for passage in triples for triple in passage])
        suspects = []
        for passage in triples:
            marks = [counts[triple] > 1 for triple in passage]
            suspects.append(sum(marks) > SAME * len(marks) or bytes(marks).find(_IN_A_ROW) >= 0)
        return suspects


def best_first(
    own: Sequence[float], item_of: Sequence[int], scores: Sequence[float] | None, named: NamedItems | None = None
) -> list[int]:
    """Return the passages, best first; as `passage_scores.best_first`."""
    if scores is not None and own:
        low = min(0.0, *scores)
        span = max(scores) - low
        if span > 0:
            scale = (max(own) or 1.0) / span
            own = [score + (scores[place] - low) * scale for score, place in zip(own, item_of, strict=True)]
    order = _sorted(own)
    added = named.added(order, own) if named is not None else None
    if added:
        order = _sorted([score + added.get(place, 0.0) for score, place in zip(own, item_of, strict=True)])
    return order


def _sorted(worth: Sequence[float]) -> list[int]:
    return sorted(range(len(worth)), key=lambda passage: -worth[passage])
