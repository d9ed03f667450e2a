"""Measures: those of a ranking, worked out by ir-measures, and answer recall, by what stands in a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np

from nexus_core.contract.errors import UsageError
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.ranking import Ranking
from nexus_core.evaluation.collection import Alternatives, JudgedCollection, Judgements, Query

if TYPE_CHECKING:
    from ir_measures.measures import Measure

NAMES = ("nDCG@10", "recall@100", "MRR@10", "MAP")
DEPTH = 1000
"""How many items of a ranking are measured, as trec_eval's runs have it."""


def library() -> ModuleType:
    """Return ir-measures, which only `nexus eval` needs; raises UsageError where it is missing."""
    try:
        import ir_measures
    except ImportError as error:
        raise UsageError(
            f"nexus eval measures with ir-measures, which is not installed ({error}): "
            "say `pip install 'contextnexus[eval]'`"
        ) from error
    return ir_measures


def measure_rankings(judged: Judgements, retrieved: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, ...]]:
    """Return the measures in the order of `NAMES` for each query of `retrieved`, which holds ids, best first.

    The order is handed over as scores that fall by one, so that nothing is left to how ties are broken.
    """
    named = _measures()
    runs = {query: {item: float(-place) for place, item in enumerate(ids)} for query, ids in retrieved.items()}
    grades = {query: judged[query] for query in retrieved}
    values = {query: [0.0] * len(NAMES) for query in retrieved}
    for figure in library().iter_calc(list(named), grades, runs):
        values[figure.query_id][named[figure.measure]] = float(figure.value)
    return {query: tuple(row) for query, row in values.items()}


def _measures() -> dict[Measure, int]:
    """Return what each of `NAMES` is called there, with its place."""
    of = library()
    return {of.nDCG @ 10: 0, of.R @ 100: 1, of.RR @ 10: 2, of.AP: 3}


def retrieved(ranking: Ranking, depth: int = DEPTH) -> list[str]:
    """Return the ids of what a ranking has found, best first.

    An item is found when a ranker sets it apart: with a score above 0 or, where scores go below 0 so that 0 means
    nothing (scaled scores, distances), above the lowest one if several items share that. Without any ranker all are.
    """
    indices = ranking.order(depth)
    if not ranking.columns or not len(indices):
        return [ranking.items[index].id for index in indices]
    found = np.zeros(len(ranking.items), bool)
    for _, column in ranking.columns:
        scores = np.asarray(column, np.float64)
        lowest = scores.min()
        if lowest >= 0:
            found |= scores > 0
        else:
            found |= scores > lowest if np.count_nonzero(scores == lowest) > 1 else True
    return [ranking.items[index].id for index in indices if found[index]]


Needed = Literal["all", "any"]
"""Of the items that `evidence` names: all of them, or one where each answers the query on its own."""


def holds_answer(
    items: Sequence[PackedItem], query: Query, collection: JudgedCollection, needed: Needed = "all"
) -> bool | None:
    """Tell whether packed items hold what answers a query; `None` where it is not known what that is.

    By its evidence where it has any: every sentence of one of the alternatives. Else by its answers: one of them, as it
    is written, in the text of a relevant item.
    """
    if not query.is_answerable:
        return None
    packed = {entry.item.id: entry for entry in items}
    if not query.evidence:
        texts = [packed[item].text for item in collection.relevant[query.id] if item in packed]
        return any(answer in text for text in texts for answer in query.answers)
    found = (
        item in packed and _stands(packed[item], alternatives, collection.ends)
        for item, alternatives in query.evidence.items()
    )
    return any(found) if needed == "any" else all(found)


def _stands(packed: PackedItem, alternatives: Alternatives, ends: Mapping[str, Sequence[int]]) -> bool:
    places = [0, *ends[packed.item.id]]
    whole = packed.item.text
    return any(
        all(whole[places[number] : places[number + 1]].strip() in packed.text for number in chosen)
        for chosen in alternatives
    )
