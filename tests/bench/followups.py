"""Follow-up questions: how many find the item that the question in full finds, by the words of earlier ones alone.

    python tests/bench/followups.py [--weights]

The texts and conversations are followups.json, written for this; the READMEs of this project stand among them. Each
conversation goes through a pipeline of its own kind (`gather: store`, and `gather: files` with `rank: bm25`), once as
it is without `rewrite` and once with it; no model generates. Of the items that the full questions find among the
first K, the share is shown that the follow-ups find there. After a change of topic the full question of the next
topic is asked in the same conversation. `--weights` shows what other weights would do. Exits 1 below the gate.

Left out: what a model makes of a question, conversations of more than two turns, other languages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from nexus_core import Item, Message, Pipeline, Store
from nexus_core.contract import values

DATA = Path(__file__).with_name("followups.json")
ROOT = Path(__file__).parent.parent.parent
KINDS = {
    "store": "gather: {use: store, context: texts, path: STORE}",
    "files": "gather: {use: files, paths: [texts/*.md, docs/*.md]}",
}
PIPELINE = """
name: followups
rewrite: REWRITE
models: {offline: {use: extractive}}
steps:
  - KIND
  - rank: bm25
  - prompt: qa
  - generate: offline
"""
K = (1, 3, 5)
GATE_K, GATE = 3, 0.80
LOSS = 0.05
"""Of the questions after a change of topic, no more may be lost at GATE_K."""
WEIGHTS = (0.25, 0.5, 0.75, 1.0)


@frozen
class Question:
    """A question in its conversation, and the item that answers it."""

    said: tuple[str, ...]
    text: str
    finds: str


def read() -> tuple[list[Item], dict[str, list[Question]]]:
    """Return the texts, and the questions: in full, following others, and after a change of topic."""
    data = json.loads(DATA.read_text("utf-8"))
    talks = data["conversations"]
    turned = [
        Question((*before["said"], before["then"]), talk["full"], talk["finds"])
        for number, talk in enumerate(talks)
        for before in [talks[(number + len(talks) // 2) % len(talks)]]
    ]
    return [Item(**item) for item in data["items"]], {
        "full": [Question((), talk["full"], talk["finds"]) for talk in talks],
        "follow-up": [Question(tuple(talk["said"]), talk["then"], talk["finds"]) for talk in talks],
        "new topic": turned,
    }


async def places(pipeline: Pipeline, questions: Sequence[Question]) -> list[int]:
    """Return at which place each question's item is found, from 1."""
    found = []
    for question in questions:
        history = [said for text in question.said for said in (Message("user", text), Message("assistant", "Yes."))]
        prepared = await pipeline.prepare(question.text, history=history)
        ranked = [candidate.item.id.removesuffix(".md").removeprefix("texts/") for candidate in prepared.state.ranking]
        found.append(ranked.index(question.finds) + 1 if question.finds in ranked else sys.maxsize)
    return found


def recall(full: Sequence[int], found: Sequence[int], k: int) -> float:
    """Return the share of what the full questions find among the first k that is found there."""
    reached = [place <= k for base, place in zip(full, found, strict=True) if base <= k]
    return sum(reached) / len(reached)


def _pipeline(folder: Path, kind: str, *, rewrite: bool) -> Pipeline:
    file = folder / f"{kind}.yaml"
    text = PIPELINE.replace("REWRITE", str(rewrite).lower()).replace("KIND", KINDS[kind])
    file.write_text(text.replace("STORE", str(folder / "store")), "utf-8")
    return Pipeline.load(file, environment={})


async def measure(folder: Path, kind: str, *, rewrite: bool) -> dict[str, list[int]]:
    """Return the places of all questions by their sort."""
    async with _pipeline(folder, kind, rewrite=rewrite) as pipeline:
        return {sort: await places(pipeline, questions) for sort, questions in read()[1].items()}


async def prepare(folder: Path) -> None:
    """Put the texts into a store and into files."""
    items, _ = read()
    (folder / "texts").mkdir()
    for item in items:
        (folder / "texts" / f"{item.id}.md").write_text(f"# {item.title}\n\n{item.text}\n", "utf-8")
    (folder / "docs").mkdir()
    for file in sorted([*ROOT.glob("[np]*/**/README.md"), *ROOT.glob("docs/*/*.md")]):
        text = file.read_text("utf-8")
        (folder / "docs" / f"{'-'.join(file.relative_to(ROOT).with_suffix('').parts)}.md").write_text(text, "utf-8")
    async with _pipeline(folder, "files", rewrite=False) as pipeline:
        every = (await pipeline.prepare("anything")).state.ranking.items
    print(f"{len(items)} texts among {len(every)} items, {len(read()[1]['full'])} conversations")
    async with Store(folder / "store") as store:
        await store.create("texts")
        await store.add("texts", every)


async def shown(folder: Path, kind: str, label: str, *, rewrite: bool) -> dict[str, Any]:
    """Measure, print a row and return the figures."""
    found = await measure(folder, kind, rewrite=rewrite)
    rows = {sort: [recall(found["full"], found[sort], k) for k in K] for sort in ("follow-up", "new topic")}
    cells = "  ".join(" ".join(f"{value:6.1%}" for value in values) for values in rows.values())
    print(f"{kind:<6} {label:<14} {cells}")
    return {sort: dict(zip(K, values, strict=True)) for sort, values in rows.items()}


async def main(weights: Sequence[float]) -> bool:
    """Print the table; tell whether the gates hold."""
    good = True
    with TemporaryDirectory() as name:
        folder = Path(name)
        await prepare(folder)
        heads = " ".join(f"{f'@{k}':>6}" for k in K)
        print(f"{'':<21} {'follow-up':<20}  new topic\n{'':<21} {heads}  {heads}")
        shipped = values.EARLIER_WEIGHT
        for kind in KINDS:
            values.EARLIER_WEIGHT = shipped
            before = await shown(folder, kind, "as it stands", rewrite=False)
            after = await shown(folder, kind, f"weight {shipped:g}", rewrite=True)
            good &= after["follow-up"][GATE_K] >= GATE
            good &= before["new topic"][GATE_K] - after["new topic"][GATE_K] <= LOSS
            for weight in weights:
                values.EARLIER_WEIGHT = weight
                await shown(folder, kind, f"  weight {weight:g}", rewrite=True)
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", action="store_true")
    sys.exit(0 if asyncio.run(main(WEIGHTS if parser.parse_args().weights else ())) else 1)
