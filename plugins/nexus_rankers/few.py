"""The index of a few items, without numpy: a short run from the shell is over before that has loaded.

It scores as index.py does; which of the two is taken depends on the number and length of the items alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain, pairwise
from math import log1p
from typing import TypeVar

from attrs import frozen

from nexus_core import Item
from nexus_core.toolkit.words import pieces, stems

FEW_ITEMS = 512
FEW_CHARACTERS = 1 << 20

_TITLE_COUNTS = 2
_BREAK = ""
"""Stands between title and text and is no stem: no pair reaches across."""

_Key = TypeVar("_Key", bound=Hashable)


@frozen(kw_only=True, eq=False)
class FewIndex:
    """What each item adds to its score for each word and pair that it holds."""

    language: str
    size: int
    words: dict[str, list[tuple[int, float]]]
    pairs: dict[tuple[str, str], list[tuple[int, float]]]
    pair_weight: float

    def scores(self, query: str) -> list[float]:
        """Return the score of each item; a word that the query repeats counts once."""
        totals = [0.0] * self.size
        asked = [stem for piece in pieces(query) for stem in stems(piece, self.language)]
        for word in dict.fromkeys(asked):
            for item, score in self.words.get(word, ()):
                totals[item] += score
        for pair in dict.fromkeys(pairwise(asked)):
            for item, score in self.pairs.get(pair, ()):
                totals[item] += score * self.pair_weight
        return totals


def is_few(items: Sequence[Item]) -> bool:
    """Tell whether items are so few that this index is the quicker one, the import of numpy counted."""
    return len(items) <= FEW_ITEMS and sum(len(item.text) for item in items) <= FEW_CHARACTERS


def build(items: Sequence[Item], language: str, *, k1: float, b: float, pairs: float) -> FewIndex:
    """Index the items."""
    streams = [_stream(item, language) for item in items]
    words = [Counter(stem for stem in stream if stem) for stream in streams]
    beside = [Counter(pair for pair in pairwise(stream) if all(pair)) for stream in streams] if pairs > 0 else []
    return FewIndex(
        language=language,
        size=len(items),
        words=_postings(words, k1, b),
        pairs=_postings(beside, k1, b),
        pair_weight=pairs,
    )


def _stream(item: Item, language: str) -> list[str]:
    title = [*_stems(item.title, language), _BREAK] if item.title else []
    return [*title * _TITLE_COUNTS, *_stems(item.text, language)]


def _stems(text: str, language: str) -> list[str]:
    return list(chain.from_iterable(stems(piece, language) for piece in pieces(text)))


def _postings(counts: Sequence[Counter[_Key]], k1: float, b: float) -> dict[_Key, list[tuple[int, float]]]:
    holding = Counter(key for found in counts for key in found)
    rarity = {key: log1p((len(counts) - held + 0.5) / (held + 0.5)) for key, held in holding.items()}
    lengths = [found.total() for found in counts]
    mean = max(sum(lengths) / max(len(lengths), 1), 1e-9)
    found: dict[_Key, list[tuple[int, float]]] = {}
    for place, (counted, length) in enumerate(zip(counts, lengths, strict=True)):
        norm = k1 * (1 - b + b * length / mean)
        for key, count in counted.items():
            found.setdefault(key, []).append((place, rarity[key] * (count / (count + norm))))
    return found
