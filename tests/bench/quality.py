"""Quality of what ships, with defaults only: how well `bm25` ranks, and how often a packed prompt holds the answer.

    python tests/bench/quality.py DIR [--queries 300]

DIR is a collection in BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv), or a folder of them. nDCG@10 is over all
queries with a relevant item. Answer recall at B is the share of questions whose gold evidence stands in the text packed
from a gold item when the context has at most B tokens of o200k_base, titles and separators included: an answer's text,
or where a query has `evidence`, every sentence of one of its alternatives, of every item it names (of any, for
scifact). Exits 1 when a gate is missed; collections without one are only measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

from attrs import frozen
from nexus_rankers.bm25 import Bm25

from nexus_core import Item, Message, ModelInfo, Prompt, Ranking
from nexus_core.engine.packing import Draft, PackingPolicy, pack
from nexus_core.toolkit.tokens import token_counter

BUDGETS = (256, 512, 1024, 2048)
ENCODING = "o200k_base"
INFO = ModelInfo(id="any", provider="bench", window=1_000_000, encoding=ENCODING)
NDCG_GATES = {"scifact": 0.690, "cosqa": 0.390, "cranfield": 0.385, "squad": 0.870}
RECALL_GATES = {
    "squad": {256: 0.90, 512: 0.93, 1024: 0.955, 2048: 0.97},
    "squad-sections": {512: 0.92},
    "hotpot100": {256: 0.37, 1024: 0.77},
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


@frozen(kw_only=True)
class Collection:
    """Items, questions, and what is relevant to which."""

    name: str
    items: tuple[Item, ...]
    ends: Mapping[str, Sequence[int]]
    """Where the sentences of an item end, by its id."""
    queries: Sequence[Mapping[str, Any]]
    relevant: Mapping[str, Mapping[str, int]]


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the values of a JSON Lines file."""
    with file.open(encoding="utf-8") as opened:
        yield from map(json.loads, opened)


def load(folder: Path) -> Collection:
    """Read a collection."""
    corpus = list(lines(folder / "corpus.jsonl"))
    kind = "code" if folder.name == "cosqa" else "text"
    relevant: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, item, grade = line.split("\t")
        if float(grade) > 0:
            relevant.setdefault(query, {})[item] = int(float(grade))
    return Collection(
        name=folder.name,
        items=tuple(Item(id=d["_id"], title=d.get("title") or "", text=d["text"], kind=kind) for d in corpus),
        ends={d["_id"]: d["ends"] for d in corpus if "ends" in d},
        queries=[query for query in lines(folder / "queries.jsonl") if query["_id"] in relevant],
        relevant=relevant,
    )


def ndcg(ranking: Ranking, relevant: Mapping[str, int]) -> float:
    """Return nDCG@10 with the grades as gains."""
    gained = [relevant.get(candidate.item.id, 0) for candidate in ranking.top(10) if candidate.score > 0]
    ideal = sorted(relevant.values(), reverse=True)[:10]
    return _discounted(gained) / _discounted(ideal)


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / log2(place + 2) for place, gain in enumerate(gains))


def holds_answer(prompt: Prompt, collection: Collection, query: Mapping[str, Any]) -> bool:
    """Tell whether the gold evidence stands in what was packed from gold items."""
    packed = {packed.item.id: packed for packed in prompt.items}
    if not query.get("evidence"):
        gold = [packed[item].text for item in collection.relevant[query["_id"]] if item in packed]
        return any(answer in text for text in gold for answer in query["answers"])

    def stands(item: str, alternatives: Sequence[Sequence[int]]) -> bool:
        if item not in packed:
            return False
        ends = [0, *collection.ends[item]]
        whole, text = packed[item].item.text, packed[item].text
        return any(all(whole[ends[k] : ends[k + 1]].strip() in text for k in chosen) for chosen in alternatives)

    found = [stands(item, alternatives) for item, alternatives in query["evidence"].items()]
    return any(found) if collection.name in ONE_IS_ENOUGH else all(found)


async def measure(collection: Collection, limit: int | None) -> Iterator[tuple[str, float, float | None]]:
    """Return (figure, value, gate) for a collection."""
    ranker = Bm25()
    ranked = [
        (query, await ranker.rank(query["text"], Ranking(collection.items))) for query in collection.queries[:limit]
    ]
    gains = [ndcg(ranking, collection.relevant[query["_id"]]) for query, ranking in ranked]
    return _figures(collection, ranked, sum(gains) / len(gains))


def _figures(
    collection: Collection, ranked: Sequence[tuple[Mapping[str, Any], Ranking]], gain: float
) -> Iterator[tuple[str, float, float | None]]:
    yield "nDCG@10", gain, NDCG_GATES.get(collection.name)
    asked = [(query, ranking) for query, ranking in ranked if query.get("answers") or query.get("evidence")]
    for budget in BUDGETS if asked else ():
        found = 0
        for query, ranking in asked:
            policy = PackingPolicy(budget=budget)
            draft = Draft(template=Sources(), ranking=ranking, query=query["text"], policy=policy)
            prompt = pack(draft, INFO, reserved=1000, counter=lambda: token_counter(ENCODING))
            _check_size(prompt, budget)
            found += holds_answer(prompt, collection, query)
        yield f"answer recall at {budget}", found / len(asked), RECALL_GATES.get(collection.name, {}).get(budget)


def _check_size(prompt: Prompt, budget: int) -> None:
    tokens = token_counter(ENCODING).count(prompt.messages[0].content)
    if tokens > budget:
        raise AssertionError(f"{tokens} tokens packed into a budget of {budget}")


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=None, help="only so many queries of each collection")
    options = parser.parse_args()
    folders = [file.parent for file in sorted(options.folder.rglob("corpus.jsonl"))]
    if not folders:
        parser.error(f"there is no corpus.jsonl in {options.folder}")
    failed = False
    print(f"{'collection':<16} {'figure':<22} {'value':>6} {'gate':>6}")
    for folder in folders:
        for figure, value, gate in asyncio.run(measure(load(folder), options.queries)):
            under = gate is not None and value < gate
            failed = failed or under
            verdict = "" if gate is None else "UNDER" if under else "ok"
            wanted = "" if gate is None else f"{gate:.3f}"
            print(f"{folder.name:<16} {figure:<22} {value:>6.4f} {wanted:>6} {verdict}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
