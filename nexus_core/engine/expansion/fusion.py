"""Fusion of what several searches found: by reciprocal ranks, or by weighted sums of their scores. Pure.

Cormack, Clarke and Buettcher (2009) add 1 / (60 + place) for runs of a thousand items. Of these searches the first ten
matter, so that places count more here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Item

PLACES = 10
"""Added to each place, from 1: the larger, the less the first places stand out."""
ENOUGH = 100
"""Items that are kept, however few the longest search found."""
COLUMN = "expand"
"""Of the scores that the fused items have in the trace."""


def fuse(first: Ranking, others: Sequence[Ranking], weight: float, method: Literal["rrf", "scores"]) -> Ranking:
    """Return one ranking of what the question found and what further searches found, each of which counts `weight`.

    It is no longer than the longest search, unless that found few. The scores of the first search stay visible; what it
    did not find has 0 there.
    """
    items: dict[str, Item] = {}
    totals: dict[str, float] = {}
    for ranking, counts in ((first, 1.0), *((other, weight) for other in others)):
        for place, (index, score) in enumerate(_contributions(ranking, method), 1):
            item = ranking.items[index]
            items.setdefault(item.id, item)
            value = 1 / (PLACES + place) if score is None else score
            totals[item.id] = totals.get(item.id, 0.0) + counts * value
    most = max(ENOUGH, *(len(ranking.items) for ranking in (first, *others)))
    best = sorted(totals, key=totals.__getitem__, reverse=True)[:most]
    fused = [totals[item] for item in best]
    place_of = {item.id: index for index, item in enumerate(first.items)}
    columns = tuple(
        (name, [float(scores[place_of[item]]) if item in place_of else 0.0 for item in best])
        for name, scores in first.columns
        if name != COLUMN
    )
    searched = None if first.searched is None else (first.searched[0], fused)
    together = Ranking(tuple(items[item] for item in best), columns, searched=searched, by_meaning=first.by_meaning)
    return together.scored(COLUMN, fused, range(len(best)))


def _contributions(ranking: Ranking, method: Literal["rrf", "scores"]) -> Iterator[tuple[int, float | None]]:
    """Yield the items that a search found, best first, each with its score above the lowest; `None` goes by places.

    The scores of one source are on one scale: a search for many rare words says more than one for a common word.
    """
    scores = ranking.scores
    if scores is None or method == "rrf":
        yield from ((index, None) for index in ranking.order())
        return
    low = min([0.0, *map(float, scores)])
    yield from ((index, float(scores[index]) - low) for index in ranking.order())
