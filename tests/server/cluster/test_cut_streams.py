"""Two `nexus serve` over one real Postgres: streams that are cut as they come, servers that are stopped and killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest

from nexus_core import Store
from nexus_core.store.access.api_keys import ApiKeys
from tests.server.cluster.held_upstream import PIECES, WHOLE, HeldUpstream, question
from tests.server.cluster.serve_process import ServeProcess, two_processes

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals, and several workers")]

PIPELINE = """name: asks
models: {{main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192}}}}
steps: [{{generate: main}}]
sinks: [{{use: store}}]
"""
EVENTS = PIECES + 2
AT_ONCE = 25
Event = tuple[str, dict[str, Any]]


class Client:
    """Asks servers with one key, over a connection of its own each time, so that any worker may have it."""

    def __init__(self, session: aiohttp.ClientSession, key: str) -> None:
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}"}

    @asynccontextmanager
    async def ask(
        self, server: ServeProcess, body: dict[str, Any], last: str = ""
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask, or go on after an event by asking again."""
        headers = self._headers | ({"Last-Event-ID": last} if last else {})
        async with self._session.post(server.origin + "/api/queries", json=body, headers=headers) as response:
            yield response

    @asynccontextmanager
    async def read_on(self, server: ServeProcess, last: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Go on after an event at the address of its run."""
        address = f"{server.origin}/api/runs/{last.partition('-')[0]}/events"
        async with self._session.get(address, headers=self._headers | {"Last-Event-ID": last}) as response:
            yield response

    async def call(self, method: str, address: str, **more: Any) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        async with self._session.request(method, address, headers=self._headers, **more) as response:
            return response.status, await response.json()


@asynccontextmanager
async def client(url: str, *scopes: str, **limits: Any) -> AsyncIterator[Client]:
    """Give a client with a key of its own, which is made in the store."""
    async with Store(url) as store:
        _, key = await ApiKeys(store).new("ann", scopes or ("query", "read"), **limits)
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Client(session, key)


def stream(number: int, pieces: int) -> dict[str, Any]:
    """Return what asks for a stream that is held after so many pieces."""
    options = {"stream": True, "includeMetadata": True}
    return {"query": question(number, pieces), "contextId": "asks", "options": options}


async def take(response: aiohttp.ClientResponse, count: int = EVENTS + 1) -> list[Event]:
    """Return the next events of a stream, so many or all."""
    assert response.status == 200, await response.text()
    found: list[Event] = []
    id = ""
    async for line in response.content:
        if line.startswith(b"id: "):
            id = line[4:].strip().decode()
        elif line.startswith(b"data: "):
            found.append((id, json.loads(line[6:])))
            if len(found) == count:
                break
    return found


def text_of(events: list[Event]) -> str:
    return "".join(event["content"] for _, event in events if event["type"] == "chunk")


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[HeldUpstream]:
    """Yield the service that the pipeline of the servers asks."""
    async with HeldUpstream() as found:
        (tmp_path / "asks.yaml").write_text(PIPELINE.format(url=found.url))
        yield found


async def cut_and_resume(ann: Client, upstream: HeldUpstream, servers: tuple[ServeProcess, ...], cut: int) -> None:
    """Cut a stream after an event while the rest is held back, read it on, and compare."""
    server, other = servers[cut % 2], servers[(cut + cut // 2) % 2]
    body = stream(cut, min(max(cut - 1, 1), PIECES))
    if cut == EVENTS:
        upstream.let_go(cut)
    async with ann.ask(server, body) as response:
        begun = await take(response, cut)
        response.close()
    resumed = ann.read_on(other, begun[-1][0]) if cut // 4 % 2 else ann.ask(other, body, begun[-1][0])
    async with resumed as response:
        if cut // 8 % 2:  # it reads while nothing comes, else what has come meanwhile
            await response.content.readline()
        upstream.let_go(cut)
        rest = await take(response)
    whole = begun + rest
    run = whole[0][0].partition("-")[0]
    assert [id for id, _ in whole] == [f"{run}-{number}" for number in range(1, EVENTS + 1)], cut
    assert text_of(whole) == WHOLE, cut
    told = whole[-1][1]
    counts = (told["metadata"]["promptTokens"], told["metadata"]["completionTokens"])
    assert (told["type"], told["id"], counts) == ("end", run, (cut, PIECES)), cut


async def test_a_stream_cut_at_any_of_its_events_is_whole_at_any_worker(
    tmp_path: Path, postgres: str, upstream: HeldUpstream
) -> None:
    """The same text and usage, one request to the service and one row of usage and spend for each of 200 runs."""
    async with (
        client(postgres, "admin", concurrency=1000) as ann,
        two_processes(tmp_path, postgres, "--workers", "2") as servers,
    ):
        places = asyncio.Semaphore(AT_ONCE)

        async def one(cut: int) -> None:
            async with places:
                await cut_and_resume(ann, upstream, servers, cut)

        async with asyncio.TaskGroup() as group:
            for cut in range(1, EVENTS + 1):
                group.create_task(one(cut))
        assert upstream.requests == dict.fromkeys(range(1, EVENTS + 1), 1)
        await used(postgres, requests=EVENTS, prompt_tokens=sum(range(EVENTS + 1)), completion_tokens=EVENTS * PIECES)
        async with asyncio.timeout(10):  # each server gathers spend for a second
            while True:
                _, told = await ann.call("GET", servers[0].origin + "/api/spend?by=owner")
                counts = [(row["name"], row["requests"], row["promptTokens"]) for row in told["spend"]]
                if counts == [("ann", EVENTS, sum(range(EVENTS + 1)))]:
                    break
                assert not counts or counts[0][1] < EVENTS, counts
                await asyncio.sleep(0.2)
        await check_limits(servers, postgres, upstream)


async def used(url: str, **counts: int) -> None:
    """Check the ledger, which adds up the rows of one outcome."""
    async with Store(url) as store:
        async with asyncio.timeout(10):
            while sum(row.attempts for row in await store.usage()) < counts["requests"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        [row] = await store.usage()
        assert {name: getattr(row, name) for name in counts} == counts
        assert (row.outcome, row.attempts, await store.check()) == ("ok", counts["requests"], ())


async def check_limits(servers: tuple[ServeProcess, ...], url: str, upstream: HeldUpstream) -> None:
    """Ask more than a key may, at once and within a minute, of all four workers."""
    async with client(url, concurrency=3, requests_per_minute=600) as bob:
        upstream.most = 0

        async def ask(number: int) -> int:
            async with bob.ask(servers[number % 2], stream(number, 1)) as response:
                if response.status == 200:
                    await take(response)
                return response.status

        asked = [asyncio.create_task(ask(1000 + number)) for number in range(24)]
        left = set(asked)
        async with asyncio.timeout(20):
            while len(left) > 3:
                _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for number in range(24):
            upstream.let_go(1000 + number)
        statuses = [await each for each in asked]
        assert (statuses.count(200), statuses.count(429), upstream.most) == (3, 21, 3)
    async with client(url, requests_per_minute=60, concurrency=64) as eve:
        began = monotonic()
        calls = [eve.call("GET", f"{servers[number % 2].origin}/api/pipelines") for number in range(60)]
        statuses = [status for status, _ in await asyncio.gather(*calls)]
        assert set(statuses) == {200, 429}
        assert 10 <= statuses.count(200) <= 11 + monotonic() - began


async def test_servers_are_stopped_and_killed_and_streams_end_as_they_must(
    tmp_path: Path, postgres: str, upstream: HeldUpstream
) -> None:
    """Whole within the drain of one that stops; interrupted, once and soon, where it was killed."""
    async with client(postgres, "admin") as ann, two_processes(tmp_path, postgres, "--drain", "30s") as (one, other):
        await check_reload(ann, tmp_path, one, other)
        async with ann.ask(one, stream(1, 50)) as response:
            begun = await take(response, 51)
            one.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                while "stopping" not in one.log:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            upstream.let_go(1)
            whole = begun + await take(response)
        assert (text_of(whole), whole[-1][1]["type"]) == (WHOLE, "end")
        assert await one.ended() == 0
        await one.start()
        async with ann.ask(other, stream(2, 100)) as response:
            begun = await take(response, 101)
            async with ann.read_on(one, begun[-1][0]) as resumed:  # it reads on while the run goes on
                await resumed.content.readline()
                async with ann.read_on(one, f"{begun[0][0].partition('-')[0]}-0") as beside:
                    kept = await take(beside, 101)
                    assert kept == begun
                    other.process.kill()
                    killed = monotonic()
                    rest = await take(resumed)
                    assert await take(beside) == rest
        assert monotonic() - killed < 5
        [(id, told)] = rest
        assert (told["type"], told["code"]) == ("interrupted", "interrupted")
        assert id == f"{begun[0][0].partition('-')[0]}-{len(begun) + 1}"
        counts = told["usage"]
        assert counts["promptTokens"] > 0
        assert counts["completionTokens"] == -(-len(text_of(begun)) // 4)  # as far as its characters tell
        async with ann.read_on(one, begun[9][0]) as response:
            assert await take(response) == begun[10:] + rest
        async with Store(postgres) as store:
            rows = {row.outcome: row for row in await store.usage()}
            assert {outcome: row.attempts for outcome, row in rows.items()} == {"ok": 1, "interrupted": 1}
            interrupted = rows["interrupted"]
            assert (interrupted.prompt_tokens, interrupted.completion_tokens) == (
                counts["promptTokens"], counts["completionTokens"]
            )  # fmt: skip
        assert upstream.requests == {1: 1, 2: 1}


async def check_reload(ann: Client, folder: Path, one: ServeProcess, other: ServeProcess) -> None:
    """Order to take pipelines anew, by the address of one server and by a signal to the other: both have it."""
    file = folder / "asks.yaml"
    before = file.read_text()
    for number, order in enumerate(("address", "signal")):
        file.write_text(f"{before}description: version {number}\n")
        if order == "address":
            assert (await ann.call("POST", one.origin + "/api/pipelines/reload"))[0] == 200
        else:
            other.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            for server in (one, other):
                while f"version {number}" not in json.dumps(await ann.call("GET", server.origin + "/api/pipelines")):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
