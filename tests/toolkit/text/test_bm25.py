"""Words, stems and their comparison."""

from __future__ import annotations

import re
from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nexus_core.toolkit.text.bm25 import (
    codes,
    inverse_frequency,
    length_norm,
    saturation,
    sentence_scores,
    terms,
)
from nexus_core.toolkit.text.coded_texts import CodedTexts
from nexus_core.toolkit.text.stemming import STOP_WORDS, pieces, stems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("The Normans' descendants are in Normandy", ["norman", "descend", "normandi"], id="prose"),
        pytest.param("Darwin's theory", ["darwin", "theori"], id="possessive"),
        pytest.param("getUserName", ["getusernam", "get", "user", "name"], id="camel-case"),
        pytest.param("HTTPServer", ["httpserver", "http", "server"], id="acronym"),
        pytest.param("max_retry_count", ["max_retry_count", "max", "retri", "count"], id="snake-case"),
        pytest.param("__init__", ["init"], id="underscores-around"),
        pytest.param("3.5 of 1,000", ["3.5", "1000"], id="numbers"),
        pytest.param("vitamin C", ["vitamin", "c"], id="one-letter"),
        pytest.param("北京大学", ["北", "北京", "京", "京大", "大", "大学", "学"], id="writing-without-spaces"),
        pytest.param(" -- ... ", [], id="nothing"),
    ],
)
def test_terms_are_the_stems_a_text_is_compared_by(text: str, expected: list[str]) -> None:
    """Stop words are left out, and the parts of an identifier follow the whole."""
    assert terms(text) == expected


def test_terms_of_other_languages_use_their_stemmer_and_keep_all_words() -> None:
    """German stems, no stop words; `none` only lowers the case."""
    assert terms("Die Hauser", "german") == ["die", "haus"]
    assert terms("Running The Tests", "none") == ["running", "the", "tests"]


def test_terms_of_an_unknown_language_say_which_there_are() -> None:
    """The name is wrong, so the names are listed."""
    with pytest.raises(ValueError, match="no stemmer for 'klingon'; choose one of arabic"):
        terms("qapla", "klingon")


def test_stop_words_are_lucenes() -> None:
    """There are 33 of them."""
    assert len(STOP_WORDS) == 33


@given(st.text(alphabet=st.sampled_from("aZ_9.' é中\n-"), max_size=300))
def test_pieces_have_no_white_space_and_are_short(text: str) -> None:
    """So what is remembered for each stays small."""
    assert all(piece and len(piece) <= 64 and not any(map(str.isspace, piece)) for piece in pieces(text))


@given(st.text(max_size=200))
def test_codes_stand_for_the_terms_one_to_one(text: str) -> None:
    """Four bytes each, in the same order."""
    assert len(codes(text)) == 4 * len(terms(text))


def test_codes_of_a_long_run_are_those_of_its_words() -> None:
    """A run without white space is cut into words and is not remembered."""
    assert codes("x" * 1000 + ",needle")[-4:] == codes("needle")


def test_stems_of_a_piece_follow_its_words() -> None:
    """A piece may hold several words."""
    assert stems("well-known,foxes") == ("well", "known", "fox")


def test_sentence_scores_weigh_rare_words_more() -> None:
    """A sentence with all words of the query has 1.0, one without any 0.0."""
    scores = sentence_scores(
        "Where do foxes sleep?", ["Foxes sleep in dens, where else do they.", "Foxes run.", "Foxes sleep.", "Cats sit."]
    )
    assert scores[0] == pytest.approx(1.0)
    assert scores[0] > scores[2] > scores[1] > scores[3] == 0.0


def test_sentence_scores_without_any_word_asked_for_are_zero() -> None:
    """A query of stop words asks for nothing."""
    assert sentence_scores("is it the", ["It is the case."]) == [0.0]


def test_inverse_frequency_is_positive_and_falls() -> None:
    """Even a word that every text holds says a little."""
    weights = [inverse_frequency(holding, 10) for holding in range(11)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] > 0


# Of few bytes, so that many codes also stand across two others.
CODES = st.lists(
    st.integers(0, 1).map(lambda bit: bit * 0x01010000) | st.sampled_from([0x0100, 0x01000001]), max_size=9
)


@pytest.mark.slow
@given(st.lists(CODES, min_size=1, max_size=5), CODES)
def test_words_and_pairs_of_coded_texts_are_counted_exactly(texts: list[list[int]], query: list[int]) -> None:
    """What stands across two codes is no word, and a word three times in a row is two pairs."""
    coded = CodedTexts([array("I", text).tobytes() for text in texts])
    for wanted in (*([code] for code in query), *map(list, pairwise(query))):
        key = array("I", wanted).tobytes()
        counts = [
            sum(text[start : start + len(wanted)] == wanted for start in range(len(text) - len(wanted) + 1))
            for text in texts
        ]
        assert coded.counts(key) == {place: count for place, count in enumerate(counts) if count}


def test_lengths_and_counts_weigh_less_the_larger_they_are() -> None:
    """A text of mean length is discounted by k1; no count is worth more than 1; no lengths at all are no error."""
    assert length_norm(10, 10) == pytest.approx(1.5)
    assert length_norm(20, 10) > length_norm(10, 10)
    assert saturation(1, 1.5) < saturation(2, 1.5) < 1
    assert length_norm(0, 0) > 0


def test_the_formula_is_written_once() -> None:
    """Rankers, packer, store and answers take it from here."""
    root = Path(__file__).parents[3]
    sources = [path for folder in ("nexus_core", "plugins") for path in (root / folder).rglob("*.py")]
    written = [path.name for path in sources if re.search(r"\+ 0\.5\) / \(|k1 \*", path.read_text("utf-8"))]
    assert written == ["bm25.py"]
