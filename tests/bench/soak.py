"""Ten minutes of mixed callers against services that fail in every way: what is left at the end that was not there.

    python tests/bench/soak.py [--minutes 10] [--callers 200] [--thinking 1] [--warm-up 30] [--rest 15] [--seed 0]

Runs and streams through `openai` with a fallback, retries, breakers, limits and a jsonl sink; the services are those of
flaky.py, in a process of their own. A tenth of the callers leave early, half of them by cancelling; a twentieth read
slowly. After a warm-up, and at the end, everybody comes to rest and what is held is counted. Then each request that a
service has counted must have its row in the ledger, and each row its request. Exits 1 when a gate is missed.

Left out: the server, stores and conversations, TLS and proxies, more than ten minutes, several processes, and what it
costs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

from asked import Asked, asked
from attrs import define, field
from held import Complaints, Table, at_rest, descriptors, settled
from ledger import Ledger

from nexus_core import CallOptions, Delta, NexusError, Pipeline, RunFinished

LEAVING, SLOW = 0.10, 0.05
WORDS = "when where who how may must leave keys tea safe March carried kept free over until next year".split()

MODEL = """
    use: openai
    model: gpt-4o-mini
    api_key: sk-soak
    first_byte_timeout_s: 0.4
    idle_timeout_s: 0.4
    total_timeout_s: 0.5
    stream_timeout_s: 2
    retry: {first_wait: 20ms, longest_wait: 200ms}
    breaker: {open: 200ms, longest_open: 1s}
    limits: {concurrency: 24, requests_per_minute: 30000, tokens_per_minute: 30000000, queue: 100, queue_wait: 500ms}
"""
PIPELINE = """
name: soak
on_stream_failure: restart
calls: {{deadline: 2s, stream_deadline: 3s, patience: 200ms}}
models:
  main: {model}    base_url: "http://127.0.0.1:{main}/v1"
    fallback: spare
  spare: {model}    base_url: "http://127.0.0.1:{spare}/v1"
steps:
  - gather: {{use: inline, items: ["Leave is carried over until March.", "Keys are kept in the safe.", "Tea is free."]}}
  - rank: bm25
  - prompt: {{template: {{text: "[user]\\n{{% for i in items %}}{{{{ i.text }}}}\\n{{% endfor %}}{{{{ query }}}}"}}}}
  - generate: main
sinks: [{{use: jsonl, path: "{runs}", durable: false}}]
"""


@define
class Soak:
    """The callers of one pipeline."""

    pipeline: Pipeline
    dice: random.Random
    thinking_s: float
    """Between two calls of a caller, on average."""
    outcomes: Counter[str] = field(factory=Counter)
    _ids: Iterator[int] = field(factory=count)

    async def go_on(self, callers: int, seconds: float) -> None:
        """Let so many callers make calls for so long, and come to their ends."""
        ends = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(self._caller(ends) for _ in range(callers)))

    async def _caller(self, ends: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.dice.random() * self.thinking_s)
        while loop.time() < ends:
            run = asyncio.ensure_future(self._call(f"run-{next(self._ids)}"))
            leaves = self.dice.random() < LEAVING / 2
            await asyncio.wait([run], timeout=self.dice.random() * 0.1 if leaves else None)
            run.cancel()
            await asyncio.wait([run])
            self.outcomes["cancelled" if run.cancelled() else run.result()] += 1
            await asyncio.sleep(self.dice.random() * 2 * self.thinking_s)

    async def _call(self, run_id: str) -> str:
        query = " ".join(self.dice.choices(WORDS, k=6))
        asked: Any = {"query": query, "run_id": run_id, "options": CallOptions(extra={"user": run_id})}
        try:
            if self.dice.random() < 0.5:
                return await self._stream(asked)
            return "answered" if await self.pipeline.run(**asked) else ""
        except NexusError:
            return "failed"

    async def _stream(self, asked: Any) -> str:
        # Whole answers cannot be left but by cancelling, so that of the streams twice as many are.
        leaves = self.dice.randrange(1, 12) if self.dice.random() < LEAVING else None
        pause_s = 0.05 if self.dice.random() < SLOW else 0.0
        deltas, last = 0, None
        async with aclosing(self.pipeline.stream(**asked)) as events:  # type: ignore[type-var]
            async for last in events:
                deltas += isinstance(last, Delta)
                if deltas == leaves:
                    return "left"
                if pause_s:
                    await asyncio.sleep(pause_s)
        return "answered" if isinstance(last, RunFinished) else "failed"


async def soak(options: argparse.Namespace, upstream: Asked, folder: Path, table: Table) -> None:
    """Run, and print what is left."""
    runs, yaml = folder / "runs.jsonl", folder / "soak.yaml"
    yaml.write_text(PIPELINE.format(model=MODEL, main=upstream.said[0], spare=upstream.said[1], runs=runs))
    before, tasks = descriptors(), len(asyncio.all_tasks())
    async with Pipeline.load(yaml, environment={}) as pipeline:
        callers = Soak(pipeline, random.Random(options.seed), options.thinking)
        await callers.go_on(options.callers, options.warm_up)
        start = await at_rest(pipeline, options.rest)
        await callers.go_on(options.callers, options.minutes * 60)
        end = await at_rest(pipeline, options.rest)
        dropped = sum(pipeline.dropped_events.values())
    print("calls:", ", ".join(f"{number:,} {name}" for name, number in callers.outcomes.most_common()))
    ledger = Ledger()
    ledger.read(runs)
    print("attempts:", ", ".join(f"{number:,} {name}" for name, number in ledger.outcomes.most_common()))
    print(f"{'':<42} {'start':>9} {'end':>9} {'gate':>9}")
    table.held(start, end)
    await settled(lambda: not upstream.ask("connections"), 2.0)
    still_open = upstream.ask("connections")
    table.row("closed: connections at the services", "", still_open, 0, not still_open)
    table.row("closed: file descriptors", before, descriptors(), f"<= {before}", descriptors() <= before)
    table.row("closed: tasks", tasks, len(asyncio.all_tasks()), f"<= {tasks}", len(asyncio.all_tasks()) <= tasks)
    table.row("events that a sink has lost", "", dropped, 0, not dropped)
    ledger.compare(upstream.ask("requests"), table)


def main() -> int:
    """Run, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--thinking", type=float, default=1.0, help="seconds between two calls of a caller, on average")
    parser.add_argument("--warm-up", type=float, default=30.0, help="seconds")
    parser.add_argument(
        "--rest", type=float, default=15.0, help="seconds to wait at most for idle connections to close"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    complaints, table = Complaints(), Table()
    logging.captureWarnings(True)
    logging.getLogger().addHandler(complaints)
    with asked("flaky.py", str(options.seed)) as upstream, tempfile.TemporaryDirectory() as folder:
        asyncio.run(soak(options, upstream, Path(folder), table))
    gc.collect()
    table.row("warnings and errors that were logged", "", len(complaints.lines), 0, not complaints.lines)
    print(*complaints.lines[:10], sep="\n")
    return int(table.missed)


if __name__ == "__main__":
    sys.exit(main())
