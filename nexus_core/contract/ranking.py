"""A ranking: items that never move, columns of scores beside them, and an order worked out only as far as it is read.

A ranker supplies scores, one per item. So it cannot invent, lose or repeat an item, the tuple of items stays the same
object from gather to prompt (an index over it is reused), and ranking 100,000 items to read 50 builds 50 candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from heapq import nsmallest
from math import isfinite, isnan
from typing import Any, overload

from attrs import frozen

from nexus_core.contract.errors import RankerError
from nexus_core.contract.values import Item

_NUMBERS = frozenset({float, int, bool})
_KINDS = "fiub"
"""Of numpy's arrays: floating, signed, unsigned, bool."""


@frozen
class Candidate:
    """An item at its place in a ranking."""

    item: Item
    score: float
    """By the last ranker, higher is better; 0.0 when nothing has ranked yet."""
    scores: Mapping[str, float]
    """By the name of each ranker that has scored it, first to last."""


class Ranking(Sequence[Candidate]):
    """Items with their scores, best first; equal scores stand in the order of the items."""

    __slots__ = ("_head", "_sound", "_whole", "by_meaning", "columns", "items", "searched")

    def __init__(
        self,
        items: tuple[Item, ...],
        columns: tuple[tuple[str, Sequence[float]], ...] = (),
        head: Sequence[int] | None = None,
        searched: tuple[str, Sequence[float]] | None = None,
        *,
        by_meaning: bool = False,
    ) -> None:
        self.items = items
        """In the order of their sources; the same object through all steps."""
        self.columns = columns
        """(ranker, one score per item), in the order the rankers ran."""
        self.searched = searched
        """Where the items are what an index over a whole context has found: its language, and its scores.

        By BM25, and by meaning where that was searched by. No ranker can work these out from the items found: how rare
        a word is, is judged by all of them, and what was found by meaning may share no word with the query.
        """
        self.by_meaning = by_meaning
        """Whether these scores are also by meaning, with the vectors of the context's own model."""
        self._head: Sequence[int] = head if head is not None else ()
        self._whole: Sequence[int] | None = None
        self._sound = not columns and head is None
        """The scores of the last ranker are known to be numbers, one per item."""

    def scored(self, ranker: str, scores: Sequence[float], head: Sequence[int] | None = None) -> Ranking:
        """Return a new ranking by `scores`, one per item in the order of `items`, all of them finite.

        Any numbers in a row will do: a list, an array of numpy's, a generator. `head`, if given, is the indices of the
        best few, best first: a ranker that knows them saves the sorting. Raises RankerError, with the ranker's name.
        """
        column = check_scores(ranker, scores, len(self.items))
        made = Ranking(self.items, (*self.columns, (ranker, column)), head, self.searched, by_meaning=self.by_meaning)
        made._sound = head is None or check_head(ranker, head, len(self.items))
        return made

    def only(self, places: Sequence[int]) -> Ranking:
        """Return a ranking of the items at some places of `items`, with the scores that they have."""

        def chosen(scores: Sequence[float]) -> list[float]:
            return [float(scores[place]) for place in places]

        searched = None if self.searched is None else (self.searched[0], chosen(self.searched[1]))
        columns = tuple((name, chosen(scores)) for name, scores in self.columns)
        made = Ranking(
            tuple(self.items[place] for place in places), columns, searched=searched, by_meaning=self.by_meaning
        )
        made._sound = self._sound
        return made

    def joined(self, other: Ranking) -> Ranking:
        """Return `other`, a ranking of the very same items, with the scores that this one has besides, before its own.

        So the scores of rankers that worked at the same time stand beside each other.
        """
        new = [column for column in other.columns if not any(column is known for known in self.columns)]
        if not new:
            return self
        columns = (*self.columns, *new)
        made = Ranking(self.items, columns, other._head or None, other.searched, by_meaning=other.by_meaning)
        made._sound = other._sound
        return made

    def checked(self, ranker: str) -> Ranking:
        """Return this ranking, its last scores checked if they were not made by `scored`; raises RankerError."""
        if self._sound:
            return self
        if not self.columns:
            raise RankerError(f"ranker {ranker!r} returned an order without scores")
        name, scores = self.columns[-1]
        before = Ranking(self.items, self.columns[:-1], searched=self.searched, by_meaning=self.by_meaning)
        return before.scored(name, scores, self._head or None)

    @property
    def scores(self) -> Sequence[float] | None:
        """The scores of the last ranker, one per item; `None` when nothing has ranked yet."""
        return self.columns[-1][1] if self.columns else None

    def order(self, count: int | None = None) -> Sequence[int]:
        """Return the indices of the best `count` items (all by default), best first."""
        wanted = len(self.items) if count is None else min(count, len(self.items))
        if self.scores is None:
            return range(wanted)
        if self._whole is None:
            if wanted <= len(self._head):
                return self._head[:wanted]
            self._sort(wanted)
        return self._whole[:wanted] if self._whole is not None else self._head[:wanted]

    def _sort(self, wanted: int) -> None:
        scores = () if self.scores is None else self.scores

        def key(index: int) -> tuple[float, int]:
            return (-float(scores[index]), index)

        if wanted * 8 < len(self.items):
            self._head = nsmallest(wanted, range(len(self.items)), key=key)
        else:
            self._whole = sorted(range(len(self.items)), key=key)

    def top(self, count: int) -> list[Candidate]:
        """Return the best `count` candidates, best first."""
        return [self.candidate(index) for index in self.order(count)]

    def candidate(self, index: int) -> Candidate:
        """Return the candidate for the item at `index` of `items`."""
        scores = {ranker: float(column[index]) for ranker, column in self.columns}
        return Candidate(self.items[index], float(self.columns[-1][1][index]) if self.columns else 0.0, scores)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Candidate]:
        return (self.candidate(index) for index in self.order())

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> list[Candidate]: ...
    def __getitem__(self, place: int | slice) -> Candidate | list[Candidate]:
        if isinstance(place, slice):
            return [self.candidate(index) for index in self.order()[place]]
        return self.candidate(self.order()[place])


# What a ranker may return for scores: any finite numbers in a row, one per item.


def check_scores(ranker: str, scores: Any, size: int) -> Sequence[float]:
    """Return scores as a sequence of numbers; raises RankerError, with the ranker's name, where they are none."""
    is_array = hasattr(getattr(scores, "dtype", None), "kind")
    column = _array(ranker, scores) if is_array else _numbers(ranker, scores)
    if len(column) != size:
        raise RankerError(f"ranker {ranker!r} returned {len(column)} scores for {size} items")
    # One NaN or infinity shows in the sum; a sum that is too large does so, too, and then each score is looked at.
    total = column.sum(dtype=float) if hasattr(column, "sum") else sum(column)
    if not isfinite(total):
        _check_each(ranker, column)
    return column


def _check_each(ranker: str, column: Sequence[float]) -> None:
    for place, score in enumerate(column):
        if isnan(score):
            raise RankerError(f"ranker {ranker!r} returned NaN for item {place}: a score that is not a number")
        if not isfinite(score):
            raise RankerError(f"ranker {ranker!r} returned {score} for item {place}: a score must be finite")


def check_head(ranker: str, head: Any, size: int) -> bool:
    """Tell that the indices of the best are sound; raises RankerError where a list of them is not.

    One that is worked out as it is read, as rankers of large contexts have it, is taken as it is.
    """
    if isinstance(head, list | tuple) or hasattr(head, "dtype"):
        places = list(head)
        if len({*places}) != len(places) or not all(0 <= place < size for place in places):
            raise RankerError(f"ranker {ranker!r} returned a head that is no choice of {size} items")
    return True


def _array(ranker: str, scores: Any) -> Any:
    if hasattr(scores, "filled"):
        raise RankerError(f"ranker {ranker!r} must return one number per item, not a masked array: fill it")
    if scores.ndim != 1 or scores.dtype.kind not in _KINDS:
        message = f"an array of {scores.dtype} with the shape {scores.shape}"
        raise RankerError(f"ranker {ranker!r} must return one number per item, not {message}")
    return scores


def _numbers(ranker: str, scores: Any) -> Sequence[float]:
    if isinstance(scores, str | bytes | Mapping | Set) or not isinstance(scores, Iterable):
        kind = "nothing" if scores is None else f"a {type(scores).__name__}"
        raise RankerError(f"ranker {ranker!r} must return one number per item, not {kind}")
    column = scores if isinstance(scores, list | tuple) else list(scores)
    if not _NUMBERS.issuperset(map(type, column)):
        try:
            if any(isinstance(score, str | bytes) or hasattr(score, "filled") for score in column):
                raise TypeError("a text or a masked value is no number")
            column = [float(score) for score in column]
        except (TypeError, ValueError, OverflowError) as error:
            raise RankerError(f"ranker {ranker!r} must return one number per item: {error}") from error
    return column
