"""Fusion of several rankers into one score."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Literal, Self

from nexus_core import Ranker, RankerError, Ranking, RunContext, WeightedRanker, component, hookimpl, option, state
from nexus_core.toolkit import counted


@component
class Fuse:
    """Ranks items by the scores of several rankers together, brought to one scale and weighted.

    Each ranker gets the items as they come in, and its own scores stay visible. Sums of z-scores beat sums of ranks,
    and are flat around the best weights. A ranker may say by `usual_weight` what it is worth, else 1; one that does has
    less weight for a query where it does not see the item that the others have first.

    | nDCG@10, bm25 : semantic           | .4 : .6 | .5 : .5 | .6 : .4 |
    |------------------------------------|---------|---------|---------|
    | static vectors, mean of 7          | .662    | .664    | .663    |
    | MiniLM's vectors, scifact          | .735    | .734    | .727    |
    """

    rankers: tuple[Ranker, ...] = option(help="The rankers, each by name or `{use: ...}` with its options.")
    weights: tuple[float, ...] = option(
        (),
        help="One weight for each ranker; by default 1, and for `semantic` 1.5, with `static` 0.7.",
    )
    method: Literal["zscore", "minmax", "rrf"] = option(
        "zscore", help="Scale by mean and deviation, by the extremes, or take ranks only (reciprocal rank fusion)."
    )
    k: float = option(60.0, help="For rrf: the larger, the less the first ranks stand out.", gt=0)
    _weights: Sequence[float] = state(default=())
    _open: AsyncExitStack = state(AsyncExitStack)

    def __attrs_post_init__(self) -> None:
        if not self.rankers:
            raise ValueError("`rankers` is empty: name at least one ranker")
        if self.weights and len(self.weights) != len(self.rankers):
            raise ValueError(
                f"{counted(len(self.weights), 'weight')} for {counted(len(self.rankers), 'ranker')}: "
                "give each ranker one"
            )
        self._weights = self.weights or [*map(_usual_weight, self.rankers)]

    async def __aenter__(self) -> Self:
        for ranker in self.rankers:
            if isinstance(ranker, AbstractAsyncContextManager):
                await self._open.enter_async_context(ranker)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._open.aclose()

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return the ranking by the weighted sum of the rankers' scaled scores."""
        from nexus_rankers.top_k import scaled, scored, sight  # numpy

        ranked = await asyncio.gather(*(ranker.rank(query, ranking, run) for ranker in self.rankers))
        together = ranking
        for result in ranked:
            if result.items is not ranking.items or len(result.columns) <= len(ranking.columns):
                raise RankerError(
                    "every ranker of `fuse` must return `ranking.scored(...)` of the ranking it was given"
                )
            for name, scores in result.columns[len(ranking.columns) :]:
                together = together.scored(_unused(name, together), scores)
        parts = [scaled(result, self.method, self.k) for result in ranked]
        weights = [*self._weights]
        if not self.weights and self.method == "zscore":
            # Vectors that do not see what the words have found first are not about what is asked for.
            words = [part for part, ranker in zip(parts, self.rankers, strict=True) if not _has_vectors(ranker)]
            for place, ranker in enumerate(self.rankers):
                if words and _has_vectors(ranker):
                    weights[place] *= sight(parts[place], sum(words[1:], words[0]))
        parts = [weight * part for weight, part in zip(weights, parts, strict=True)]
        return scored(together, "fuse", sum(parts[1:], parts[0]))


def _has_vectors(ranker: Ranker) -> bool:
    return isinstance(ranker, WeightedRanker)


def _usual_weight(ranker: Ranker) -> float:
    return float(ranker.usual_weight) if isinstance(ranker, WeightedRanker) else 1.0


def _unused(name: str, ranking: Ranking) -> str:
    """Return the name under which one more column stands beside those there are."""
    taken = {column for column, _ in ranking.columns}
    numbered = (f"{name} {number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(found for found in numbered if found not in taken)


@hookimpl
def nexus_rankers() -> list[type]:
    """Yield the ranker."""
    return [Fuse]
