"""Stores of the same items that came to hold them in different ways: what their searches find differently.

    python tests/bench/histories.py [--items 5000] [--questions 1000] [--folder KEPT]

Items of a fixed seed, a third of which say what another one says, or nearly. One store is given all at once. Another,
and a third one in a Postgres of its own, are given them in other orders and in batches, among others that are removed,
some of them changed before, some removed and added again. Each question is searched for by words and by both, every
third with a filter and every third with grants: the best ten, their scores to the last bit, and the pool they are
chosen from. Exits 1 where anything differs.

Left out: contexts of so many vectors that they are arranged in a graph, which finds nearly all of the nearest, and not
in every graph the same; models whose vectors depend on what is embedded beside.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlencode

from postgres import database
from store import CONTEXT, Table

from nexus_core import Item, Ranking, Store
from nexus_core.contract.run_context import Viewer
from nexus_core.store.search.search import SCORED
from nexus_core.toolkit import EVERYTHING, Filter, parse_filter

STAFF = Viewer(groups=frozenset({"group:staff"}))
ASKED: tuple[tuple[Filter, Viewer | None], ...] = (
    (EVERYTHING, None), (parse_filter({"year": {"gte": 2020}}), None), (EVERYTHING, STAFF),
)  # fmt: skip


class Corpus:
    """Items and questions of a small vocabulary, so that many scores are equal or nearly."""

    def __init__(self, size: int) -> None:
        self._chooser = random.Random(17)
        syllables = "ka lo mi ren tas vor pel ni dur sha".split()
        self.words = [a + b + c for a in syllables for b in syllables for c in syllables]
        self.items = [*self._items(size)]

    def _items(self, size: int) -> Iterator[Item]:
        chooser, said = self._chooser, ["kaloka"]
        for number in range(size):
            text = chooser.choice(said) if chooser.random() < 0.3 else self._text(chooser.randint(3, 60))
            text = f"{text} {chooser.choice(self.words)}" if chooser.random() < 0.1 else text
            said.append(text)
            tags, readers = (f"t{number % 7}",), ("group:staff",) if number % 5 == 0 else ()
            yield Item(id=f"i{chooser.getrandbits(40):x}-{number}", text=text, tags=tags, readers=readers,
                       metadata={"year": 2000 + number % 26})  # fmt: skip

    def _text(self, count: int) -> str:
        # As in prose, few words are in many texts.
        places = (int(len(self.words) * self._chooser.random() ** 4) for _ in range(count))
        return " ".join(self.words[place] for place in places)

    def questions(self, count: int) -> list[str]:
        """Return questions of one to eight words."""
        return [self._text(self._chooser.randint(1, 8)) for _ in range(count)]

    def others(self, count: int) -> list[Item]:
        """Return items that will be removed."""
        return [Item(id=f"other{n}", text=self._text(self._chooser.randint(3, 200))) for n in range(count)]


async def add_at_once(place: str, corpus: Corpus) -> None:
    """Make the store that is given all items in one go."""
    async with Store(place) as store:
        await store.create(CONTEXT)
        await store.add(CONTEXT, corpus.items)
        await store.embed(CONTEXT, "static")


async def add_with_detours(place: str, corpus: Corpus, seed: int) -> None:
    """Make another one; its vectors come between, some of items that go again."""
    chooser, items = random.Random(seed), corpus.items
    others = corpus.others(len(items) // 4)
    async with Store(place) as store:
        await store.create(CONTEXT)
        before = [Item(id=item.id, text=f"before {chooser.choice(corpus.words)}") for item in items[::3]]
        await store.add(CONTEXT, chooser.sample([*others, *before], len(others) + len(before)))
        await store.embed(CONTEXT, "static")
        mixed = chooser.sample(items, len(items))
        for start in range(0, len(mixed), 700):
            await store.add(CONTEXT, mixed[start : start + 700])
        await store.remove(CONTEXT, [item.id for item in others])
        back = chooser.sample(items, len(items) // 5)
        await store.remove(CONTEXT, [item.id for item in back])
        await store.add(CONTEXT, back)


def differing(found: Sequence[Ranking]) -> tuple[bool, bool]:
    """Tell whether the items of some rankings differ, and whether their scores do."""
    (first, scores), *others = (([item.id for item in each.items], [*(each.scores or ())]) for each in found)
    return any(items != first for items, _ in others), any(told != scores for _, told in others)


async def compare(places: Sequence[str], questions: Sequence[str]) -> dict[str, int]:
    """Return how many lists, scores and pools of the stores differ."""
    counts = dict.fromkeys(["lists", "scores", "pools"], 0)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(Store(place)) for place in places]
        for place, question in enumerate(questions):
            where, viewer = ASKED[place % 3]
            for by in ("words", "both"):
                for limit in (10, SCORED):
                    lists, scores = differing([
                        await store.search(CONTEXT, question, limit=limit, where=where, viewer=viewer, by=by)
                        for store in stores
                    ])  # fmt: skip
                    counts["lists" if limit == 10 else "pools"] += lists
                    counts["scores"] += scores
    return counts


async def measure(folder: Path, url: str, size: int, count: int) -> int:
    """Print a table, and return the exit code."""
    corpus, table = Corpus(size), Table()
    questions = corpus.questions(count)
    one, other = str(folder / "one"), str(folder / "other")
    shared = f"{url}{'&' if '?' in url else '?'}{urlencode({'cache': folder / 'cache'})}"
    if not (folder / "one").exists():
        await add_at_once(one, corpus)
        await add_with_detours(other, corpus, 18)
    await add_with_detours(shared, corpus, 19)
    for name, differ in (await compare([one, other, shared], questions)).items():
        table.row(f"{name} that differ, {count:,} questions by words and by both, {size:,} items", differ, "", 0)
    return int(table.is_over)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="keep the stores here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, database(Path(folder)) as url:
        return asyncio.run(measure(options.folder or Path(folder), url, options.items, options.questions))


if __name__ == "__main__":
    sys.exit(main())
