"""What passages are worth for a query: BM25 over their stems and word pairs, and their item's score on the same scale.

Imported where there is a choice to make: numpy takes longer to import than a pipeline takes to load.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

Column = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint32]
Places = npt.NDArray[np.intp]

_K1 = 1.5
_B = 0.75
_PAIRS = 0.3
"""The parameters of the bm25 ranker: one score for items and passages."""
_LONGEST_QUERY = 512
"""The stems of a query that count."""
_FEW = 16
"""Up to so many words, comparing with each is quicker than what `numpy.isin` does."""
MARK_BITS = 18
"""Of a number that stands for three stems: enough to tell most of them apart in a table of a quarter megabyte."""


@frozen
class Stems:
    """The stems of passages, one after the other."""

    codes: Codes
    ends: Places
    """Where each passage ends."""
    lengths: Column

    @classmethod
    def read(cls, codes: Sequence[bytes], lengths: Sequence[bytes]) -> Stems:
        """Return the stems of the passages of several items."""
        counted = np.frombuffer(b"".join(lengths), np.uint32)
        return cls(np.frombuffer(b"".join(codes), np.uint32), counted.cumsum(dtype=np.intp), counted.astype(np.float64))

    def worth(self, query: bytes) -> Column:
        """Return the BM25 score of each passage for the query's stems."""
        wanted = np.frombuffer(query, np.uint32)[:_LONGEST_QUERY]
        asked = np.unique(wanted)
        hits = np.flatnonzero(_is_one_of(self.codes, asked))
        if not len(hits):
            return np.zeros(len(self.ends))
        word = asked.searchsorted(self.codes[hits])
        passage = self.ends.searchsorted(hits, side="right")
        norm = self.lengths * (_K1 * _B * len(self.lengths) / len(self.codes)) + _K1 * (1 - _B)
        return _bm25(passage, word, len(asked), norm) + self._pairs(
            hits, word, passage, asked.searchsorted(wanted), norm
        )

    def _pairs(self, hits: Places, word: Places, passage: Places, wanted: Places, norm: Column) -> Column | float:
        """Return what neighbouring words add that are neighbours in the query too."""
        beside = np.flatnonzero((hits[1:] - hits[:-1] == 1) & (passage[1:] == passage[:-1]))
        base = int(wanted.max()) + 1
        pairs = np.unique(wanted[:-1] * base + wanted[1:])
        if not len(beside) or not len(pairs):
            return 0.0
        pair = word[beside] * base + word[beside + 1]
        place = np.minimum(pairs.searchsorted(pair), len(pairs) - 1)
        known = pairs[place] == pair
        return _PAIRS * _bm25(passage[beside[known]], place[known], len(pairs), norm)

    def triples(self) -> Triples:
        """Return each three stems in a row as one number."""
        codes = self.codes
        odd = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)
        two = (codes[:-2] * odd[0] ^ codes[1:-1]) * odd[1]
        mixed = (two ^ two >> np.uint32(15) ^ codes[2:]) * odd[2]
        return Triples(mixed, mixed >> np.uint32(32 - MARK_BITS), self.ends.tolist())


@frozen
class Triples:
    """The stems of all passages, three at a time, each three as a number of 32 bits."""

    mixed: Codes
    marks: Codes
    """The highest `MARK_BITS` bits of each."""
    ends: list[int]
    """Where the stems of each passage end."""

    def span(self, passage: int) -> slice:
        """Return where the triples of a passage are; nowhere if it has fewer than three stems."""
        start = self.ends[passage - 1] if passage else 0
        return slice(start, max(start, self.ends[passage] - 2))


def best_first(worth: Column, item_of: Sequence[int], scores: Sequence[float] | None) -> list[int]:
    """Return the passages, best first: by their worth and, where a ranker has scored the items, their item's score.

    Rankers have scales of their own: BM25 and shares start at 0, z-scores fall below it. The best item is worth as much
    as the best passage.
    """
    if scores is not None and len(worth):
        column = np.array(scores, np.float64)
        low = min(0.0, float(column.min()))
        span = float(column.max()) - low
        if span > 0:
            worth = worth + ((column - low) * ((float(worth.max()) or 1.0) / span))[np.array(item_of)]
    order: list[int] = np.argsort(-worth, kind="stable").tolist()
    return order


def _is_one_of(codes: Codes, asked: Codes) -> npt.NDArray[np.bool_]:
    if len(asked) > _FEW:
        return np.isin(codes, asked)
    found = np.zeros(len(codes), np.bool_)
    for code in asked:
        found |= codes == code
    return found


def _bm25(passage: Places, key: Places, keys: int, norm: Column) -> Column:
    """Return the scores of all passages, given which keys (of so many) were found in which passages."""
    counts = np.bincount(passage * keys + key, minlength=len(norm) * keys).reshape(len(norm), keys)
    holding = np.count_nonzero(counts, axis=0)
    rarity = np.log1p((len(norm) - holding + 0.5) / (holding + 0.5))
    scores: Column = (counts / (counts + norm[:, None])) @ rarity
    return scores
