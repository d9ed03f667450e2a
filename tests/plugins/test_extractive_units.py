"""What the extractive connector takes for a sentence, a list entry, a row, a stretch of code."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given, settings, strategies as st
from nexus_extractive.citable_units import Unit, units
from nexus_extractive.scoring import read_question


def cut(text: str, kind: str = "markdown") -> list[tuple[str, str]]:
    return [(unit.form, unit.text) for unit in units(text, kind)]


def test_headings_rules_and_links_are_not_cited() -> None:
    """What stands under a heading knows it; the heading itself is nothing to cite."""
    text = "# Title\n\n## Part\n\nOne. Two\nlines.\n\n---\n\n[1]: https://example.org\n![p](p.png)\n<!-- no -->\n"
    found = units(text, "markdown")
    assert [(unit.text, unit.under) for unit in found] == [("One.", "Title > Part"), ("Two lines.", "Title > Part")]
    assert found[0].block == found[1].block


def test_setext_bold_and_bare_headings_are_recognised() -> None:
    """Markdown underlines or emboldens headings; plain text leaves them alone on a line."""
    assert units("Part\n----\nText.", "markdown")[0].under == "Part"
    assert units("**Part**\n\nText.", "markdown")[0].under == "Part"
    assert units("Opening hours\n\nFrom nine to five.", "text")[0].under == "Opening hours"
    assert cut("A last line without a stop", "text") == [("sentence", "A last line without a stop")]


def test_list_entries_know_their_lead() -> None:
    """The sentence before a list is its lead, also for entries over several lines."""
    found = units("Intro. You need:\n\n- a key\n- a lamp\n  that burns\n1. luck\n\nNot this.\n\n- loose\n", "markdown")
    lead = found[1]
    assert [(unit.mark, unit.text, unit.lead) for unit in found if unit.form == "entry"] == [
        ("-", "a key", lead.place),
        ("-", "a lamp that burns", lead.place),
        ("1.", "luck", lead.place),
        ("-", "loose", None),
    ]


def test_rows_carry_the_head_of_their_table() -> None:
    """A row stands as it is written, and is shown under the names of its columns; the header is not a row."""
    text = "| Plan | Price |\n|---|---:|\n| Pro | 12 \\| 15 |\n| | free |\n\n| a | b |\n"
    assert cut(text) == [("row", "| Pro | 12 \\| 15 |"), ("row", "| | free |"), ("row", "| a | b |")]
    first, second, alone = units(text, "markdown")
    assert first.follows == "| Plan | Price |\n|---|---:|"
    assert (second.head is first.head, alone.head) == (True, None)


def test_a_text_that_begins_inside_a_fence_is_code_up_to_its_end() -> None:
    """A passage cut out of the middle of code: what follows the fence is prose again."""
    found = units("a = 1\nb = 2\n```\nTry it once by hand.", "markdown")
    assert [(unit.form, unit.text) for unit in found] == [
        ("code", "a = 1\nb = 2"),
        ("sentence", "Try it once by hand."),
    ]
    assert [unit.form for unit in units("```\nTry it once by hand.", "markdown")] == ["sentence"]
    assert [unit.form for unit in units("It goes so:\n```\na = 1", "markdown")] == ["sentence", "code"]


def test_a_fence_belongs_to_what_stands_before_it() -> None:
    """To its lead, else the sentence before, else the heading; its content is one unit, cut where it is long."""
    long = "\n".join(f"line {n}" for n in range(40))
    text = f"# H\n\n```sh\nrun\n```\n\nDo it. Like this:\n\n```\n# no heading\n```\n\nOr so.\n\n~~~\n{long}\n~~~\n"
    heading, sentence, other = [unit for unit in units(text, "markdown") if unit.form == "code"]
    assert (heading.follows, heading.mark, heading.lead) == ("H", "```sh", None)
    assert sentence.follows == "Like this:"
    assert (other.follows, other.text.split("\n")[-1]) == ("Or so.", "line 13")


def test_code_is_cut_at_blank_lines_of_the_outermost_level() -> None:
    """A function with blank lines inside stays together."""
    text = "import a\n\n\ndef f():\n    x\n\n    y\n\n\ndef g():\n    z\n"
    assert [unit.text for unit in units(text, "code")] == ["import a", "def f():\n    x\n\n    y", "def g():\n    z"]


def test_what_the_packer_has_left_out_parts_what_is_around_it() -> None:
    """Sentences on both sides of the dots do not count as neighbours."""
    for text, kind in (("One is. … Two is.", "text"), ("One is.\n…\nTwo is.", "markdown")):
        first, second = units(text, kind)
        assert (first.text, second.text) == ("One is.", "Two is.")
        assert first.block != second.block


def test_endless_text_is_cut_between_words() -> None:
    """What has no stop is not cited by the page."""
    assert max(len(unit.text) for unit in units("word " * 5000, "text")) <= 600
    assert max(len(unit.text) for unit in units("x" * 50_000, "code")) <= 300


LINES = [
    "Text here. More",
    "- entry",
    "  on",
    "# H",
    "```",
    "| a | b |",
    "|---|---|",
    "",
    "Lead:",
    "…",
    "> quote",
    "===",
    "1) x",
]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=16), st.sampled_from(["text", "markdown", "code"]))
def test_units_are_in_order_and_lead_back(lines: list[str], kind: str) -> None:
    """Places count up, leads are sentences before, and the words are those of the text."""
    text = "\n".join(lines)
    found: list[Unit] = units(text, kind)
    assert [unit.place for unit in found] == list(range(len(found)))
    for unit in found:
        assert unit.text.strip()
        if unit.lead is not None:
            assert found[unit.lead].form == "sentence"
            assert unit.lead < unit.place
            assert unit.follows.startswith(found[unit.lead].text)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["text", "markdown", "code"]))
def test_any_text_can_be_cut(text: str, kind: str) -> None:
    """Nothing is raised, and every unit stands in the text as it is, but for its white space."""
    bare = "".join(text.split())
    assert all("".join(unit.text.split()) in bare for unit in units(text, kind))


def test_a_word_that_the_question_repeats_counts_more() -> None:
    """As in rankers, store and packer: one and the logarithm of how often."""
    weights = read_question("Which mill: the tide mill?", "english").weights
    assert weights["mill"] == pytest.approx((1 + log(2)) * weights["tide"])
