"""Quality of what ships, with defaults only: how well `bm25` ranks, and how often a packed prompt holds the answer.

    python tests/bench/quality.py DIR [--queries 300] [--fuse static|minilm|MODEL]

DIR is a collection in BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv), or a folder of them. nDCG@10 is over all
queries with a relevant item. Answer recall at B is the share of questions whose gold evidence stands in the text packed
from a gold item when the context has at most B tokens of o200k_base, titles and separators included: an answer's text,
or where a query has `evidence`, every sentence of one of its alternatives, of every item it names (of any, for
scifact). Exits 1 when a gate is missed; collections without one are only measured.

Left out: time, other settings than the defaults, what a model makes of the prompt, conversations, and collections in
other languages than those that are given.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.semantic import Semantic

from nexus_core import Message, ModelInfo, Prompt, Ranker, Ranking, RunContext
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack
from nexus_core.evaluation.beir import BeirFiles, read_collection
from nexus_core.evaluation.collection import JudgedCollection, Query
from nexus_core.evaluation.measures import Needed, holds_answer, measure_rankings, retrieved
from nexus_core.toolkit.tokens.counter import token_counter

BUDGETS = (256, 512, 1024, 2048)
ENCODING = "o200k_base"
INFO = ModelInfo(id="any", provider="bench", window=1_000_000, encoding=ENCODING)
NDCG_GATES = {
    "scifact": 0.705, "cosqa": 0.400, "cranfield": 0.395, "squad": 0.900, "vaswani": 0.415, "hotpot100": 0.800,
}  # fmt: skip
RECALL_GATES = {
    "squad": {256: 0.90, 512: 0.93, 1024: 0.955, 2048: 0.97},
    "squad-sections": {512: 0.92},
    "hotpot100": {256: 0.58, 512: 0.74, 1024: 0.86},
}
ONE_IS_ENOUGH = {"scifact"}
"""Where several items carry evidence on their own."""


class Sources:
    """The part of a prompt that holds the items, and nothing else: what it takes is the context."""

    variables: frozenset[str] = frozenset({"items"})

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        """Return the items, each with its number and title."""
        blocks = [f"[{item['number']}] {item['title']}\n{item['text']}" for item in variables["items"]]
        return (Message("user", "\n\n".join(blocks)),)


def load(folder: Path) -> JudgedCollection:
    """Read a collection."""
    return read_collection(BeirFiles.of_folder(folder), kind="code" if folder.name == "cosqa" else "text")


async def measure(
    collection: JudgedCollection, limit: int | None, model: str | None = None
) -> Iterator[tuple[str, float, float | None]]:
    """Return (figure, value, gate) for a collection, by words or by words and the vectors of a model."""
    ranker: Ranker = Bm25() if model is None else Fuse(rankers=(Bm25(), Semantic(model=model)))
    items = Ranking(collection.items or ())
    ranked = [(query, await ranker.rank(query.text, items, RunContext())) for query in collection.first(limit).queries]
    found = measure_rankings(collection.relevant, {query.id: retrieved(ranking, 10) for query, ranking in ranked})
    return _figures(collection, ranked, sum(values[0] for values in found.values()) / len(found))


def _figures(
    collection: JudgedCollection, ranked: Sequence[tuple[Query, Ranking]], gain: float
) -> Iterator[tuple[str, float, float | None]]:
    yield "nDCG@10", gain, NDCG_GATES.get(collection.name)
    asked = [(query, ranking) for query, ranking in ranked if query.is_answerable]
    needed: Needed = "any" if collection.name in ONE_IS_ENOUGH else "all"
    for budget in BUDGETS if asked else ():
        found = 0
        for query, ranking in asked:
            policy = PackingPolicy(budget=budget)
            draft = Draft(template=Sources(), ranking=ranking, query=query.text, policy=policy)
            prompt = pack(draft, INFO, reserved=1000, counter=lambda: token_counter(ENCODING))
            _check_size(prompt, budget)
            found += bool(holds_answer(prompt.items, query, collection, needed))
        yield f"answer recall at {budget}", found / len(asked), RECALL_GATES.get(collection.name, {}).get(budget)


def _check_size(prompt: Prompt, budget: int) -> None:
    tokens = token_counter(ENCODING).count(prompt.messages[0].text)
    if tokens > budget:
        raise AssertionError(f"{tokens} tokens packed into a budget of {budget}")


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=None, help="only so many queries of each collection")
    parser.add_argument("--fuse", metavar="MODEL", help="rank by `fuse` of words and the vectors of a model")
    options = parser.parse_args()
    folders = [file.parent for file in sorted(options.folder.rglob("corpus.jsonl"))]
    if not folders:
        parser.error(f"there is no corpus.jsonl in {options.folder}")
    failed = False
    print(f"{'collection':<16} {'figure':<22} {'value':>6} {'gate':>6}")
    for folder in folders:
        for figure, value, gate in asyncio.run(measure(load(folder), options.queries, options.fuse)):
            under = gate is not None and value < gate
            failed = failed or under
            verdict = "" if gate is None else "UNDER" if under else "ok"
            wanted = "" if gate is None else f"{gate:.3f}"
            print(f"{folder.name:<16} {figure:<22} {value:>6.4f} {wanted:>6} {verdict}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
