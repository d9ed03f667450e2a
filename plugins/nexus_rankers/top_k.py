"""The order of many scores, worked out only as far as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, overload

import numpy as np
import numpy.typing as npt

from nexus_core import Ranking

Scores = npt.NDArray[np.floating]

_ROUNDING = 1e-9
_FIRST = 128
_MORE = 8
"""How many of the best are found at first, and how many times as many whenever more is read."""


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
    worth = -scores
    if count * 4 >= len(worth):
        return cast(list[int], np.argsort(worth, kind="stable")[:count].tolist())
    # Sorting 100,000 scores takes ten times as long as finding the last one that counts.
    last = np.partition(worth, count - 1)[count - 1]
    ahead = np.flatnonzero(worth < last)
    level = np.flatnonzero(worth == last)[: count - len(ahead)]
    ordered = ahead[np.argsort(worth[ahead], kind="stable")]
    return [*ordered.tolist(), *level.tolist()]


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


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return vectors at the length of one, those of nothing as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
