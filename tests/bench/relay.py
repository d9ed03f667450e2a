"""CPU of the server against a minimal aiohttp relay that parses and re-writes every event, in the same run.

    python tests/bench/relay.py [--rounds 20] [--requests 300] [--streams 20] [--memory 20000]

Both stand in front of the same stub and are processes of their own; this process asks them over raw sockets. Short
rounds alternate; CPU time is the process's own (user and system, all threads); ratios are medians over the rounds.
Then many requests for the memory, and 64 workers with paced streams for the time to the first chunk: each asks for one
after the other, all of them counted; and without a gate the first of each alone, which all begin in one moment and wait
for each other whatever a server does. Exits 1 when a figure is over its gate.

Left out: keys and their limits, contexts and searches, conversations, TLS, several workers, uploads, clients that leave
or are slow (clients.py has them), and waiting time beyond the first chunk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import aiohttp
from aiohttp import web

CONCURRENCY = 64
CHUNKS = 200
PACE_MS = 20
MOMENTS = 5
ROUNDS_PACED = 10
JSON_GATE, CHUNK_GATE, FIRST_MS_GATE, MEMORY_MB_GATE = 2.5, 1.5, 20.0, 80.0
QUERY = "What does the handbook say about carrying leave over into the next year?"

PIPELINE = """
name: relay
content: false
models:
  main: {{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-bench, options: {{temperature: 0}}}}
steps:
  - prompt: {{template: {{text: "[system]\\nAnswer shortly.\\n[user]\\n{{{{ query }}}}"}}}}
  - generate: main
"""


async def relay(url: str) -> None:
    """Serve what a careful author would write by hand: one shared session, every event parsed and written anew."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200))
    target, headers = f"{url}/chat/completions", {"Authorization": "Bearer sk-bench"}

    async def ask(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        stream = bool(asked.get("options", {}).get("stream"))
        messages = [{"role": "system", "content": "Answer shortly."}, {"role": "user", "content": asked["query"]}]
        body = {"model": "gpt-4o-mini", "messages": messages, "temperature": 0, "stream": stream}
        async with session.post(target, json=body, headers=headers) as response:
            if not stream:
                data = await response.json()
                text = data["choices"][0]["message"]["content"]
                return web.json_response({"query": asked["query"], "response": text, "usage": data["usage"]})
            out = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await out.prepare(request)
            async for line in response.content:
                if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            told = json.dumps({"type": "chunk", "content": text})
                            await out.write(f"data: {told}\n\n".encode())
            await out.write(b'data: {"type": "end"}\n\n')
            await out.write_eof()
            return out

    application = web.Application()
    application.router.add_post("/api/queries", ask)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print("ready", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def ours(url: str, folder: Path) -> None:
    """Serve the same by a pipeline."""
    from nexus_core import Pipeline
    from nexus_core.server.server import Server, serve
    from nexus_core.server.settings import ServerSettings
    from nexus_core.store.store import Store

    file = folder / "relay.yaml"
    file.write_text(PIPELINE.format(url=url))
    store = Store(folder / "store")
    server = Server({"relay": Pipeline.load(file, environment={})}, store, ServerSettings(port=0))

    def say(text: str) -> None:
        if text.startswith("listening"):
            print("ready", server.port, flush=True)

    await serve(server, say)


@contextlib.contextmanager
def process(core: int, *arguments: str) -> Iterator[tuple[int, int]]:
    """Run a server as a process of its own on a core; yield its id and its port."""
    started = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(started.pid, [cores[core % len(cores)]])
    try:
        assert started.stdout is not None
        yield started.pid, int(started.stdout.readline().split()[1])
    finally:
        started.terminate()
        started.wait()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used: its clock's number is made of its id."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_mb(pid: int) -> float:
    """Return the memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def request(stream: bool) -> bytes:
    """Return a whole request."""
    body = {"query": QUERY, "contextId": "relay", "options": {"stream": stream}}
    data = json.dumps(body).encode()
    head = "POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def ask_all(port: int, count: int, stream: bool) -> list[float]:
    """Ask so often, 64 at once, each worker over one connection; return the seconds to each first chunk.

    Workers begin in one moment, and each asks again as soon as it has its answer.
    """
    left, firsts, data = iter(range(count)), list[float](), request(stream)

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            began = time.perf_counter()
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head[:16], head
            if not stream:
                at = head.lower().index(b"content-length:")
                await reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
                continue
            first = await reader.readuntil(b'"chunk"')
            firsts.append(time.perf_counter() - began)
            rest = first + await reader.readuntil(b"\r\n0\r\n\r\n")
            assert rest.count(b"data: ") >= CHUNKS
        writer.close()

    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return firsts


async def used(server: tuple[int, int], count: int, stream: bool) -> float:
    """Return the CPU microseconds of a server per request."""
    pid, port = server
    before = cpu_s(pid)
    await ask_all(port, count, stream)
    return (cpu_s(pid) - before) / count * 1e6


async def measure(floor: tuple[int, int], ours: tuple[int, int], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return CPU microseconds per request and per chunk, one figure per round."""
    figures: dict[str, list[float]] = {name: [] for name in ("floor json", "our json", "floor chunk", "our chunk")}
    for server in (floor, ours):
        for stream in (False, True):
            await used(server, CONCURRENCY * 2, stream)
    for _ in range(options.rounds):
        for name, server in (("floor", floor), ("our", ours)):
            figures[f"{name} json"].append(await used(server, options.requests, False))
            figures[f"{name} chunk"].append(await used(server, options.streams, True) / CHUNKS)
    return figures


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--memory", type=int, default=20_000)
    parser.add_argument("--serve", nargs=3, metavar=("WHO", "URL", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        who, url, folder = options.serve
        asyncio.run(relay(url) if who == "floor" else ours(url, Path(folder)))
        return 0
    rows, paces, moments = [], {}, dict[str, list[float]]()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        stub = str(Path(__file__).with_name("stub.py"))
        ports = [
            running.enter_context(process(1, stub, "0", *more))[1]
            for more in ((str(CHUNKS),), (str(CHUNKS), str(PACE_MS)))
        ]
        urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
        place = [
            running.enter_context(process(0, __file__, "--serve", who, urls[0], folder)) for who in ("floor", "our")
        ]
        figures = asyncio.run(measure(place[0], place[1], options))
        for label, unit, gate in (("a JSON request", "json", JSON_GATE), ("a streamed chunk", "chunk", CHUNK_GATE)):
            pairs = zip(figures[f"floor {unit}"], figures[f"our {unit}"], strict=True)
            low, high = (statistics.median(figures[f"{name} {unit}"]) for name in ("floor", "our"))
            ratio = statistics.median(ours / floor for floor, ours in pairs)
            rows.append((f"{label}: CPU {low:.1f} us by the relay, {high:.1f} us by us", ratio, gate, "x"))
        before = resident_mb(place[1][0])
        asyncio.run(ask_all(place[1][1], options.memory, False))
        after = resident_mb(place[1][0])
        rows.append(
            (f"memory after {options.memory:,} requests, {before:.1f} MB before them", after, MEMORY_MB_GATE, "MB")
        )
        for who in ("floor", "our"):
            with process(0, __file__, "--serve", who, urls[1], tempfile.mkdtemp(dir=folder)) as server:
                asyncio.run(ask_all(server[1], CONCURRENCY, False))
                firsts = asyncio.run(ask_all(server[1], CONCURRENCY * ROUNDS_PACED, True))
                paces[who] = (statistics.median(firsts) * 1e3 - 2 * PACE_MS, max(firsts) * 1e3 - 2 * PACE_MS)
                moments[who] = []
                for _ in range(MOMENTS):
                    firsts = asyncio.run(ask_all(server[1], CONCURRENCY, True))
                    moments[who].append(statistics.median(firsts) * 1e3 - 2 * PACE_MS)
        told = f"first chunk, 64 paced streams (relay {paces['floor'][0]:.1f}, ours at most {paces['our'][1]:.1f})"
        rows.append((told, paces["our"][0], FIRST_MS_GATE, "ms"))
        low, high = (statistics.median(moments[who]) for who in ("floor", "our"))
        rows.append((f"the same where all begin in one moment (relay {low:.1f})", high, inf, "ms"))
    for label, figure, gate, unit in rows:
        told = "" if gate == inf else f"gate {gate:g} {'' if figure <= gate else 'OVER'}"
        print(f"{label:<78} {figure:>7.2f} {unit:<2} {told}")
    return int(any(figure > gate for _, figure, gate, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
