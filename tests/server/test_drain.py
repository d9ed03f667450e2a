"""The end of a server: told by a signal, under load, twice, and what its clients and its store have of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexus_core.server.settings import Limits
from nexus_core.store.store import Store
from nexus_core.testing.upstream import (
    Gate,
    ScriptedUpstream,
    Silence,
    chat_events,
    completion,
    json_answer,
    stream_answer,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

PIPELINE = """name: slow
models: {{main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192, retry: {{attempts: 1}}}}}}
steps:
  - generate: main
"""
BODY: dict[str, Any] = {"query": "Is it so?", "contextId": "slow"}
STREAM = BODY | {"options": {"stream": True}}
BEGINNING = stream_answer([*chat_events("Yes and no")[:2], Silence()], ends=False)


class Child:
    """`nexus serve` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.origin = f"http://127.0.0.1:{port}"

    def tell(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, seconds: float) -> int:
        """Return its exit code."""
        return await asyncio.to_thread(self.process.wait, seconds)


def spawned(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start `nexus serve slow.yaml` in a folder."""
    arguments = [sys.executable, "-m", "nexus_core.cli.main", "serve", "slow.yaml", "--port", "0", *options]
    environment = {**os.environ, "NEXUS_STORE": str(folder / "store")}
    return subprocess.Popen(arguments, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE)


@asynccontextmanager
async def child(folder: Path, url: str, *options: str) -> AsyncIterator[Child]:
    """Run a server over a pipeline that asks `url`."""
    (folder / "slow.yaml").write_text(PIPELINE.format(url=url))
    process = spawned(folder, *options)
    try:
        assert process.stderr is not None
        while "listening on" not in (line := await asyncio.to_thread(process.stderr.readline)):
            assert line, "it did not start"
        # Read on: a server that nobody listens to stands still at its log once the pipe is full.
        rest = asyncio.create_task(asyncio.to_thread(process.stderr.read))
        yield Child(process, int(line.rsplit(":", 1)[1]))
        process.kill()
        await rest
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


async def events_of(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    text = (await response.content.read()).decode()
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def test_what_has_begun_ends_well(tmp_path: Path) -> None:
    """After SIGTERM no connection is taken, and who is ready no more says so; answers that have begun are whole."""
    gate = Gate()
    script = [gate, *json_answer(completion("Yes."))]
    async with (
        ScriptedUpstream(script) as upstream,
        child(tmp_path, upstream.url) as server,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(server.origin + "/readyz") as ready:
            assert ready.status == 200
        asked = asyncio.create_task(session.post(server.origin + "/api/queries", json=BODY))
        await gate.reached.wait()
        server.tell()
        await until_refused(session, server.origin)
        gate.open()
        async with await asked as answer:
            assert (answer.status, (await answer.json())["response"]) == (200, "Yes.")
        assert await server.ended(10) == 0
    async with Store(tmp_path / "store") as store:
        assert await store.check() == ()


async def test_a_second_signal_cuts_at_once(tmp_path: Path) -> None:
    """A stream ends by an error event, what has not begun by a status, and the upstream is closed (fault 101)."""
    async with (
        ScriptedUpstream(BEGINNING) as upstream,
        child(tmp_path, upstream.url) as server,
        aiohttp.ClientSession() as session,
    ):
        stream = await session.post(server.origin + "/api/queries", json=STREAM)
        await stream.content.readuntil(b"chunk")
        whole = asyncio.create_task(session.post(server.origin + "/api/queries", json=BODY))
        while len(upstream.requests) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        server.tell()
        await until_refused(session, server.origin)
        server.tell()
        found = await events_of(stream)
        assert (found[-1]["type"], found[-1]["code"]) == ("error", "server_shutting_down")
        async with await whole as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "server_shutting_down")
        assert await server.ended(10) == 0
        assert await upstream.left_open(5) == []
    async with Store(tmp_path / "store") as store:
        assert await store.check() == ()


async def until_refused(session: aiohttp.ClientSession, origin: str) -> None:
    """Wait until a server says that it is not ready, or takes no connection."""
    for _ in range(500):
        try:
            async with session.get(origin + "/readyz") as ready:
                if ready.status == 503:
                    return
        except aiohttp.ClientError:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it is ready still")


async def test_who_takes_too_long_is_cut_and_told(start: Any, fakes: Any) -> None:
    """At the end of the time, in both modes; those who wait for a place are told as well (fault 100)."""
    fakes.connectors["own"].replies = [[float("inf")]]
    running = await start(limits=Limits(drain_s=0.3, running=2, wait_s=30.0))
    body = {"query": "Is it so?", "contextId": "own", "pipeline": "own"}
    asked = [asyncio.create_task(running.call("POST", "/api/queries", json=body)) for _ in range(3)]
    places = running.server.gate.places
    for _ in range(500):
        if places.running == 2 and places.waiting == 1:
            break
        await asyncio.sleep(0.01)
    assert not await running.server.gate.drained(running.server.settings.limits.drain_s)
    found = await asyncio.gather(*asked)
    assert [(status, told["code"]) for status, told in found] == [(503, "server_shutting_down")] * 3
    assert (places.running, places.waiting, fakes.connectors["own"].running) == (0, 0, 0)


async def test_a_server_that_stops_takes_nothing_more(running: Any) -> None:
    """Over connections that are there it says so, asks to be left, and is not ready (fault 100)."""
    await running.call("GET", "/readyz")
    running.server.gate.places.is_draining = True
    for method, path in (("GET", "/readyz"), ("POST", "/api/queries")):
        async with running.session.request(method, running.origin + path, json={}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "server_shutting_down")
            assert answer.headers["Connection"] == "close"


async def test_every_accepted_request_has_an_end(tmp_path: Path) -> None:
    """Of many at once when the signal comes, each is answered, or is told why not (fault 100)."""
    async with (
        ScriptedUpstream(json_answer(completion("Yes."))) as upstream,
        child(tmp_path, upstream.url) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        found: list[int] = []

        async def keep_asking() -> None:
            while True:
                try:
                    async with session.post(server.origin + "/api/queries", json=BODY) as answer:
                        assert "error" in await answer.json() or answer.status == 200
                        found.append(answer.status)
                except aiohttp.ClientConnectionError:  # no connection is taken any more
                    return

        asking = [asyncio.create_task(keep_asking()) for _ in range(16)]
        await asyncio.sleep(0.3)
        server.tell()
        assert await server.ended(30) == 0
        await asyncio.gather(*asking)
    assert found.count(200) > 16
    assert set(found) <= {200, 503}
