"""The default ranker: BM25 over stems, identifier parts and word pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nexus_core import Item, Ranking, RunContext, component, hookimpl, option, parts_of, state
from nexus_core.toolkit import (
    AUTO,
    DEFAULTS,
    AnyLanguage,
    Bm25Parameters,
    FoundItem,
    has_only_stop_words,
    with_feedback,
    word_shares,
)
from nexus_rankers import small_index
from nexus_rankers.per_items_cache import PerItemsCache
from nexus_rankers.small_index import SmallIndex

if TYPE_CHECKING:
    from nexus_rankers.bm25_index import LexicalIndex


@component
class Bm25:
    """Ranks items by the words they share with the query: the rarer a word, the more it counts (BM25).

    The index is built for the first query and kept for the last two sets of items.

    |         | scifact | squad | squad-sections | cosqa | cranfield | hotpot100 | vaswani |
    |---------|---------|-------|----------------|-------|-----------|-----------|---------|
    | nDCG@10 | .709    | .905  | .910           | .403  | .397      | .806      | .417    |

    With `feedback: 10` it is .419 on cranfield and .423 on vaswani, and .891 on squad.
    """

    language: AnyLanguage = option(
        "auto", help="Whose stems and stop words: `auto` takes each item's own, `none` has no stems."
    )
    k1: float = option(DEFAULTS.k1, help="How much it helps that a word occurs again.", ge=0)
    b: float = option(DEFAULTS.b, help="How much long items are discounted, from 0 (not at all) to 1.", ge=0, le=1)
    pairs: float = option(
        DEFAULTS.pairs, help="What two neighbouring words of the query add, against 1 for a word.", ge=0
    )
    feedback: int = option(
        0, help="Of how many of the first items found the words that stand out are added to the query.", ge=0, le=100
    )
    _indexes: PerItemsCache[LexicalIndex | SmallIndex] = state(PerItemsCache)
    _with_stop_words: PerItemsCache[LexicalIndex | SmallIndex] = state(PerItemsCache)
    """Built where a query has no other words: hardly any does, and these words are more than a third of a text."""

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return the ranking by BM25; what an index over a whole context has found stands as that has scored it."""
        if ranking.searched is not None and self._is_as_searched(ranking.searched[0]):
            return ranking.scored("bm25", ranking.searched[1])
        in_thread = not small_index.is_few(ranking.items)
        index = await self._indexes.get(ranking.items, self._build, in_thread=in_thread)
        if all(has_only_stop_words(text, index.languages) for text, _ in parts_of(query)):
            index = await self._with_stop_words.get(ranking.items, self._build_with_stop_words, in_thread=in_thread)
        (first, _), *earlier = parts_of(query)
        scores = self._scores(index, ranking.items, first)
        if isinstance(index, SmallIndex):
            for text, weight in earlier:
                before = self._scores(index, ranking.items, text)
                scores = [score + weight * other for score, other in zip(scores, before, strict=True)]
            return ranking.scored("bm25", scores)
        # Here, since numpy takes longer to import than a pipeline takes to load.
        import numpy as np

        from nexus_rankers.top_k import scored

        for text, weight in earlier:
            scores += self._scores(index, ranking.items, text) * np.float32(weight)
        return scored(ranking, "bm25", scores)

    def _scores(self, index: LexicalIndex | SmallIndex, items: tuple[Item, ...], text: str) -> Any:
        """Return the scores for one text of a query, as a list or, of a large index, an array."""
        words = index.query(text)
        scores: Any = index.scores(words)
        if not self.feedback:
            return scores
        found = [
            FoundItem(items[place], index.own_languages[place], float(scores[place]))
            for place in index.best(scores, self.feedback)
            if scores[place] > 0
        ]
        holding = index.holding(word_shares(found))
        return index.scores(with_feedback(words, found, holding, len(items)))

    def _is_as_searched(self, language: str) -> bool:
        # Other parameters need an index of the items at hand, also where one over a context has found them.
        return self.language in (AUTO, language) and self._parameters() == DEFAULTS and not self.feedback

    def _parameters(self) -> Bm25Parameters:
        return Bm25Parameters(k1=self.k1, b=self.b, pairs=self.pairs)

    def _build(self, items: tuple[Item, ...], *, all_words: bool = False) -> LexicalIndex | SmallIndex:
        if small_index.is_few(items):
            return small_index.build(items, self.language, self._parameters(), all_words=all_words)
        from nexus_rankers.bm25_index import build

        return build(items, self.language, self._parameters(), all_words=all_words)

    def _build_with_stop_words(self, items: tuple[Item, ...]) -> LexicalIndex | SmallIndex:
        return self._build(items, all_words=True)


@hookimpl
def nexus_rankers() -> list[type]:
    """Yield the ranker."""
    return [Bm25]
