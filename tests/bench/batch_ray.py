"""Records a second of `nexus batch --engine ray` on two local workers, against a bare Ray Data map of the same request.

    python tests/bench/batch_ray.py [CONCURRENCY [RECORDS [DELAY_MS]]]
    python tests/bench/batch_ray.py quota

The model service answers after DELAY_MS (50 by default), in a process of its own, and takes down when requests come.
The speed is that between the first and the last tenth of them, so that start and end of the processes do not count. The
two take turns, each with a Ray cluster of its own. It needs the extra `ray`, and `ray[data]` for the map.
With `quota`, it does what `batch.py quota` does, on two workers: the limits of both are the service's one.

Left out: several machines, networks, the growth of the concurrency at the start, gathering and ranking, TLS, failures.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from batch import quota
from stub import StubProtocol, json_answer

DELAY_MS = 50
ROUNDS = 3
GATE = 0.85
CONCURRENCY = 64
RECORDS = 6000
PIPELINE = """\
name: bench
models:
  main: {use: openai, model: gpt-4o-mini, base_url: "http://127.0.0.1:PORT/v1", api_key: k}
steps:
  - prompt: {template: ask.jinja}
  - generate: main
"""


class LateProtocol(StubProtocol):  # type: ignore[misc]  # mypy does not find the script beside this one
    """Answers each request after a while, and takes down when it came."""

    times: list[float]
    delay_s: float

    def _answer(self, streamed: bool, at_length: bool) -> None:
        self.times.append(perf_counter())
        asyncio.get_running_loop().call_later(self.delay_s, self._transport.write, self._whole)


async def serve(delay_ms: int) -> None:
    """Serve on a free port; each line of standard input is answered with the times of the requests since the last."""
    times: list[float] = []

    def protocol() -> LateProtocol:
        late = LateProtocol(json_answer(20), [], 0.0, [])
        late.times, late.delay_s = times, delay_ms / 1000
        return late

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(times), flush=True)
        times.clear()


class Ask:
    """The request of the pipeline, by bare aiohttp."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._session: Any = None

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a row."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        messages = [{"role": "user", "content": f"Answer in one word. {row['query']}"}]
        async with self._session.post(self._url, json={"model": "gpt-4o-mini", "messages": messages}) as response:
            answer = await response.json()
        return {"id": row["id"], "answer": answer["choices"][0]["message"]["content"]}


def run_map(port: int, concurrency: int, records: int) -> None:
    """Map a data set by Ray Data on two workers, and write the answers as JSON Lines."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_DEFAULT_ASYNC_ROW_UDF_MAX_CONCURRENCY": str(concurrency // 2),
    }
    import ray
    import ray.data

    ray.init(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items(
        [{"id": f"q{number}", "query": f"Question {number}?"} for number in range(records)], override_num_blocks=4
    )
    answers = rows.map(Ask, fn_constructor_args=(port,), concurrency=2, num_cpus=1)
    assert sum(1 for _ in answers.iter_rows()) == records
    ray.shutdown()


def run_batch(port: int, concurrency: int, records: int) -> None:
    """Run a batch of the same records."""
    folder = Path("batch")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "bench.yaml").write_text(PIPELINE.replace("PORT", str(port)))
    (folder / "ask.jinja").write_text("Answer in one word. {{ query }}")
    lines = [json.dumps({"id": f"q{number}", "query": f"Question {number}?"}) for number in range(records)]
    (folder / "questions.jsonl").write_text("\n".join(lines))
    nexus = Path(sys.executable).with_name("nexus")
    command = [str(nexus), "batch", "bench.yaml", "questions.jsonl", "-o", "answers.jsonl", "--engine", "ray"]
    options = ["--max-concurrency", str(concurrency), "--engine-option", "workers=2"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def rate(times: list[float]) -> float:
    """Return the requests a second between the first and the last tenth."""
    tenth = len(times) // 10
    inner = sorted(times)[tenth:-tenth]
    return (len(inner) - 1) / (inner[-1] - inner[0])


def main() -> None:
    """Measure in turn and print a table."""
    defaults = (CONCURRENCY, RECORDS, DELAY_MS)
    concurrency, records, delay_ms = [*map(int, sys.argv[1:]), *defaults[len(sys.argv) - 1 :]]
    rates: dict[str, list[float]] = {"map": [], "batch": []}
    with (
        TemporaryDirectory() as folder,
        Path(folder, "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, __file__, "serve", str(delay_ms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as service,
    ):
        assert service.stdin is not None
        assert service.stdout is not None
        port = service.stdout.readline().strip()
        for _ in range(ROUNDS):
            for what, speeds in rates.items():
                arguments = [what, port, str(concurrency), str(records)]
                subprocess.run([sys.executable, __file__, *arguments], cwd=folder, check=True, stderr=log)
                service.stdin.write("\n")
                service.stdin.flush()
                speeds.append(rate(json.loads(service.stdout.readline())))
        service.stdin.close()
    ratios = [batch / bare for batch, bare in zip(rates["batch"], rates["map"], strict=True)]
    for what, speeds in rates.items():
        print(f"{what:>6}  {', '.join(f'{speed:,.0f}' for speed in speeds)} records/s")
    good = median(ratios) >= GATE
    print(f"ratios  {', '.join(f'{ratio:.2f}' for ratio in ratios)}, at least {GATE}: {'met' if good else 'MISSED'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", delay_ms]:
            asyncio.run(serve(int(delay_ms)))
        case ["map", *rest]:
            run_map(*map(int, rest))
        case ["batch", *rest]:
            run_batch(*map(int, rest))
        case ["quota"]:
            sys.exit(not quota("--engine", "ray", "--engine-option", "workers=2"))
        case _:
            main()
