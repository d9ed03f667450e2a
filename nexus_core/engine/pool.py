"""The passages that a draft's best items offer, each with what it is worth for the query.

What is worked out for an item (its sentences, passages and stems) is kept with it, as a few compact arrays.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import accumulate, chain
from typing import TYPE_CHECKING, cast

from attrs import frozen

from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Item
from nexus_core.toolkit.lexical import codes
from nexus_core.toolkit.text import passages

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Column = npt.NDArray[np.float64]
    Codes = npt.NDArray[np.uint32]

_DEPTH = 1.6
"""Items are considered until they hold about so many times what fits ..."""
_AT_LEAST = 50
"""... and are at least so many.

Deeper does not find more: on squad, squad-sections, hotpot100 and scifact the mean recall at 256 to 4,096 tokens is the
same within .002 from 1.5 times and 30 items to 4 times and 50."""
_UNRANKED = 1000
"""How many items are considered where no ranker has said which are the best."""

_K1 = 1.5
_B = 0.75
_PAIRS = 0.3
"""The ranker's parameters: one score for items and passages."""


@frozen
class Passages:
    """An item, cut."""

    bounds: array[int]
    """Start and end of each sentence in the text."""
    firsts: array[int]
    """The first sentence of each passage, and last the number of sentences."""
    codes: bytes
    """The stems of all passages, in order."""
    lengths: bytes
    """How many stems each passage has."""


def passages_of(item: Item, size: int) -> Passages:
    """Return the passages of an item of at most about `size` tokens each."""
    key = ("passages", size)
    known: Passages | None = item.derived.get(key)
    if known is None:
        known = item.derived[key] = _cut(item, size)
    return known


def _cut(item: Item, size: int) -> Passages:
    cut = passages(item.text, item.kind, size)
    stems = [codes(item.text[spans[0][0] : spans[-1][1]]) for spans in cut]
    return Passages(
        bounds=array("I", chain.from_iterable(chain.from_iterable(cut))),
        firsts=array("I", accumulate(map(len, cut), initial=0)),
        codes=b"".join(stems),
        lengths=array("I", [len(passage) // 4 for passage in stems]).tobytes(),
    )


@frozen
class Pool:
    """Items in rank order, and their passages: all columns but `items` have one entry per passage."""

    items: list[int]
    """Indices in the ranking's items."""
    cuts: list[Passages]
    item_of: list[int]
    """The place in `items`."""
    first: list[int]
    """The first sentence, in the item."""
    last: list[int]
    """The sentence after the last."""
    order: list[int]
    """The passages, best first."""
    triples: Triples
    size: int
    """Of the passages, in tokens."""


@frozen
class Triples:
    """The stems of all passages of a pool, three at a time."""

    mixed: Codes
    ends: npt.NDArray[np.int64]
    """Where each passage's stems end."""

    def of(self, passage: int) -> list[int]:
        """Return the triples of a passage, each as one number; none where it has fewer than three stems."""
        start = int(self.ends[passage - 1]) if passage else 0
        return cast(list[int], self.mixed[start : max(start, int(self.ends[passage]) - 2)].tolist())


def pool_of(ranking: Ranking, query: str, size: int, characters: int, without: frozenset[int] = frozenset()) -> Pool:
    """Return the passages worth a look where `characters` fit, but those of the items `without`."""
    # Here, since what fits as it is needs no passages, and numpy takes longer to import than a pipeline to load.
    import numpy as np

    chosen, cuts = _considered(ranking, size, characters, without)
    counts = [len(cut.firsts) - 1 for cut in cuts]
    stems = np.frombuffer(b"".join([cut.codes for cut in cuts]), np.uint32)
    lengths = np.frombuffer(b"".join([cut.lengths for cut in cuts]), np.uint32)
    ends = np.cumsum(lengths, dtype=np.int64)
    item_of = np.repeat(np.arange(len(cuts)), counts)
    worth = _worth(stems, ends, lengths, np.frombuffer(codes(query), np.uint32))
    column = ranking.scores
    if column is not None and len(worth):
        worth += _scaled(np.array([column[index] for index in chosen], np.float64), float(worth.max()))[item_of]
    return Pool(
        items=chosen,
        cuts=cuts,
        item_of=item_of.tolist(),
        first=[first for cut in cuts for first in cut.firsts[:-1]],
        last=[last for cut in cuts for last in cut.firsts[1:]],
        order=np.argsort(-worth, kind="stable").tolist(),
        triples=Triples(_mixed(stems), ends),
        size=size,
    )


def _considered(
    ranking: Ranking, size: int, characters: int, without: frozenset[int]
) -> tuple[list[int], list[Passages]]:
    """Return the items in rank order, as deep as there may be something to choose."""
    chosen: list[int] = []
    cuts: list[Passages] = []
    least = _AT_LEAST if ranking.scores is not None else _UNRANKED
    wanted, held = _DEPTH * characters, 0
    for index in _best_first(ranking, least + len(without)):
        if len(chosen) >= least and held >= wanted:
            break
        if index not in without:
            item = ranking.items[index]
            chosen.append(index)
            cuts.append(passages_of(item, size))
            held += len(item.text)
    return chosen, cuts


def _best_first(ranking: Ranking, count: int) -> Iterator[int]:
    """Yield all indices, best first, asking for `count` at first and then for twice as many each time."""
    done = 0
    while done < len(ranking.items):
        yield from ranking.order(count)[done:]
        done, count = count, 2 * count


def _worth(stems: Codes, ends: npt.NDArray[np.int64], lengths: Codes, query: Codes) -> Column:
    """Return the BM25 score of each passage for the query, by words and by pairs of neighbouring words."""
    import numpy as np

    asked = np.unique(query)
    hits = np.flatnonzero(np.isin(stems, asked))
    if not len(hits):
        return np.zeros(len(lengths))
    word = np.searchsorted(asked, stems[hits])
    passage = np.searchsorted(ends, hits, side="right")
    norm = _K1 * (1 - _B + _B * lengths.astype(np.float64) / max(float(lengths.mean()), 1.0))
    worth = _bm25(passage, word, len(asked), norm)
    asked_word = np.searchsorted(asked, query)
    pairs = np.unique(asked_word[:-1] * len(asked) + asked_word[1:])
    beside = (np.diff(hits) == 1) & (np.diff(passage) == 0)
    pair = (word[:-1] * len(asked) + word[1:])[beside]
    known = np.isin(pair, pairs)
    if known.any():
        worth += _PAIRS * _bm25(passage[:-1][beside][known], np.searchsorted(pairs, pair[known]), len(pairs), norm)
    return worth


def _bm25(passage: npt.NDArray[np.int64], key: npt.NDArray[np.int64], keys: int, norm: Column) -> Column:
    """Return the scores of all passages, given which keys (of so many) were found in which passages."""
    import numpy as np

    counts = np.bincount(passage * keys + key, minlength=len(norm) * keys).reshape(len(norm), keys)
    holding = np.count_nonzero(counts, axis=0)
    rarity = np.log1p((len(norm) - holding + 0.5) / (holding + 0.5))
    scores: Column = (counts / (counts + norm[:, None])) @ rarity
    return scores


def _scaled(scores: Column, best: float) -> Column:
    """Return the items' scores on the scale of the passages: the best item is worth as much as the best passage.

    Rankers have scales of their own: BM25 and shares start at 0, z-scores fall below it.
    """
    low = min(0.0, float(scores.min()))
    span = float(scores.max()) - low
    return (scores - low) * ((best or 1.0) / span) if span > 0 else scores * 0.0


def _mixed(stems: Codes) -> Codes:
    """Return one number for each three stems in a row, of 30 bits: those are the integers Python is quickest with."""
    import numpy as np

    wide = stems.astype(np.uint64)
    with np.errstate(over="ignore"):
        two = (wide[:-2] * np.uint64(0x9E3779B97F4A7C15) ^ wide[1:-1]) * np.uint64(0xC2B2AE3D27D4EB4F)
        return ((two ^ wide[2:]) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(34)).astype(np.uint32)
