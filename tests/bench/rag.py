"""CPU of a whole query over items in memory against a floor written by hand, in the same run.

    python tests/bench/rag.py [--items 1000 100000] [--queries 400]

Ours: bm25, a prompt of 8,000 context tokens, one call through `openai` to a local stub. Floor: bm25s, whole items until
8,000 tokens are full, bare aiohttp. Items of about 200 tokens of Zipf-distributed words. Medians of CPU time per query,
each new to both. Exits 1 when a gate is missed.

Steady: passages and token counts of all items are ready on both sides. Fresh: no item has been looked at before, so
that both count, with the same counter, what they look at, and ours cuts it into passages; this is what the first
queries over items in memory cost (a store has the counts of what was added).

Left out: making the index (ready on both sides), reading and adding items, real prose and real questions, several
queries at once, and the model's own time, which is hundreds of times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from time import process_time

import aiohttp
import bm25s
import numpy as np
from overhead import service
from Stemmer import Stemmer

from nexus_core import Item, Pipeline
from nexus_core.engine.packing.line_counts import TokenCosts
from nexus_core.toolkit.tokens.counter import KeptCounts, token_counter

BUDGET = 8000
FRESH = 40
"""Queries that look at everything for the first time: the slow ones."""
LONG_PASSAGE = 128
ALTERNATE = 5
"""Queries of one side before the other has its turn, so that what else the machine does falls on both alike."""
GATES = {"steady": {1_000: 5.0, 10_000: 5.0, 100_000: 3.0}, "fresh": {1_000: 5.0, 10_000: 5.0, 100_000: 6.0}}
"""Against the floor with the same counts, in the same run."""
SYLLABLES = ["ka", "lo", "mi", "ren", "tas", "vor", "pel", "ni", "dur", "sha", "go", "bri"]

PIPELINE = """
name: rag
models:
  main: {{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-bench}}
steps:
  - rank: bm25
  - prompt: {{template: qa, budget: 8000}}
  - generate: main
"""


def vocabulary(size: int) -> list[str]:
    """Return `size` different words."""
    chooser = random.Random(1)
    found: dict[str, None] = {}
    while len(found) < size:
        found["".join(chooser.choices(SYLLABLES, k=chooser.randint(2, 4)))] = None
    return list(found)


def corpus(count: int, words: Sequence[str]) -> tuple[Item, ...]:
    """Return items of about 200 tokens: sentences of 8 to 18 words by Zipf's law."""
    chooser = random.Random(2)
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))

    def sentence() -> str:
        return " ".join(chooser.choices(words, cum_weights=weights, k=chooser.randint(8, 18))).capitalize() + "."

    return tuple(
        Item(id=str(n), title=" ".join(chooser.choices(words, k=3)), text=" ".join(sentence() for _ in range(5)))
        for n in range(count)
    )


def queries(count: int, items: Sequence[Item]) -> list[str]:
    """Return questions made of words of the items."""
    chooser = random.Random(3)
    return [" ".join(chooser.sample(chooser.choice(items).text.rstrip(".").split(), 6)) + "?" for _ in range(count)]


class Floor:
    """What a careful author would write by hand for this one task."""

    def __init__(self, items: Sequence[Item], session: aiohttp.ClientSession, url: str) -> None:
        self._stem = Stemmer("english")
        self._tokenize = lambda text: bm25s.tokenize(text, stemmer=self._stem, show_progress=False, return_ids=False)
        self._retriever = bm25s.BM25()
        self._retriever.index(self._tokenize([f"{item.title}\n{item.text}" for item in items]), show_progress=False)
        count = token_counter("o200k_base").count
        self._blocks = [f"{item.title}\n{item.text}\n\n" for item in items]
        self._count = count
        self._sizes = [count(block) for block in self._blocks]
        self._session, self._url = session, f"{url}/chat/completions"

    async def ask_fresh(self, query: str) -> None:
        """Do the same without knowing the tokens of any item."""
        await self.ask(query, lambda index: self._count(self._blocks[index]))

    async def ask(self, query: str, size_of: Callable[[int], int] | None = None) -> None:
        """Rank, fill, call."""
        size_of = size_of or self._sizes.__getitem__
        scores = self._retriever.get_scores(self._tokenize([query])[0])
        best = np.argpartition(-scores, 100)[:100]
        left, parts = BUDGET, []
        for index in best[np.argsort(-scores[best])]:
            if (size := size_of(index)) <= left:
                left -= size
                parts.append(self._blocks[index])
        content = "Answer from the context.\n\n" + "".join(parts) + "\nQuestion: " + query
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}
        async with self._session.post(self._url, json=body) as response:
            assert (await response.json())["choices"]


async def cpu(
    ask: Callable[[str], Awaitable[object]], asked: Sequence[str], before: Callable[[], object] = lambda: None
) -> list[float]:
    """Return CPU milliseconds per query, without what is done before each."""
    found = []
    for query in asked:
        before()
        began = process_time()
        await ask(query)
        found.append((process_time() - began) * 1e3)
    return found


async def alternate(
    sides: Sequence[Callable[[str], Awaitable[object]]],
    asked: Sequence[str],
    before: Callable[[], object] = lambda: None,
) -> list[float]:
    """Return the median CPU milliseconds of each side, a few queries of one before the other has its turn."""
    found: list[list[float]] = [[] for _ in sides]
    for start in range(0, len(asked), ALTERNATE):
        for side, times in zip(sides, found, strict=True):
            times += await cpu(side, asked[start : start + ALTERNATE], before)
    return [statistics.median(times) for times in found]


def look(items: Sequence[Item]) -> None:
    """Let passages and token counts of all items be known."""
    prices = TokenCosts(count=token_counter("o200k_base").count, encoding="o200k_base", size=LONG_PASSAGE, gap=0)
    for item in items:
        prices.whole(item)
        prices.title(item)


def forget(items: Sequence[Item]) -> None:
    """Let no item have been looked at: neither passages nor counts are known, of sentences neither."""
    for item in items:
        for key in [key for key in item.features if key.name == "passages"]:
            del item.features[key]
    counter = token_counter("o200k_base")
    assert isinstance(counter, KeptCounts)
    counter.forget()


async def measure(size: int, asked: int, url: str, folder: Path) -> tuple[Mapping[str, Sequence[float]], int]:
    """Return the floor's and our milliseconds, steady and fresh, and the context tokens of our last prompt."""
    items = corpus(size, vocabulary(min(20_000, 5_000 + size // 5)))
    file = folder / "rag.yaml"
    file.write_text(PIPELINE.format(url=url))
    async with aiohttp.ClientSession() as session, Pipeline.load(file, environment={}) as pipeline:
        floor = Floor(items, session, url)
        tokens = 0

        async def ours(query: str) -> None:
            nonlocal tokens
            answer = await pipeline.run(query, items=items)
            tokens = answer.prompt.context_tokens or 0
            assert tokens <= BUDGET

        look(items)
        everything = queries(asked * 2 + FRESH, items)
        for side in (floor.ask, ours):
            await cpu(side, everything[:asked])
        steady = await alternate((floor.ask, ours), everything[asked : 2 * asked])
        fresh = await alternate((floor.ask_fresh, ours), everything[2 * asked :], lambda: forget(items))
        return {"steady": steady, "fresh": fresh}, tokens


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--queries", type=int, default=400)
    options = parser.parse_args()
    failed = False
    print(f"{'items':>8} {'counts':>7} {'floor ms':>9} {'pipeline ms':>12} {'ratio':>7} {'gate':>6} {'of steady':>10}")
    with service() as url, tempfile.TemporaryDirectory() as folder:
        for size in options.items:
            figures, tokens = asyncio.run(measure(size, options.queries, url, Path(folder)))
            for name, (low, high) in figures.items():
                gate = GATES[name].get(size, 5.0)
                failed = failed or high / low > gate
                told = f"{gate:.1f}x"
                over = "" if high / low <= gate else "OVER"
                against = high / figures["steady"][0]
                told = f"{high / low:>6.2f}x {told:>6} {against:>9.2f}x {over}"
                print(f"{size:>8} {name:>7} {low:>9.2f} {high:>12.2f} {told}")
            print(f"{'':>8} context tokens of the last prompt: {tokens:,}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
