"""Ten minutes of mixed callers against services that fail in every way: what is left at the end that was not there.

    python tests/bench/soak.py [--minutes 10] [--callers 200] [--thinking 1] [--warm-up 30] [--rest 15] [--seed 0]

Runs and streams through `openai` with a fallback, retries, breakers, limits and a jsonl sink; the services are those of
flaky.py, in a process of their own. A tenth of the callers leave early, half of them by cancelling; a twentieth read
slowly. After a warm-up, and at the end, everybody comes to rest and what is held is counted. Then each request that a
service has counted must have its row in the ledger, and each row its request. Exits 1 when a gate is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from nexus_core import CallOptions, Delta, NexusError, Pipeline, RunFinished

LEAVING, SLOW = 0.10, 0.05
WORDS = "when where who how may must leave keys tea safe March carried kept free over until next year".split()
RSS_GATE_MB = 8.0
OBJECTS_GATE = 100
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20

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


class Services:
    """The process of the services, and what it tells."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.main, self.spare = process.stdout.readline().split()[1:]

    def ask(self, what: str) -> Any:
        """Return what the services say to a word."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def services(seed: int) -> Iterator[Services]:
    """Run the services as a process of their own."""
    command = [sys.executable, str(Path(__file__).with_name("flaky.py")), str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Services(process)
        finally:
            process.terminate()


class Complaints(logging.Handler):
    """Counts what is logged as a warning or worse: forgotten tasks and sockets, errors of callbacks, lost events."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


@frozen(kw_only=True)
class Held:
    """What is held at rest."""

    descriptors: int
    """Without those of idle connections."""
    tasks: int
    slots: int
    """Inside the limits or in front of them, deadlines that are watched, and probes of breakers."""
    in_use: int
    """Connections."""
    objects: int
    """Of classes of ours."""
    rss_mb: float


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

    async def at_rest(self, rest_s: float) -> Held:
        """Wait until idle connections are closed, for so long at most, and count what is held."""
        await settled(lambda: not self._connections()[1], rest_s)
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed is given back, so that the figure is what is held
        in_use, idle = self._connections()
        return Held(
            descriptors=descriptors() - idle,
            tasks=len(asyncio.all_tasks()),
            slots=self._slots(),
            in_use=in_use,
            objects=sum(str(type(thing).__module__).startswith("nexus_") for thing in gc.get_objects()),
            rss_mb=resident_mb(),
        )

    def _connections(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many are kept."""
        connectors: list[Any] = [model.connector for model in self.pipeline.models.list()]
        pools = {id(pool): pool for c in connectors if c._client for pool in [c._client._session.connector]}
        return (
            sum(len(pool._acquired) for pool in pools.values()),
            sum(len(kept) for pool in pools.values() for kept in pool._conns.values()),
        )

    def _slots(self) -> int:
        steps: list[Any] = [planned.step for planned in self.pipeline._plan.steps]
        setting = next(step.attempts._setting for step in steps if hasattr(step, "attempts"))
        targets = [setting.targets.of(model) for model in self.pipeline.models.list()]
        inside = sum(target.limiter.inside + target.limiter.waiting for target in targets)
        return int(inside) + len(setting.watch._running) + sum(target.breaker._probe is not None for target in targets)


def resident_mb() -> float:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def descriptors() -> int:
    """Return how many file descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


@define
class Table:
    """Prints figures with their gates, and remembers whether one was missed."""

    missed: bool = False

    def row(self, what: str, start: object, end: object, gate: object, good: bool) -> None:
        """Print a line."""
        self.missed = self.missed or not good
        print(f"{what:<42} {start!s:>9} {end!s:>9} {gate!s:>9} {'' if good else 'MISSED'}", flush=True)

    def held(self, start: Held, end: Held) -> None:
        """Print what is held after the warm-up and at the end."""
        for name, label in (
            ("descriptors", "file descriptors, idle connections aside"),
            ("tasks", "tasks"),
            ("slots", "slots, deadlines, probes"),
            ("in_use", "connections in use"),
        ):
            before, after = getattr(start, name), getattr(end, name)
            self.row(label, before, after, f"<= {before}", after <= before)
        most = start.objects + OBJECTS_GATE
        self.row("objects of our classes", start.objects, end.objects, f"<= {most}", end.objects <= most)
        high = start.rss_mb + RSS_GATE_MB
        self.row("memory, MB", f"{start.rss_mb:.1f}", f"{end.rss_mb:.1f}", f"<= {high:.1f}", end.rss_mb <= high)


@define
class Ledger:
    """The rows that the jsonl sink has written."""

    rows: Counter[tuple[str, str]] = field(factory=Counter)
    """Of requests that were sent, by model and run."""
    left: Counter[tuple[str, str]] = field(factory=Counter)
    """Those of them whose caller had left."""
    outcomes: Counter[str] = field(factory=Counter)
    keys: Counter[tuple[str, int]] = field(factory=Counter)

    def read(self, file: Path) -> None:
        """Take all rows of a file."""
        with file.open() as lines:
            for row in map(json.loads, lines):
                if row["type"] == "attempt_finished":
                    self.keys[row["call_id"], row["number"]] += 1
                    self.outcomes[row["outcome"]] += 1
                    self.rows[row["model"], row["run_id"]] += row["request_sent"]
                    self.left[row["model"], row["run_id"]] += row["outcome"] == "cancelled" or row["code"] == "deadline"

    def compare(self, counted: dict[str, dict[str, int]], table: Table) -> None:
        """Hold the requests that the services have counted against the rows, run by run."""
        requests = Counter({(model, run): n for model, runs in counted.items() for run, n in runs.items()})
        table.row("requests counted by the services", "", requests.total(), "", True)
        lost, spare = requests - self.rows, self.rows - requests
        table.row("requests without a row", "", lost.total(), 0, not lost)
        # Who leaves while the connection is being made cannot know whether the request was still sent.
        table.row("rows without a request, of who left", "", (spare & self.left).total(), "", True)
        table.row("rows without a request, of others", "", (spare - self.left).total(), 0, not spare - self.left)
        twice = self.keys.total() - len(self.keys)
        table.row("rows with the key of another", "", twice, 0, not twice)


async def soak(options: argparse.Namespace, upstream: Services, folder: Path, table: Table) -> None:
    """Run, and print what is left."""
    runs, yaml = folder / "runs.jsonl", folder / "soak.yaml"
    yaml.write_text(PIPELINE.format(model=MODEL, main=upstream.main, spare=upstream.spare, runs=runs))
    before, tasks = descriptors(), len(asyncio.all_tasks())
    async with Pipeline.load(yaml, environment={}) as pipeline:
        callers = Soak(pipeline, random.Random(options.seed), options.thinking)
        await callers.go_on(options.callers, options.warm_up)
        start = await callers.at_rest(options.rest)
        await callers.go_on(options.callers, options.minutes * 60)
        end = await callers.at_rest(options.rest)
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


async def settled(done: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, for so long at most."""
    for _ in range(int(seconds / 0.02)):
        if done():
            return
        await asyncio.sleep(0.02)


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
    with services(options.seed) as upstream, tempfile.TemporaryDirectory() as folder:
        asyncio.run(soak(options, upstream, Path(folder), table))
    gc.collect()
    table.row("warnings and errors that were logged", "", len(complaints.lines), 0, not complaints.lines)
    print(*complaints.lines[:10], sep="\n")
    return int(table.missed)


if __name__ == "__main__":
    sys.exit(main())
