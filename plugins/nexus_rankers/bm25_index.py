"""An inverted index over the words and word pairs of items, with BM25 scores worked out when it is built.

Why not a library: bm25s over the same stems reaches the same figures; its index is built in loops of Python and holds
words alone, so that pairs would take a second one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
from attrs import frozen

from nexus_core import Item
from nexus_core.toolkit import (
    TITLE_COUNTS,
    Bm25Parameters,
    PieceTable,
    inverse_frequency,
    item_languages,
    length_norm,
    pieces,
    query_terms,
    saturation,
    stem_table,
)

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

    def postings(self, keys: Sequence[int]) -> tuple[Items, Scores]:
        """Return the items that hold any of the keys, one after the other, and what that is worth for each."""
        if not len(self.keys):
            return self.items, self.scores.astype(np.float32)
        wanted = np.array(keys, np.uint64)
        places = np.minimum(self.keys.searchsorted(wanted), len(self.keys) - 1)
        places = places[self.keys[places] == wanted]
        spans = list(map(slice, self.starts[places].tolist(), self.starts[places + 1].tolist()))
        if not spans:
            return self.items[:0], self.scores[:0].astype(np.float32)
        return (
            np.concatenate([self.items[span] for span in spans]),
            np.concatenate([self.scores[span] for span in spans]).astype(np.float32, copy=False),
        )


@frozen(kw_only=True, eq=False)
class LexicalIndex:
    """Scores a fixed tuple of items for any query."""

    languages: tuple[str, ...]
    """Those of the items."""
    all_words: bool
    """Stop words are in it."""
    size: int
    number_of: dict[str, int]
    words: Postings
    pairs: Postings | None
    pair_weight: float

    def scores(self, query: str) -> Scores:
        """Return the score of each item; a word that the query repeats counts once."""
        unknown = len(self.number_of) + 1
        asked = [
            [self.number_of.get(stem, unknown) for stem in stems]
            for stems in query_terms(query, self.languages, all_words=self.all_words)
        ]
        items, scores = self.words.postings([*dict.fromkeys(chain.from_iterable(asked))])
        if self.pairs is not None and any(len(stems) > 1 for stems in asked):
            numbers = np.array([pair for stems in asked for pair in pairwise(stems)], np.uint64)
            pairs = _pair_keys(numbers[:, 0], numbers[:, 1], self.size).tolist()
            beside, worth = self.pairs.postings([*dict.fromkeys(pairs)])
            items, scores = np.concatenate((items, beside)), np.concatenate((scores, worth * self.pair_weight))
        return np.bincount(items, scores, self.size).astype(np.float32)


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
