"""The two ways to work out what passages are worth, with numpy and without, agree."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, strategies as st

from nexus_core import FollowUp, Item, Ranking
from nexus_core.engine.packing import passage_scores, small_passage_scores
from nexus_core.engine.packing.candidates import pool_of
from nexus_core.toolkit.text.passages import key_of
from nexus_core.toolkit.text.query_words import query_words

PASSAGES = st.lists(st.lists(st.integers(1, 12), max_size=20), min_size=1, max_size=12)
QUERY = st.lists(st.integers(1, 14), min_size=1, max_size=8)


def coded(stems: list[int]) -> bytes:
    return array("I", stems).tobytes()


def read(passages: list[list[int]]) -> tuple[small_passage_scores.SmallStems, passage_scores.Stems]:
    codes = [coded([stem for passage in passages for stem in passage])]
    lengths = [coded([len(passage) for passage in passages])]
    titles, title_of = [coded([3, 4]), b"", coded([5])], [place % 3 for place in range(len(passages))]
    return (
        small_passage_scores.SmallStems.read(codes, lengths, titles, title_of),
        passage_scores.Stems.read(codes, lengths, titles, title_of),
    )


@pytest.mark.slow
@given(PASSAGES, QUERY)
def test_few_and_many_passages_are_worth_the_same(passages: list[list[int]], query: list[int]) -> None:
    """Which way is taken is a matter of time alone."""
    small, large = read(passages)
    words = query_words(" ".join(map(str, query))).keyed(lambda stem: coded([int(stem)]))
    assert small.scores(words) == pytest.approx(list(large.scores(words)), abs=1e-9)


@pytest.mark.slow
@given(PASSAGES, st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_few_and_many_passages_stand_in_the_same_order(passages: list[list[int]], scores: list[int]) -> None:
    """Equal scores stand in the order of the passages either way."""
    item_of = list(range(len(passages)))
    own, ranks = [float(len(passage)) for passage in passages], [float(score) for score in scores]
    import numpy as np

    assert small_passage_scores.best_first(own, item_of, ranks[: len(own)]) == passage_scores.best_first(
        np.array(own), item_of, ranks[: len(own)]
    )


@pytest.mark.slow
@given(PASSAGES)
def test_whoever_repeats_another_is_a_suspect_either_way(passages: list[list[int]]) -> None:
    """Few passages are looked at exactly, and many so that none of those is missed."""
    small, large = read(passages)
    exact, quick = small.suspects(), large.suspects()
    assert [place for place, found in enumerate(exact) if found and not quick[place]] == []


@pytest.mark.parametrize("fillers", [0, 600], ids=["few", "many"])
def test_passages_go_by_the_weights_of_a_question_that_follows(fillers: int) -> None:
    """The words of an earlier question count, and less than those of the question itself."""
    texts = ["A connection here.", "A default here.", *["Nothing of it."] * max(fillers, 4)]
    ranking = Ranking(tuple(Item(id=str(place), text=text) for place, text in enumerate(texts)))
    key = key_of(64, "none")
    assert pool_of(ranking, FollowUp.after("Which default?", ["Which connection?"]), key, 10**6).order[:2] == [1, 0]
    assert pool_of(ranking, FollowUp.after("Which?", ["Which default?"]), key, 10**6).order[0] == 1


@pytest.mark.parametrize("fillers", [0, 600], ids=["few", "many"])
def test_passages_are_scored_with_their_titles(fillers: int) -> None:
    """What a passage is about may stand in its heading alone."""
    items = [
        Item(id="other", title="Boilers > Filling", text="Turn the valve until the needle is green."),
        Item(id="wanted", title="Radiators > Bleeding", text="Turn the valve until water comes out of it."),
        *[Item(id=str(number), text="Nothing of it.") for number in range(max(fillers, 4))],
    ]
    assert pool_of(Ranking(tuple(items)), "valve bleeding radiator", key_of(64, "none"), 10**6).order[0] == 1
