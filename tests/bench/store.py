"""Contexts at rest: how fast items are added and found, in how much memory, and what a run adds before the model.

    python tests/bench/store.py [--items 100000 1000000] [--queries 300]

Items of about 60 tokens of Zipf-distributed words, added through `Store.add` with index, passages and token counts, and
searched by a process of its own, whose memory is looked at when it is done. Each query is new; the files are in the
system's memory. A run gathers from the
store, ranks by `bm25` and packs 8,000 tokens; its time ends where the model is called. Beside it, on the same items in
memory, what one query takes with rank_bm25 and with haystack's in-memory store, where these are installed. Exits 1 when
a gate is missed. A million items take some minutes and 2 GB of disk.

Left out: files that are not in the system's memory yet, real prose, items longer than two sentences, searches while
items are added, several processes over one store, searches with filters, and the first search after a start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import accumulate, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from nexus_core import Item, Pipeline, Store

CONTEXT = "bench"
SYLLABLES = ["ka", "lo", "mi", "ren", "tas", "vor", "pel", "ni", "dur", "sha", "go", "bri"]
WORDS = 20_000
ITEMS_PER_S = 5_000
SEARCH_MS = 5.0
MEMORY_MIB = 500
RUN_MS = 15.0
DISK_PER_SOURCE = 3.5
"""Of items as small as these; whole documents take less: see ingest.py."""
LARGE, SMALL = 1_000_000, 100_000
PEER_QUERIES = 10

PIPELINE = """
name: store
plugins: [./instant.py]
models:
  main: {{use: instant}}
steps:
  - gather: {{use: store, context: bench, path: "{folder}"}}
  - rank: bm25
  - prompt: {{template: qa, budget: 8000}}
  - generate: main
"""

CONNECTOR = '''
"""A model that says when it was called."""

from time import perf_counter

from nexus_core import Chunk, Completion, ModelInfo, Usage, component, hookimpl


@component
class Instant:
    """Answers at once with the time."""

    name = "instant"

    @property
    def model_info(self):
        return ModelInfo(id="instant", provider="bench", window=128_000, encoding="o200k_base")

    async def send_prompt(self, prompt, options):
        return Completion(text=str(perf_counter()), finish_reason="stop", usage=Usage(), model="instant")

    async def stream_response(self, prompt, options):
        yield Chunk(text=str(perf_counter()), finish_reason="stop")


@hookimpl
def nexus_connectors():
    return [Instant]
'''


def vocabulary() -> list[str]:
    """Return different words."""
    chooser = random.Random(1)
    found: dict[str, None] = {}
    while len(found) < WORDS:
        found["".join(chooser.choices(SYLLABLES, k=chooser.randint(2, 4)))] = None
    return list(found)


def corpus(count: int) -> Iterator[Item]:
    """Yield items of about 60 tokens: a title and two sentences of words by Zipf's law."""
    words, chooser = vocabulary(), random.Random(2)
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))

    def sentence(length: int) -> str:
        return " ".join(chooser.choices(words, cum_weights=weights, k=length)).capitalize() + "."

    for number in range(count):
        yield Item(id=str(number), title=" ".join(chooser.choices(words, k=3)), text=f"{sentence(8)} {sentence(7)}")


def queries(count: int, seed: int) -> list[str]:
    """Return questions of six words, as frequent as they are in the items."""
    words, chooser = vocabulary(), random.Random(seed)
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    return [" ".join(chooser.choices(words, cum_weights=weights, k=6)) + "?" for _ in range(count)]


async def add(folder: Path, count: int) -> tuple[float, float]:
    """Return the seconds, and those of the processors, that adding items takes, without the making of them."""
    making = making_cpu = 0.0

    def timed() -> Iterator[Item]:
        nonlocal making, making_cpu
        items = corpus(count)
        while True:
            began, cpu = perf_counter(), process_time()
            some = list(islice(items, 1000))
            making, making_cpu = making + perf_counter() - began, making_cpu + process_time() - cpu
            if not some:
                return
            yield from some

    async with Store(folder) as store:
        await store.create(CONTEXT)
        began, cpu = perf_counter(), process_time()
        await store.add(CONTEXT, timed())
        return perf_counter() - began - making, process_time() - cpu - making_cpu


async def count_items(folder: Path) -> int:
    """Return how many items the context has."""
    async with Store(folder) as store:
        return (await store.context(CONTEXT)).items


async def search(folder: Path, count: int) -> dict[str, Any]:
    """Return the milliseconds per query, the memory in MiB, and how often a query found anything."""
    found: dict[str, Any] = {}
    async with Store(folder) as store:
        for query in queries(100, 5):
            await store.search(CONTEXT, query)
        for seed, limit in enumerate((10, 200)):
            times, hits = [], 0
            for query in queries(count, 7 + seed):
                began = perf_counter()
                hits += bool((await store.search(CONTEXT, query, limit=limit)).items)
                times.append((perf_counter() - began) * 1e3)
            found[f"p50 {limit}"], found[f"p95 {limit}"] = (
                statistics.median(times),
                statistics.quantiles(times, n=20)[-1],
            )
            found[f"found {limit}"] = hits / count
    found["peak"] = peak_mib()
    return found


def peak_mib() -> float:
    """Return the most memory that this program has had: `ru_maxrss` has that of the parent too, before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024


def search_apart(folder: Path, count: int) -> dict[str, Any]:
    """Return the same, of a process of its own."""
    command = [sys.executable, __file__, "--search", str(folder), "--queries", str(count)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


async def run(folder: Path, count: int) -> list[float]:
    """Return the milliseconds of runs up to the call of the model, each for a new query."""
    place = folder.with_name(f"{folder.name}-pipeline")
    place.mkdir()
    (place / "instant.py").write_text(CONNECTOR)
    (place / "store.yaml").write_text(PIPELINE.format(folder=folder))
    times = []
    async with Pipeline.load(place / "store.yaml", environment={}) as pipeline:
        for query in queries(20, 5):
            await pipeline.run(query)
        for query in queries(count, 11):
            began = perf_counter()
            answer = await pipeline.run(query)
            times.append((float(answer.text) - began) * 1e3)
            assert answer.prompt.items
    return times


def peers(count: int) -> Iterator[tuple[str, Callable[[str], object] | None]]:
    """Yield what others offer for items in memory, `None` where it is not installed."""
    texts = [f"{item.title} {item.text}" for item in corpus(count)]
    if find_spec("rank_bm25"):
        from rank_bm25 import BM25Okapi

        index = BM25Okapi([text.lower().split() for text in texts])
        yield "rank_bm25", lambda query: index.get_top_n(query.lower().split(), texts, n=10)
    else:
        yield "rank_bm25", None
    if find_spec("haystack"):
        os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # it would call home when it is imported
        from haystack import Document
        from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
        from haystack.document_stores.in_memory import InMemoryDocumentStore

        documents = InMemoryDocumentStore()
        documents.write_documents([Document(content=text) for text in texts])
        retriever = InMemoryBM25Retriever(documents, top_k=10)
        yield "haystack-ai", lambda query: retriever.run(query)
    else:
        yield "haystack-ai", None


def timed_ms(ask: Callable[[str], object], asked: Sequence[str]) -> float:
    """Return the median milliseconds of a call."""
    times = []
    for query in asked:
        began = perf_counter()
        ask(query)
        times.append((perf_counter() - began) * 1e3)
    return statistics.median(times)


class Table:
    """Prints figures with their gates, and knows whether one was missed."""

    def __init__(self) -> None:
        self.is_over = False
        print(f"{'figure':<58} {'measured':>12} {'gate':>10}")

    def row(self, name: str, value: float, unit: str, gate: float | None = None, *, at_least: bool = False) -> None:
        """Print one figure."""
        missed = gate is not None and (value < gate if at_least else value > gate)
        self.is_over = self.is_over or missed
        told = "" if gate is None else f"{'>=' if at_least else '<='} {gate:,g}"
        print(f"{name:<58} {value:>8,.1f} {unit:<7} {told:>10} {'MISSED' if missed else ''}", flush=True)


def settle(folder: Path) -> None:
    """Let what was added reach the disk, and be in the system's memory as it is where a store is in use."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                while opened.read(1 << 20):
                    continue


def measure(root: Path, sizes: Sequence[int], count: int, table: Table) -> None:
    """Measure all sizes, and the peers at the smallest."""
    medians = {}
    for size in sizes:
        folder = root / str(size)
        wall, cpu = asyncio.run(add(folder, size))
        kept = asyncio.run(count_items(folder))
        assert kept == size, f"{size:,} items were added, {kept:,} are there"
        told = f"{size:,} items"
        settle(folder)
        table.row(f"added, {told}", size / wall, "items/s", ITEMS_PER_S if size == SMALL else None, at_least=True)
        table.row(f"  processors, {told}", cpu / size * 1e6, "us/item")
        disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        table.row("  on disk", disk / 2**20, "MiB")
        source = sum(len(item.title) + len(item.text) for item in corpus(size))
        table.row("  on disk, against titles and texts", disk / source, "x", DISK_PER_SOURCE)
        found = search_apart(folder, count)
        medians[size] = found["p50 10"]
        gate = SEARCH_MS if size == LARGE else None
        table.row(f"search for 10, median, {told}", found["p50 10"], "ms", gate)
        table.row("  95th percentile", found["p95 10"], "ms")
        table.row(f"search for 200, median, {told}", found["p50 200"], "ms")
        table.row("  95th percentile", found["p95 200"], "ms")
        table.row(f"memory of a process that searches, {told}", found["peak"], "MiB", MEMORY_MIB)
    first, last = sizes[0], sizes[-1]
    if last > first:
        table.row(f"cost of a query, {last:,} / {first:,} items", medians[last] / medians[first], "x", last / first)
    times = asyncio.run(run(root / str(first), count))
    table.row(f"a run before the model, median, {first:,} items", statistics.median(times), "ms", RUN_MS)
    table.row("  95th percentile", statistics.quantiles(times, n=20)[-1], "ms")
    for name, ask in peers(first):
        if ask is None:
            print(f"{name}: not installed")
            continue
        theirs = timed_ms(ask, queries(PEER_QUERIES, 13))
        table.row(f"a query with {name}, in memory, {first:,} items", theirs, "ms")
        table.row(f"  against a search for 10 of the store, {first:,} items", theirs / medians[first], "x")


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[SMALL, LARGE])
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(json.dumps(asyncio.run(search(options.search, options.queries))))
        return 0
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), sorted(options.items), options.queries, table)
    return int(table.is_over)


if __name__ == "__main__":
    sys.exit(main())
