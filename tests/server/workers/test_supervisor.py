"""Several processes on one port: what a key may do holds for all of them together, and who dies is replaced."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from hypothesis import given, strategies as st

from nexus_core import UsageError
from nexus_core.server.access.access import WRONG_KEYS_PER_MINUTE
from nexus_core.server.workers.supervisor import RestartBackoff, check_workers, run_workers
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.store import Store
from nexus_core.testing.upstream import Gate, ScriptedUpstream, completion, json_answer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there are no several workers")]

PIPELINE = """name: asks
models:
  main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192, retry: {{attempts: 1}}}}
  spare: {{use: extractive}}
steps:
  - generate:
"""
BODY: dict[str, Any] = {"query": "Is it so?", "contextId": "asks"}


class Workers:
    """A server of two workers, and a key of its store."""

    def __init__(self, process: subprocess.Popen[str], origin: str, key: str) -> None:
        self.process = process
        self.origin = origin
        self.key = key

    async def ask(self, session: aiohttp.ClientSession, path: str = "/api/pipelines", **more: Any) -> tuple[int, Any]:
        """Ask over a connection of its own, so that the system chooses a worker each time."""
        headers = {"Authorization": f"Bearer {self.key}", "Connection": "close"}
        async with session.request("POST" if more else "GET", self.origin + path, headers=headers, **more) as answer:
            return answer.status, await answer.json()


def spawned(folder: Path, port: int) -> subprocess.Popen[str]:
    """Start `nexus serve asks.yaml --workers 2` in a folder."""
    arguments = [sys.executable, "-m", "nexus_core.cli.main", "serve", "asks.yaml", f"--port={port}", "--workers=2"]
    environment = {**os.environ, "NEXUS_STORE": str(folder / "store")}
    return subprocess.Popen(arguments, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE)


def children_of(number: int) -> list[Path]:
    """Return the folders in /proc of the processes that a process has started."""
    return [Path("/proc", each) for each in Path(f"/proc/{number}/task/{number}/children").read_text().split()]


@asynccontextmanager
async def two_workers(folder: Path, url: str = "http://127.0.0.1:9", **limits: Any) -> AsyncIterator[Workers]:
    """Run `nexus serve --workers 2` over a store with a key that has these limits."""
    (folder / "asks.yaml").write_text(PIPELINE.format(url=url))
    async with Store(folder / "store") as store:
        _, key = await ApiKeys(store).new("ann", **limits)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = spawned(folder, port)
    try:
        assert process.stderr is not None
        for _ in range(2):
            while "listening on" not in (line := await asyncio.to_thread(process.stderr.readline)):
                assert line, "it did not start"
        yield Workers(process, f"http://127.0.0.1:{port}", key)
    finally:
        for _ in range(2):  # the second cuts what runs; to kill it would leave the workers behind
            process.terminate()
            await asyncio.sleep(0.2)
        await asyncio.to_thread(process.communicate, timeout=30)


async def test_requests_of_a_key_a_minute_are_those_to_all_workers(tmp_path: Path) -> None:
    """The sum over both, however the connections fall (fault 104)."""
    async with two_workers(tmp_path, requests_per_minute=60) as workers, aiohttp.ClientSession() as session:
        began = monotonic()
        found = Counter([status for _ in range(40) for status, _ in [await workers.ask(session)]])
        took = monotonic() - began
    assert set(found) == {200, 429}
    assert 10 <= found[200] <= 10 + took + 1


async def test_requests_of_a_key_at_once_are_those_to_all_workers(tmp_path: Path) -> None:
    """One more is refused by either of them, and the places come back to all (fault 104)."""
    gate = Gate()
    script = [gate, *json_answer(completion("Yes."))]
    async with (
        ScriptedUpstream(script) as upstream,
        two_workers(tmp_path, upstream.url, concurrency=3) as workers,
        aiohttp.ClientSession() as session,
    ):
        asked = [asyncio.create_task(workers.ask(session, "/api/queries", json=BODY)) for _ in range(12)]
        refused, left = set[Any](), set(asked)
        while len(refused) < 9:
            done, left = await asyncio.wait(left, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            assert done, "more than three were let in"
            refused |= done
        assert {(task.result()[0], task.result()[1]["code"]) for task in refused} == {(429, "concurrency_exceeded")}
        gate.open()
        found = [await task for task in asked]
        assert Counter(status for status, _ in found) == {200: 3, 429: 9}
        assert len(upstream.requests) == 3
        again = [await workers.ask(session, "/api/queries", json=BODY) for _ in range(6)]
        assert [status for status, _ in again] == [200] * 6


async def test_wrong_keys_are_counted_by_all_workers(tmp_path: Path) -> None:
    """So many a minute, and no more because there are two (faults 104, 203)."""
    async with two_workers(tmp_path) as workers, aiohttp.ClientSession() as session:
        right, workers.key = workers.key, "wrong"
        found = Counter(
            [status for _ in range(WRONG_KEYS_PER_MINUTE * 2) for status, _ in [await workers.ask(session)]]
        )
        workers.key = right
        assert (await workers.ask(session))[0] == 200
    assert found == {401: WRONG_KEYS_PER_MINUTE, 429: WRONG_KEYS_PER_MINUTE}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers by /proc")
async def test_a_worker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    """The other one serves on meanwhile, and the new one knows what was chosen before it was there."""
    async with two_workers(tmp_path, scopes=("read", "query", "admin")) as workers, aiohttp.ClientSession() as session:
        chosen = {"modelId": "spare", "pipeline": "asks"}
        headers = {"Authorization": f"Bearer {workers.key}"}
        async with session.put(workers.origin + "/api/queries/models/default", json=chosen, headers=headers) as answer:
            assert answer.status == 200
        one, other = children_of(workers.process.pid)
        os.kill(int(one.name), signal.SIGKILL)
        stderr = workers.process.stderr
        assert stderr is not None
        while "is started again" not in (line := await asyncio.to_thread(stderr.readline)):
            assert "ended" not in line
        assert "(SIGKILL)" in line
        assert (await workers.ask(session))[0] == 200  # by the one that is left
        while "listening on" not in await asyncio.to_thread(stderr.readline):
            continue
        assert workers.process.poll() is None
        assert other.exists()
        defaults = set()
        for _ in range(20):
            _, told = await workers.ask(session, "/api/queries/models")
            defaults |= {model["name"] for model in told["models"] if model["default"]}
        assert defaults == {"spare"}


def test_a_worker_that_does_not_start_ends_the_server(tmp_path: Path) -> None:
    """After a few times in a row, with what it was; the others are told to stop."""
    log = tmp_path / "log"
    script = f"import os, sys; open({str(log)!r}, 'a').write(sys.argv[1]); os.kill(os.getpid(), 9)"
    assert run_workers(1, lambda worker: [sys.executable, "-c", script, str(worker.number)]) == signal.SIGKILL
    assert log.read_text() == "000"


def test_a_worker_that_is_asked_for_something_wrong_is_not_started_again(tmp_path: Path) -> None:
    """As where the port is taken: it would say the same each time."""
    log = tmp_path / "log"
    script = f"import sys; open({str(log)!r}, 'a').write(sys.argv[1]); sys.exit(2)"
    assert run_workers(1, lambda worker: [sys.executable, "-c", script, str(worker.number)]) == 2
    assert log.read_text() == "0"


def test_the_server_ends_with_the_code_of_the_worker_that_was_wrong() -> None:
    """Not with the signal by which the others were stopped."""
    script = "import sys, time; sys.exit(2) if sys.argv[1] == '1' else time.sleep(60)"
    assert run_workers(2, lambda worker: [sys.executable, "-c", script, str(worker.number)]) == 2


DEAF = "import os, re; from signal import *; signal(SIGTERM, SIG_IGN); os.kill({parent}, SIGTERM); {stuck}"


@pytest.mark.parametrize("stuck", ["re.match('(a+)+$', 'a' * 64 + 'b')", "pause()"], ids=["busy", "still"])
def test_a_worker_that_hears_no_signal_is_killed(stuck: str) -> None:
    """Whatever keeps it from ending, and though there is plenty of time for a second signal."""
    script = DEAF.format(parent=os.getpid(), stuck=stuck)
    assert run_workers(1, lambda worker: [sys.executable, "-c", script], end_s=0.5) == signal.SIGKILL


def test_a_second_signal_leaves_a_worker_no_time_for_what_has_begun() -> None:
    """Only that for its end, after which it is killed, however many more signals come."""
    script = (
        f"import os, signal; tell = lambda *_: os.kill({os.getpid()}, signal.SIGTERM)\n"
        "signal.signal(signal.SIGTERM, tell); tell()\nwhile True: signal.pause()"
    )
    assert run_workers(1, lambda worker: [sys.executable, "-c", script], drain_s=9e9, end_s=0.5) == signal.SIGKILL


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans()), max_size=80))
def test_pauses_before_starts_grow_and_end(ends: list[tuple[float, bool]]) -> None:
    """Up to half a minute; a worker that was well begins anew, and one that never serves is given up."""
    restarts, before, failed = RestartBackoff(), 0.0, 0
    for lived_s, served in ends:
        failed = 0 if served else failed + 1
        pause = restarts.after(lived_s, served=served)
        if failed >= 3:
            assert pause is None
            return
        assert pause is not None
        assert pause == (0.5 if served and lived_s >= 60 else min(max(2 * before, 0.5), 30.0))
        before = pause


async def until_gone(workers: Workers, session: aiohttp.ClientSession) -> bool:
    """Wait until nobody listens any more; returns whether that came."""
    for _ in range(500):
        try:
            await workers.ask(session)
        except aiohttp.ClientConnectionError:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Also where it is killed: those who come after it would share the port with them, and no limits."""
    async with two_workers(tmp_path) as workers, aiohttp.ClientSession() as session:
        workers.process.kill()
        assert await until_gone(workers, session)


@pytest.mark.parametrize("missing", ["reuse", "port"])
def test_workers_are_refused_where_they_cannot_share_a_port(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """By what is lacking."""
    if missing == "reuse":
        monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(UsageError, match=re.escape("--workers out" if missing == "reuse" else "with --port")):
        check_workers(8000 if missing == "reuse" else 0)
