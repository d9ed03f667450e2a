"""Items that the best passages name by their title."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nexus_core import Item, Pipeline, Ranking
from nexus_core.engine.packing.candidates import pool_of
from nexus_core.toolkit.text.passages import key_of

BRIDGE = Item(id="bridge", title="Oslund Bridge", text="The Oslund Bridge was designed by Ines Holt.")
HOLT = Item(id="holt", title="Ines Holt", text="A stay in Varna decided all that followed.")
QUESTION = "Where did the designer of the Oslund Bridge learn?"
PIPELINE = """
name: steps
models: {offline: {use: extractive}}
steps:
  - gather: {use: jsonl, path: texts.jsonl}
  - rank: bm25
  - prompt: {template: qa, budget: BUDGET}
  - generate: offline
"""


def fillers(count: int) -> list[Item]:
    """Items that have a word in common with the question, or none."""
    return [Item(id=str(n), title=f"Bridge {n}", text=f"Number {n} is a bridge of {n} arches.") for n in range(count)]


def order(items: Sequence[Item], query: str = QUESTION) -> list[str]:
    """Return the ids of items of one passage each, best first."""
    pool = pool_of(Ranking(tuple(items)), query, key_of(64, "none"), 10**6)
    return [items[pool.items[pool.item_of[passage]]].id for passage in pool.order]


@pytest.mark.parametrize("count", [20, 600], ids=["few", "many"])
def test_item_that_the_best_passage_names_comes_next(count: int) -> None:
    """It has no word of the question, and the passage says that it goes on there."""
    assert order([*fillers(count), HOLT, BRIDGE])[:2] == ["bridge", "holt"]


async def test_item_that_is_named_stands_in_a_small_prompt(tmp_path: Path) -> None:
    """Both halves of the answer are sent, where there is room for a few items alone."""
    rows = [{"id": item.id, "title": item.title, "text": item.text} for item in (*fillers(30), HOLT, BRIDGE)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "steps.yaml").write_text(PIPELINE.replace("BUDGET", "150"), encoding="utf-8")
    async with Pipeline.load(tmp_path / "steps.yaml") as pipeline:
        prompt = (await pipeline.explain(QUESTION)).prompt
    found = {packed.item.id for packed in prompt.items}
    assert {"bridge", "holt"} <= found
    assert len(found) < len(rows)


@pytest.mark.parametrize(
    ("title", "text", "named"),
    [
        ("Ines Holt (engineer)", "It was designed by Ines Holt.", True),
        ("The Ines Holt", "It was designed by INES HOLT.", True),
        ("Holt", "It was designed by Ines Holt.", False),
        ("Ines Holt", "It was designed by Holt, and Ines paid.", False),
        ("Ines Holt", "It was designed by Jon Ines Holter.", False),
    ],
    ids=["brackets", "spelling", "one word", "apart", "another word"],
)
def test_title_is_named_as_a_whole(title: str, text: str, named: bool) -> None:
    """Titles of one word are no names, and a part in brackets is none of a name."""
    bridge = Item(id="bridge", title="Oslund Bridge", text=f"The Oslund Bridge crosses the river. {text}")
    wanted = Item(id="holt", title=title, text=HOLT.text)
    assert (order([*fillers(20), wanted, bridge])[1] == "holt") is named


def test_title_of_many_items_names_none_of_them() -> None:
    """The parts of one page share a title: which of them is meant, it does not say."""
    parts = [Item(id=f"part {n}", title="Ines Holt", text=f"Her year {n} in Varna.") for n in range(4)]
    assert order([*fillers(20), *parts, BRIDGE])[1].isdigit()


def test_passage_without_a_word_of_the_question_names_nothing() -> None:
    """Where nothing is about the question, the order is that of the items."""
    items = [BRIDGE, HOLT, *fillers(20)]
    assert order(items, "quokka") == [item.id for item in items]
