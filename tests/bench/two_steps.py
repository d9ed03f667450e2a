"""Two-step questions: how often both texts that answer one are among the first ten, with and without feedback.

    python tests/bench/two_steps.py [DIR...] [--grid]

The texts and questions are two_steps.json, written for this: the first text names the second one, and only both answer.
DIR is a collection in BEIR layout whose questions need all of their relevant items, such as HotpotQA's. The items go
into a store, and the questions through `gather: {use: store, expand: {by: feedback}}`; no model is asked. `--grid`
tries other settings, and tells what two-fold cross-validation over the questions of a collection makes of them. Exits 1
when feedback helps less on the own questions than the gate wants.

Left out: phrasings and hypothetical answers, which need a model; questions of one step, which feedback may harm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from attrs import frozen

from nexus_core import Item, Pipeline, Store
from nexus_core.evaluation.beir import BeirFiles, read_collection

DATA = Path(__file__).with_name("two_steps.json")
FIRST = 10
GATE = 0.15
"""So much more of the own questions must find both texts with feedback."""
PIPELINE = """
name: steps
models: {offline: {use: extractive}}
steps:
  - gather: {use: store, context: texts, path: STORE, expand: EXPAND}
  - rank: bm25
  - prompt: {template: qa, budget: 512}
  - generate: offline
"""
DEFAULTS = "{by: feedback}"


@frozen
class Collection:
    """Items, and questions with the ids of all items that they need."""

    name: str
    items: tuple[Item, ...]
    questions: Sequence[tuple[str, frozenset[str]]]


def own() -> Collection:
    """Return the texts and questions of the file beside this one."""
    data = json.loads(DATA.read_text("utf-8"))
    items = tuple(Item(id=row["id"], title=row["title"], text=row["text"]) for row in data["items"])
    return Collection("two_steps", items, [(row["question"], frozenset(row["needs"])) for row in data["questions"]])


def read(folder: Path) -> Collection:
    """Return a collection in BEIR layout."""
    found = read_collection(BeirFiles.of_folder(folder))
    questions = [(query.text, frozenset(found.relevant[query.id])) for query in found.queries]
    return Collection(folder.name, found.items or (), questions)


async def measure(
    collection: Collection, expansions: Sequence[str], folder: Path
) -> Mapping[str, tuple[Sequence[bool], float]]:
    """Return for each setting which questions find all they need among the first ten, and milliseconds of CPU each."""
    async with Store(folder / "store") as store:
        await store.create("texts")
        await store.add("texts", collection.items)
    found = {}
    for expand in expansions:
        file = folder / "steps.yaml"
        file.write_text(PIPELINE.replace("STORE", str(folder / "store")).replace("EXPAND", expand))
        async with Pipeline.load(file) as pipeline:
            await pipeline.prepare("warm up")
            began, hits = process_time(), []
            for question, needs in collection.questions:
                ranking = (await pipeline.prepare(question)).state.ranking
                hits.append(needs <= {candidate.item.id for candidate in ranking.top(FIRST)})
            found[expand] = hits, 1000 * (process_time() - began) / len(hits)
    return found


def grid() -> Iterator[str]:
    """Yield settings of feedback."""
    for items, words, weight in product((1, 3), (10, 20), (0.3, 0.5)):
        yield f"{{by: feedback, items: {items}, words: {words}, weight: {weight}, fusion: scores}}"
    for items, words, weight in product((1, 2, 3), (5, 10, 20, 40), (0.3, 0.5, 1.0)):
        yield f"{{by: feedback, items: {items}, words: {words}, weight: {weight}}}"


def cross_validated(found: Mapping[str, tuple[Sequence[bool], float]]) -> float:
    """Return the share of questions found by the setting that is best on the other half of them."""
    hits = {name: rows for name, (rows, _) in found.items() if name != "null"}
    total = 0
    for fold in (0, 1):
        best = max(hits, key=lambda name: sum(hits[name][1 - fold :: 2]))
        total += sum(hits[best][fold::2])
    return total / len(next(iter(hits.values())))


def share(hits: Sequence[bool]) -> float:
    """Return the share of questions that find all they need."""
    return sum(hits) / len(hits)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR")
    parser.add_argument("--grid", action="store_true", help="try other settings, too")
    options = parser.parse_args()
    settings = ["null", DEFAULTS, *(grid() if options.grid else ())]
    failed = False
    for collection in (own(), *map(read, options.folders)):
        with TemporaryDirectory() as folder:
            found = asyncio.run(measure(collection, settings, Path(folder)))
        for expand, (hits, milliseconds) in found.items():
            print(f"{collection.name:<12} {share(hits):.3f}  {milliseconds:6.1f} ms  expand: {expand}", flush=True)
        if options.grid:
            print(f"{collection.name:<12} {cross_validated(found):.3f}  cross-validated", flush=True)
        if collection.name == "two_steps":
            failed = share(found[DEFAULTS][0]) < share(found["null"][0]) + GATE
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
