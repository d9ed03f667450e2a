"""Batches: how fast records are answered beside a bare client, in how much memory, and how well a quota is used.

    python tests/bench/batch.py [speed] [memory] [quota] [kills]

Speed: a service on loopback answers 50 ms after it was asked; bare aiohttp with 256 tasks, and `nexus batch` with
`--max-concurrency 256`, each for the same 10,000 requests, in turns. Memory: the most that `nexus batch` takes for
1,000 and for 1,000,000 records, of a pipeline whose model is a plugin that answers at once. Quota: a service that
allows 200 requests a minute and says so in its headers, for three minutes, as a token bucket and as a fixed window.
Kills: rounds of kill -9 at random moments, resumed until done, with what the service has seen and charged beside the
journal. Exits 1 when a gate is missed.

Left out: prompts of more than a few tokens, streams, services over TLS, other engines than this machine's.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, ClassVar

import aiohttp
from stub import json_answer

RECORDS, CONCURRENT, LATENCY_S, PAIRS = 10_000, 256, 0.05, 3
SHARE = 0.90
MEMORY_MIB = 100
PER_MINUTE, MINUTES = 200, 3
QUOTA_SHARE, REFUSED_SHARE = 0.95, 0.01
START_S = 20
"""In which the first request has come."""
ROUNDS = 200
PIPELINE = """
name: bench
{plugins}
models:
  main: {{{model}, options: {{max_tokens: 100}}}}
steps:
  - prompt: {{template: {{text: "{{{{ query }}}}"}}}}
  - generate: main
"""
SERVICE = 'use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-bench, connections: 300'
INSTANT = '''
"""A model that answers at once."""
from nexus_core import Completion, ModelInfo, Usage, component, hookimpl


@component
class Instant:
    """Answers at once."""

    @property
    def model_info(self):
        return ModelInfo(id="instant", provider="bench", window=4000)

    async def send_prompt(self, prompt, options):
        return Completion(text="yes", finish_reason="stop", usage=Usage(prompt_tokens=3, completion_tokens=1))

    async def stream_response(self, prompt, options):
        raise NotImplementedError
        yield


@hookimpl
def nexus_connectors():
    return [Instant]
'''


class Limit:
    """A limit of requests per minute, as a service keeps it: a token bucket, or a window that begins anew."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.left, self.at = float(PER_MINUTE), monotonic()
        self.taken = self.refused = self.refused_later = 0
        self.begun: float | None = None
        """When the first request came; the time of a window begins then, too."""

    def take(self) -> tuple[bool, dict[str, str]]:
        """Count a request, and return whether it is let in, and what the headers say."""
        now = monotonic()
        if self.begun is None:
            self.begun = self.at = now
        if self.kind == "bucket":
            self.left = min(PER_MINUTE, self.left + (now - self.at) * PER_MINUTE / 60)
            self.at = now
        elif now - self.at >= 60:
            self.left, self.at = float(PER_MINUTE), now
        is_in = self.left >= 1
        self.left -= is_in
        if now - self.begun < 60 * MINUTES:
            self.taken += is_in
            self.refused += not is_in
            self.refused_later += not is_in and now - self.begun > 60
        reset = (PER_MINUTE - self.left) * 60 / PER_MINUTE if self.kind == "bucket" else 60 - (now - self.at)
        headers = {
            "x-ratelimit-limit-requests": str(PER_MINUTE),
            "x-ratelimit-remaining-requests": str(int(self.left)),
            "x-ratelimit-reset-requests": f"{reset:.3f}s",
        }
        return is_in, headers


class Service(asyncio.Protocol):
    """Answers each request after a while; the process of it is told by its standard input to report and end."""

    seen: ClassVar[Counter[str]] = Counter()
    bill = 0
    limit: Limit | None = None
    delay_s = LATENCY_S
    body = json_answer(20)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self.buffer += data
        while (head := self.buffer.find(b"\r\n\r\n")) >= 0:
            at = self.buffer[:head].lower().find(b"content-length:")
            end = head + 4 + int(self.buffer[at + 15 : head].split(b"\r\n", 1)[0])
            if len(self.buffer) < end:
                return
            body, self.buffer = self.buffer[head + 4 : end], self.buffer[end:]
            self.answer(body)

    def answer(self, body: bytes) -> None:
        """Answer one request."""
        answer = self.body
        if self.limit is not None:
            is_in, headers = self.limit.take()
            told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            if not is_in:
                error = b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'
                head = f"HTTP/1.1 429 Too Many\r\nContent-Type: application/json\r\nRetry-After: 1\r\n{told}"
                answer = f"{head}Content-Length: {len(error)}\r\n\r\n".encode() + error
            else:
                answer = answer.replace(b"Content-Type", told.encode() + b"Content-Type", 1)
        elif type(self).counts:
            type(self).seen[json.loads(body)["messages"][-1]["content"]] += 1
        asyncio.get_running_loop().call_later(self.delay_s, self.send, answer)

    counts = False

    def send(self, answer: bytes) -> None:
        """Send an answer, which is what is charged for, unless the client has gone."""
        if not self.transport.is_closing():
            type(self).bill += 120
            self.transport.write(answer)


async def serve(kind: str) -> None:
    """Serve until standard input ends; then tell what was seen."""
    if kind in ("bucket", "window"):
        Service.limit = Limit(kind)
    Service.counts = kind == "counted"
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Service, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    limit = Service.limit
    told = {} if limit is None else {"taken": limit.taken, "refused": limit.refused, "later": limit.refused_later}
    print(json.dumps({"seen": Service.seen, "bill": Service.bill, **told}), flush=True)


class Upstream:
    """The service in a process of its own."""

    def __init__(self, kind: str = "plain") -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}/v1"

    def end(self) -> dict[str, Any]:
        """End it and return what it has seen."""
        told, _ = self.process.communicate("")
        return dict(json.loads(told))


@contextmanager
def upstream(kind: str = "plain") -> Iterator[Upstream]:
    """Run the service while it is needed."""
    made = Upstream(kind)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def write(folder: Path, model: str, count: int, plugins: str = "") -> None:
    """Write a pipeline and its input."""
    (folder / "bench.yaml").write_text(PIPELINE.format(model=model, plugins=plugins))
    with (folder / "q.jsonl").open("w") as file:
        file.writelines(f'{{"id":"q{number}","query":"question {number}"}}\n' for number in range(count))


def command(*arguments: object) -> list[str]:
    """Return the command line of `nexus batch`."""
    return [sys.executable, "-P", "-m", "nexus_core", "batch", *map(str, arguments)]


async def bare(url: str, count: int) -> float:
    """Return the requests per second of a client that does nothing but ask, and read the answers."""
    numbers = iter(range(count))

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = {
                "model": "gpt-4o-mini",
                "messages": [{"role": "user", "content": f"question {number}"}],
                "max_tokens": 100,
            }
            async with session.post(f"{url}/chat/completions", json=body) as response:
                assert (await response.json())["choices"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=300)) as session:
        began = perf_counter()
        await asyncio.gather(*(work(session) for _ in range(CONCURRENT)))
        return count / (perf_counter() - began)


def batch_rate(url: str, folder: Path) -> float:
    """Return the records per second of a batch, from its first request to its last result."""
    write(folder, SERVICE.format(url=url), RECORDS)
    subprocess.run(
        command("bench.yaml", "q.jsonl", "-o", "a.jsonl", "--timings", "--max-concurrency", CONCURRENT),
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    began = perf_counter()
    subprocess.run(
        command("bench.yaml", "q.jsonl", "-o", "b.jsonl", "--limit", 1), cwd=folder, check=True, capture_output=True
    )
    start_s = perf_counter() - began
    began = perf_counter()
    subprocess.run(
        command("bench.yaml", "q.jsonl", "-o", "c.jsonl", "--max-concurrency", CONCURRENT),
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return RECORDS / (perf_counter() - began - start_s)


def speed() -> bool:
    """Compare with the bare client."""
    shares = []
    for _ in range(PAIRS):
        with upstream() as service, tempfile.TemporaryDirectory() as folder:
            floor = asyncio.run(bare(service.url, RECORDS))
            ours = batch_rate(service.url, Path(folder))
        shares.append(ours / floor)
        print(f"  bare {floor:8,.0f}/s   nexus batch {ours:8,.0f}/s   {ours / floor:.1%}")
    share = statistics.median(shares)
    return told("of what bare aiohttp reaches", f"{share:.1%}", share >= SHARE, f">= {SHARE:.0%}")


def peak_mib(count: int) -> float:
    """Return the most memory that a batch of so many records has."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "instant.py").write_text(INSTANT)
        write(folder, "use: instant", count, "plugins: [./instant.py]")
        script = "import resource,subprocess,sys;subprocess.run(sys.argv[1:],check=True,capture_output=True);" + (
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        asked = command("bench.yaml", "q.jsonl", "-o", "a.jsonl")
        ran = subprocess.run(
            [sys.executable, "-c", script, *asked], cwd=folder, check=True, capture_output=True, text=True
        )
        assert sum(1 for _ in (folder / "a.jsonl").open()) == count
        return int(ran.stdout) / 1024


def memory() -> bool:
    """Compare a small batch and a large one."""
    small, large = peak_mib(1_000), peak_mib(1_000_000)
    print(f"  1,000 records {small:.0f} MiB, 1,000,000 records {large:.0f} MiB")
    return told(
        "more for 1,000,000 records", f"{large - small:.0f} MiB", large - small <= MEMORY_MIB, f"<= {MEMORY_MIB}"
    )


def quota(*options: object) -> bool:
    """Use limited services for some minutes; options are those of `nexus batch`."""
    results = [use_quota(kind, *options) for kind in ("bucket", "window")]
    return all(results)


def use_quota(kind: str, *options: object) -> bool:
    """Use a service with a limit of a kind, for some minutes from the first request on."""
    with upstream(kind) as service, tempfile.TemporaryDirectory() as folder:
        write(Path(folder), SERVICE.format(url=service.url), PER_MINUTE * (MINUTES + 3))
        process = subprocess.Popen(
            command("bench.yaml", "q.jsonl", "-o", "a.jsonl", *options), cwd=folder, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(60 * MINUTES + START_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        process.wait()
        seen = service.end()
    allowed = PER_MINUTE * (MINUTES + (kind == "bucket"))  # a bucket is full at first
    used, refused = seen["taken"] / allowed, seen["later"] / max(seen["taken"], 1)
    print(f"  {kind}: {seen['taken']} of {allowed} let in, {seen['refused']} refused, {seen['later']} after a minute")
    good = told(f"of the quota used ({kind})", f"{used:.1%}", used >= QUOTA_SHARE, f">= {QUOTA_SHARE:.0%}")
    is_let_in = refused < REFUSED_SHARE
    return told("refused after the first minute", f"{refused:.2%}", is_let_in, f"< {REFUSED_SHARE:.0%}") and good


def kills(rounds: int = ROUNDS) -> bool:
    """Kill batches at random moments until so many kills have hit."""
    chooser = random.Random(13)
    done = repeated = hit = batches = 0
    with upstream("counted") as service, tempfile.TemporaryDirectory() as name:
        known = most = rows = 0
        while hit < rounds:
            batches += 1
            folder = Path(name, str(batches))
            folder.mkdir()
            write(folder, SERVICE.format(url=service.url), 2_000)
            arguments = command("bench.yaml", "q.jsonl", "-o", "a.jsonl", "--max-concurrency", 32)
            while True:
                process = subprocess.Popen(arguments, cwd=folder, stderr=subprocess.DEVNULL)
                try:
                    process.wait(chooser.uniform(0.5, 1.5) if hit < rounds else None)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    hit += 1
                if (folder / "a.jsonl.run" / "manifest.json").exists():
                    arguments = command("resume", "a.jsonl.run", "--max-concurrency", 32)
                else:
                    subprocess.run(["rm", "-rf", "a.jsonl.run"], cwd=folder, check=True)
                if process.returncode == 0:
                    break
            ids = [json.loads(line)["id"] for line in (folder / "a.jsonl").open()]
            assert ids == [f"q{number}" for number in range(2_000)], "ids out are not ids in"
            done += len(ids)
            with closing(sqlite3.connect(folder / "a.jsonl.run" / "journal.sqlite")) as journal:
                row = journal.execute(
                    "SELECT count(*), sum(CASE state WHEN 'ok' THEN prompt_tokens + completion_tokens ELSE 0 END),"
                    " sum(CASE state WHEN 'unknown' THEN most_tokens ELSE 0 END) FROM requests"
                ).fetchone()
            rows, known, most = rows + row[0], known + row[1], most + row[2]
        seen = service.end()
    asked = sum(seen["seen"].values())
    repeated = asked - batches * 2_000
    print(f"  {hit} kills over {batches} batches: {done:,} ids once each, {repeated} requests again, {rows:,} rows")
    print(f"  the service charged {seen['bill']:,} tokens; the journals know of {known:,} and at most {most:,} more")
    good = told("requests again for each kill", f"{repeated / max(hit, 1):.1f}", repeated <= 32 * hit, "<= 32")
    good &= told("requests with a row", f"{rows:,} of {asked:,}", rows >= asked, "all")
    return good & told("the bill", f"{seen['bill']:,}", known <= seen["bill"] <= known + most, "between the sums")


def told(name: str, value: str, good: bool, gate: str) -> bool:
    """Print a figure with its gate."""
    print(f"{name:<36}{value:>14}   {gate}{'' if good else '   MISSED'}", flush=True)
    return good


def main() -> int:
    """Measure what is asked for."""
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(sys.argv[2]))
        return 0
    parts = {"speed": speed, "memory": memory, "quota": quota, "kills": kills}
    wanted = sys.argv[1:] or list(parts)
    results = [parts[name]() for name in wanted]
    return 0 if all(results) else 1


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.exit(main())
