"""What passages are worth for a query, by BM25 over stems and word pairs, and which of them repeat one another.

Imported where there is a choice to make: numpy takes longer to import than a pipeline takes to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core.engine.packing.repetition import LEAST, SAME
from nexus_core.engine.packing.small_passage_scores import LONGEST_QUERY
from nexus_core.toolkit.text.bm25 import DEFAULTS, inverse_frequency, length_norm, saturation

Codes = npt.NDArray[np.uint32]


Column = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

AnyInteger = TypeVar("AnyInteger", bound=np.integer)

_FEW = 16
"""Up to so many words, comparing with each is quicker than what `numpy.isin` does."""


@frozen(eq=False, repr=False)
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

    def scores(self, query: bytes) -> Column:
        """Return the BM25 score of each passage for the query's stems."""
        wanted = np.frombuffer(query, np.uint32)[:LONGEST_QUERY]
        asked = _distinct(wanted)
        hits = np.flatnonzero(_is_one_of(self.codes, asked))
        if not len(hits):
            return np.zeros(len(self.ends))
        word = asked.searchsorted(self.codes[hits])
        passage = self.ends.searchsorted(hits, side="right")
        norm = length_norm(self.lengths, len(self.codes) / len(self.lengths))
        return _bm25(passage, word, len(asked), norm) + self._pairs(
            hits, word, passage, asked.searchsorted(wanted), norm
        )

    def _pairs(self, hits: Places, word: Places, passage: Places, wanted: Places, norm: Column) -> Column | float:
        """Return what neighbouring words add that are neighbours in the query too."""
        beside = np.flatnonzero((hits[1:] - hits[:-1] == 1) & (passage[1:] == passage[:-1]))
        base = int(wanted.max()) + 1
        pairs = _distinct(wanted[:-1] * base + wanted[1:])
        if not len(beside) or not len(pairs):
            return 0.0
        pair = word[beside] * base + word[beside + 1]
        place = np.minimum(pairs.searchsorted(pair), len(pairs) - 1)
        known = pairs[place] == pair
        return DEFAULTS.pairs * _bm25(passage[beside[known]], place[known], len(pairs), norm)

    def suspects(self) -> list[bool]:
        """Tell of each passage whether enough of it stands in the pool twice that it may repeat another.

        Each three stems are a number of 32 bits. The highest bits tell most apart, in a table four times as long; what
        they do not is sorted, since else every prompt would have suspects.
        """
        codes, ends = self.codes, self.ends
        odd = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)
        two = (codes[:-2] * odd[0] ^ codes[1:-1]) * odd[1]
        mixed = (two ^ two >> np.uint32(15) ^ codes[2:]) * odd[2]
        bits = min(22, (8 * len(codes)).bit_length())
        marks = mixed >> np.uint32(33 - bits)
        maybe = np.flatnonzero(np.bincount(marks)[marks] > 1) if len(marks) else marks.astype(np.intp)
        order = np.sort(mixed[maybe])
        twice = order[1:][order[1:] == order[:-1]]
        if not len(twice):
            return [False] * len(ends)
        repeated = np.zeros(len(mixed), np.bool_)
        repeated[maybe] = twice[np.minimum(twice.searchsorted(mixed[maybe]), len(twice) - 1)] == mixed[maybe]
        starts = np.concatenate(([0], ends[:-1]))
        many = _counted(repeated, starts, ends - 2) > SAME * np.maximum(ends - 2 - starts, 0)
        rows = np.ones(max(0, len(repeated) - LEAST + 1), np.bool_)
        for place in range(LEAST):
            rows &= repeated[place : place + len(rows)]
        found: list[bool] = (many | (_counted(rows, starts, ends - 1 - LEAST) > 0)).tolist()
        return found


def _counted(marked: npt.NDArray[np.bool_], starts: Places, stops: Places) -> Places:
    """Return how many marks there are in each stretch; one that stops before it starts has none."""
    before = np.concatenate(([0], marked.cumsum()))
    starts = np.minimum(starts, len(marked))
    counts: Places = before[np.maximum(starts, np.minimum(stops, len(marked)))] - before[starts]
    return counts


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


def _distinct(few: npt.NDArray[AnyInteger]) -> npt.NDArray[AnyInteger]:
    """Return each of a few numbers once, in order; a fifth of the time of `numpy.unique`."""
    return np.array(sorted(set(few.tolist())), few.dtype)


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
    scores: Column = saturation(counts, norm[:, None]) @ inverse_frequency(holding, len(norm), np.log1p)
    return scores
