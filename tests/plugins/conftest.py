"""The rankers that ship, and what tests do with rankings."""

from __future__ import annotations

import asyncio

from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.links import Links
from nexus_rankers.mmr import Mmr
from nexus_rankers.recency import Recency
from nexus_rankers.rerank import Rerank
from nexus_rankers.semantic import Semantic

from nexus_core import Item, Ranker, Ranking, RunContext

CLASSES: dict[str, type] = {
    "bm25": Bm25,
    "semantic": Semantic,
    "fuse": Fuse,
    "links": Links,
    "rerank": Rerank,
    "mmr": Mmr,
    "recency": Recency,
}


def texts(*found: str) -> tuple[Item, ...]:
    """Return an item for each text, with the text as its id."""
    return tuple(Item(id=text, text=text) for text in found)


def ranked(ranker: Ranker, query: str, ranking: Ranking | tuple[Item, ...]) -> Ranking:
    """Return the ranking of the items, or one more column of a ranking."""
    return asyncio.run(ranker.rank(query, ranking if isinstance(ranking, Ranking) else Ranking(ranking), RunContext()))


def ids(ranking: Ranking) -> list[str]:
    """Return the ids, best first."""
    return [candidate.item.id for candidate in ranking]


def column(ranking: Ranking) -> list[float]:
    """Return the scores of the last ranker."""
    assert ranking.scores is not None
    return [float(score) for score in ranking.scores]
