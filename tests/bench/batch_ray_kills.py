"""Batches on Ray whose workers and driver are killed at random moments, and which are resumed until they are done.

    python tests/bench/batch_ray_kills.py [KILLS [SEED]]

One Ray cluster of two workers stays while batches of 1,000 records run on it, one record in eight in a conversation.
After a random time a worker or the driver, by chance, is killed (kill -9), until KILLS have hit (200 by default). Each
batch is compared to the byte with one that ran undisturbed on this machine alone. The service looks into the journal
when a request comes, has usage that differs from question to question, and keeps books of what it charges. Exits 1
when a gate is missed. It needs the extra `ray`.

Left out: several machines, kills of the processes of Ray itself, loss of power, answers in streams, budgets.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Self

from attrs import define, field, frozen
from batch import Service, command, told

KILLS, SEED = 200, 13
RECORDS, CONCURRENT = 1_000, 32
LONGEST_S = 8.0
"""Between the start of a driver, or a kill, and the next kill."""
STUCK_S = 300.0
INPUT_PRICE, OUTPUT_PRICE = 1.0, 2.0
PIPELINE = """\
name: bench
models:
  main:
    use: openai
    model: gpt-4o-mini
    base_url: "URL"
    api_key: sk-bench
    prices: {input: 1, output: 2}
    options: {max_tokens: 100, extra: {seed: BATCH}}
steps:
  - prompt: {template: {text: "{{ query }}"}}
  - generate: main
"""
CLUSTER = Path(__file__).parents[1] / "ray" / "cluster.py"


def usage_of(number: int) -> tuple[int, int]:
    """Return the tokens of prompt and answer that the service charges for a question."""
    return 5 + number % 4, 1 + number % 97


@define(eq=False)
class Books:
    """What the service knows of one batch, which is named by the `seed` of its requests."""

    journal: Path
    seen: Counter[int] = field(factory=Counter)
    charged: Counter[int] = field(factory=Counter)
    """How often an answer to each question was sent."""
    missing: int = 0
    """Requests that came when the journal had no row for them."""
    unread: int = 0
    """Requests that came when the journal could not be read."""

    def take(self, number: int) -> None:
        """Take down a request, and look whether it is in the journal."""
        self.seen[number] += 1
        try:
            with closing(sqlite3.connect(f"{self.journal.as_uri()}?mode=ro", uri=True, timeout=1.0)) as journal:
                rows = journal.execute("SELECT count(*) FROM requests WHERE position = ?", (number,)).fetchone()[0]
        except sqlite3.Error:
            self.unread += 1
        else:
            self.missing += rows < self.seen[number]

    def report(self) -> dict[str, Any]:
        """Return all that is known."""
        return {name: getattr(self, name) for name in ("seen", "charged", "missing", "unread")}


class BookedService(Service):  # type: ignore[misc]  # mypy does not find the script beside this one
    """Answers each request after 20 to 200 ms, and keeps books."""

    folder: Path
    books: dict[int, Books]

    def answer(self, body: bytes) -> None:
        """Take down a request, and answer it later."""
        request = json.loads(body)
        number, batch = int(request["messages"][-1]["content"].split()[-1]), request["seed"]
        books = self.books.setdefault(batch, Books(self.folder / str(batch) / "a.jsonl.run" / "journal.sqlite"))
        books.take(number)
        asyncio.get_running_loop().call_later(random.uniform(0.02, 0.2), self.settle, books, number)

    def settle(self, books: Books, number: int) -> None:
        """Answer and charge, unless the client has gone."""
        if self.transport.is_closing():
            return
        prompt, completion = usage_of(number)
        message = {"role": "assistant", "content": f"Answer {number}"}
        body = json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": "gpt-4o-mini",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion
                },
            }
        ).encode()  # fmt: skip
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        books.charged[number] += 1
        self.transport.write(head.encode() + body)


async def serve(folder: Path) -> None:
    """Serve on a free port; each line of standard input is the number of a batch whose books are asked for."""
    books: dict[int, Books] = {}

    def protocol() -> BookedService:
        service = BookedService()
        service.folder, service.books = folder, books
        return service

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(books[int(line)].report()), flush=True)


@frozen(eq=False)
class Helper:
    """A process that serves until its standard input ends."""

    process: subprocess.Popen[str]
    words: list[str]
    """That it has said when it was ready."""

    @classmethod
    @contextmanager
    def run(cls, *arguments: object, errors: int | None = None) -> Iterator[Self]:
        """Start it, with its standard error at `errors`, and end it."""
        command = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            words = next(line.split()[1:] for line in process.stdout if line.startswith("ready "))
            yield cls(process, words)
        finally:
            process.communicate("")

    def ask(self, question: object) -> Any:
        """Return what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(question, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def workers_of(cluster: Helper) -> set[int]:
    """Return the process ids of the workers of batches on this cluster."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()[1:]]
    raylets = {pid for pid, parent, _ in rows if parent == str(cluster.process.pid)}
    return {int(pid) for pid, parent, name in rows if parent in raylets and name.startswith("ray::BatchWorker")}


def write(folder: Path, port: str, batch: int) -> None:
    """Write a pipeline and its input."""
    folder.mkdir()
    text = PIPELINE.replace("URL", f"http://127.0.0.1:{port}/v1").replace("BATCH", str(batch))
    (folder / "bench.yaml").write_text(text)
    with (folder / "q.jsonl").open("w") as file:
        for number in range(RECORDS):
            talk = {"conversation": f"c{number // 8 % 25}"} if number % 8 == 0 else {}
            file.write(json.dumps({"id": f"q{number}", "query": f"question {number}", **talk}) + "\n")


@define(eq=False)
class Tally:
    """What has happened to all batches together."""

    kills: Counter[str] = field(factory=Counter)
    batches: int = 0
    requests: int = 0
    rows: int = 0
    again: int = 0
    """Requests beyond one for each record."""
    under_way: int = 0
    """Rows of requests whose answer, or the result of their record, was not in the journal at a kill."""
    wrong: Counter[str] = field(factory=Counter)
    known: list[float] = field(factory=lambda: [0, 0.0])
    """Tokens and US dollars of the rows with usage."""
    most: list[float] = field(factory=lambda: [0, 0.0])
    """The most that the others can have used."""
    bill: list[float] = field(factory=lambda: [0, 0.0])


def run_killed(folder: Path, cluster: Helper, chooser: random.Random, tally: Tally, kills: int) -> None:
    """Run one batch to its end, with kills on the way."""
    address, _, token = cluster.words
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    limits = ("--max-concurrency", CONCURRENT, "--ray-address", address)
    begin = command("bench.yaml", "q.jsonl", "-o", "a.jsonl", "--engine", "ray", *limits)
    resume = command("resume", "a.jsonl.run", *limits)
    while True:
        if not (is_begun := (folder / "a.jsonl.run" / "manifest.json").exists()):
            shutil.rmtree(folder / "a.jsonl.run", ignore_errors=True)
        with (folder / "log").open("a") as log:
            before = workers_of(cluster)
            driver = subprocess.Popen(resume if is_begun else begin, cwd=folder, stderr=log, env=environment)
        try:
            while driver.poll() is None and tally.kills.total() < kills:
                kill_one(driver, chooser, cluster, before, tally)
            code = driver.wait(STUCK_S)
        finally:
            driver.kill()
        if code == 0:
            return
        assert code == -signal.SIGKILL, f"the driver ended with {code}: {(folder / 'log').read_text()[-2000:]}"


def kill_one(
    driver: subprocess.Popen[bytes], chooser: random.Random, cluster: Helper, before: set[int], tally: Tally
) -> None:
    """Kill the driver or one of its workers after a random time, unless the driver has ended by then."""
    who = chooser.choice(("worker", "driver"))
    try:
        driver.wait(chooser.uniform(0.0, LONGEST_S))
    except subprocess.TimeoutExpired:
        victims = sorted(workers_of(cluster) - before) if who == "worker" else [driver.pid]
        if victims:
            os.kill(chooser.choice(victims), signal.SIGKILL)
            tally.kills[who] += 1
        if who == "driver":
            driver.wait()


def check(folder: Path, wanted: bytes, books: dict[str, Any], tally: Tally) -> None:
    """Compare output, journal and books of a batch that is done."""
    wrong, output = tally.wrong, (folder / "a.jsonl").read_bytes()
    ids = [json.loads(line)["id"] for line in output.splitlines()]
    wrong["outputs without each id once"] += ids != [f"q{number}" for number in range(RECORDS)]
    wrong["outputs unlike that of one machine"] += output != wanted
    wrong["requests without a row on arrival"] += books["missing"]
    wrong["requests whose row was not readable"] += books["unread"]
    with closing(sqlite3.connect(folder / "a.jsonl.run" / "journal.sqlite")) as journal:
        rows = journal.execute(
            "SELECT position, state, prompt_tokens, completion_tokens, cost, most_tokens, most_cost FROM requests"
        ).fetchall()
    by_record = Counter[int](row[0] for row in rows)
    seen, charged = ({int(number): times for number, times in books[name].items()} for name in ("seen", "charged"))
    wrong["records with more requests than rows"] += sum(seen[number] > by_record[number] for number in seen)
    for number, state, *usage, cost, most_tokens, most_cost in rows:
        tokens, price = priced(number)
        if state == "ok":
            is_same = tuple(usage) == usage_of(number) and abs(cost - price) < 1e-12
            wrong["rows with usage unlike the service's"] += not is_same
            add(tally.known, sum(usage), cost)
        elif state == "unknown":
            add(tally.most, most_tokens, most_cost)
        else:
            wrong["rows neither ok nor unknown"] += 1
        wrong["rows whose bound does not hold"] += most_tokens < tokens or most_cost < price
    for number, times in charged.items():
        add(tally.bill, *(times * each for each in priced(number)))
    tally.batches += 1
    tally.requests += sum(seen.values())
    tally.rows += len(rows)
    tally.again += sum(seen.values()) - RECORDS
    tally.under_way += len(rows) - RECORDS


def priced(number: int) -> tuple[int, float]:
    """Return tokens and cost in US dollars of the answer to a question."""
    prompt, completion = usage_of(number)
    return prompt + completion, (prompt * INPUT_PRICE + completion * OUTPUT_PRICE) / 1e6


def add(sums: list[float], *more: float) -> None:
    """Add to each sum."""
    sums[:] = [each + plus for each, plus in zip(sums, more, strict=True)]


def show(tally: Tally, seconds: float) -> bool:
    """Print the figures with their gates."""
    hits = tally.kills.total()
    print(
        f"  {hits} kills ({tally.kills['worker']} of a worker, {tally.kills['driver']} of the driver) over "
        f"{tally.batches} batches of {RECORDS:,} records in {seconds / 60:.0f} minutes"
    )
    print(f"  {tally.requests:,} requests, {tally.again} of them again; {tally.rows:,} rows")
    most = CONCURRENT * hits
    good = [told(name, str(times), not times, "0") for name, times in tally.wrong.items()]
    good += [
        told("requests again", str(tally.again), tally.again <= tally.under_way, f"<= {tally.under_way} under way"),
        told("under way, each kill", f"{tally.under_way / hits:.1f}", tally.under_way <= most, f"<= {CONCURRENT}"),
    ]
    for unit, known, unknown, bill in zip(("tokens", "dollars"), tally.known, tally.most, tally.bill, strict=True):
        is_between = known - 1e-9 <= bill <= known + unknown + 1e-9
        good.append(
            told(f"the bill in {unit}", f"{bill:,.10g}", is_between, f"{known:,.10g} to {known + unknown:,.10g}")
        )
    return all(good)


def main(kills: int = KILLS, seed: int = SEED) -> int:
    """Kill batches until so many kills have hit."""
    chooser, tally, began = random.Random(seed), Tally(), monotonic()
    with (
        TemporaryDirectory() as name,
        Helper.run(__file__, "serve", name) as service,
        Helper.run(CLUSTER, 2, errors=subprocess.DEVNULL) as cluster,  # Ray tells of each kill there
    ):
        port, root = service.words[0], Path(name)
        write(root / "0", port, 0)
        alone = command("bench.yaml", "q.jsonl", "-o", "a.jsonl", "--max-concurrency", CONCURRENT)
        subprocess.run(alone, cwd=root / "0", check=True, capture_output=True)
        wanted = (root / "0" / "a.jsonl").read_bytes()
        for batch in count(1):
            write(root / str(batch), port, batch)
            run_killed(root / str(batch), cluster, chooser, tally, kills)
            check(root / str(batch), wanted, service.ask(batch), tally)
            print(f"  batch {batch}: {dict(tally.kills)}, {tally.again} again", file=sys.stderr, flush=True)
            if tally.kills.total() >= kills:
                break
    return 0 if show(tally, monotonic() - began) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
