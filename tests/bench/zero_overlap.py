"""Questions that share no stem with the text that answers them: how often a stored context has it among its first ten.

    python tests/bench/zero_overlap.py DIR... [--models minilm,static]

The texts and questions are zero_overlap.json, written for this before any model was asked; a test checks that none
shares a stem. DIR is a collection in BEIR layout, or a folder of them: what the texts are among; with less than 10,000
items of them nothing is told. All items go into one store, which is asked by words and then, for each model, by meaning
alone and by both, the default of a context that has vectors. Exits 1 when `minilm` by both finds less than the gate;
embedding takes it some minutes for 10,000 items.

Left out: questions that share some words, which are most; items of several parts, other languages, time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from attrs import frozen

from nexus_core import Item, Store
from nexus_core.evaluation.beir import BeirFiles, read_collection

DATA = Path(__file__).with_name("zero_overlap.json")
CONTEXT = "texts"
FIRST = 10
OTHERS = 10_000
GATES = {"minilm": 0.8}
"""The least share of questions whose text is found by both, the default."""


@frozen
class Case:
    """A text, and a question that it answers in other words."""

    item: Item
    question: str


def own() -> list[Case]:
    """Return the texts and questions of the file beside this one."""
    rows = json.loads(DATA.read_text("utf-8"))["items"]
    return [
        Case(Item(id=f"own/{number}", title=row["title"], text=row["text"]), row["question"])
        for number, row in enumerate(rows)
    ]


def others(folders: Sequence[Path]) -> Iterator[Item]:
    """Yield the items of collections, by ids that differ."""
    for folder in folders:
        for file in sorted(folder.rglob("corpus.jsonl")):
            found = read_collection(BeirFiles.of_folder(file.parent))
            for item in found.items or ():
                yield Item(id=f"{found.name}/{item.id}", title=item.title, text=item.text, kind=item.kind)


async def recall(store: Store, cases: Sequence[Case], by: Literal["words", "meaning", "both"]) -> float:
    """Return the share of questions whose text is among the first ten."""
    found = 0
    for case in cases:
        ranking = await store.search(CONTEXT, case.question, limit=FIRST, by=by)
        found += any(candidate.item.id == case.item.id for candidate in ranking.top(FIRST))
    return found / len(cases)


async def measure(items: Sequence[Item], models: Sequence[str], folder: Path) -> Iterator[tuple[str, str, float]]:
    """Return (model, by, recall@10), of words and of each model."""
    cases, rows = own(), []
    async with Store(folder) as store:
        await store.create(CONTEXT)
        await store.add(CONTEXT, [*items, *(case.item for case in cases)])
        rows.append(("none", "words", await recall(store, cases, "words")))
        for model in models:
            await store.embed(CONTEXT, model)
            rows.append((model, "meaning", await recall(store, cases, "meaning")))
            rows.append((model, "both", await recall(store, cases, "both")))
    return iter(rows)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--models", default="static,minilm", help="names of models, with commas between")
    options = parser.parse_args()
    items = [*others(options.folders)]
    if len(items) < OTHERS:
        parser.error(f"there are {len(items)} items in these folders: {OTHERS} are wanted around the texts")
    failed = False
    print(f"{'items':>6} {'model':<8} {'by':<8} recall@{FIRST}  gate")
    with TemporaryDirectory() as folder:
        for model, by, value in asyncio.run(measure(items, options.models.split(","), Path(folder))):
            gate = GATES.get(model) if by == "both" else None
            failed = failed or (gate is not None and value < gate)
            wanted = "" if gate is None else f"{gate:.2f}"
            print(f"{len(items) + len(own()):>6} {model:<8} {by:<8} {value:.2f}       {wanted}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
