"""The end of a server: told by a signal, under load, twice, and what its clients and its store have of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexus_core.server.settings import ServerLimits
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

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

PIPELINE = """name: {name}
models:
  main:
    use: openai
    model: m
    base_url: "{url}"
    api_key: sk-test
    window: 8192
    retry: {{attempts: 1}}
    limits: {{concurrency: 64}}
steps:
  - generate: main
"""
BODY: dict[str, Any] = {"query": "Is it so?", "contextId": "slow"}
STREAM = BODY | {"options": {"stream": True}}
BEGINNING = stream_answer([*chat_events("Yes and no")[:2], Silence()], ends=False)
EVENTS = "text/event-stream"
"""What a stream is, once its first event is there: who is cut before it hears a status."""
STOPPING = "stopping: what has begun may end"


class Child:
    """`nexus serve` in a process of its own, whose log is read on: a server that nobody listens to stands still."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.origin = ""
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        """Read the log."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self._lines.put_nowait(line.decode())
        self._lines.put_nowait("")

    async def says(self, words: str, times: int = 1) -> str:
        """Wait until it has said something so often, and return the last line."""
        while times:
            line = await self._lines.get()
            assert line, f"it ended and never said {words!r}"
            times -= words in line
        return line.rstrip()

    def tell(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, seconds: float) -> int:
        """Return its exit code."""
        return await asyncio.wait_for(self.process.wait(), seconds)


@asynccontextmanager
async def child(folder: Path, url: str, *options: str, workers: int = 1, **others: str) -> AsyncIterator[Child]:
    """Run a server over the pipeline `slow` that asks `url`, and over others by name."""
    for name, address in {"slow": url, **others}.items():
        (folder / f"{name}.yaml").write_text(PIPELINE.format(name=name, url=address))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexus_core.cli.main", "serve", *(f"{name}.yaml" for name in ("slow", *others)),
        "--port", "0", *options, cwd=folder, env={**os.environ, "NEXUS_STORE": "store"},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    server = Child(process)
    listening = asyncio.create_task(server.listen())
    try:
        server.origin = (await server.says("listening on", workers)).rpartition(" ")[2]
        yield server
    finally:
        if process.returncode is None:
            server.tell()
            server.tell()  # several workers end at once, too: of one that is killed they would be left
            await process.wait()
        await listening


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
        status = 503
        while status == 503:  # until the pipelines are warm
            async with session.get(server.origin + "/readyz") as ready:
                status = ready.status
        assert status == 200
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
        await until(lambda: len(upstream.requests) == 2)
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
    running = await start(limits=ServerLimits(drain_s=0.3, running=2, wait_s=30.0))
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


@pytest.mark.parametrize("comes", [True, False], ids=["ends", "stuck"])
async def test_what_is_no_run_may_end_too(running: Any, comes: bool) -> None:
    """An upload that has begun is taken in, or is told that it was cut (fault 100)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    head = "POST /api/contexts/handbook/documents?name=a.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    writer.write(head.encode() + b"Te")
    await until(lambda: running.server.gate.places.others == 1)
    draining = asyncio.create_task(running.server.gate.drained(20 if comes else 0.1))
    if comes:
        await until(lambda: running.server.gate.is_draining)
        writer.write(b"xt.")
    answer = await reader.readuntil(b"\r\n\r\n")  # not to the end: what is left of the upload is awaited for 10 s
    assert answer.startswith(b"HTTP/1.1 200 " if comes else b"HTTP/1.1 503 ")
    assert await draining is comes
    writer.close()


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
                        if len(found) == 64:
                            server.tell()
                except aiohttp.ClientConnectionError:  # no connection is taken any more
                    return

        await asyncio.gather(*(keep_asking() for _ in range(16)))
        assert await server.ended(30) == 0
    assert found.count(200) >= 64
    assert set(found) <= {200, 503}


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_is_under_way_ends_and_the_store_is_whole(tmp_path: Path, workers: int) -> None:
    """Of 40 answers, half of them streams, who can ends well and is remembered, who cannot is told (fault 100)."""
    gate, half = Gate(), 10
    whole = [*json_answer(completion("Yes."))]
    head, first, *rest = stream_answer(chat_events("Yes", "."))
    async with (
        ScriptedUpstream(*[[gate, *whole]] * half, [Silence()]) as slow,
        ScriptedUpstream(*[[head, first, rest[0], gate, *rest[1:]]] * half, BEGINNING) as paced,
        child(tmp_path, slow.url, *shared(workers), workers=workers, paced=paced.url) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session,
    ):

        async def ask(name: str, number: int) -> tuple[str, str]:
            conversation = f"{name}-{number}"
            options = {"stream": name == "paced", "conversationId": conversation}
            body = {"query": "Is it so?", "contextId": name, "pipeline": name, "options": options}
            async with session.post(server.origin + "/api/queries", json=body) as answer:
                last = (await events_of(answer))[-1] if answer.content_type == EVENTS else await answer.json()
                return conversation, last.get("code", "end")

        asked = [asyncio.create_task(ask(name, number)) for name in ("slow", "paced") for number in range(2 * half)]
        await until(lambda: (len(slow.requests), len(paced.requests)) == (2 * half, 2 * half))
        server.tell()
        await server.says(STOPPING, workers)
        gate.open()
        await until(lambda: sum(task.done() for task in asked) == 2 * half)
        server.tell()  # who cannot end is told at once instead of after 25 s
        ends = dict(await asyncio.gather(*asked))
        assert await server.ended(30) == 0
        assert await slow.left_open(5) + await paced.left_open(5) == []
    assert Counter(ends.values()) == {"end": 2 * half, "server_shutting_down": 2 * half}
    checked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexus_core.cli.main", "context", "check", "--store", str(tmp_path / "store")
    )
    assert await checked.wait() == 0
    async with Store(tmp_path / "store") as store:
        kept = {each.id: each.turns for each in await store.conversations.list()}
    assert kept == {name: 1 for name, end in ends.items() if end == "end"}


def shared(workers: int) -> list[str]:
    """Return the options for so many workers, which need a port that is named."""
    if workers == 1:
        return []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return [f"--workers={workers}", f"--port={free.getsockname()[1]}"]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for a while."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
