"""A thousand clients that stream from the server at once, some of whom leave or do not read: what the others notice.

    python tests/bench/clients.py [--good 850] [--leaving 100] [--slow 50] [--chunks 40] [--pace 500] [--seed 0]

The server and the model service (stub.py, paced) are processes of their own; the clients are this one. First everybody
streams well, to warm up; then the good ones alone, for the floor; then the same beside those who leave after some
chunks, half of them by a reset, and those who are slow: their kernel takes 4 KB, and half read 4 KB a pace while the
others read nothing until they are cut. The pace is chosen so that no process is at the end of its core: what each has
had of one is printed, and how long each was ready but had none, since what the clients, the stub or the machine are
to blame for says nothing of the server.
Exits 1 when a gate is missed.

Left out: TLS, keys, searches before the answer, other machines and their networks, several workers, and more clients
than a core is enough for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from asked import Asked, answer, asked
from attrs import asdict, define, field
from held import Held, Table, at_rest, descriptors, settled
from ledger import Ledger

from nexus_core import Pipeline
from nexus_core.server.server import Server
from nexus_core.server.settings import ServerLimits, ServerSettings
from nexus_core.store.store import Store

RATIO_GATE, LEFT_MS_GATE = 2.0, 500.0
WRITE_S = 5.0
"""For a client to take an event, in the server here: the default is longer than a run of this takes."""
RAMP_S = 6.0
"""In which all begin, so that nobody waits for a place in a row of a thousand."""
PIPELINE = """
name: clients
content: false
calls: {{stream_deadline: 10m}}
models:
  main:
    use: openai
    model: gpt-4o-mini
    base_url: "{url}"
    api_key: sk-bench
    connections: 2000
    limits: {{concurrency: 2000}}
steps:
  - prompt: {{template: {{text: "[system]\\nAnswer shortly.\\n[user]\\n{{{{ query }}}}"}}}}
  - generate: main
sinks: [{{use: jsonl, path: "{runs}", durable: false}}]
"""


async def serve(url: str, folder: Path, clients: int) -> None:
    """Serve, and tell what is held when asked."""
    file = folder / "clients.yaml"
    file.write_text(PIPELINE.format(url=url, runs=folder / "runs.jsonl"))
    limits = ServerLimits(running=clients, connections=clients + 24, write_s=WRITE_S)
    pipeline = Pipeline.load(file, environment={})
    server = Server({"clients": pipeline}, Store(folder / "store"), ServerSettings(port=0, limits=limits))

    async def tell(word: str) -> object:
        if word == "rows lost":
            return sum(pipeline.dropped_events.values())
        held = asdict(await at_rest(pipeline, 10.0))
        places = server.gate.places
        return held | {"slots": held["slots"] + places.running + places.waiting}

    async with server:
        print("ready", server.port, flush=True)
        await answer(tell)


@define
class Group:
    """What the clients of one run have seen."""

    port: int
    chunks: int
    pace_s: float
    dice: random.Random
    seeds: Iterator[int]
    whole_s: list[float] = field(factory=list)
    """The time of each whole stream of those who stay."""
    first_s: list[float] = field(factory=list)
    broken: int = 0
    """Streams of those who stay that are not whole."""
    left: dict[int, float] = field(factory=dict)
    """When who left, by seed."""
    silent: set[int] = field(factory=set)
    """The seeds of those who do not read."""
    is_over: asyncio.Event = field(factory=asyncio.Event)

    async def go(self, good: int, leaving: int = 0, slow: int = 0) -> None:
        """Let so many clients of each kind stream at once."""
        calls = [self.stay() for _ in range(good)]
        others = [self.leave() for _ in range(leaving)]
        others += [self.dawdle(reads=number % 2 == 0) for number in range(slow)]
        tasks = [asyncio.create_task(self.later(call)) for call in calls]
        rest = [asyncio.create_task(self.later(call)) for call in others]
        await asyncio.gather(*tasks)
        self.is_over.set()
        await asyncio.gather(*rest)

    async def later(self, call: Coroutine[None, None, None]) -> None:
        """Begin somewhere in the ramp."""
        await asyncio.sleep(self.dice.random() * RAMP_S)
        await call

    async def stay(self) -> None:
        """Read a whole stream."""
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request(next(self.seeds)))
        data = b""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            data = await reader.readuntil(b'"chunk"')
            self.first_s.append(time.perf_counter() - began)
            data += await reader.readuntil(b"\r\n0\r\n\r\n")
        self.whole_s.append(time.perf_counter() - began)
        self.broken += data.count(b'"type":"chunk"') != self.chunks or data.count(b'"type":"end"') != 1
        writer.close()

    async def leave(self) -> None:
        """Go after some chunks."""
        seed, last = next(self.seeds), self.dice.randrange(1, self.chunks - 4)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request(seed))
        for _ in range(last):
            await reader.readuntil(b'"chunk"')
        if seed % 2:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.left[seed] = time.monotonic()
        writer.transport.abort()

    async def dawdle(self, *, reads: bool) -> None:
        """Read a little now and then, or nothing, until all others have ended."""
        seed, loop = next(self.seeds), asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", self.port))
            await loop.sock_sendall(client, request(seed, at_length=True))
            if not reads:
                self.silent.add(seed)
                await self.is_over.wait()
            with suppress(ConnectionError):
                while not self.is_over.is_set() and await loop.sock_recv(client, 4096):  # noqa: ASYNC110
                    await asyncio.sleep(self.pace_s)


def request(seed: int, *, at_length: bool = False) -> bytes:
    """Return a whole request."""
    query = "Tell it at length." if at_length else "May leave be carried over?"
    options = {"stream": True, "llmOptions": {"seed": seed}}
    data = json.dumps({"query": query, "contextId": "clients", "options": options}).encode()
    head = "POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def measure(options: argparse.Namespace, server: Asked, stub: Asked, table: Table) -> None:
    """Let them stream, and print what the good ones have noticed and what is left."""
    dice, seeds = random.Random(options.seed), iter(range(10**9))
    numbers = options.good, options.leaving, options.slow
    used, waited = list[str](), list[str]()
    groups, start = list[Group](), dict[str, float]()
    for kind, counts in (("warm-up", (sum(numbers), 0, 0)), ("floor", (options.good, 0, 0)), ("mixed", numbers)):
        group = Group(int(server.said[0]), options.chunks, options.pace / 1000, dice, seeds)
        before, began = [spent(each) for each in (server.pid, stub.pid, os.getpid())], time.monotonic()
        await group.go(*counts)
        took = time.monotonic() - began
        after = [spent(each) for each in (server.pid, stub.pid, os.getpid())]
        for share, at in ((used, 0), (waited, 1)):
            figures = [(last[at] - first[at]) / took for first, last in zip(before, after, strict=True)]
            share.append(f"{kind} " + "/".join(f"{figure:.0%}" for figure in figures))
        groups.append(group)
        if kind == "warm-up":
            start = await asyncio.to_thread(server.ask, "held")
    print("time on a core, server/stub/clients:", ", ".join(used))
    print("time in wait for a core:", ", ".join(waited))
    print(f"{'':<42} {'floor':>9} {'mixed':>9} {'gate':>9}")
    compare(groups[1], groups[2], table)
    ends = await asyncio.to_thread(server.ask, "held")
    table.held(Held(**start), Held(**ends))
    gone(groups[2], {int(seed): at for seed, at in stub.ask("cut").items()}, table)


def compare(floor: Group, mixed: Group, table: Table) -> None:
    """Print the times of the good clients, alone and beside the others."""
    least_s = (floor.chunks + 4) * floor.pace_s  # before the text a role, after it an end, the usage and a mark
    for name, of in (("median", statistics.median), ("95th percentile", percentile_95)):
        alone, beside = of(floor.whole_s), of(mixed.whole_s)
        table.row(f"a whole stream, {name}, s", f"{alone:.2f}", f"{beside:.2f}", "", True)
        good = beside <= RATIO_GATE * alone
        table.row(f"a whole stream, {name}, ratio", "", f"{beside / alone:.2f}", f"<= {RATIO_GATE:g}", good)
        late = [(of(group.whole_s) - least_s) * 1e3 for group in (floor, mixed)]
        table.row(f"over the model's own time, {name}, ms", f"{late[0]:.0f}", f"{late[1]:.0f}", "", True)
        first = [(of(group.first_s) - 2 * group.pace_s) * 1e3 for group in (floor, mixed)]
        table.row(f"the first chunk, {name}, ms", f"{first[0]:.0f}", f"{first[1]:.0f}", "", True)
    table.row("streams of good clients", len(floor.whole_s), len(mixed.whole_s), "", True)
    broken = floor.broken + mixed.broken
    table.row("not whole", floor.broken, mixed.broken, 0, not broken)


def gone(mixed: Group, cut: dict[int, float], table: Table) -> None:
    """Print how soon the model service has seen that a client had left, and whether who does not read was cut."""
    waits = sorted((cut[seed] - at) * 1e3 for seed, at in mixed.left.items() if seed in cut)
    table.row("left: upstream closed after, median, ms", "", f"{statistics.median(waits):.1f}", "", True)
    good = waits[-1] <= LEFT_MS_GATE
    table.row("left: upstream closed after, at most, ms", "", f"{waits[-1]:.1f}", f"<= {LEFT_MS_GATE:g}", good)
    still = mixed.left.keys() - cut.keys()
    table.row("left: upstream not closed", "", len(still), 0, not still)
    spared = mixed.silent - cut.keys()
    table.row("silent readers that were not cut", "", len(spared), 0, not spared)


def spent(pid: int) -> tuple[float, float]:
    """Return the seconds that a process has had a core for, and those that it has waited for one."""
    on_core, waiting, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    return on_core / 1e9, waiting / 1e9


def percentile_95(values: Sequence[float]) -> float:
    """Return the figure that 95 of 100 are below."""
    return statistics.quantiles(values, n=20)[-1]


def main() -> int:
    """Run, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--good", type=int, default=850)
    parser.add_argument("--leaving", type=int, default=100)
    parser.add_argument("--slow", type=int, default=50)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--pace", type=float, default=500.0, help="milliseconds between two chunks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", nargs=3, metavar=("URL", "FOLDER", "CLIENTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.serve:
        url, folder, clients = options.serve
        asyncio.run(serve(url, Path(folder), int(clients)))
        return 0
    table, opened = Table(), descriptors()
    clients = options.good + options.leaving + options.slow
    with (
        tempfile.TemporaryDirectory() as folder,
        asked("stub.py", "0", str(options.chunks), str(options.pace), "watched") as stub,
    ):
        url = f"http://127.0.0.1:{stub.said[0]}/v1"
        with asked("clients.py", "--serve", url, folder, str(clients)) as server:
            asyncio.run(measure(options, server, stub, table))
            lost = server.ask("rows lost")
            table.row("events that a sink has lost", "", lost, 0, not lost)
            table.row("the server's exit code", "", code := server.end(), 0, not code)
        asyncio.run(settled(lambda: not stub.ask("connections"), 2.0))
        still_open = stub.ask("connections")
        table.row("closed: connections at the service", "", still_open, 0, not still_open)
        ledger = Ledger(key="call_id")
        ledger.read(Path(folder) / "runs.jsonl")
        ledger.compare({"main": stub.ask("requests")}, table)
        print("attempts:", ", ".join(f"{number:,} {name}" for name, number in ledger.outcomes.most_common()))
    table.row("closed: file descriptors of the clients", opened, descriptors(), f"<= {opened}", descriptors() <= opened)
    return int(table.missed)


if __name__ == "__main__":
    sys.exit(main())
