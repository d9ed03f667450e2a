"""The passages that a draft's best items offer, in the order of what they are worth for the query."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from attrs import frozen

from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Item, parts_of
from nexus_core.engine.packing.named_items import NamedItems
from nexus_core.engine.packing.small_passage_scores import (
    FEW_ITEMS,
    FEW_STEMS,
    LONGEST_QUERY,
    SmallStems,
    best_first as best_of_few,
)
from nexus_core.toolkit.text.bm25 import code_of
from nexus_core.toolkit.text.passages import Key, Passages, passages_of, title_codes
from nexus_core.toolkit.text.query_words import query_words

if TYPE_CHECKING:
    from nexus_core.engine.packing.passage_scores import Stems

_DEPTH = 1.5
"""Items are considered until they hold about so many times what fits ..."""
_AT_LEAST = 50
"""... and are at least so many.

Deeper does not find more: on squad, squad-sections, hotpot100 and scifact the mean recall at 256 to 4,096 tokens is the
same within .002 from 1.5 times and 30 items to 4 times and 50."""
_UNRANKED = 1000
"""How many items are considered where no ranker has said which are the best."""


@frozen(eq=False, repr=False)
class CandidatePool:
    """Items in rank order, and their passages, numbered from the first item's first on."""

    items: list[int]
    """Indices in the ranking's items."""
    cuts: list[Passages]
    starts: list[int]
    """The number of each item's first passage."""
    item_of: list[int]
    """For each passage the place of its item in `items`."""
    order: list[int]
    """The passages, best first."""
    stems: Stems | SmallStems
    complete: bool
    """Whether these are all items there are."""


def pool_of(
    ranking: Ranking, query: str, key: Key, characters: int, without: frozenset[int] = frozenset(), depth: float = 1.0
) -> CandidatePool:
    """Return the passages worth a look where `characters` fit, but those of the items `without`.

    `depth` says how many times as many items as usual are looked at.
    """
    chosen, cuts = _considered(ranking, key, depth, int(characters * depth * _DEPTH), without)
    counts = [len(cut.firsts) - 1 for cut in cuts]
    item_of = [place for place, count in enumerate(counts) for _ in range(count)]
    scores = None if ranking.scores is None else [ranking.scores[index] for index in chosen]
    few = len(ranking.items) <= FEW_ITEMS
    order, stems = _ordered([ranking.items[index] for index in chosen], cuts, query, item_of, scores, few=few)
    return CandidatePool(
        items=chosen,
        cuts=cuts,
        starts=[0, *accumulate(counts)],
        item_of=item_of,
        order=order,
        stems=stems,
        complete=len(chosen) + len(without) == len(ranking.items),
    )


def _ordered(
    items: list[Item], cuts: list[Passages], query: str, item_of: list[int], scores: list[float] | None, *, few: bool
) -> tuple[list[int], Stems | SmallStems]:
    """Return the passages, best first, and their stems; each part of a question that follows others has its weight."""
    titles = [title_codes(item, cut) for item, cut in zip(items, cuts, strict=True)]
    languages = [*dict.fromkeys([cut.language for cut in cuts])]
    (question, _), *earlier = [
        (query_words(text, languages, most=LONGEST_QUERY).keyed(code_of), weight) for text, weight in parts_of(query)
    ]
    stems, lengths = [cut.codes for cut in cuts], [cut.lengths for cut in cuts]
    if few and sum(map(len, stems)) <= 4 * FEW_STEMS:
        pool = SmallStems.read(stems, lengths, titles, item_of)
        own = pool.scores(question)
        for before, weight in earlier:
            own = [score + weight * other for score, other in zip(own, pool.scores(before), strict=True)]
        return best_of_few(own, item_of, scores, NamedItems.of(items, cuts, titles, item_of, pool)), pool
    # Here, since it imports numpy.
    from nexus_core.engine.packing.passage_scores import Stems, best_first

    many = Stems.read(stems, lengths, titles, item_of)
    column = many.scores(question)
    for before, weight in earlier:
        column = column + weight * many.scores(before)
    return best_first(column, item_of, scores, NamedItems.of(items, cuts, titles, item_of, many)), many


def _considered(
    ranking: Ranking, key: Key, depth: float, wanted: int, without: frozenset[int]
) -> tuple[list[int], list[Passages]]:
    """Return the items in rank order, as deep as there may be something to choose."""
    chosen: list[int] = []
    cuts: list[Passages] = []
    items = ranking.items
    least = int((_AT_LEAST if ranking.scores is not None else _UNRANKED) * depth)
    held = 0
    for index in _best_first(ranking, least + len(without)):
        if len(chosen) >= least and held >= wanted:
            break
        if index not in without:
            item = items[index]
            chosen.append(index)
            cuts.append(item.features.get(key) or passages_of(item, key))
            held += len(item.text)
    return chosen, cuts


def _best_first(ranking: Ranking, count: int) -> Iterator[int]:
    """Yield all indices, best first, asking for `count` at first and then for twice as many each time."""
    done = 0
    while done < len(ranking.items):
        yield from ranking.order(count)[done:]
        done, count = count, 2 * count
