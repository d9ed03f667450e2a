"""Packing 1,000 ranked candidates of 200 tokens into 8,000 tokens: how full, and how long it takes.

    python tests/bench/packing.py [--rounds 200]

Candidates are ranked by `bm25` and what is kept with the items is there (a ready index); each round has another query.
The template is a plain one, so the time is the packer's. Medians of CPU time. Exits 1 when a gate is missed.

Left out: ranking, the first sight of the candidates (rag.py has it), templates that do more than list items, history,
pins, and items of very different lengths.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate
from time import process_time
from typing import Any

from nexus_rankers.bm25 import Bm25

from nexus_core import Item, Message, ModelInfo, Ranking, RunContext
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack
from nexus_core.toolkit.tokens.counter import token_counter

BUDGET = 8000
INFO = ModelInfo(id="any", provider="bench", window=128_000, encoding="o200k_base")
CASES = (
    ("passages", PackingPolicy(budget=BUDGET, near_duplicates="keep"), 0.97, 5.0),
    ("passages, near-duplicates out", PackingPolicy(budget=BUDGET), 0.97, 8.0),
    ("items, cut", PackingPolicy(budget=BUDGET, unit="item", near_duplicates="keep"), 0.99, 5.0),
)
LETTERS = ("st", "re", "la", "mo", "ti", "con", "ver", "al", "en", "der", "ing", "pa")


class Plain:
    """A title line and the text for each item, then the query."""

    variables: frozenset[str] = frozenset({"query", "items"})

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        """Return one message."""
        blocks = [f"[{item['number']}] {item['title']}\n{item['text']}" for item in variables["items"]]
        return (Message("user", "\n\n".join([*blocks, variables["query"]])),)


def corpus(count: int) -> tuple[Item, ...]:
    """Return items of about 200 tokens, of words as frequent as words are."""
    chooser = random.Random(5)
    words = ["".join(chooser.choices(LETTERS, k=chooser.randint(1, 3))) for _ in range(3000)]
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))

    def sentence() -> str:
        return " ".join(chooser.choices(words, cum_weights=weights, k=chooser.randint(7, 16))).capitalize() + "."

    return tuple(
        Item(id=str(n), title=sentence()[:24], text=" ".join(sentence() for _ in range(8))) for n in range(count)
    )


def measure(policy: PackingPolicy, drafts: Sequence[tuple[str, Ranking]]) -> tuple[float, float]:
    """Return the share of the budget that is used, the least of all rounds, and the milliseconds of one."""
    least, taken = 1.0, []
    for query, ranking in drafts:
        draft = Draft(template=Plain(), ranking=ranking, query=query, policy=policy)
        began = process_time()
        prompt = pack(draft, INFO, reserved=1000, counter=lambda: token_counter(INFO.encoding))
        taken.append((process_time() - began) * 1e3)
        tokens = prompt.context_tokens or 0
        assert tokens <= BUDGET
        least = min(least, tokens / BUDGET)
    return least, statistics.median(taken)


async def ranked(rounds: int) -> list[tuple[str, Ranking]]:
    """Return queries with their rankings."""
    items, ranker, chooser = corpus(1000), Bm25(), random.Random(7)
    queries = [" ".join(chooser.sample(chooser.choice(items).text.split(), 6)) for _ in range(rounds)]
    return [(query, await ranker.rank(query, Ranking(items), RunContext())) for query in queries]


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    drafts = asyncio.run(ranked(options.rounds * 2))
    failed = False
    print(f"{'unit':<30} {'filled':>7} {'gate':>6} {'ms':>6} {'gate':>5}")
    for name, policy, full, fast in CASES:
        measure(policy, drafts[: options.rounds])
        least, taken = measure(policy, drafts[options.rounds :])
        missed = least < full or taken > fast
        failed = failed or missed
        verdict = "MISSED" if missed else "ok"
        print(f"{name:<30} {least:>7.2%} {full:>6.0%} {taken:>6.2f} {fast:>5.1f} {verdict}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
