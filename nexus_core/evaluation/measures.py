"""Measures of a ranking, worked out by ir-measures, which asks trec_eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from nexus_core.contract.errors import UsageError
from nexus_core.contract.ranking import Ranking
from nexus_core.evaluation.collection import Judgements

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
