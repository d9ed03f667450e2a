"""What passage_scores.py works out, for pools so small that importing numpy would take longer than the work.

A short run from the shell is over before numpy has loaded. Both ways give the same order of passages; which is taken
depends on the size of the pool alone, so that the same input packs the same prompt in every process.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import accumulate, pairwise
from math import log1p
from typing import TypeVar

from attrs import frozen

from nexus_core.engine.packing.repetition import LEAST, SAME

FEW_ITEMS = 512
FEW_STEMS = 1 << 14
"""Of no more items and stems a pool is small: some 5 ms of work."""
K1 = 1.5
B = 0.75
PAIRS = 0.3
"""The parameters of the bm25 ranker: one score for items and passages."""
LONGEST_QUERY = 512
"""The stems of a query that count."""
_IN_A_ROW = bytes([True] * LEAST)

_Key = TypeVar("_Key", bound=Hashable)


@frozen(eq=False, repr=False)
class FewStems:
    """The stems of each passage."""

    passages: list[array[int]]

    @classmethod
    def read(cls, codes: Sequence[bytes], lengths: Sequence[bytes]) -> FewStems:
        """Return the stems of the passages of several items."""
        every = array("I", b"".join(codes))
        ends = list(accumulate(array("I", b"".join(lengths))))
        return cls([every[start:end] for start, end in zip([0, *ends], ends, strict=False)])

    def score(self, query: bytes) -> list[float]:
        """Return the BM25 score of each passage for the query's stems."""
        wanted = array("I", query)[:LONGEST_QUERY]
        asked, pairs = set(wanted), set(pairwise(wanted))
        words = [Counter([stem for stem in stems if stem in asked]) for stems in self.passages]
        beside = [
            Counter([pair for pair in pairwise(stems) if pair in pairs]) if len(found) > 0 else Counter()
            for stems, found in zip(self.passages, words, strict=True)
        ]
        mean = sum(map(len, self.passages)) / max(len(self.passages), 1) or 1.0
        norms = [K1 * (1 - B + B * len(stems) / mean) for stems in self.passages]
        for_words, for_pairs = _bm25(words, norms), _bm25(beside, norms)
        return [word + PAIRS * pair for word, pair in zip(for_words, for_pairs, strict=True)]

    def suspects(self) -> list[bool]:
        """Tell of each passage whether enough of it stands in the pool twice that it may repeat another."""
        counts = Counter[tuple[int, int, int]]()
        for stems in self.passages:
            counts.update(zip(stems, stems[1:], stems[2:], strict=False))
        found = []
        for stems in self.passages:
            marks = [counts[triple] > 1 for triple in zip(stems, stems[1:], stems[2:], strict=False)]
            found.append(sum(marks) > SAME * len(marks) or bytes(marks).find(_IN_A_ROW) >= 0)
        return found


def _bm25(counts: Sequence[Counter[_Key]], norms: Sequence[float]) -> list[float]:
    holding = Counter(key for found in counts for key in found)
    rarity = {key: log1p((len(counts) - held + 0.5) / (held + 0.5)) for key, held in holding.items()}
    return [
        sum(count / (count + norm) * rarity[key] for key, count in found.items())
        for found, norm in zip(counts, norms, strict=True)
    ]


def best_first(worth: Sequence[float], item_of: Sequence[int], scores: Sequence[float] | None) -> list[int]:
    """Return the passages, best first; as `passage_scores.best_first`."""
    if scores is not None and worth:
        low = min(0.0, *scores)
        span = max(scores) - low
        if span > 0:
            scale = (max(worth) or 1.0) / span
            worth = [own + (scores[place] - low) * scale for own, place in zip(worth, item_of, strict=True)]
    return sorted(range(len(worth)), key=lambda passage: -worth[passage])
