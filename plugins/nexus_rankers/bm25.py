"""The default ranker: BM25 over stems, identifier parts and word pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus_core import Item, Ranking, component, hookimpl, option, parts_of, state
from nexus_core.toolkit import Language
from nexus_rankers import small_index
from nexus_rankers.per_items_cache import PerItemsCache
from nexus_rankers.small_index import FewIndex

if TYPE_CHECKING:
    from nexus_rankers.bm25_index import LexicalIndex

_DEFAULTS = (1.5, 0.75, 0.3)
"""k1, b and pairs. Others need an index of the items at hand, also where an index over a context has found them."""


@component
class Bm25:
    """Ranks items by the words they share with the query: the rarer a word, the more it counts (BM25).

    The index is built for the first query and kept for the last two sets of items.

    |         | scifact | squad | squad-sections | cosqa | cranfield | hotpot100 | vaswani |
    |---------|---------|-------|----------------|-------|-----------|-----------|---------|
    | nDCG@10 | .697    | .901  | .910           | .401  | .397      | .809      | .417    |
    """

    language: Language = option("english", help="Whose stems and stop words; `none` compares words as written.")
    k1: float = option(_DEFAULTS[0], help="How much it helps that a word occurs again.", ge=0)
    b: float = option(_DEFAULTS[1], help="How much long items are discounted, from 0 (not at all) to 1.", ge=0, le=1)
    pairs: float = option(
        _DEFAULTS[2], help="What two neighbouring words of the query add, against 1 for a word.", ge=0
    )
    _indexes: PerItemsCache[LexicalIndex | FewIndex] = state(PerItemsCache)

    async def rank(self, query: str, ranking: Ranking) -> Ranking:
        """Return the ranking by BM25: by an index over the whole context where the items were found by one."""
        if ranking.searched is not None and self._is_as_searched(ranking.searched[0]):
            return ranking.scored("bm25", ranking.searched[1])
        index = await self._indexes.get(ranking.items, self._build, in_thread=not small_index.is_few(ranking.items))
        if isinstance(index, FewIndex):
            return ranking.scored("bm25", small_index.weighted(index, parts_of(query)))
        # Here, since numpy takes longer to import than a pipeline takes to load.
        import numpy as np

        from nexus_rankers.top_k import scored

        first, *earlier = parts_of(query)
        scores = index.scores(first[0])
        for text, weight in earlier:
            scores += index.scores(text) * np.float32(weight)
        return scored(ranking, "bm25", scores)

    def _is_as_searched(self, language: str) -> bool:
        return (self.language, self.k1, self.b, self.pairs) == (language, *_DEFAULTS)

    def _build(self, items: tuple[Item, ...]) -> LexicalIndex | FewIndex:
        if small_index.is_few(items):
            return small_index.build(items, self.language, k1=self.k1, b=self.b, pairs=self.pairs)
        from nexus_rankers.bm25_index import Weights, build

        return build(items, self.language, Weights(k1=self.k1, b=self.b, pairs=self.pairs))


@hookimpl
def nexus_rankers() -> list[type]:
    """Yield the ranker."""
    return [Bm25]
