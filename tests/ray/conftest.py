"""Services, clusters and batches for the tests of the engine `ray`; without Ray there are no tests here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from attrs import frozen

collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]

HERE = Path(__file__).parent
CANARY = "sk-canary-7d1f0a93b2"
"""The key that the workers of the cluster have, and nobody else."""
DRIVER_KEY = "sk-driver-c04e8815fd"

PIPELINE = """\
name: trains
plugins: [shout.py]
models:
  main:
    use: openai
    model: gpt-4o-mini
    base_url: "${SERVICE}/v1"
    api_key: "${SERVICE_KEY}"
    prices: {input: 1, output: 2}
steps:
  - gather: {use: files, paths: "docs/*.md"}
  - rank: shout
  - prompt: {template: ask.jinja, budget: 500}
  - generate: main
"""
TEMPLATE = "{% for item in items %}[{{ item.number }}] {{ item.text }}\n{% endfor %}{{ query }}\n"
PLUGIN = '''\
from nexus_core import Ranking, RunContext, component, hookimpl


@component
class Shout:
    """Prefers long texts."""

    name = "shout"

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        return ranking.scored("shout", [float(len(item.text)) for item in ranking.items])


@hookimpl
def nexus_rankers():
    return [Shout]
'''


@frozen
class Service:
    """A model service in a process of its own."""

    address: str

    def seen(self) -> dict[str, int]:
        """Return how often each query came."""
        return dict(self._state()["seen"])

    def keys(self) -> list[str]:
        """Return the headers `Authorization` that came."""
        return list(self._state()["keys"])

    def wait_for(self, requests: int, process: subprocess.Popen[str]) -> None:
        """Wait until so many requests have come; fails where the process that sends them has ended before."""
        while sum(self.seen().values()) < requests:
            if process.poll() is not None:
                pytest.fail(f"ended with {process.returncode}: {process.communicate()}")
            time.sleep(0.05)

    def _state(self) -> dict[str, Any]:
        with urlopen(f"{self.address}/seen") as answer:
            state: dict[str, Any] = json.load(answer)
        return state


@frozen
class Cluster:
    """A Ray cluster whose workers know the canary."""

    address: str
    folder: Path
    token: str
    pid: int
    """Of the process that has started it."""

    def workers(self) -> list[int]:
        """Return the process ids of the workers of batches on it."""
        listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 2) for line in listing.splitlines()[1:]]
        parts = {pid for pid, parent, _ in rows if parent == str(self.pid)}
        return [int(pid) for pid, parent, name in rows if parent in parts and name.startswith("ray::BatchWorker")]


def _start(script: str, *arguments: str, **environment: str) -> tuple[subprocess.Popen[str], list[str]]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            return process, line.split()[1:]
    raise AssertionError(f"{script} ended with {process.wait()}")


@pytest.fixture
def service() -> Iterator[Callable[[float], Service]]:
    """Start services that answer after so many seconds."""
    processes = []

    def start(delay_s: float) -> Service:
        process, words = _start("service.py", str(delay_s))
        processes.append(process)
        return Service(f"http://127.0.0.1:{words[0]}")

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return a cluster of two workers that is there before the batches, and after them."""
    process, (address, folder, token) = _start("cluster.py", "2", SERVICE_KEY=CANARY, SERVICE="http://127.0.0.1:9")
    yield Cluster(address, Path(folder), token, process.pid)
    process.communicate(timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a pipeline, its template, a plugin file and two documents."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "trains.md").write_text("# Trains\nTrains are booked in second class.\n")
    (tmp_path / "docs" / "cars.md").write_text("# Cars\nCars need a reason.\n")
    (tmp_path / "trains.yaml").write_text(PIPELINE)
    (tmp_path / "ask.jinja").write_text(TEMPLATE)
    (tmp_path / "shout.py").write_text(PLUGIN)
    return tmp_path


def write_questions(folder: Path, count: int) -> list[str]:
    """Write an input of so many records, some of them of conversations, and return their ids."""
    ids = [f"q{number}" for number in range(count)]
    records = [
        {"id": id, "query": f"Question {id}?", "conversation": f"c{number % 3}" if number % 8 == 0 else None}
        for number, id in enumerate(ids)
    ]
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return ids


def start_batch(
    folder: Path, service: Service, *arguments: str, cluster: Cluster | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start `nexus batch`."""
    there = {} if cluster is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.token}
    address = [] if cluster is None else ["--ray-address", cluster.address]
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("nexus")), "batch", *arguments, *address],
        cwd=folder,
        env={**os.environ, "SERVICE": service.address, "SERVICE_KEY": DRIVER_KEY, **there, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_batch(
    folder: Path, service: Service, *arguments: str, cluster: Cluster | None = None, **environment: str
) -> tuple[int, str]:
    """Run `nexus batch`, and return its exit code and what it has printed on stderr."""
    process = start_batch(folder, service, *arguments, cluster=cluster, **environment)
    _, printed = process.communicate(timeout=120)
    return process.returncode, printed
