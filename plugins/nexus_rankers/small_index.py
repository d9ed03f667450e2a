"""The index of a few items, without numpy: a short run from the shell is over before that has loaded.

It scores as bm25_index.py does; which of the two is taken depends on the number and length of the items alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from math import log1p

from attrs import define, field

from nexus_core import Item
from nexus_core.toolkit import pieces, stems

FEW_ITEMS = 512
FEW_CHARACTERS = 1 << 20

_TITLE_COUNTS = 2
_BREAK = ""
"""Stands between title and text and is no stem: no pair reaches across."""

Postings = list[tuple[int, float]]
"""The places of items, and what is added to their scores."""


@define(kw_only=True, eq=False, repr=False)
class FewIndex:
    """The stems of each item; what a word or pair adds is worked out when it is first asked for."""

    language: str
    k1: float
    b: float
    pair_weight: float
    streams: list[list[str]]
    """The stems of each item in order, with breaks."""
    counts: list[Counter[str]]
    """How often each item holds each stem."""
    pairs: list[int]
    """How many pairs of stems each item has."""
    _words: dict[str, Postings] = field(factory=dict, init=False)
    _pairs: dict[tuple[str, str], Postings] = field(factory=dict, init=False)

    def scores(self, query: str) -> list[float]:
        """Return the score of each item; a word that the query repeats counts once."""
        totals = [0.0] * len(self.counts)
        asked = [stem for piece in pieces(query) for stem in stems(piece, self.language)]
        for word in dict.fromkeys(asked):
            for item, score in self._of_word(word):
                totals[item] += score
        if self.pair_weight > 0:
            for first, second in dict.fromkeys(pairwise(asked)):
                for item, score in self._of_pair(first, second):
                    totals[item] += score * self.pair_weight
        return totals

    def _of_word(self, word: str) -> Postings:
        known = self._words.get(word)
        if known is None:
            held = [(place, count) for place, counts in enumerate(self.counts) if (count := counts.get(word, 0))]
            known = self._scored(held, [counts.total() for counts in self.counts])
            if held:  # what no item holds is not kept: of that there is no end
                self._words[word] = known
        return known

    def _of_pair(self, first: str, second: str) -> Postings:
        known = self._pairs.get((first, second))
        if known is None:
            both = [place for place, counts in enumerate(self.counts) if first in counts and second in counts]
            counted = [(place, _beside(self.streams[place], first, second)) for place in both]
            held = [(place, count) for place, count in counted if count]
            known = self._scored(held, self.pairs)
            if held:
                self._pairs[first, second] = known
        return known

    def _scored(self, held: Sequence[tuple[int, int]], lengths: Sequence[int]) -> Postings:
        rarity = log1p((len(lengths) - len(held) + 0.5) / (len(held) + 0.5))
        mean = max(sum(lengths) / max(len(lengths), 1), 1e-9)
        norms = [self.k1 * (1 - self.b + self.b * lengths[place] / mean) for place, _ in held]
        return [(place, rarity * (count / (count + norm))) for (place, count), norm in zip(held, norms, strict=True)]


def weighted(index: FewIndex, parts: Sequence[tuple[str, float]]) -> list[float]:
    """Return the score of each item, by the weighted parts of a query."""
    (first, _), *earlier = parts
    totals = index.scores(first)
    for text, weight in earlier:
        totals = [total + weight * score for total, score in zip(totals, index.scores(text), strict=True)]
    return totals


def is_few(items: Sequence[Item]) -> bool:
    """Tell whether items are so few that this index is the quicker one, the import of numpy counted."""
    return len(items) <= FEW_ITEMS and sum(len(item.text) for item in items) <= FEW_CHARACTERS


def build(items: Sequence[Item], language: str, *, k1: float, b: float, pairs: float) -> FewIndex:
    """Index the items."""
    stems_of = _Stems(language)
    titles = [[*chain.from_iterable(map(stems_of.__getitem__, pieces(item.title)))] for item in items]
    texts = [[*chain.from_iterable(map(stems_of.__getitem__, pieces(item.text)))] for item in items]
    both = list(zip(titles, texts, strict=True))
    return FewIndex(
        language=language,
        k1=k1,
        b=b,
        pair_weight=pairs,
        streams=[[*[*title, _BREAK] * _TITLE_COUNTS, *text] for title, text in both],
        counts=[Counter([*title * _TITLE_COUNTS, *text]) for title, text in both],
        pairs=[max(0, len(title) - 1) * _TITLE_COUNTS + max(0, len(text) - 1) for title, text in both],
    )


class _Stems(dict[str, tuple[str, ...]]):
    """The stems of the pieces of text met so far; a plain look-up is twice as fast as a call of a cached function."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._language = language

    def __missing__(self, piece: str) -> tuple[str, ...]:
        found = self[piece] = stems(piece, self._language)
        return found


def _beside(stream: Sequence[str], first: str, second: str) -> int:
    """Return how often `second` stands right after `first`."""
    return sum(1 for left, right in pairwise(stream) if left == first and right == second)
