"""What `extractive` quotes stands in the item word for word, whatever kind of text that is."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings, strategies as st
from nexus_extractive.connector import Extractive

from nexus_core import CallOptions, Item, Message, PackedItem, Prompt

QUERY = "load git add footnote apple price limit"
CITATION = re.compile(r"(?:^|[ \n])\[1\](?=\s|$)")
FENCE = re.compile(r"^ {0,3}(?:`{3,}|~{3,}).*$", re.MULTILINE)


def asked(text: str, kind: str, query: str = QUERY) -> str:
    """Return the answer from one item."""
    packed = PackedItem(number=1, item=Item(id="a", text=text, kind=kind), text=text)
    prompt = Prompt(messages=(Message("user", query),), query=query, items=(packed,))
    extractive = Extractive(sentences=20, min_score=0.0)
    return asyncio.run(extractive.send_prompt(prompt, CallOptions())).text


def quotes_of(answer: str) -> list[str]:
    """Return what stands before each citation; the fence around code of a program is not part of it."""
    if answer.startswith("Nothing in "):
        return []
    return [quote for quote in (bare(part) for part in CITATION.split(answer)) if quote]


def bare(text: str) -> str:
    """Return a text without fences and white space."""
    return "".join(FENCE.sub("", text).split())


LINES = [
    "The load > 40 is too high.", "> the load is quoted", "> > and git add again", ">load", "git add <file>", "Apple",
    "price: [1] is no footnote", "[^1]: The footnote has a limit of 3 apples.", "[a]: https://example.org/load",
    "[limit]: the load of an apple", "| load | price |", "|---|:-:|", "| apple \\| pear | 3 |", "| a > b |  limit |",
    "~~~~", "~~~~~~~~", "====", "----", "```", "```sh", "# Load #", "## Limit", "Load:", "The load needs:", "- apple",
    "-   git add  it", "* **load**: price", "1. limit", "10) load > 1", "  that goes on", "    indented load",
    "**Load**", "",
    "", ".. note:: load", "def load(price):", "    return limit > 40", "if load:", "    git(add='<file>')",
    "load … limit", "…",
    "First load. Second limit!", "e.g. the load", "`git add` and [apple](load.md)", "![load](load.png)", "<b>load</b>",
    "x" * 250 + " load", "- " + "load " * 90, "load " * 200,
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=14), st.sampled_from(["text", "markdown", "code"]))
def test_a_quote_is_a_part_of_the_text(lines: list[str], kind: str) -> None:
    """Up to white space, in text, Markdown, code, reStructuredText, tables, lists, footnotes and quotations."""
    text = "\n".join(lines)
    whole = bare(text)
    assert [quote for quote in quotes_of(asked(text, kind)) if quote not in whole] == []


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("load >|-~`#[]^:*\n."), max_size=120), st.sampled_from(["text", "markdown", "code"]))
def test_a_quote_of_any_marks_is_a_part_of_the_text(text: str, kind: str) -> None:
    """No arrangement of marks makes it otherwise."""
    whole = bare(text)
    assert [quote for quote in quotes_of(asked(text, kind, "load")) if quote not in whole] == []


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("markdown", "Scale up if the load > 40 for long.\n", "Scale up if the load > 40 for long. [1]"),
        ("text", "Scale up if the\n> load > 40 for long.\n", "Scale up if the\n> load > 40 for long. [1]"),
        ("markdown", "Then run git add <file> with the load.\n", "Then run git add <file> with the load. [1]"),
        ("text", "Load\n~~~~\n\nThe load is high.\n\nMore\n~~~~\n\nNot this.\n", "The load is high. [1]"),
        ("markdown", "Text.[^1]\n\n[^1]: The load is a footnote.\n", "[^1]: The load is a footnote. [1]"),
        ("markdown", "| Load | At |\n|---|---|\n| high | 9 |\n", "| Load | At |\n|---|---|\n| high | 9 |\n\n[1]"),
        ("markdown", "Load:\n\n- a\n- b\n- the load c\n", "Load: [1]\n- the load c [1]"),
    ],
    ids=["more than", "quotation", "bracket", "title", "footnote", "table", "list"],
)
def test_what_was_once_quoted_wrongly(kind: str, text: str, said: str) -> None:
    """`load > 40` became `load40`, `~~~~` under a title opened a fence, a footnote was taken for a link."""
    query = "load c" if "- a" in text else "what is the load high at"
    packed = PackedItem(number=1, item=Item(id="a", text=text, kind=kind), text=text)
    prompt = Prompt(messages=(Message("user", query),), query=query, items=(packed,))
    answer = asyncio.run(Extractive(sentences=1).send_prompt(prompt, CallOptions())).text
    assert answer == said
