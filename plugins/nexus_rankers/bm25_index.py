"""An inverted index over the words and word pairs of items, with BM25 scores worked out when it is built.

Why not a library: bm25s over the same stems reaches the same figures; its index is built in loops of Python and holds
words alone, so that pairs would take a second one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core import Item
from nexus_core.toolkit import (
    TITLE_COUNTS,
    Bm25Parameters,
    PieceTable,
    QueryWords,
    inverse_frequency,
    item_languages,
    length_norm,
    pieces,
    query_words,
    saturation,
    stem_table,
)
from nexus_rankers.top_k import best

Scores = npt.NDArray[np.float32]
Items = npt.NDArray[np.int32]

_BREAK = 0
"""The number that stands between title and text, and belongs to no stem: no pair reaches across."""
_MIXER = np.uint64(0x9E3779B97F4A7C15)


@frozen(kw_only=True, eq=False)
class Postings:
    """For each key the items that hold it, and what it adds to their score."""

    keys: npt.NDArray[np.uint64]
    """Sorted."""
    starts: npt.NDArray[np.int64]
    """Where the postings of each key start, and at last their number."""
    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.floating]

    def holding(self, keys: Sequence[int]) -> dict[int, int]:
        """Return how many items hold each of the keys, of those that any item holds."""
        wanted, places = self._places(keys)
        counts = self.starts[places + 1] - self.starts[places]
        return dict(zip(wanted.tolist(), counts.tolist(), strict=True))

    def postings(self, keys: Sequence[int], factors: Mapping[int, float] | None = None) -> tuple[Items, Scores]:
        """Return the items that hold any of the keys, one after the other, and what that is worth for each.

        `factors` tell what each key counts against its own rarity, where that is not 1 for all.
        """
        wanted, places = self._places(keys)
        spans = list(map(slice, self.starts[places].tolist(), self.starts[places + 1].tolist()))
        if not spans:
            return self.items[:0], np.zeros(0, np.float32)
        items = np.concatenate([self.items[span] for span in spans])
        scores = np.concatenate([self.scores[span] for span in spans]).astype(np.float32, copy=False)
        if factors is not None:
            each = np.array([factors[key] for key in wanted.tolist()], np.float32)
            scores = scores * np.repeat(each, [span.stop - span.start for span in spans])
        return items, scores

    def _places(self, keys: Sequence[int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return the keys that any item holds, and where they are."""
        wanted = np.array(keys, np.uint64)
        if not len(self.keys):
            return wanted[:0], np.zeros(0, np.int64)
        places = np.minimum(self.keys.searchsorted(wanted), len(self.keys) - 1)
        known = self.keys[places] == wanted
        return wanted[known], places[known]


@frozen(kw_only=True, eq=False)
class LexicalIndex:
    """Scores a fixed tuple of items for any query."""

    languages: tuple[str, ...]
    """Those of the items."""
    own_languages: Sequence[str]
    """That of each item."""
    all_words: bool
    """Stop words are in it."""
    size: int
    number_of: dict[str, int]
    words: Postings
    pairs: Postings | None
    pair_weight: float

    def query(self, text: str) -> QueryWords[str]:
        """Return the words of a query."""
        return query_words(text, self.languages, all_words=self.all_words)

    def holding(self, stems: Iterable[str]) -> dict[str, int]:
        """Return how many items hold each of some stems, of those that any item holds."""
        stem_of = {self.number_of[stem]: stem for stem in stems if stem in self.number_of}
        return {stem_of[number]: held for number, held in self.words.holding([*stem_of]).items()}

    def best(self, scores: Scores, count: int) -> list[int]:
        """Return the items with the best scores."""
        return best(scores, min(count, len(scores)))

    def scores(self, query: QueryWords[str]) -> Scores:
        """Return the score of each item."""
        unknown = len(self.number_of) + 1
        numbers = {stem: self.number_of.get(stem, unknown) for stem in query.counts}
        factors = None if query.is_plain else self._factors(query, numbers)
        items, scores = self.words.postings([*dict.fromkeys(numbers.values())], factors)
        if self.pairs is not None and query.pairs:
            pairs = np.array([(numbers[one], numbers[other]) for one, other in query.pairs], np.uint64)
            keys = _pair_keys(pairs[:, 0], pairs[:, 1], self.size).tolist()
            beside, worth = self.pairs.postings([*dict.fromkeys(keys)])
            items, scores = np.concatenate((items, beside)), np.concatenate((scores, worth * self.pair_weight))
        return np.bincount(items, scores, self.size).astype(np.float32)

    def _factors(self, query: QueryWords[str], numbers: Mapping[str, int]) -> dict[int, float]:
        """Return what each word counts against its rarity, which is in its postings already."""
        held = self.words.holding([*numbers.values()])
        holding = {stem: held.get(number, 0) for stem, number in numbers.items()}
        weights = query.weights(holding, self.size)
        return {numbers[stem]: weight / inverse_frequency(holding[stem], self.size) for stem, weight in weights.items()}


def build(items: Sequence[Item], language: str, parameters: Bm25Parameters, *, all_words: bool = False) -> LexicalIndex:
    """Index the items, with `all_words` by their stop words, too."""
    number_of: dict[str, int] = {}
    languages = item_languages(items, language)
    numbers = {each: _numbers(each, number_of, all_words=all_words) for each in dict.fromkeys(languages)}
    stream, lengths = _read(items, [numbers[each] for each in languages])
    item_of = np.repeat(np.arange(len(items), dtype=np.uint64), lengths)
    is_word = stream != _BREAK
    first, second = stream[:-1], stream[1:]
    together = is_word[:-1] & is_word[1:]
    pairs = None
    if parameters.pairs > 0:
        keys = _pair_keys(first[together].astype(np.uint64), second[together].astype(np.uint64), len(items))
        pairs = _postings(keys, item_of[:-1][together], len(items), parameters, np.float16)
    return LexicalIndex(
        languages=tuple(numbers),
        own_languages=languages,
        all_words=all_words,
        size=len(items),
        number_of=number_of,
        words=_postings(stream[is_word].astype(np.uint64), item_of[is_word], len(items), parameters, np.float32),
        pairs=pairs,
        pair_weight=parameters.pairs,
    )


def _numbers(language: str, number_of: dict[str, int], *, all_words: bool) -> PieceTable[tuple[int, ...]]:
    """Return a table from pieces of text to the numbers of their stems; a new stem gets the next number."""
    table = stem_table(language, all_words=all_words)
    return PieceTable(lambda piece: tuple([number_of.setdefault(stem, len(number_of) + 1) for stem in table[piece]]))


def _read(
    items: Iterable[Item], numbers: Iterable[PieceTable[tuple[int, ...]]]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the stems of all items as one stream of numbers, and how long each item's part is."""
    stream = array("i")
    lengths = array("q")
    for item, table in zip(items, numbers, strict=True):
        number, before = table.__getitem__, len(stream)
        if item.title:
            title = [*chain.from_iterable(map(number, pieces(item.title))), _BREAK]
            stream.extend(title * TITLE_COUNTS)
        stream.extend(chain.from_iterable(map(number, pieces(item.text))))
        stream.append(_BREAK)
        lengths.append(len(stream) - before)
    return np.frombuffer(stream, np.int32), np.frombuffer(lengths, np.int64)


def _pair_keys(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.uint64]:
    """Return a key for each pair, in as many bits as the numbers of `size` items leave of 64.

    Two pairs may share a key; with 100,000 items that happens to one pair in millions.
    """
    with np.errstate(over="ignore"):
        return ((first * _MIXER ^ second) * _MIXER) >> np.uint64(size.bit_length())


def _postings(
    keys: npt.NDArray[np.uint64],
    item_of: npt.NDArray[np.uint64],
    size: int,
    parameters: Bm25Parameters,
    kept: type[np.floating],
) -> Postings:
    """Count each key in each item and score the counts."""
    bits = np.uint64(size.bit_length())
    sorted_keys = np.sort(keys << bits | item_of)
    fresh = np.flatnonzero(np.diff(sorted_keys, prepend=np.uint64(2**64 - 1)))
    counts = np.diff(fresh, append=len(sorted_keys)).astype(np.float32)
    held = sorted_keys[fresh]
    items = (held & np.uint64(2 ** int(bits) - 1)).astype(np.int32)
    held >>= bits
    starts = np.flatnonzero(np.diff(held, prepend=np.uint64(2**64 - 1)))
    holding = np.diff(starts, append=len(held))
    lengths = np.bincount(item_of.astype(np.int64), minlength=size).astype(np.float32)
    norm = length_norm(lengths, float(lengths.mean()) if size else 0.0, parameters)
    rarity = inverse_frequency(holding, size, np.log1p).astype(np.float32)
    scores = np.repeat(rarity, holding) * saturation(counts, norm[items])
    return Postings(keys=held[starts], starts=np.append(starts, len(held)), items=items, scores=scores.astype(kept))
