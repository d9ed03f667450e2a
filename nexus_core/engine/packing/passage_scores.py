"""What passages are worth for a query, by BM25 over stems and word pairs, and which of them repeat one another.

Imported where there is a choice to make: numpy takes longer to import than a pipeline takes to load.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core.engine.packing.named_items import NamedItems
from nexus_core.engine.packing.repetition import LEAST, SAME
from nexus_core.toolkit.text.bm25 import CODE_SIZE, DEFAULTS, inverse_frequency, length_norm, saturation
from nexus_core.toolkit.text.query_words import QueryWords

Codes = npt.NDArray[np.uint32]


Column = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

_FEW = 16
"""Up to so many words, comparing with each is quicker than what `numpy.isin` does."""


@frozen(kw_only=True, eq=False, repr=False)
class Stems:
    """The stems of passages, one after the other, and of the titles that they stand under."""

    codes: Codes
    ends: Places
    """Where each passage ends."""
    titled: Codes
    """The stems of all passages, and then of all titles."""
    titled_ends: Places
    title_of: Places
    """For each passage the number of its title."""
    lengths: Column
    """Of the passages with their titles."""

    @classmethod
    def read(
        cls, codes: Sequence[bytes], lengths: Sequence[bytes], titles: Sequence[bytes], title_of: Sequence[int]
    ) -> Stems:
        """Return the stems of the passages of several items, and of the items' titles."""
        counted = np.frombuffer(b"".join(lengths), np.uint32)
        of_titles = np.array([len(title) // CODE_SIZE for title in titles], np.uint32)
        titled, place = np.frombuffer(b"".join([*codes, *titles]), np.uint32), np.array(title_of, np.intp)
        ends = np.concatenate((counted, of_titles)).cumsum(dtype=np.intp)
        count = len(counted)
        return cls(
            codes=titled[: ends[count - 1]] if count else titled[:0],
            ends=ends[:count],
            titled=titled,
            titled_ends=ends,
            title_of=place,
            lengths=(counted + of_titles[place]).astype(np.float64),
        )

    def passage(self, number: int) -> bytes:
        """Return the stems of a passage."""
        return self.codes[self.ends[number - 1] if number else 0 : self.ends[number]].tobytes()

    def scores(self, query: QueryWords[bytes]) -> Column:
        """Return the BM25 score of each passage, with its title, for the codes of a query's words."""
        number = {int.from_bytes(word, sys.byteorder): word for word in query.counts}
        asked = np.array(sorted(number), np.uint32)
        hits = np.flatnonzero(_is_one_of(self.titled, asked))
        if not len(hits):
            return np.zeros(len(self.ends))
        words = [number[code] for code in asked.tolist()]
        word, text = asked.searchsorted(self.titled[hits]), self.titled_ends.searchsorted(hits, side="right")
        counts = self._by_passage(text, word, len(words))
        holding = np.count_nonzero(counts, axis=0).tolist()
        weights = query.weights(dict(zip(words, holding, strict=True)), len(counts))
        norm = length_norm(self.lengths, float(self.lengths.mean()))[:, None]
        column: Column = saturation(counts, norm) @ np.array([weights.get(each, 0.0) for each in words])
        place = {each: index for index, each in enumerate(words)}
        pairs = np.array(sorted([place[one] * len(words) + place[other] for one, other in query.pairs]), np.intp)
        beside = np.flatnonzero((hits[1:] - hits[:-1] == 1) & (text[1:] == text[:-1]))
        if not len(beside) or not len(pairs):
            return column
        pair = word[beside] * len(words) + word[beside + 1]
        found = np.minimum(pairs.searchsorted(pair), len(pairs) - 1)
        known = pairs[found] == pair
        counts = self._by_passage(text[beside[known]], found[known], len(pairs))
        rarity = inverse_frequency(np.count_nonzero(counts, axis=0), len(counts), np.log1p)
        both: Column = column + saturation(counts, norm) @ (DEFAULTS.pairs * rarity)
        return both

    def _by_passage(self, text: Places, key: Places, keys: int) -> Places:
        """Return how often each passage with its title holds each of so many keys, given which was found in which."""
        rows = len(self.titled_ends)
        counts = np.bincount(text * keys + key, minlength=rows * keys).reshape(rows, keys)
        together: Places = counts[: len(self.ends)] + counts[len(self.ends) :][self.title_of]
        return together

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


def best_first(
    worth: Column, item_of: Sequence[int], scores: Sequence[float] | None, named: NamedItems | None = None
) -> list[int]:
    """Return the passages, best first: by their worth and, where a ranker has scored the items, their item's score.

    Rankers have scales of their own: BM25 and shares start at 0, z-scores fall below it. The best item is worth as much
    as the best passage. With `named` those of items that the best ones name are worth more.
    """
    if scores is not None and len(worth):
        column = np.array(scores, np.float64)
        low = min(0.0, float(column.min()))
        span = float(column.max()) - low
        if span > 0:
            worth = worth + ((column - low) * ((float(worth.max()) or 1.0) / span))[np.array(item_of)]
    order: list[int] = np.argsort(-worth, kind="stable").tolist()
    added = named.added(order, worth.tolist()) if named is not None else None
    if added:
        more = np.zeros(max(item_of) + 1)
        more[[*added]] = [*added.values()]
        order = np.argsort(-(worth + more[np.array(item_of)]), kind="stable").tolist()
    return order


def _is_one_of(codes: Codes, asked: Codes) -> npt.NDArray[np.bool_]:
    if len(asked) > _FEW:
        return np.isin(codes, asked)
    found = np.zeros(len(codes), np.bool_)
    for code in asked:
        found |= codes == code
    return found
