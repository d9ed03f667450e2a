"""CPU of a whole pipeline against bare aiohttp making the same requests to the same local service, in the same run.

    python tests/bench/overhead.py [--connector openai] [--pairs 10] [--rounds 6] [--requests 150] [--streams 10]

Ours: prompt and generate through a connector, figures and a jsonl sink on; `--connector all` is each of them in turn.
Floor: one shared aiohttp session, the standard library's json, every streamed event split and parsed by the least that
reads the protocol (protocols.py). Client and service have a core each. Both keep 64 requests in
flight. A pair is a few short rounds of each side in turn, and which side begins alternates, so that what else the
machine does falls on both alike; a round ends when the sink has written all of it; CPU time is the process's (user and
system, all threads). The ratio is the median over the pairs, shown with the lowest and the highest. Exits 1 when one is
over its gate.

Left out: items, ranking and packing (rag.py and packing.py), prompts too long to fit by their bytes, conversations,
retries and fallbacks, TLS, several pipelines at once, waiting time, and the first runs after a start.
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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from time import process_time

import aiohttp
from protocols import END, PROTOCOLS, ServiceProtocol, messages_of_aws
from yarl import URL

from nexus_core import Delta, Pipeline, RunFinished

CONCURRENCY = 64
SINKS_DONE_S = 0.05
"""After this a sink has written what it was given: it wakes every 20 ms."""
CHUNKS = 200
GATES = {"a JSON request": 1.7, "a streamed chunk": 2.0}
QUERY = "What does the handbook say about carrying leave over into the next year?"

PIPELINE = """
name: overhead
content: false
models:
  main: {{{use}, base_url: "{url}", options: {{temperature: 0}}}}
steps:
  - prompt: {{template: {{text: "[system]\\nAnswer shortly.\\n[user]\\n{{{{ query }}}}"}}}}
  - generate: main
sinks: [{{use: jsonl, path: "{runs}", durable: false}}]
"""

Task = Callable[[], Awaitable[None]]


@contextlib.contextmanager
def service(*arguments: str, script: str = "stub.py", base: str = "/v1") -> Iterator[str]:
    """Run a stub as a process of its own and yield its base URL."""
    stub = Path(__file__).with_name(script)
    port = ("0",) if script == "stub.py" else ()
    process = subprocess.Popen([sys.executable, str(stub), *port, *arguments], stdout=subprocess.PIPE, text=True)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid, cores[1:] or cores)
    os.sched_setaffinity(0, cores[:1])
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().split()[1]}{base}"
    finally:
        process.terminate()
        process.wait()


async def at_once(task: Task, count: int) -> float:
    """Do `task` `count` times, 64 at once, and return the CPU microseconds of one."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await task()

    began = process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    await asyncio.sleep(SINKS_DONE_S)
    return (process_time() - began) / count * 1e6


def floor_tasks(session: aiohttp.ClientSession, url: str, protocol: ServiceProtocol) -> tuple[Task, Task]:
    """Return what a careful author would write by hand."""
    body = json.loads(json.dumps(protocol.body).replace("{query}", QUERY))
    in_body = protocol.stream_path == protocol.whole_path
    streamed_body = {**body, "stream": True} if in_body else body
    whole_url, stream_url = (URL(url + path, encoded=True) for path in (protocol.whole_path, protocol.stream_path))
    split = _SPLITTERS[protocol.framing]

    async def whole() -> None:
        async with session.post(whole_url, json=body, headers=protocol.headers) as response:
            assert protocol.is_end(await response.json())

    async def streamed() -> None:
        finished, text = False, []
        async with session.post(stream_url, json=streamed_body, headers=protocol.headers) as response:
            async for event in split(response.content):
                said = protocol.text_of(json.loads(event))
                if said == END:
                    finished = True
                elif said:
                    text.append(said)
        assert finished
        assert len(text) >= CHUNKS

    return whole, streamed


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    async for line in content:
        yield line


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    async for line in content:
        if line.startswith(b"data: ") and line != b"data: [DONE]\n":
            yield line[6:]


async def _messages(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for data in content.iter_any():
        found, rest = messages_of_aws(rest + data)
        for payload in found:
            yield payload


_SPLITTERS = {"sse": _events, "lines": _lines, "aws": _messages}


def our_tasks(pipeline: Pipeline) -> tuple[Task, Task]:
    """Return the same through a pipeline."""

    async def whole() -> None:
        answer = await pipeline.run(QUERY)
        assert answer.finish_reason == "stop"

    async def streamed() -> None:
        chunks, finished = 0, False
        async for event in pipeline.stream(QUERY):
            chunks += isinstance(event, Delta)
            finished = finished or isinstance(event, RunFinished)
        assert finished
        assert chunks == CHUNKS

    return whole, streamed


async def pair(sides: Sequence[Task], rounds: int, count: int) -> list[float]:
    """Return the CPU microseconds of one task of each side, over rounds in turn."""
    spent = [0.0 for _ in sides]
    for number in range(rounds):
        for place in range(len(sides)) if number % 2 == 0 else reversed(range(len(sides))):
            spent[place] += await at_once(sides[place], count)
    return [each / rounds for each in spent]


async def measure(
    url: str, folder: Path, protocol: ServiceProtocol, options: argparse.Namespace
) -> dict[str, list[list[float]]]:
    """Return CPU microseconds per request and per chunk: of each pair, the floor's and ours."""
    file = folder / "overhead.yaml"
    file.write_text(PIPELINE.format(use=protocol.use, url=url, runs=folder / "runs.jsonl"))
    figures: dict[str, list[list[float]]] = {"a JSON request": [], "a streamed chunk": []}
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY))
    async with session, Pipeline.load(file, environment={}) as pipeline:
        whole, streamed = zip(floor_tasks(session, url, protocol), our_tasks(pipeline), strict=True)
        for task in (*whole, *streamed):
            await at_once(task, CONCURRENCY * 2)
        for _ in range(options.pairs):
            figures["a JSON request"].append(await pair(whole, options.rounds, options.requests))
            chunks = await pair(streamed, options.rounds, options.streams)
            figures["a streamed chunk"].append([each / CHUNKS for each in chunks])
    return figures


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=6, help="of each side in a pair")
    parser.add_argument("--requests", type=int, default=150, help="in a round")
    parser.add_argument("--streams", type=int, default=10, help="in a round")
    parser.add_argument("--connector", choices=[*PROTOCOLS, "all"], default="openai")
    options = parser.parse_args()
    names = list(PROTOCOLS) if options.connector == "all" else [options.connector]
    return max([report(name, options) for name in names])


def report(name: str, options: argparse.Namespace) -> int:
    """Measure a connector, print a table, and return 1 where a ratio is over its gate."""
    protocol = PROTOCOLS[name]
    with (
        service(name, str(CHUNKS), script="protocols.py", base=protocol.base) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        figures = asyncio.run(measure(url, Path(folder), protocol, options))
    failed = False
    print(f"{name + ', CPU us':<20} {'bare aiohttp':>13} {'pipeline':>9} {'ratio':>6} {'of pairs':>14} {'gate':>5}")
    for label, pairs in figures.items():
        ratios = sorted(ours / floor for floor, ours in pairs)
        ratio, gate = statistics.median(ratios), GATES[label]
        failed = failed or ratio > gate
        low, high = (statistics.median(side) for side in zip(*pairs, strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        over = "" if ratio <= gate else "OVER"
        print(f"{label:<20} {low:>13.1f} {high:>9.1f} {ratio:>5.2f}x {spread:>14} {gate:>4.1f}x {over}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
