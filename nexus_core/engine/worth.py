"""What passages are worth for a query, by BM25 over stems and word pairs, and which of them repeat one another.

Imported where there is a choice to make: numpy takes longer to import than a pipeline takes to load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core.engine.few import K1, LONGEST_QUERY, PAIRS, SAME, SUSPECTS, B, TextOf, adds_number

Column = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint32]
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

    def worth(self, query: bytes) -> Column:
        """Return the BM25 score of each passage for the query's stems."""
        wanted = np.frombuffer(query, np.uint32)[:LONGEST_QUERY]
        asked = _distinct(wanted)
        hits = np.flatnonzero(_is_one_of(self.codes, asked))
        if not len(hits):
            return np.zeros(len(self.ends))
        word = asked.searchsorted(self.codes[hits])
        passage = self.ends.searchsorted(hits, side="right")
        norm = self.lengths * (K1 * B * len(self.lengths) / len(self.codes)) + K1 * (1 - B)
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
        return PAIRS * _bm25(passage[beside[known]], place[known], len(pairs), norm)

    def triples(self) -> Triples:
        """Return each three stems in a row as one number."""
        codes = self.codes
        odd = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)
        two = (codes[:-2] * odd[0] ^ codes[1:-1]) * odd[1]
        mixed = (two ^ two >> np.uint32(15) ^ codes[2:]) * odd[2]
        bits = min(22, (8 * len(codes)).bit_length())
        return Triples(mixed, mixed >> np.uint32(32 - bits), bits, self.ends.tolist())


@frozen(eq=False, repr=False)
class Triples:
    """The stems of all passages, three at a time, each three as a number of 32 bits."""

    mixed: Codes
    marks: Codes
    """The highest bits of each: enough to tell most triples apart, in a table that is eight times as long."""
    bits: int
    """Of a mark."""
    ends: list[int]
    """Where the stems of each passage end."""

    def span(self, passage: int) -> slice:
        """Return where the triples of a passage are; nowhere if it has fewer than three stems."""
        start = self.ends[passage - 1] if passage else 0
        return slice(start, max(start, self.ends[passage] - 2))

    def suspects(self) -> list[bool]:
        """Tell of each passage whether so many of its marks stand in the pool twice that it may repeat another."""
        # A coarser mark makes more suspects, and the table for it is quicker to fill.
        marks = self.marks >> np.uint32(1)
        repeated = np.bincount(marks)[marks] > 1
        before = np.concatenate(([0], repeated.cumsum()))
        ends = np.array(self.ends)
        starts = np.minimum(np.concatenate(([0], ends[:-1])), len(repeated))
        stops = np.maximum(starts, ends - 2)
        found: list[bool] = (before[stops] - before[starts] > SAME * (stops - starts)).tolist()
        return found

    def duplicates(self) -> Duplicates:
        """Return what finds passages that repeat one that was taken."""
        return Duplicates(self)


class Duplicates:
    """The passages of a pool that were taken so far.

    A passage says what another one says already if over 60 % of its word triples are in that one and no new number. Two
    near-copies of every item added to HotpotQA cost a third of the answers without this test, and next to none with it.
    """

    def __init__(self, triples: Triples) -> None:
        self._triples = triples
        self._suspects = triples.suspects()
        self._taken: list[int] = []
        """Those that are not among the owners yet: most pools have no suspect, and then nobody asks."""
        self._owner: npt.NDArray[np.int32] | None = None
        """For each mark of a triple the passage that was taken with it last, from 1; 0 for none."""

    def original(self, passage: int, text_of: TextOf) -> int | None:
        """Return the passage that this one repeats, and remember its words if there is none."""
        if self._suspects[passage]:
            triples = self._triples
            owners = self._owners()[triples.marks[triples.span(passage)]]
            # A mark may stand for several triples, so marks only say where to look closely.
            if np.count_nonzero(owners) > SAME * len(owners):
                for other, _ in Counter(owners[owners > 0].tolist()).most_common(SUSPECTS):
                    if self._repeats(passage, other - 1, text_of):
                        return int(other) - 1
        self._taken.append(passage)
        return None

    def _owners(self) -> npt.NDArray[np.int32]:
        triples = self._triples
        if self._owner is None:
            self._owner = np.zeros(1 << triples.bits, np.int32)
        for taken in self._taken:
            self._owner[triples.marks[triples.span(taken)]] = taken + 1
        self._taken.clear()
        return self._owner

    def _repeats(self, passage: int, other: int, text_of: TextOf) -> bool:
        triples = self._triples
        said = set(triples.mixed[triples.span(passage)].tolist())
        shared = said.intersection(triples.mixed[triples.span(other)].tolist())
        return len(shared) > SAME * len(said) and not adds_number(text_of(passage), text_of(other))


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
    rarity = np.log1p((len(norm) - holding + 0.5) / (holding + 0.5))
    scores: Column = (counts / (counts + norm[:, None])) @ rarity
    return scores
