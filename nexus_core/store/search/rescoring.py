"""BM25 as the ranker `bm25` works it out, for the best items that an index has found. Pure.

tantivy scores words alone, with k1 1.2 and rounded lengths. What it finds is scored again by the ranker's weights, with
the pairs of neighbouring words. How rare a pair is, is judged by those found: what share of them holds it, is taken to
hold it of all items with the rarer of its words. nDCG@10 of that and of the ranker, over all items and pairs:

| | scifact | cosqa | cranfield | squad (1,500 questions) |
|---|---|---|---|---|
| the ranker | .696 | .402 | .398 | .879 |
| the 200 best by words, scored again | .696 | .401 | .397 | .879 |
| the 100 best | .695 | .402 | .397 | .879 |
| the 30 best, where no more are asked for | .694 | .399 | .396 | |
| tantivy's words alone | .690 | .386 | .383 | .871 |
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log1p
from zlib import crc32

from nexus_core.store.items.prepare import TITLE_COUNTS
from nexus_core.toolkit.text.bm25 import codes as codes_of

K1, B, PAIR_WEIGHT = 1.5, 0.75, 0.3
"""As in the ranker `bm25`."""
KEPT_LANGUAGE = "english"
"""The language of the codes that are kept with every item."""
_CODE_SIZE = 4
_BREAK = bytes(_CODE_SIZE)
"""Between two parts, so that no pair reaches from one to the other; hardly the code of any stem."""


class Scorer:
    """Scores the items that one search has found."""

    def __init__(self, asked: Sequence[str], holding: Mapping[str, int], size: int, average: float) -> None:
        """Take the stems of a query in order, and how many of `size` items hold each that was looked for."""
        self._size, self._average = size, max(average, 1e-9)
        self._words = [(_code(stem), self._rarity(held)) for stem, held in holding.items()]
        pairs = dict.fromkeys(pair for pair in pairwise(asked) if pair[0] in holding and pair[1] in holding)
        self._pairs = [(_code(one) + _code(other), min(holding[one], holding[other])) for one, other in pairs]

    def scores(self, read: Sequence[bytes]) -> list[float]:
        """Return the score of each item, by its stream."""
        norms = [K1 * (1 - B + B * len(codes) / _CODE_SIZE / self._average) for codes in read]
        found = [0.0] * len(read)
        for code, rarity in self._words:
            for place, codes in enumerate(read):
                if count := codes.count(code):
                    found[place] += rarity * count / (count + norms[place])
        for code, most in self._pairs:
            counts = [codes.count(code) for codes in read]
            held = len(counts) - counts.count(0)
            if held:
                weight = PAIR_WEIGHT * self._rarity(max(held, most * held / len(read)))
                for place, count in enumerate(counts):
                    if count:
                        found[place] += weight * count / (count + norms[place])
        return found

    def _rarity(self, held: float) -> float:
        held = min(held, self._size)
        return log1p((self._size - held + 0.5) / (held + 0.5))


def weighted(
    asked: Sequence[tuple[Sequence[str], float]], holding: Mapping[str, int], size: int, average: float,
    read: Sequence[bytes],
) -> list[float]:  # fmt: skip
    """Return the score of each item, by its stream, for the stems of each part of a query and that part's weight."""
    totals = [0.0] * len(read)
    for stems, weight in asked:
        held = {stem: holding[stem] for stem in dict.fromkeys(stems) if stem in holding}
        found = Scorer(stems, held, size, average).scores(read)
        totals = [total + weight * score for total, score in zip(totals, found, strict=True)]
    return totals


def _code(stem: str) -> bytes:
    """Return the code of a stem; that its bytes also occur across two codes of others happens once in billions."""
    return crc32(stem.encode("utf-8", "surrogatepass")).to_bytes(_CODE_SIZE, sys.byteorder)


def stream_of(title: str, text: str | None, codes: bytes | None, language: str) -> bytes:
    """Return what an item is scored by: the codes of its title, as often as that counts, and of its text.

    `codes` are those kept with the item, if any; without them the text is read.
    """
    if codes is None or language != KEPT_LANGUAGE:
        codes = codes_of(text or "", language)
    return (codes_of(title, language) + _BREAK) * TITLE_COUNTS + codes if title else codes
