"""What `recency` finds of what is new: nDCG@10 on a collection in which every item stands twice, of two ages.

    python tests/bench/newer.py DIR

DIR is a collection in BEIR layout. Of each item there is a version up to a year old and, before it among the items, the
same text a year older; only the newer version is relevant. The ages are drawn with a fixed seed.

Left out: other laws of age than this one, items without a time, and questions that ask for what is old.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from attrs import evolve
from nexus_rankers.bm25 import Bm25
from nexus_rankers.recency import Recency

from nexus_core import Item, Ranking, RunContext
from nexus_core.evaluation.beir import BeirFiles, read_collection
from nexus_core.evaluation.collection import JudgedCollection
from nexus_core.evaluation.measures import measure_rankings, retrieved

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEIGHTS = (0.1, 0.3, 0.5)
HALF_LIVES = (30.0, 180.0)


def versions(collection: JudgedCollection) -> tuple[Item, ...]:
    """Return each item twice; the newer one has the id that the judgements name."""
    random, found = Random(1), list[Item]()
    for item in collection.items or ():
        newer = NOW - timedelta(days=random.uniform(0, 365))
        older = newer - timedelta(days=365)
        found.append(evolve(item, id=f"{item.id} (older)", metadata={"date": older.isoformat()}))
        found.append(evolve(item, metadata={"date": newer.isoformat()}))
    return tuple(found)


async def measure(collection: JudgedCollection) -> dict[str, float]:
    """Return nDCG@10 by what ranks."""
    words, items = Bm25(), Ranking(versions(collection))
    dated = {
        f"weight {weight}, {half_life:g} days": Recency(half_life_days=half_life, weight=weight, now=NOW.isoformat())
        for half_life in HALF_LIVES
        for weight in WEIGHTS
    }
    found: dict[str, dict[str, list[str]]] = {name: {} for name in ("bm25", *dated)}
    for query in collection.queries:
        ranking = await words.rank(query.text, items, RunContext())
        found["bm25"][query.id] = retrieved(ranking, 10)
        for name, ranker in dated.items():
            found[name][query.id] = retrieved(await ranker.rank(query.text, ranking, RunContext()), 10)
    figures = {name: measure_rankings(collection.relevant, each).values() for name, each in found.items()}
    return {name: sum(values[0] for values in each) / len(each) for name, each in figures.items()}


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    collection = read_collection(BeirFiles.of_folder(parser.parse_args().folder), kind="text")
    for name, figure in asyncio.run(measure(collection)).items():
        print(f"{collection.name:<16} {name:<24} {figure:>8.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
