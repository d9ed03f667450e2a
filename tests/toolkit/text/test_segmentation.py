"""Sentences and passages."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core.toolkit.text.segmentation import BYTES_PER_TOKEN, byte_length, is_blank, passages, sentences

TEXTS = st.text(alphabet=st.sampled_from("aB1 .!?\n\t-#`|>*,;(\"'”。é中…_:"), max_size=300)
KINDS = st.sampled_from(["text", "markdown", "code"])


def cut(text: str, kind: str = "text") -> list[str]:
    return [text[start:end] for start, end in sentences(text, kind)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"], id="stops"),
        pytest.param("Dr. Smith met Mrs. Jones. They left.", ["Dr. Smith met Mrs. Jones.", "They left."], id="titles"),
        pytest.param("J. R. R. Tolkien wrote. He did.", ["J. R. R. Tolkien wrote.", "He did."], id="initials"),
        pytest.param(
            "In the U.S. Army of 1990. Later.", ["In the U.S. Army of 1990.", "Later."], id="abbreviated-name"
        ),
        pytest.param("It is 3.5 m. It fits.", ["It is 3.5 m. It fits."], id="single-letter-keeps-on"),
        pytest.param("See Fig. 3 and No. 7. Then go.", ["See Fig. 3 and No. 7.", "Then go."], id="numbers"),
        pytest.param('"Is it?" he said. Yes.', ['"Is it?" he said.', "Yes."], id="quotation-goes-on"),
        pytest.param("He left (at last). She stayed.", ["He left (at last).", "She stayed."], id="closing-bracket"),
        pytest.param("Apples, pears, etc. Then more.", ["Apples, pears, etc.", "Then more."], id="etc-may-end"),
        pytest.param("Apples etc. and pears.", ["Apples etc. and pears."], id="etc-may-go-on"),
        pytest.param("A heading\n\nthe text below", ["A heading", "the text below"], id="blank-line"),
        pytest.param("e.g.\n\nthe text below", ["e.g.", "the text below"], id="blank-line-after-abbreviation"),
        pytest.param("To do:\n- one\n- two", ["To do:", "- one", "- two"], id="list"),
        pytest.param("1. First step. 2. Second.", ["1. First step.", "2. Second."], id="numbered"),
        pytest.param("北京是首都。上海很大！对", ["北京是首都。", "上海很大！", "对"], id="chinese"),
        pytest.param("  \n ", [], id="white"),
    ],
)
def test_sentences_of_prose_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    """Stops end a sentence, unless they belong to the word before them."""
    assert cut(text) == expected


def test_sentences_of_markdown_keep_headings_tables_and_fences_apart() -> None:
    """Each line that stands for itself is one, a paragraph is cut like prose, and a fence keeps its indentation."""
    text = "# Head. Line\nSome text. More\nof it.\n```py\n  x = 1\n\n```\n| a | b |\n- item"
    assert cut(text, "markdown") == [
        "# Head.", "Line", "Some text.", "More\nof it.", "```py", "  x = 1", "```", "| a | b |", "- item",
    ]  # fmt: skip


def test_sentences_of_code_are_its_lines_with_their_indentation() -> None:
    """Blank lines are none."""
    assert cut("def f(x):\n\n    return x.  y\n", "code") == ["def f(x):", "    return x.  y"]


@pytest.mark.slow
@given(TEXTS, KINDS)
@settings(max_examples=300)
def test_sentences_hold_every_character_that_is_not_white(text: str, kind: str) -> None:
    """They stand in order, do not overlap, are not empty, and nothing but white space is between them."""
    end = 0
    for start, stop in sentences(text, kind):
        assert not text[end:start].strip()
        assert text[start:stop].strip()
        end = stop
    assert not text[end:].strip()


@pytest.mark.slow
@given(TEXTS, KINDS, st.integers(16, 64))
@settings(max_examples=200)
def test_passages_hold_the_sentences_in_order_and_stay_small(text: str, kind: str, size: int) -> None:
    """Only a sentence up to twice the size, or the scrap of an item's end, makes a passage larger."""
    found = passages(text, kind, size)
    spans = [span for passage in found for span in passage]
    assert spans == sorted(spans)
    assert sum(len("".join(text[a:b].split())) for a, b in spans) == len("".join(text.split()))
    for passage in found:
        assert sum(byte_length(text[a:b]) for a, b in passage) <= 2.4 * size * BYTES_PER_TOKEN


def test_passages_cut_a_long_sentence_at_a_clause() -> None:
    """What is left stands in pieces that end at a comma."""
    text = "the quick brown fox, " * 40
    pieces = [text[passage[0][0] : passage[-1][1]] for passage in passages(text, "text", 16)]
    assert len(pieces) > 5
    assert all(piece.endswith("fox,") for piece in pieces)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", [" ", "a", ".", "\n", "a. ", "# ", ".)", "|\n", "é", "- ", "\n \t", "`", "1. ", "中。"]
)
@pytest.mark.parametrize("kind", ["text", "markdown", "code"])
def test_passages_of_hostile_text_lose_nothing(unit: str, kind: str) -> None:
    """Long runs of anything are cut into pieces and come back whole."""
    text = unit * (100_000 // len(unit))
    spans = [span for passage in passages(text, kind) for span in passage]
    assert sum(len("".join(text[a:b].split())) for a, b in spans) == len("".join(text.split()))


@pytest.mark.parametrize(("text", "size"), [("abc", 3), ("é", 2), ("中", 3), ("😀", 4), ("\ud800", 3)])
def test_byte_length_is_that_of_utf_8(text: str, size: int) -> None:
    """A lone surrogate counts as it would be written."""
    assert byte_length(text) == size


@pytest.mark.parametrize(
    "text", ["", " \n\t\u3000", "\ufeff", "\u200b\u2060", "\u00ad", "\x00\x1b", "\u3164\u2800", "\U000e0041"]
)
def test_text_that_shows_nothing_is_blank(text: str) -> None:
    """White space, control characters and invisible ones, alone and together; one letter is seen."""
    assert is_blank(text)
    assert not is_blank(text + "a" + text)


def test_every_letter_digit_and_sign_is_seen() -> None:
    """Of all scripts, the fillers of Hangul, two vowels of Khmer and the blank of Braille excepted."""
    seen = (chr(code) for code in range(0x30000) if unicodedata.category(chr(code))[0] in "LNPS")
    assert "".join(filter(is_blank, seen)) == "\u115f\u1160\u2800\u3164\uffa0"
