"""What good items link to."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from nexus_core import Item, Ranking, RunContext, component, hookimpl, option, state
from nexus_rankers.per_items_cache import PerItemsCache

Edges = tuple["array[int]", "array[int]"]
"""The places of items, and of items that they link to."""


@component
class Links:
    """Ranks items by their score and by that of the best item that links to them, damped.

    Links are the ids in `metadata["links"]` of an item. The best link counts and not their sum: otherwise whatever
    many items link to comes first, whatever the question. Put it after another ranker.

    | nDCG@10 on hotpot100, links where a text names a title | without | with |
    |--------------------------------------------------------|---------|------|
    | after bm25                                             | .809    | .872 |
    | after fuse of bm25 and semantic                        | .810    | .874 |
    """

    weight: float = option(0.3, help="What the score of the item that links counts, against 1 for the own.", ge=0, le=1)
    rounds: int = option(1, help="Over how many links in a row a score is passed on.", ge=1, le=10)
    _edges: PerItemsCache[Edges] = state(PerItemsCache)

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return the ranking by the score before and by links; without a score before, what is linked to is first."""
        import numpy as np

        from nexus_rankers.top_k import column_of, scored, unit_scale

        sources, targets = map(np.asarray, await self._edges.get(ranking.items, _read))
        before = column_of(ranking)
        own = np.ones(len(ranking.items)) if before is None else unit_scale(before)
        scores = own
        for _ in range(self.rounds):
            passed = np.zeros_like(own)
            np.maximum.at(passed, targets, scores[sources])
            scores = own + self.weight * passed
        return scored(ranking, "links", scores)


def _read(items: tuple[Item, ...]) -> Edges:
    place_of = {item.id: place for place, item in enumerate(items)}
    pairs = {(place, place_of[name]) for place, item in enumerate(items) for name in linked(item) if name in place_of}
    edges = [pair for pair in sorted(pairs) if pair[0] != pair[1]]
    return array("q", (source for source, _ in edges)), array("q", (target for _, target in edges))


def linked(item: Item) -> Iterable[str]:
    """Return the ids that an item links to; whatever else stands in its metadata is no link."""
    links = item.metadata.get("links")
    return [link for link in links if isinstance(link, str)] if isinstance(links, list | tuple) else ()


@hookimpl
def nexus_rankers() -> list[type]:
    """Yield the ranker."""
    return [Links]
