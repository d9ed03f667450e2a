"""Search by meaning over a large context: its cost beside words alone, its recall, and the size of the graph.

    python tests/bench/meaning.py [--items 100000] [--queries 200] [--folder KEPT]

Clustered text of a fixed seed: items of subjects, each of sentences that say what others of its subject say in part,
with vectors of the static table. One item in 26 is of each year, and subjects lie together in departments, which are
tags. Searches by both have their queries embedded before, and take turns with those by words. Recall@10 is that of the
vectors of the context against a comparison of all its rows. `--folder` keeps the store for the next time. Exits 1 when
a gate is missed.

Left out: models that run, items of many parts, vectors that come while it searches, files that are not in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from store import CONTEXT, Table, peak_mib, settle

from nexus_core import Item, Store
from nexus_core.store.search.search import SearchRequest
from nexus_core.store.vectors.context_vectors import ContextVectors
from nexus_core.store.vectors.embedding import vector_model
from nexus_core.store.vectors.matrix import cosines
from nexus_core.store.vectors.meaning import QueryVector
from nexus_core.toolkit import EVERYTHING, Filter, embedder_named, parse_filter

BOTH_PER_WORDS = 2.2
WORDS_PER_TANTIVY = 1.6
RECALL = 0.98
SIZE = 1.5
MEMORY_MIB = 700
DEPARTMENTS = 20
SUBJECT_ITEMS = 100
"""Items of one subject, about."""
VERBS = "explains improves measures describes limits replaces supports reduces compares controls".split()


class Corpus:
    """Subjects of words that the static table knows, and items and questions of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        vocabulary = embedder_named("static").tokenizer.get_vocab()  # type: ignore[attr-defined]
        known = {token[1:].lower() for token in vocabulary if token[1:].isalpha() and token[1:].isascii()}
        self.words = sorted(word for word in known if len(word) > 4)
        chooser = random.Random(4)
        count = max(20, size // SUBJECT_ITEMS)
        self.subjects = [[self._phrase(chooser) for _ in range(8)] for _ in range(count)]

    def _phrase(self, chooser: random.Random) -> str:
        one, two, three = chooser.choices(self.words, k=3)
        return f"the {one} {two} {chooser.choice(VERBS)} the {three}"

    def items(self) -> Iterator[Item]:
        """Yield them: three phrases of the subject and one of the item's own, in two sentences."""
        chooser = random.Random(5)
        for number in range(self.size):
            subject = chooser.randrange(len(self.subjects))
            one, two, three = chooser.sample(self.subjects[subject], 3)
            text = f"{one.capitalize()} and {two}. {three.capitalize()}, but {self._phrase(chooser)}."
            department = subject * DEPARTMENTS // len(self.subjects)
            tags = (f"department-{department}", *(("tenth",) if number % 10 == 3 else ()))
            tags = (*tags, "hundredth") if number % 100 == 7 else tags
            yield Item(id=str(number), text=text, tags=tags, metadata={"year": 2000 + number % 26})

    def questions(self, count: int, seed: int) -> list[str]:
        """Return questions of a phrase of a subject and some words of another one of it."""
        chooser = random.Random(seed)
        found = []
        for _ in range(count):
            one, two = chooser.sample(chooser.choice(self.subjects), 2)
            found.append(f"{one} {' '.join(chooser.sample(two.split(), 3))} {chooser.choice(self.words)}?")
        return found


async def build(folder: Path, corpus: Corpus) -> dict[str, float]:
    """Make the store; returns seconds."""
    async with Store(folder) as store:
        await store.create(CONTEXT)
        began = perf_counter()
        await store.add(CONTEXT, corpus.items())
        added, cpu = perf_counter(), process_time()
        steps: list[str] = []
        await store.embed(CONTEXT, "static", seen=lambda done, total, what: steps.append(what))
        assert any("graph" in step for step in steps) or corpus.size <= 20_000
        return {"added": added - began, "embedded": perf_counter() - added, "embedded cpu": process_time() - cpu}


async def vectors_of(questions: list[str]) -> list[QueryVector]:
    """Return the vectors of questions."""
    embedder = embedder_named("static")
    model = await vector_model(embedder)
    return [QueryVector(model, vector) for vector in await embedder.embed(questions)]


async def timed(ask: Callable[[], Awaitable[object]]) -> float:
    """Return the milliseconds of a call."""
    began = perf_counter()
    await ask()
    return (perf_counter() - began) * 1e3


async def search(folder: Path, size: int, count: int) -> dict[str, Any]:
    """Return the median milliseconds of searches by words, by both, and of the index of words alone."""
    corpus, found = Corpus(size), {}
    async with Store(folder) as store:
        searching, embedder = store._threads.opened(), (await store.context(CONTEXT)).embedder

        async def both(query: str, meaning: QueryVector | None, where: Filter = EVERYTHING) -> None:
            request = SearchRequest(query=query, limit=10, where=where, meaning=meaning, embedder=embedder)
            assert await store._threads.reading(searching.search, CONTEXT, request) is not None

        for kind, where in (("first year", {"year": {"gte": 2020}}), ("first tag", {"tags": "tenth"})):
            for turn in (kind, kind.replace("first", "next")):
                found[turn] = await timed(partial(both, "some words", None, parse_filter(where)))
        found["peak before"] = peak_mib()
        warm = corpus.questions(60, 1)
        for query, vector in zip(warm, await vectors_of(warm), strict=True):
            await both(query, vector)
            await both(query, None)
        questions = corpus.questions(2 * count, 2)
        vectors = await vectors_of(questions)
        times: dict[str, list[float]] = {"words": [], "both": [], "tantivy": []}
        for place in range(0, 2 * count, 2):
            (one, other), (_, vector) = questions[place : place + 2], vectors[place : place + 2]
            times["words"].append(await timed(partial(both, one, None)))
            times["both"].append(await timed(partial(both, other, vector)))
            times["tantivy"].append(searching_alone(searching, one))
        found |= {name: statistics.median(each) for name, each in times.items()}
        found["peak"] = peak_mib()  # before all rows are compared, which searches never do
        found |= await recalls(store, corpus, count)
    return found


def searching_alone(searching: Any, query: str) -> float:
    """Return the milliseconds that the index of words takes for a query by itself."""
    from nexus_core.toolkit.text.query_words import query_words

    (opened,) = searching._open.values()
    words = query_words(query, ["english"])
    stems = {stem: 1.0 for stem in words.counts if opened.index.holding(stem)}
    began = perf_counter()
    opened.index.search(stems, 30)
    return (perf_counter() - began) * 1e3


async def recalls(store: Store, corpus: Corpus, count: int) -> dict[str, float]:
    """Return recall@10 of the vectors of the context, for all and for parts of it."""
    searching = store._threads.opened()
    context = await store.context(CONTEXT)
    queries = await vectors_of(corpus.questions(count, 3))
    found: dict[str, float] = {}

    def measure(name: str, where: Filter) -> None:
        visible = searching.visible(context, None, where)
        vectors = searching._meaning.vectors_of(context, queries[0].model)
        assert isinstance(vectors, ContextVectors)
        keys, rows = vectors.fresh.keys, vectors.fresh.rows
        if vectors.graph is not None:
            keys, rows = vectors.graph.keys, vectors.graph.rows_at(np.arange(len(vectors.graph)))
        mask = np.ones(len(keys), bool) if visible is None else visible.mask(np.asarray(keys))
        kept, own, hits, times = np.asarray(keys)[mask], rows[mask], 0, []
        for query in queries[: max(100, 20_000_000 // len(kept))]:
            exact = cosines(own, query.vector)
            best = {*kept[np.argpartition(-exact, 10)[:10]].tolist()}
            began = perf_counter()
            nearest = [*vectors.nearest(query.vector, 30, visible)][:10]
            times.append((perf_counter() - began) * 1e3)
            hits += len(best.intersection(nearest))
        found[f"recall {name}"] = hits / 10 / len(times)
        found[f"ms {name}"] = statistics.median(times)

    parts: dict[str, object] = {"all": None, "a tenth": {"tags": "tenth"}, "a hundredth": {"tags": "hundredth"}}
    for name, where in {**parts, "a department": {"tags": "department-3"}}.items():
        await store._threads.reading(measure, name, parse_filter(where))
    return found


def measure(folder: Path, size: int, count: int, table: Table) -> None:
    """Print the figures of one size."""
    if not (folder / "store.db").exists():
        built = asyncio.run(build(folder, Corpus(size)))
        table.row(f"added, {size:,} items", size / built["added"], "items/s")
        table.row("vectors and graph", built["embedded"], "s")
        table.row("  processors", built["embedded cpu"], "s")
    settle(folder)
    graph = sum(file.stat().st_size for file in (folder / "vectors").rglob("*") if file.is_file())
    if graph:
        table.row("graph on disk, against its vectors in 8 bits", graph / (size * 256), "x", SIZE)
    command = [sys.executable, __file__, "--search", str(folder), "--items", str(size), "--queries", str(count)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for name in ("first year", "next year", "first tag", "next tag", "words", "both", "tantivy"):
        table.row(f"search, {name}", found[name], "ms")
    table.row("by both / by words", found["both"] / found["words"], "x", BOTH_PER_WORDS)
    table.row("by words / tantivy alone", found["words"] / found["tantivy"], "x", WORDS_PER_TANTIVY)
    for name in ("all", "a tenth", "a hundredth", "a department"):
        table.row(f"recall@10, {name}", found[f"recall {name}"] * 100, "%", RECALL * 100, at_least=True)
        table.row("  nearest", found[f"ms {name}"], "ms")
    table.row("memory of a process that searches", found["peak"], "MiB", MEMORY_MIB)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep the store here")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(json.dumps(asyncio.run(search(options.search, options.items, options.queries))))
        return 0
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        measure(options.folder or Path(folder) / "store", options.items, options.queries, table)
    return int(table.is_over)


if __name__ == "__main__":
    sys.exit(main())
