"""Match: the figures of SQuAD, also for languages that it does not know."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from nexus_core.evaluation.answers.match import match_answer, normal_words


@pytest.mark.parametrize(
    ("text", "known", "exact", "f1", "contains"),
    [
        pytest.param("The 28 days!", ["28 days"], 1, 1, 1, id="article-and-punctuation"),
        pytest.param("Everybody has 28 days of leave.", ["28 days"], 0, 0.5, 1, id="sentence"),
        pytest.param("28 weeks", ["28 days", "four weeks"], 0, 0.5, 0, id="best-of-several"),
        pytest.param("days days", ["days"], 0, 2 / 3, 1, id="repeated-words-count-once"),
        pytest.param("128 days", ["28 days"], 0, 0.5, 0, id="whole-words-only"),
        pytest.param("", ["28 days"], 0, 0, 0, id="nothing"),
        pytest.param("\uff12\uff18 \u201edays\u201c", ["28 days"], 1, 1, 1, id="unicode"),
        pytest.param("\u5317\u4eac\u5e02", ["\u5317\u4eac"], 0, 0.8, 1, id="writing-without-spaces"),
    ],
)
def test_match_is_that_of_squad(text: str, known: list[str], exact: float, f1: float, contains: float) -> None:
    """Worked out by hand from the formulas."""
    match = match_answer(text, known)
    assert (match.exact, match.contains) == (exact, contains)
    assert match.f1 == pytest.approx(f1)


def test_articles_are_those_of_the_language_that_is_named() -> None:
    """In a language without a list all words count: `die` is an article in German alone."""
    assert normal_words("Die the", "english") == ["die"]
    assert normal_words("Die the", "german") == ["the"]
    assert normal_words("Die the", "finnish") == ["die", "the"]


@given(st.text(max_size=30), st.text(max_size=30))
def test_figures_are_shares(text: str, known: str) -> None:
    """Exact implies whole F1, and a text matches itself."""
    match = match_answer(text, [known])
    assert 0 <= match.f1 <= 1
    assert match.f1 == 1 if match.exact else True
    assert match_answer(text, [text]).exact == 1
