"""CPU of a whole pipeline against bare aiohttp making the same requests to the same local service, in the same run.

    python tests/bench/overhead.py [--rounds 40] [--requests 300] [--streams 20]

Ours: prompt and generate through `openai`, figures and a jsonl sink on. Floor: one shared aiohttp session, the standard
library's json, every streamed event split and parsed. Client and service have a core each. Both keep 64 requests in
flight. Short rounds alternate, so that what else the machine does falls on both alike; a round ends when the sink has
written all of it; CPU time is the process's (user and system, all threads); ratios are medians over the rounds. Exits 1
when one is over its gate.
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
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import process_time

import aiohttp

from nexus_core import Delta, Pipeline, RunFinished

CONCURRENCY = 64
SINKS_DONE_S = 0.05
"""After this a sink has written what it was given: it wakes every 20 ms."""
CHUNKS = 200
GATE = 2.0
QUERY = "What does the handbook say about carrying leave over into the next year?"

PIPELINE = """
name: overhead
content: false
models:
  main: {{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-bench, options: {{temperature: 0}}}}
steps:
  - prompt: {{template: {{text: "[system]\\nAnswer shortly.\\n[user]\\n{{{{ query }}}}"}}}}
  - generate: main
sinks: [{{use: jsonl, path: "{runs}", durable: false}}]
"""

Task = Callable[[], Awaitable[None]]


@contextlib.contextmanager
def service(*arguments: str) -> Iterator[str]:
    """Run the stub as a process of its own and yield its base URL."""
    stub = Path(__file__).with_name("stub.py")
    process = subprocess.Popen([sys.executable, str(stub), "0", *arguments], stdout=subprocess.PIPE, text=True)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid, cores[1:] or cores)
    os.sched_setaffinity(0, cores[:1])
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().split()[1]}/v1"
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


def floor_tasks(session: aiohttp.ClientSession, url: str) -> tuple[Task, Task]:
    """Return what a careful author would write by hand."""
    messages = [{"role": "system", "content": "Answer shortly."}, {"role": "user", "content": QUERY}]
    headers = {"Authorization": "Bearer sk-bench"}
    body = {"model": "gpt-4o-mini", "messages": messages, "temperature": 0}
    target = f"{url}/chat/completions"

    async def whole() -> None:
        async with session.post(target, json=body, headers=headers) as response:
            data = await response.json()
            assert data["choices"][0]["finish_reason"] == "stop"
            assert data["usage"]

    async def streamed() -> None:
        finished, text = False, []
        async with session.post(target, json={**body, "stream": True}, headers=headers) as response:
            async for line in response.content:
                if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                    for choice in json.loads(line[6:])["choices"]:
                        text.append(choice["delta"].get("content") or "")
                        finished = finished or choice["finish_reason"] is not None
        assert finished
        assert len(text) >= CHUNKS

    return whole, streamed


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


async def measure(url: str, folder: Path, rounds: int, requests: int, streams: int) -> dict[str, list[float]]:
    """Return CPU microseconds per request and per chunk, one figure per round."""
    file = folder / "overhead.yaml"
    file.write_text(PIPELINE.format(url=url, runs=folder / "runs.jsonl"))
    figures: dict[str, list[float]] = {name: [] for name in ("floor json", "our json", "floor chunk", "our chunk")}
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY))
    async with session, Pipeline.load(file, environment={}) as pipeline:
        floor, ours = floor_tasks(session, url), our_tasks(pipeline)
        for task in (*floor, *ours):
            await at_once(task, CONCURRENCY * 2)
        for _ in range(rounds):
            figures["floor json"].append(await at_once(floor[0], requests))
            figures["our json"].append(await at_once(ours[0], requests))
            figures["floor chunk"].append(await at_once(floor[1], streams) / CHUNKS)
            figures["our chunk"].append(await at_once(ours[1], streams) / CHUNKS)
    return figures


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--streams", type=int, default=20)
    options = parser.parse_args()
    with service(str(CHUNKS)) as url, tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(url, Path(folder), options.rounds, options.requests, options.streams))
    failed = False
    print(f"{'64 at once, CPU us':<22} {'bare aiohttp':>13} {'pipeline':>9} {'ratio':>6} {'gate':>5}")
    for label, unit in (("a JSON request", "json"), ("a streamed chunk", "chunk")):
        floor, ours = figures[f"floor {unit}"], figures[f"our {unit}"]
        ratio = statistics.median(b / a for a, b in zip(floor, ours, strict=True))
        failed = failed or ratio > GATE
        low, high = statistics.median(floor), statistics.median(ours)
        print(f"{label:<22} {low:>13.1f} {high:>9.1f} {ratio:>5.2f}x {GATE:>4.1f}x {'' if ratio <= GATE else 'OVER'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
