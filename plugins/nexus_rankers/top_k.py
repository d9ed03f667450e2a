"""Arrays of scores: the best of them, worked out as far as it is read; scales to fuse them; diversity of the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Literal, cast, overload

import numpy as np
import numpy.typing as npt

from nexus_core import Item, Ranking
from nexus_core.toolkit import item_languages, query_terms, terms

Scores = npt.NDArray[np.floating]

_ROUNDING = 1e-9
_FIRST = 128
_MORE = 8
"""How many of the best are found at first, and how many times as many whenever more is read."""
_TOGETHER = 16
"""Scores that are compared with one another before the best of them are."""


class BestFirst(Sequence[int]):
    """The indices of `scores`, best first, equal ones in their order."""

    __slots__ = ("_found", "_scores")

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._found: list[int] = []

    def __len__(self) -> int:
        return len(self._scores)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        if isinstance(place, slice):
            start, stop, _ = place.indices(len(self))
            return self._up_to(max(start + 1, stop))[place]
        return self._up_to(place + 1 if place >= 0 else len(self))[place]

    def _up_to(self, count: int) -> list[int]:
        if len(self._found) < min(count, len(self)):
            wanted = _FIRST
            while wanted < count:
                wanted *= _MORE
            self._found = best(self._scores, min(wanted, len(self)))
        return self._found


def best(scores: Scores, count: int) -> list[int]:
    """Return the indices of the `count` best scores, best first, equal ones in their order."""
    if count * 4 >= len(scores):
        return cast(list[int], np.argsort(-scores, kind="stable")[:count].tolist())
    limit = _limit(scores, count)
    ahead = np.flatnonzero(scores > limit)
    ordered = ahead[np.argsort(-scores[ahead], kind="stable")][:count]
    level = np.flatnonzero(scores == limit)[: count - len(ordered)] if len(ordered) < count else ordered[:0]
    return [*ordered.tolist(), *level.tolist()]


def _limit(scores: Scores, count: int) -> float:
    """Return a score that at least `count` scores reach, and not many more.

    Sorting 100,000 scores takes ten times as long as finding the last one that counts. That takes two to three times as
    long as comparing a few scores at a time, and finding the last one that counts among their best.
    """
    columns = len(scores) // _TOGETHER
    if columns > 2 * count:
        scores = scores[: columns * _TOGETHER].reshape(_TOGETHER, columns).max(axis=0)
    place = len(scores) - count
    return float(np.partition(scores, place)[place])


def scored(ranking: Ranking, ranker: str, scores: Scores) -> Ranking:
    """Return `ranking` by one more column of scores."""
    # An array is no Sequence by its type, though it does all that is asked of one here.
    return ranking.scored(ranker, cast(Sequence[float], scores), head=BestFirst(scores))


def column_of(ranking: Ranking) -> npt.NDArray[np.float64] | None:
    """Return the scores of the last ranker, `None` where nothing has ranked yet."""
    return None if ranking.scores is None else np.asarray(ranking.scores, np.float64)


def unit_scale(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the scores between 0.0, the worst, and 1.0, the best; all 0.0 where they are equal."""
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def scaled(ranking: Ranking, method: Literal["zscore", "minmax", "rrf"], k: float) -> npt.NDArray[np.float64]:
    """Return the scores of the last ranker on a scale that those of other rankers share; `k` is that of rrf."""
    scores = column_of(ranking)
    if scores is None or not len(scores):
        return np.zeros(len(ranking.items))
    if method == "minmax":
        return unit_scale(scores)
    if method == "rrf":
        ranks = np.empty(len(scores))
        ranks[np.asarray(ranking.order())] = np.arange(1, len(scores) + 1)
        return 1.0 / (k + ranks)
    # Of their largest, so that none overflows; and scores that differ by their rounding alone are equal.
    largest = np.abs(scores).max()
    parts = scores / largest if largest > 0 else scores
    spread = parts.std()
    return (parts - parts.mean()) / spread if spread > _ROUNDING else np.zeros_like(scores)


_SIGHT = 0.25
"""It takes .001 from the mean nDCG@10 of seven public collections, and adds .005 to that of questions over made-up
annual reports, which differ by names and years: larger powers do more of both."""


def sight(scores: npt.NDArray[np.float64], words: npt.NDArray[np.float64]) -> float:
    """Return how well a ranker sees the best item by words, both as z-scores: 1.0 where it is its own best.

    0.0 where it is below the mean there; 1.0 also where no item shares a word with the query.
    """
    if not len(scores) or words.max() <= 0 or scores.max() <= 0:
        return 1.0
    return float(max(0.0, scores[words.argmax()] / scores.max()) ** _SIGHT)


Array = npt.NDArray[np.float64]

_EQUAL = 0.8
"""The cosine from which on an item is a copy of another, such as a page and its mirror with another footer; among 400
abstracts of scifact, none a copy, the highest is 0.52."""


def likeness_of(items: Sequence[Item], query: str) -> tuple[Array, Array]:
    """Return the cosines among the items, and of each with the query."""
    languages = item_languages(items)
    counted = [Counter(terms(f"{item.title} {item.text}", own)) for item, own in zip(items, languages, strict=True)]
    counted.append(Counter(chain.from_iterable(query_terms(query, [*dict.fromkeys(languages)]))))
    number: dict[str, int] = {}
    for counts in counted:
        for stem in counts:
            number.setdefault(stem, len(number))
    vectors = np.zeros((len(counted), max(len(number), 1)))
    for row, counts in enumerate(counted):
        vectors[row, [number[stem] for stem in counts]] = np.log1p(list(counts.values()))
    vectors *= np.log(len(counted) / np.maximum(np.count_nonzero(vectors, axis=0), 1)) + 1.0
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = np.minimum(vectors @ vectors.T, 1.0)
    return cosines[:-1, :-1], cosines[-1, :-1]


def reordered(
    relevance: Array, likeness: Array, matches: npt.NDArray[np.bool_], weight: float
) -> tuple[list[int], list[float]]:
    """Return the places in their new order and the gain of each; the gains never rise."""
    order: list[int] = []
    gains: list[float] = []
    nearest = np.zeros(len(relevance))
    left = np.ones(len(relevance), bool)
    for _ in range(len(relevance)):
        gain = weight * relevance - (1 - weight) * nearest
        copies = (nearest >= _EQUAL) & (weight < 1)
        own = left & ~copies & matches
        waiting = own if own.any() else left
        place = int(np.where(waiting, gain, -np.inf).argmax())
        order.append(place)
        # A copy may gain more than what it was put behind.
        behind = bool(gains) and gain[place] > gains[-1]
        gains.append(float(np.nextafter(gains[-1], -np.inf) if behind else gain[place]))
        left[place] = False
        nearest = np.maximum(nearest, likeness[place])
    return order, gains
