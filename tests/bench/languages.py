"""Recall in 20 languages: 20 questions each over short texts, in other forms than the texts have.

    python tests/bench/languages.py

Each question of `languages.json` asks for one text of its language: in inflected forms, with accents left out, in
capitals or in another Unicode form. What is measured is the share that the ranker `bm25` with its defaults has among
its best three, over the texts of the language alone, and over those of all languages together. Exits 1 when a share
over the texts of the language is below .95.

Left out: long texts, languages without a stemmer, what a model makes of the texts; the questions were written by one
person, with the analysis known.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nexus_rankers.bm25 import Bm25

from nexus_core import Item, Ranking, RunContext
from nexus_core.toolkit import detect_language

DATA = Path(__file__).with_name("languages.json")
BEST = 3
GATE = 0.95


async def measure(items: Sequence[Item], asked: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the questions, each with the id of its text, that do not have it among the best."""
    ranker, ranking = Bm25(), Ranking(tuple(items))
    missed = []
    for question, wanted in asked:
        ranked = await ranker.rank(question, ranking, RunContext())
        if wanted not in [ranked.items[index].id for index in ranked.order(BEST)[:BEST]]:
            missed.append((question, wanted))
    return missed


def main() -> int:
    """Measure, print a table, and return the exit code."""
    texts = json.loads(DATA.read_text("utf-8"))
    items = {
        language: [Item(id=f"{language}-{number}", text=text) for number, (text, _) in enumerate(pairs)]
        for language, pairs in texts.items()
    }
    together = [item for found in items.values() for item in found]
    failed = False
    print(f"{'language':<12} {'recall@3':>8} {'of all':>8} {'detected':>8}")
    for language, pairs in texts.items():
        asked = [(question, f"{language}-{number}") for number, (_, question) in enumerate(pairs)]
        missed, missed_of_all = (asyncio.run(measure(pool, asked)) for pool in (items[language], together))
        detected = sum(detect_language(text) == language for text, _ in pairs)
        share = 1 - len(missed) / len(asked)
        failed = failed or share < GATE
        print(f"{language:<12} {share:>8.3f} {1 - len(missed_of_all) / len(asked):>8.3f} {detected:>8}")
        for question, wanted in missed:
            print(f"    {wanted}: {question}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
