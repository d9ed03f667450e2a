"""The measures against trec_eval's own figures, and what counts as found."""

from __future__ import annotations

import pytest
import pytrec_eval
from hypothesis import given, settings, strategies as st

from nexus_core import Item, Ranking
from nexus_core.evaluation.measures import measure_rankings, retrieved

IDS = [f"d{number:03}" for number in range(130)]


def trec(judged: dict[str, int], run: dict[str, float]) -> tuple[float, ...]:
    """Return trec_eval's figures for one query."""
    asked = {"ndcg_cut_10", "recall_100", "map", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator({"q": judged}, asked).evaluate({"q": run})["q"]
    first = sorted(run, key=lambda name: (run[name], name), reverse=True)[:10]
    ten = {name: run[name] for name in first}
    reciprocal = pytrec_eval.RelevanceEvaluator({"q": judged}, {"recip_rank"}).evaluate({"q": ten})["q"]["recip_rank"]
    return found["ndcg_cut_10"], found["recall_100"], reciprocal, found["map"]


def ranking(scores: dict[str, float]) -> Ranking:
    items = tuple(Item(id=name, text="") for name in scores)
    return Ranking(items).scored("mine", list(scores.values()))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    grades=st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), min_size=1, max_size=40).filter(
        lambda grades: any(grades.values())
    ),
    order=st.permutations(IDS),
    depth=st.integers(1, len(IDS)),
)
def test_measures_are_those_of_trec_eval(grades: dict[str, int], order: list[str], depth: int) -> None:
    """Grades, items judged 0, unjudged ones, relevant ones that are missing, and more than 100 items."""
    ids = order[:depth]
    run = {name: 1000.0 - place for place, name in enumerate(ids)}
    assert measure_rankings({"q": grades}, {"q": ids})["q"] == pytest.approx(trec(grades, run))


def test_tied_items_keep_the_order_that_the_prompt_has() -> None:
    """trec_eval puts tied items in falling order of their ids; in that order of items both agree."""
    scores = {"e": 1.0, "d": 2.0, "c": 1.0, "b": 1.0, "a": 0.5}
    grades = {"b": 1, "c": 2, "a": 1, "z": 1}
    ids = retrieved(ranking(scores))
    assert ids == ["d", "e", "c", "b", "a"]
    assert measure_rankings({"q": grades}, {"q": ids})["q"] == pytest.approx(trec(grades, scores))


def test_an_empty_ranking_measures_nothing_but_zeros() -> None:
    """A query that finds nothing counts, with 0 in every figure."""
    judged = {"q": {"a": 1}, "r": {"b": 1}}
    assert measure_rankings(judged, {"q": [], "r": ["b"]}) == {"q": (0.0,) * 4, "r": (1.0,) * 4}


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        pytest.param([], "abc", id="nothing-ranked"),
        pytest.param([[2.0, 0.0, 1.0]], "ac", id="lexical-zeros"),
        pytest.param([[0.0, 0.0, 0.0]], "", id="no-word-matches"),
        pytest.param([[-1.0, -3.0, -2.0]], "acb", id="distances"),
        pytest.param([[1.0, -0.5, -0.5]], "a", id="scaled-with-a-shared-floor"),
        pytest.param([[1.0, -0.4, -0.6]], "abc", id="scaled"),
        pytest.param([[0.0, 0.0, 3.0], [0.0, 0.9, 0.0], [-1.0, 0.3, 0.7]], "cba", id="fused-of-two"),
        pytest.param([[0.0, 0.0, 3.0], [0.0, 2.0, 0.0], [-1.1, 0.3, 0.7]], "cba", id="the-lowest-stands-alone"),
        pytest.param([[0.0, 0.0, 3.0], [-0.5, -0.5, 1.0]], "c", id="fused-of-one"),
        pytest.param([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "ca", id="found-by-the-one-before"),
    ],
)
def test_an_item_is_found_when_a_ranker_sets_it_apart(columns: list[list[float]], found: str) -> None:
    """Above 0, or above the floor that several share where scores go below 0."""
    ranked = Ranking(tuple(Item(id=name, text="") for name in "abc"))
    for number, column in enumerate(columns):
        ranked = ranked.scored(f"r{number}", column)
    assert "".join(retrieved(ranked)) == found


def test_a_ranking_of_nothing_finds_nothing() -> None:
    """No items, no ids."""
    assert retrieved(Ranking(()).scored("mine", [])) == []


def test_a_ranking_is_read_to_its_depth() -> None:
    """1,000 places by default, as a run of trec_eval has."""
    scores = {f"d{number}": 2000.0 - number for number in range(1500)}
    assert len(retrieved(ranking(scores))) == 1000
    assert retrieved(ranking(scores), 3) == ["d0", "d1", "d2"]
