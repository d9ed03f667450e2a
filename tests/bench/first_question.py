"""What the first question to a server costs that is ready, against the second; and when it is ready, with what memory.

    python tests/bench/first_question.py [--starts 20] [--case words] [--against TREE]

Each start is a process `nexus serve` over a store with 2,000 items in one context. After the first 200 of `/readyz` two
different questions are asked, which of them comes first alternates. Cases: `words` (a search by words, quoted answers),
`meaning` (the context has vectors of the static embedder, where the extra `static` is installed) and `service` (a
scripted upstream on loopback answers, asked by the connector `openai`).

The median of the processor time of the server that a question takes when it comes first is at most 1.2 x that of the
same question when it comes second (of both questions the geometric mean, since one takes twice as long as the other),
in every case, whatever else the machine does; the clock's is told beside it. Besides: the processor time until the
server listens and until it is ready, and its resident memory when it is ready (also that of no file, which no other
process shares) and after both questions, as such and against a process that has imported aiohttp's server and loaded
tiktoken's encoding `o200k_base`, and nothing else. With
`--against` each start is followed by one of the sources in another folder, such as those of an older commit, and what
ours take is told as multiples of what they do. Exits 1 when the gate is missed.

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
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, sleep
from urllib.error import URLError
from urllib.request import Request, urlopen

from attrs import frozen

from nexus_core import Item, Store
from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer
from nexus_core.toolkit.tokens.encodings import FACTS
from nexus_core.toolkit.tokens.vocabulary import load_ranks

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
ENCODING = "o200k_base"
ENCODING_URL = f"https://openaipublic.blob.core.windows.net/encodings/{ENCODING}.tiktoken"
FLOOR = f"""
import re, aiohttp.web, tiktoken
tiktoken.get_encoding("{ENCODING}").encode_ordinary("What is this about?")
print(re.findall(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[0])
"""


@frozen(kw_only=True)
class Started:
    """What one start has taken."""

    listening_cpu_s: float
    listening_mib: float
    ready_cpu_s: float
    ready_mib: float
    ready_private_mib: float
    """Of it what is of no file: code of libraries is in memory once for all processes."""
    asked_mib: float
    questions: tuple[str, str]
    """In their order."""
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


def _mib(pid: int, figure: str = "VmRSS") -> float:
    """Return the resident MiB of a process, all or those of a kind."""
    return int(re.findall(rf"{figure}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def floor_mib() -> float:
    """Return the resident MiB of a process with aiohttp's server and an encoding, which tiktoken finds in its cache."""
    with tempfile.TemporaryDirectory() as name:
        ranks = load_ranks(FACTS[ENCODING]).by_token()
        lines = (
            b"%s %d\n" % (b64encode(token), rank) for token, rank in sorted(ranks.items(), key=lambda each: each[1])
        )
        (Path(name) / sha1(ENCODING_URL.encode()).hexdigest()).write_bytes(b"".join(lines))
        done = subprocess.run(
            [sys.executable, "-P", "-c", FLOOR],
            env=os.environ | {"TIKTOKEN_CACHE_DIR": name},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    return int(done.stdout) / 1024


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


def _environment(folder: Path, tree: Path | None) -> dict[str, str]:
    """Return the environment of commands over the store in a folder, with the sources in `tree` where there is one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_"))}
    environment["NEXUS_STORE"] = str(folder / "store")
    if tree is not None:
        environment["PYTHONPATH"] = f"{tree}{os.pathsep}{tree / 'plugins'}"
    return environment


def start(folder: Path, questions: Sequence[str], tree: Path | None = None) -> Started:
    """Start a server, wait until it is ready, and ask it two questions."""
    command = [sys.executable, "-P", "-m", "nexus_core", "serve", str(folder / "desk.yaml"), "--port", "0"]
    environment = _environment(folder, tree)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        assert process.stderr is not None
        try:
            address = next(line.split()[-1] for line in process.stderr if line.startswith("listening on"))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            listening_s, listening_mib = _cpu_s(process.pid), _mib(process.pid)
            while True:
                try:
                    with urlopen(f"{address}/readyz", timeout=5):
                        break
                except URLError:
                    sleep(0.01)
            ready_s, ready_mib = _cpu_s(process.pid), _mib(process.pid)
            ready_private_mib = _mib(process.pid, "RssAnon")
            seconds, cpu = [], [_cpu_s(process.pid)]
            for question in questions:
                seconds.append(_ask(address, question))
                cpu.append(_cpu_s(process.pid))
            return Started(
                listening_cpu_s=listening_s,
                listening_mib=listening_mib,
                ready_cpu_s=ready_s,
                ready_mib=ready_mib,
                ready_private_mib=ready_private_mib,
                asked_mib=_mib(process.pid),
                questions=(questions[0], questions[1]),
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


def prepare(folder: Path, case: str, url: str, tree: Path | None) -> None:
    """Make a folder with a store and a pipeline, by the sources in `tree` where there is one."""
    folder.mkdir()
    environment = _environment(folder, tree)
    subprocess.run([sys.executable, "-P", __file__, "--fill", str(folder / "store")], env=environment, check=True)
    if case == "meaning":
        embed = ["context", "embed", "coast", "--model", "static"]
        command = [sys.executable, "-P", "-m", "nexus_core", *embed]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    model = "{use: extractive}"
    if case == "service":
        model = f'{{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-test}}'
    (folder / "desk.yaml").write_text(PIPELINE.format(model=model, rank="bm25"))


def measure(case: str, starts: int, trees: Sequence[Path | None]) -> list[list[Started]]:
    """Return what each start of a case has taken, for each tree, but for the first, which compiles and warms the disk.

    The starts of the trees alternate.
    """
    with tempfile.TemporaryDirectory() as name, upstream() as url:
        folders = [Path(name) / str(n) for n in range(len(trees))]
        for folder, tree in zip(folders, trees, strict=True):
            prepare(folder, case, url, tree)
        rounds = [
            [start(folder, QUESTIONS[:: 1 if n % 2 else -1], tree) for folder, tree in zip(folders, trees, strict=True)]
            for n in range(starts + 1)
        ]
    return [list(each) for each in zip(*rounds[1:], strict=True)]


def first_and_second(found: Sequence[Started], name: str) -> list[tuple[float, float]]:
    """Return for each question the median of what it takes as the first, and of what it takes as the second."""
    return [
        (
            statistics.median(getattr(each, name)[0] for each in found if each.questions[0] == question),
            statistics.median(getattr(each, name)[1] for each in found if each.questions[1] == question),
        )
        for question in QUESTIONS
    ]


def compared(found: Sequence[Started], other: Sequence[Started]) -> str:
    """Return what starts have taken as multiples of what those have that followed them, in medians."""

    def ratio(name: str) -> str:
        ratios = (getattr(own, name) / getattr(theirs, name) for own, theirs in zip(found, other, strict=True))
        return f"{statistics.median(ratios):.2f} x"

    names = ("listening_cpu_s", "ready_cpu_s", "listening_mib", "ready_mib", "ready_private_mib", "asked_mib")
    return ", ".join(f"{name} {ratio(name)}" for name in names)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--against", type=Path, metavar="TREE", help="a folder with nexus_core and plugins")
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill is not None:
        asyncio.run(fill(options.fill))
        return 0
    trees = [None, options.against.absolute()] if options.against is not None else [None]
    cases = [each for each in options.case or CASES if each != "meaning" or find_spec("wordllama") is not None]
    missed, floor = False, floor_mib()
    print(f"python with aiohttp and an encoding of tiktoken: {floor:.0f} MiB")
    print(
        f"{'case':<9}{'first':>9}{'second':>10}{'ratio':>8}{'by clock':>10}   CPU listening, ready"
        f"   MiB ready (private), asked{'of the floor':>16}"
    )
    for case in cases:
        found, *others = measure(case, options.starts, trees)
        cpu, clock = first_and_second(found, "cpu_seconds"), first_and_second(found, "seconds")
        first, second = (statistics.geometric_mean(each) * 1e3 for each in zip(*cpu, strict=True))
        by_clock = statistics.geometric_mean(one / other for one, other in clock)
        missed = missed or first / second > GATE
        listening, ready, ready_mib, private_mib, asked_mib = (
            statistics.median(getattr(each, name) for each in found)
            for name in ("listening_cpu_s", "ready_cpu_s", "ready_mib", "ready_private_mib", "asked_mib")
        )
        print(
            f"{case:<9}{first:>6.1f} ms{second:>7.1f} ms{first / second:>6.2f} x{by_clock:>8.2f} x"
            f"{listening:>16.2f} s{ready:>6.2f} s"
            f"{ready_mib:>14.1f} ({private_mib:.1f}){asked_mib:>11.1f}"
            f"{ready_mib / floor:>10.2f}{asked_mib / floor:>6.2f}",
            flush=True,
        )
        for other in others:
            print(f"{'':<9}of {options.against}: {compared(found, other)}", flush=True)
    print(f"gate {GATE} x: {'MISSED' if missed else 'ok'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
