"""Groundedness: the thresholds are what the documented figures were measured with."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Item, PackedItem
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.evaluation.answers.groundedness import (
    SentenceLikeness,
    cited_text,
    is_supported_by_words,
    shared_words,
)

ROWS = [json.loads(line) for line in (Path(__file__).parent / "groundedness.jsonl").read_text("utf-8").splitlines()]
HELD_OUT = [row for row in ROWS if row["held_out"]]
GROUPS = ("supported", "wrong passage", "not supported")


def groups() -> dict[str, list[tuple[str, list[PackedItem]]]]:
    """Return pairs of a sentence and what it cites, of the half that no threshold was chosen on."""
    shifted = [*HELD_OUT[6:], *HELD_OUT[:6]]
    good = [row["supported"] for row in HELD_OUT]
    return {
        "supported": [pair(row, row) for row, yes in zip(HELD_OUT, good, strict=True) if yes],
        "wrong passage": [pair(row, other) for row, other, yes in zip(HELD_OUT, shifted, good, strict=True) if yes],
        "not supported": [pair(row, row) for row, yes in zip(HELD_OUT, good, strict=True) if not yes],
    }


def pair(row: dict[str, Any], other: dict[str, Any]) -> tuple[str, list[PackedItem]]:
    item = Item(id="1", title=other["title"], text=other["text"])
    return row["sentence"], [PackedItem(number=1, item=item, text=item.text)]


def test_groundedness_by_words_is_as_documented() -> None:
    """Of 24 each, on the half that the threshold was not chosen on."""
    pairs = {name: [(sentence, cited_text(packed)) for sentence, packed in both] for name, both in groups().items()}
    counts = [sum(is_supported_by_words(*both, "english") for both in pairs[name]) for name in GROUPS]
    assert counts == [19, 0, 12]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("wordllama") is None, reason="needs the extra static")
async def test_groundedness_by_embeddings_is_as_documented() -> None:
    """The same, by the ranker `semantic`, found as a pipeline finds it."""
    ranker = PluginRegistry.installed().component(Kind.RANKER, "semantic")()
    likeness = SentenceLikeness(name="semantic", ranker=ranker)
    counts = [sum([await likeness.is_supported(*both) for both in groups()[name]]) for name in GROUPS]
    assert counts == [21, 0, 11]
    assert await likeness.likeness("A sentence.", "") == 0.0


def test_a_number_that_the_passage_lacks_makes_a_sentence_unsupported() -> None:
    """However many of its words stand there."""
    text = "Everybody has 28 days of leave a year, in total."
    assert is_supported_by_words("Everybody has 28 days of leave.", text, "english")
    assert not is_supported_by_words("Everybody has 30 days of leave.", text, "english")
    assert shared_words("...", text, "english") == 0.0
