"""A ranking: items that never move, columns of scores beside them, and an order worked out only as far as it is read.

A ranker supplies scores, one per item. So it cannot invent, lose or repeat an item, the tuple of items stays the same
object from gather to prompt (an index over it is reused), and ranking 100,000 items to read 50 builds 50 candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import overload

from attrs import frozen

from nexus_core.contract.errors import RankerError
from nexus_core.contract.scores import check_head, check_scores
from nexus_core.contract.values import Item


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

    __slots__ = ("_head", "_sound", "_whole", "columns", "items", "searched")

    def __init__(
        self,
        items: tuple[Item, ...],
        columns: tuple[tuple[str, Sequence[float]], ...] = (),
        head: Sequence[int] | None = None,
        searched: tuple[str, Sequence[float]] | None = None,
    ) -> None:
        self.items = items
        """In the order of their sources; the same object through all steps."""
        self.columns = columns
        """(ranker, one score per item), in the order the rankers ran."""
        self.searched = searched
        """Where the items are what an index over a whole context has found: its language, and its BM25 scores.

        No ranker can work these out from the items found, since how rare a word is, is judged by all of them.
        """
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
        made = Ranking(self.items, (*self.columns, (ranker, column)), head, self.searched)
        made._sound = head is None or check_head(ranker, head, len(self.items))
        return made

    def checked(self, ranker: str) -> Ranking:
        """Return this ranking, its last scores checked if they were not made by `scored`; raises RankerError."""
        if self._sound:
            return self
        if not self.columns:
            raise RankerError(f"ranker {ranker!r} returned an order without scores")
        name, scores = self.columns[-1]
        return Ranking(self.items, self.columns[:-1], searched=self.searched).scored(name, scores, self._head or None)

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
