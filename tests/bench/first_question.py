"""What the first question to a server costs that is ready, against the second; and when it is ready, with what memory.

    python tests/bench/first_question.py [--starts 20] [--case words]

Each start is a process `nexus serve` over a store with 2,000 items in one context. After the first 200 of `/readyz` two
different questions are asked, which of them comes first alternates. Cases: `words` (a search by words, quoted answers),
`meaning` (the context has vectors of the static embedder, where the extra `static` is installed) and `service` (a
scripted upstream on loopback answers, asked by the connector `openai`).

The median of the processor time of the server that the first question takes is at most 1.2 x that of the second, in
every case, whatever else the machine does; the clock's is told beside it. Besides: the processor time until the server
listens and until it is ready, and its resident memory when it is ready and after both questions. Exits 1 when the gate
is missed.

Left out: documents that are read for each start (sources of a pipeline), services that embed or rerank, stores on
database servers, several workers, and questions to other contexts than the one there is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, sleep
from urllib.error import URLError
from urllib.request import Request, urlopen

from attrs import frozen

from nexus_core import Item, Store
from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer

GATE = 1.2
ITEMS = 2_000
TOPICS = ("ferry", "lighthouse", "harbour", "tide mill", "market", "library", "bakery", "museum")
QUESTIONS = ("When does the ferry of the north open on Sundays?", "Who keeps the lighthouse of the west in winter?")
PIPELINE = """name: desk
models:
  main: {model}
steps:
  - gather: store
  - rank: {rank}
  - prompt: {{template: qa, budget: 3000}}
  - generate: main
"""
CASES = ("words", "meaning", "service")


@frozen(kw_only=True)
class Started:
    """What one start has taken."""

    listening_cpu_s: float
    ready_cpu_s: float
    ready_mib: float
    asked_mib: float
    seconds: tuple[float, float]
    """Of the first and of the second question, by the clock."""
    cpu_seconds: tuple[float, float]
    """The same, of the server's processor time."""


async def fill(folder: Path) -> None:
    """Make a store with one context of made-up notices."""
    sides = ("north", "south", "east", "west")
    items = [
        Item(
            id=str(n),
            title=f"{TOPICS[n % 8].title()} of the {sides[n % 4]}, {n}",
            text=f"The {TOPICS[n % 8]} of the {sides[n % 4]} opens at {n % 24} on day {n % 7}. "
            f"Its keeper is number {n * 7 % 501}, in winter {n * 11 % 307}. " * 4,
        )
        for n in range(ITEMS)
    ]
    async with Store(folder) as store:
        await store.create("coast")
        await store.add("coast", items)
        await store.search("coast", "ferry")


def _figures(pid: int) -> tuple[float, float]:
    """Return the processor seconds and the resident MiB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident = int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK"), resident / 1024


def _cpu_s(pid: int) -> float:
    """Return the processor seconds of all threads of a process, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def _ask(address: str, question: str) -> float:
    body = json.dumps({"query": question, "contextId": "coast"}).encode()
    request = Request(f"{address}/api/queries", body, {"Content-Type": "application/json"})
    began = perf_counter()
    with urlopen(request, timeout=60) as response:
        told = json.load(response)
    took = perf_counter() - began
    assert told["response"], told
    return took


def start(folder: Path, questions: Sequence[str]) -> Started:
    """Start a server, wait until it is ready, and ask it two questions."""
    command = [sys.executable, "-P", "-m", "nexus_core", "serve", str(folder / "desk.yaml"), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_"))}
    environment["NEXUS_STORE"] = str(folder / "store")
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        assert process.stderr is not None
        try:
            address = next(line.split()[-1] for line in process.stderr if line.startswith("listening on"))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            listening_s, _ = _figures(process.pid)
            while True:
                try:
                    with urlopen(f"{address}/readyz", timeout=5):
                        break
                except URLError:
                    sleep(0.01)
            ready_s, ready_mib = _figures(process.pid)
            seconds, cpu = [], [_cpu_s(process.pid)]
            for question in questions:
                seconds.append(_ask(address, question))
                cpu.append(_cpu_s(process.pid))
            return Started(
                listening_cpu_s=listening_s,
                ready_cpu_s=ready_s,
                ready_mib=ready_mib,
                asked_mib=_figures(process.pid)[1],
                seconds=(seconds[0], seconds[1]),
                cpu_seconds=(cpu[1] - cpu[0], cpu[2] - cpu[1]),
            )
        finally:
            process.terminate()


@contextmanager
def upstream() -> Iterator[str]:
    """Give the address of a scripted service, which runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    script = ScriptedUpstream(json_answer(completion("At nine [1].")))
    asyncio.run_coroutine_threadsafe(script.__aenter__(), loop).result()
    try:
        yield script.url
    finally:
        asyncio.run_coroutine_threadsafe(script.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def measure(case: str, starts: int) -> list[Started]:
    """Return what each start of a case has taken, but for the first, which compiles and warms the disk."""
    with tempfile.TemporaryDirectory() as name, upstream() as url:
        folder = Path(name)
        asyncio.run(fill(folder / "store"))
        if case == "meaning":
            embed = ["context", "embed", "coast", "--model", "static", "--store", str(folder / "store")]
            subprocess.run([sys.executable, "-P", "-m", "nexus_core", *embed], check=True, capture_output=True)
        model = "{use: extractive}"
        if case == "service":
            model = f'{{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-test}}'
        (folder / "desk.yaml").write_text(PIPELINE.format(model=model, rank="bm25"))
        found = [start(folder, QUESTIONS[:: 1 if n % 2 else -1]) for n in range(starts + 1)]
    return found[1:]


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--case", choices=CASES, action="append")
    options = parser.parse_args()
    cases = [each for each in options.case or CASES if each != "meaning" or find_spec("wordllama") is not None]
    missed = False
    print(
        f"{'case':<9}{'first':>9}{'second':>10}{'ratio':>8}{'by clock':>10}   CPU listening, ready   MiB ready, asked"
    )
    for case in cases:
        found = measure(case, options.starts)
        first, second = (statistics.median(each.cpu_seconds[place] for each in found) * 1e3 for place in (0, 1))
        clock = [statistics.median(each.seconds[place] for each in found) for place in (0, 1)]
        missed = missed or first / second > GATE
        listening, ready, ready_mib, asked_mib = (
            statistics.median(getattr(each, name) for each in found)
            for name in ("listening_cpu_s", "ready_cpu_s", "ready_mib", "asked_mib")
        )
        print(
            f"{case:<9}{first:>6.1f} ms{second:>7.1f} ms{first / second:>6.2f} x{clock[0] / clock[1]:>8.2f} x"
            f"{listening:>16.2f} s{ready:>6.2f} s{ready_mib:>13.0f}{asked_mib:>7.0f}",
            flush=True,
        )
    print(f"gate {GATE} x: {'MISSED' if missed else 'ok'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
