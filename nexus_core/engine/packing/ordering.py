"""The order of the items in a prompt, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.ranking import Ranking

Order = Literal["rank", "best_last", "both_ends", "source"]


def order_items(ranking: Ranking, texts: Mapping[int, tuple[str, bool]], order: Order) -> tuple[PackedItem, ...]:
    """Return the items of `texts` (index: text, and whether it is all of it) in an order, numbered from 1."""
    scores = ranking.scores
    score = {index: float(scores[index]) if scores is not None else 0.0 for index in texts}
    by_rank = sorted(texts, key=lambda index: (-score[index], index))
    return tuple(
        PackedItem(
            number=number, item=ranking.items[index], text=texts[index][0], score=score[index], whole=texts[index][1]
        )
        for number, index in enumerate(_ordered(by_rank, order), 1)
    )


def _ordered(by_rank: list[int], order: Order) -> list[int]:
    match order:
        case "rank":
            return by_rank
        case "best_last":
            return by_rank[::-1]
        case "both_ends":
            # The best first, the second best last, the worst in the middle: what stands in the middle of a long prompt
            # is used least (Liu et al. 2023, "Lost in the Middle", table 6).
            return by_rank[::2] + by_rank[1::2][::-1]
        case "source":
            return sorted(by_rank)
