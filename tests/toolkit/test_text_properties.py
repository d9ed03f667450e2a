"""Sentences, passages and words: what holds for any text, and what ends a sentence."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core.toolkit.text.bm25 import codes, sentence_scores, terms
from nexus_core.toolkit.text.segmentation import BYTES_PER_TOKEN, Span, byte_length, passages, sentences

pytestmark = pytest.mark.slow

PIECES = st.sampled_from(
    [
        "The Normans came.", "Prof. Smith", "e.g. this", "3.14", " ", "\n", "\n\n", "\t", "...", "?!", '."', "。",
        "！」", "# Head", "- item", "1. one", "| a | b |", "```", "~~~", "> said", "    indented", "camelCase", "a_b",
        "x" * 90, "诺曼人征服了", "é", "\u2028", "\x0b", "\x1c", "\x85", "\ufeff", "\ud800", "a, b; c", "\r\n",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=12), max_size=25).map("".join)
KINDS = st.sampled_from(["text", "markdown", "code"])
KIND_NAMES = ("text", "markdown", "code")

properties = settings(max_examples=100, deadline=None)


def holds_all(text: str, spans: list[Span]) -> bool:
    """Tell whether spans are in order, apart, not empty, and hold all that is not white."""
    edges = [0, *(place for span in spans for place in span), len(text)]
    between = [text[edges[place] : edges[place + 1]] for place in range(0, len(edges), 2)]
    in_order = all(start < end for start, end in spans) and all(a[1] <= b[0] for a, b in pairwise(spans))
    return in_order and not "".join(between).strip()


@properties
@given(TEXTS, KINDS)
def test_sentences_hold_all_that_is_not_white(text: str, kind: str) -> None:
    """Spans are in order and apart, and none is white or ends in white space."""
    spans = sentences(text, kind)
    found = [text[start:end] for start, end in spans]
    assert holds_all(text, spans)
    assert all(piece.strip() and piece == piece.rstrip() for piece in found)


@properties
@given(TEXTS, KINDS, st.integers(1, 80))
def test_passages_are_consecutive_sentences(text: str, kind: str, size: int) -> None:
    """Nothing is lost or repeated, and each span of a passage is a sentence or a part of one."""
    found = passages(text, kind, size)
    flat = [span for passage in found for span in passage]
    assert all(found)
    assert holds_all(text, flat)
    whole = iter([*sentences(text, kind), (len(text) + 1, len(text) + 1)])
    current = next(whole)
    for start, end in flat:
        while current[1] < end:
            current = next(whole)
        assert current[0] <= start


@properties
@given(TEXTS, KINDS, st.integers(4, 80))
def test_passages_are_about_as_long_as_asked(text: str, kind: str, size: int) -> None:
    """Only a single sentence is longer, and no more than twice; the last passage may hold a scrap besides."""
    room = int(size * BYTES_PER_TOKEN)
    found = [[byte_length(text[start:end]) for start, end in passage] for passage in passages(text, kind, size)]
    assert all(sum(passage) <= (room if len(passage) > 1 else 2 * room) for passage in found[:-1])
    assert sum(found[-1] if found else ()) <= 2.4 * room


@pytest.mark.parametrize("kind", KIND_NAMES)
@pytest.mark.parametrize("text", ["", " ", "\n\n\t ", "\u2028"])
def test_a_white_text_has_no_sentences(text: str, kind: str) -> None:
    """There is nothing to take from it."""
    assert sentences(text, kind) == []
    assert passages(text, kind) == []


@properties
@given(TEXTS, TEXTS)
def test_terms_are_those_of_the_parts(one: str, other: str) -> None:
    """Words are compared the same wherever they stand, in any case, and as the numbers that stand for them."""
    together = f"{one} {other}"
    assert terms(together) == terms(one) + terms(other)
    assert terms(together) == terms(together)
    assert codes(together) == codes(one) + codes(other)
    assert len(codes(together)) == 4 * len(terms(together))


@properties
@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_sentence_scores_are_shares_of_the_query(query: str, found: list[str]) -> None:
    """From none of its words to all of them: the query itself holds all, if it has any."""
    scores = sentence_scores(query, [*found, query, ""])
    assert len(scores) == len(found) + 2
    assert all(0.0 <= score <= 1.0 + 1e-9 for score in scores)
    assert scores[-2] == pytest.approx(1.0 if terms(query) else 0.0)
    assert scores[-1] == 0.0


def test_sentence_scores_count_rare_words_more() -> None:
    """A word that only one sentence holds says more than one that all hold."""
    scores = sentence_scores(
        "Norman castle", ["Norman lords", "The Normans", "The Norman castle", "A castle", "Norman"]
    )
    assert scores[2] == 1.0
    assert scores[3] > scores[0] == scores[1] > 0.0


HOSTILE = {
    "spaces": " " * 1_000_000,
    "letters": "a" * 1_000_000,
    "capitals": "Ab" * 500_000,
    "dots": "." * 1_000_000,
    "dots and spaces": ". " * 50_000,
    "initials": "a." * 200_000,
    "line breaks": "\n" * 100_000,
    "broken lines": " \n" * 100_000,
    "quotes": '."' * 500_000,
    "digits": "1" * 1_000_000,
    "decimals": "1." * 500_000,
    "list items": "- \n" * 20_000,
    "hashes": "#" * 1_000_000,
    "fences": "```\n" * 20_000,
    "ideographs": "诺" * 300_000,
    "stops without spaces": "。" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_cut_in_linear_time(name: str) -> None:
    """A long run of anything comes back, cut as any text is."""
    text = HOSTILE[name]
    for kind in KIND_NAMES:
        assert holds_all(text, sentences(text, kind))
        assert bool(passages(text, kind)) == bool(text.strip())


@pytest.mark.parametrize("name", HOSTILE)
def test_the_words_of_a_hostile_text_are_found_in_linear_time(name: str) -> None:
    """No word grows with the text."""
    assert max(map(len, terms(HOSTILE[name])), default=0) <= 300


def cut(text: str, kind: str = "text") -> list[str]:
    return [text[start:end] for start, end in sentences(text, kind)]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mr. Jones.",
        "It rose by 3.5 percent to 1,204.75 in all.",
        "See Fig. 3 and Eq. 4 for that.",
        "Some do, e.g. Normans, and others, i.e. Danes, do not.",
        "J. R. R. Tolkien wrote it.",
        "The U.S. Army left.",
        "They met on Jan. 5 at noon.",
        "Version 1.2.3 of example.org is out.",
        "Smith et al. showed it in No. 7.",
        "He waited... then left.",
        "1. The first of a list.",
    ],
)
def test_a_stop_inside_a_sentence_does_not_end_it(text: str) -> None:
    """Abbreviations, initials, decimals and numbers of a list go on."""
    assert cut(text) == [text]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("text", ["One came.", "Two left!", "Did three?"]),
        ("text", ['He said "never."', "She left.", "(It rained.)", "Then it stopped."]),
        ("text", ["They came in 1066.", "Then they stayed."]),
        ("text", ["They sold ships, sails, etc.", "Then they left."]),
        ("markdown", ["# Head", "One came.", "Two left.", "- first", "- second", "| a | b |"]),
        ("code", ["def f():", "    return 1.5", "x = f()"]),
    ],
    ids=["stops", "quotes", "years", "abbreviations that may end", "markdown", "code"],
)
def test_a_sentence_ends_where_a_reader_says(kind: str, found: list[str]) -> None:
    """Stops, closing quotes, headings, list items, rows and lines of code end one."""
    assert cut(("\n" if kind != "text" else " ").join(found), kind) == found


def test_stops_of_writing_without_spaces_end_a_sentence() -> None:
    """No space follows them."""
    assert cut("诺曼人来了。他们留下了！为什么？") == ["诺曼人来了。", "他们留下了！", "为什么？"]


def test_a_long_sentence_is_cut_at_its_clauses() -> None:
    """A sentence of more than twice the size is cut where a clause ends, if one ends in the second half."""
    text = "the duke led them far away, " * 40
    found = [text[start:end] for passage in passages(text, size=16) for start, end in passage]
    assert all(piece.endswith("away,") for piece in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Normans' descendants", ["norman", "descend"]),
        ("readFile", ["readfil", "read", "file"]),
        ("max_tokens", ["max_token", "max", "token"]),
        ("1,204.75", ["1204.75"]),
        ("诺曼人", ["诺", "诺曼", "曼", "曼人", "人"]),
        ("of the", []),
    ],
    ids=["prose", "camel case", "snake case", "number", "characters in pairs", "stop words"],
)
def test_terms_are_stems_without_stop_words(text: str, expected: list[str]) -> None:
    """An identifier's parts follow the whole, a number keeps its points, writing without spaces comes in pairs."""
    assert terms(text) == expected
