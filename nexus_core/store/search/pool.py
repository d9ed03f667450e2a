"""The pool of a search by words: the best by their words alone, which are scored in full; the same for equal contents.

What an index scores by depends on how it came to be: tantivy counts items that are gone until it merges their
segment, adds up in 32 bits, and leaves equal scores in the order of its documents. So its scores are bounds here. What
they leave open at the cut-off is worked out from the counts of words. Scores are compared in steps of a thousandth of
what a query can give, and of one step the item with the smaller id comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from math import fsum
from typing import Self

from attrs import define

from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import Context
from nexus_core.store.search.cache import ItemCache, still_there
from nexus_core.store.search.indexes import WordIndex, word_score
from nexus_core.store.search.visibility import VisibleKeys

MOST_ASKED = 4_000
"""Items that an index is asked for where few are visible, before it is told which those are."""
MOST_TIED = 1_000
"""Items that an index is asked for to have all of one step; where they are more, they are gone through by their ids."""
MOST_NEAR = 16_000
"""Items that an index of which items were removed is asked for: were more so near the cut-off, its scores decide."""
MOST_COUNTED = 256
"""Items whose words are counted one by one: of more, those with one length and one score of the index are alike."""
_STEPS = 1024
_SPARE = 34
"""Items asked for besides those wanted, so that one that is clearly worse is among them."""
_FIRST_PAGE, _PAGE = 250, 4_000
"""Ids that are gone through at a time: twice as many each time, up to that."""
_UNIT = 2.0**-24
"""The relative error of one operation in 32 bits."""
_OPERATIONS = 32
"""So many for the score of a word, besides the sum."""


@define(eq=False, repr=False)
class WordPool:
    """The items of a context that hold some words, as far as they are visible."""

    connection: SqlConnection
    context: Context
    found: ItemCache
    index: WordIndex
    size: int
    """How many items the context has."""
    is_current: bool
    """Whether the index has no items that are gone."""
    visible: VisibleKeys | None
    weights: Mapping[str, float]
    """What each word counts."""
    required: Sequence[Collection[str]] = ()
    """Of each of these groups of words an item holds at least one."""
    _average: float = 0.0
    _step: float = 0.0
    _bounds: tuple[float, float] = (1.0, 1.0)
    """Between which factors of an index's score the score lies."""

    def best(self, wanted: int) -> list[int]:
        """Return the keys of so many items, the best of all; in no order."""
        if not self.weights or (self.visible is not None and not len(self.visible)):
            return []
        asked, among = wanted + _SPARE, None
        if self.visible is not None:
            asked = asked * -(-self.size // len(self.visible)) * 2
            among = self.visible.listed if asked > MOST_ASKED else None
            asked = asked if among is None else wanted + _SPARE
        while True:
            found = self.index.search(self.weights, asked, among, self.required)
            if not found:
                return []
            self._weigh()
            cut = _Cut.of(self._there(found), wanted, self._bounds, self._step)
            least = found[-1][1] * self._bounds[1] if len(found) == asked else -1.0
            if len(cut.hits) < wanted:
                if least < 0:
                    return [key for key, _ in cut.hits]
            elif least < cut.lowest * self._step:
                return self._chosen(cut, wanted)
            elif asked >= MOST_TIED and cut.lowest == cut.highest:
                return self._gone_through(cut, wanted)
            elif asked >= MOST_NEAR:
                return self._chosen(cut, wanted)
            asked *= 4

    def _weigh(self) -> None:
        if not self._step:
            self._average = self.index.average_length
            self._step = fsum(self.weights.values()) / _STEPS
            factor = self._average / (self.index.scored_length or 1.0)
            error = (_OPERATIONS + len(self.weights)) * _UNIT
            self._bounds = min(1.0, factor) * (1 - error), max(1.0, factor) * (1 + error)

    def _there(self, found: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        """Return those that are visible and in the context, in their order."""
        if self.visible is None and self.is_current:
            return [*found]
        keys = [key for key, _ in found]
        if self.visible is not None:
            keys = self.visible.only(keys)
        kept = {*(keys if self.is_current else still_there(self.connection, self.context, keys))}
        return [each for each in found if each[0] in kept]

    def _chosen(self, cut: _Cut, wanted: int) -> list[int]:
        """Return the best of a cut that holds all that may be among them."""
        if cut.near == wanted:
            return [key for key, _ in cut.hits[:wanted]]
        above = wanted
        while above and cut.hits[above - 1][1] * self._bounds[0] < (cut.highest + 1) * self._step:
            above -= 1
        steps = self._steps(cut.hits[above : cut.near], cut.highest)
        best = cut_by_id(steps, wanted - above, partial(self.found.ids_of, self.connection))
        return [*(key for key, _ in cut.hits[:above]), *best]

    def _steps(self, hits: Sequence[tuple[int, float]], highest: int) -> dict[int, int]:
        """Return the step of each item; of those that are above the highest one at the cut-off, that they are."""
        low, high = (bound / self._step for bound in self._bounds)
        steps = {key: int(score * low) for key, score in hits}
        doubtful = [(key, score) for key, score in hits if steps[key] <= highest and steps[key] < int(score * high)]
        alike = self._alike(doubtful)
        counts = self.index.counts_of([*dict.fromkeys(alike.values())], self.weights)
        exact = {
            key: sum([word_score(weight, held.get(stem, 0.0), length, self._average)
                      for stem, weight in self.weights.items()])
            for key, (held, length) in counts.items()
        }  # fmt: skip
        return steps | {key: int(exact[one] / self._step) for key, one in alike.items()}

    def _alike(self, hits: Sequence[tuple[int, float]]) -> dict[int, int]:
        """Return for each item one with the same words of the query: itself where they are few."""
        if len(hits) <= MOST_COUNTED:
            return {key: key for key, _ in hits}
        lengths = self.index.lengths_of([key for key, _ in hits])
        first: dict[tuple[int, float], int] = {}
        return {key: first.setdefault((lengths[key], score), key) for key, score in hits}

    def _gone_through(self, cut: _Cut, wanted: int) -> list[int]:
        """Return the best where more are of one step than an index is asked for: by their ids, from the first on.

        All that are above that step were found.
        """
        above = [key for key, step in self._steps(cut.hits, cut.highest).items() if step > cut.highest]
        tied: list[int] = []
        for keys in self._by_id():
            among = keys if self.visible is None else self.visible.only(keys)
            hits = self.index.search(self.weights, len(among), among, self.required)
            near = [each for each in hits if each[1] * self._bounds[1] >= cut.lowest * self._step]
            steps = self._steps(near, cut.highest)
            tied += [key for key in keys if steps.get(key) == cut.highest]
            if len(above) + len(tied) >= wanted:
                break
        return [*above, *tied][:wanted]

    def _by_id(self) -> Iterator[list[int]]:
        """Yield the keys of all items, in the order of their ids."""
        after, page = "", _FIRST_PAGE
        while True:
            rows = self.connection.execute(
                "SELECT id, key FROM items WHERE context_id = ? AND id > ? ORDER BY id LIMIT ?",
                (self.context.id, after, page),
            ).fetchall()
            if rows:
                yield [key for _, key in rows]
            if len(rows) < page:
                return
            after, page = rows[-1][0], min(2 * page, _PAGE)


@define(eq=False)
class _Cut:
    """What the scores of an index say of the best of what it has found."""

    hits: list[tuple[int, float]]
    lowest: int = 0
    """The step of the last of the best is this one at least, ..."""
    highest: int = 0
    """... and this one at most."""
    near: int = 0
    """So many of those found, from the best on, may be among the best."""

    @classmethod
    def of(cls, hits: list[tuple[int, float]], wanted: int, bounds: tuple[float, float], step: float) -> Self:
        if len(hits) < wanted:
            return cls(hits)
        low, high = (bound / step for bound in bounds)
        last = hits[wanted - 1][1]
        lowest, near = int(last * low), wanted
        while near < len(hits) and hits[near][1] * high >= lowest:
            near += 1
        return cls(hits, lowest, int(last * high), near)


def cut_by_id(
    scores: Mapping[int, float], count: int, ids_of: Callable[[Sequence[int]], Mapping[int, str]]
) -> list[int]:
    """Return the keys of so many of the best; of those with the score of the last one, those with the first ids."""
    if len(scores) <= count:
        return [*scores]
    ordered = sorted(scores, key=scores.__getitem__, reverse=True)
    last = scores[ordered[count - 1]]
    if scores[ordered[count]] < last:
        return ordered[:count]
    above = [key for key in ordered if scores[key] > last]
    ids = ids_of([key for key in ordered if scores[key] == last])
    return [*above, *sorted(ids, key=ids.__getitem__)][:count]
