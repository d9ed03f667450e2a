"""Runs of servers that are killed: what was kept, then one event that says so, and one row of the ledger."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexus_core.store.store import Store
from nexus_core.testing.upstream import ScriptedUpstream, Silence, chat_events, stream_answer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

PIPELINE = """name: slow
models: {{main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192}}}}
steps: [{{generate: main}}]
sinks: [{{use: store}}]
"""
BODY: dict[str, Any] = {"query": "Is it so?", "contextId": "slow", "options": {"stream": True}}
CHAT = {"model": "nexus/slow", "input": "Is it so?", "background": True}
BEGINNING = stream_answer([*chat_events("Yes and no")[:2], Silence()], ends=False)


@asynccontextmanager
async def serve(folder: Path, url: str, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `nexus serve` over a pipeline that asks `url`; yields the process and its address."""
    (folder / "slow.yaml").write_text(PIPELINE.format(url=url))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexus_core.cli.main", "serve", "slow.yaml", "--port", "0", *options,
        cwd=folder, env={**os.environ, "NEXUS_STORE": "store"}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            if b"listening on" in line:
                yield process, line.decode().split()[-1]
                break
    finally:
        for _ in range(2):  # at once, and workers with it
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        await process.communicate()


async def kill_amid(folder: Path, path: str, body: dict[str, Any], id: str) -> str:
    """Ask a server, kill it once some of the answer is kept, and return the id of the run."""
    async with (
        ScriptedUpstream(BEGINNING) as upstream,
        serve(folder, upstream.url) as (process, origin),
        aiohttp.ClientSession() as session,
        session.post(origin + path, json=body) as response,
    ):
        run = (await response.json())["id"] if id else (await response.content.readuntil(b"-1\n"))[4:-3].decode()
        async with Store(folder / "store") as store:
            await until_kept(store, run.removeprefix(id))
        process.send_signal(signal.SIGKILL)
        await process.wait()
        return str(run)


async def until_kept(store: Store, run: str) -> None:
    """Wait until some of an answer is in the store."""
    async with asyncio.timeout(20):
        while "Yes" not in str(await store.runs.events(run, 0)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def events_at(address: str, **more: Any) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(address, **more) as response:
        lines = (await response.text()).splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def test_a_run_whose_server_was_killed_ends_once(tmp_path: Path) -> None:
    """What was kept is told, then that it was interrupted, with its tokens; the ledger has one row of it."""
    run = await kill_amid(tmp_path, "/api/queries", BODY, "")
    for _ in range(2):  # the second server finds it ended
        async with serve(tmp_path, "http://127.0.0.1:1/v1") as (_, origin):
            found = await events_at(f"{origin}/api/runs/{run}/events")
    assert [each["type"] for each in found] == ["start", "chunk", "interrupted"]
    assert found[-1]["usage"]["completionTokens"] >= 1
    assert found[-1]["usage"]["promptTokens"] >= 1
    async with Store(tmp_path / "store") as store:
        [row] = await store.usage()
        assert (row.outcome, row.attempts, row.requests, row.pipeline) == ("interrupted", 1, 1, "slow")
        assert (row.prompt_tokens, row.completion_tokens) == (
            found[-1]["usage"]["promptTokens"], found[-1]["usage"]["completionTokens"]
        )  # fmt: skip
        assert await store.check() == ()


@pytest.mark.parametrize("ahead", [0, 1, 40])
async def test_a_client_that_had_more_than_was_kept_is_told_of_the_interruption(tmp_path: Path, ahead: int) -> None:
    """The last events that a killed server sent are in no store: who reads on after them hears of the end, once."""
    run = await kill_amid(tmp_path, "/api/queries", BODY, "")
    async with serve(tmp_path, "http://127.0.0.1:1/v1") as (_, origin), aiohttp.ClientSession() as session:
        address, last = f"{origin}/api/runs/{run}/events", 2 + ahead
        [told] = await events_at(address, headers={"Last-Event-ID": f"{run}-{last}"})
        async with session.get(address, params={"after": last}) as response:
            sent = await response.text()
    assert told["type"] == "interrupted"
    assert f"id: {run}-{last + 1}\n" in sent


async def test_a_response_in_the_background_fails_with_its_server(tmp_path: Path) -> None:
    """It can be fetched, and its events end with that."""
    id = await kill_amid(tmp_path, "/v1/responses", CHAT, "resp_")
    async with serve(tmp_path, "http://127.0.0.1:1/v1") as (_, origin):
        found = await events_at(f"{origin}/v1/responses/{id}", params={"stream": "true"})
        async with aiohttp.ClientSession() as session, session.get(f"{origin}/v1/responses/{id}") as response:
            told = await response.json()
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    assert [each["type"] for each in found].count("response.failed") == 1
    assert found[-1]["response"] == told
    assert (told["status"], told["error"]["code"]) == ("failed", "interrupted")


async def test_the_other_workers_end_the_runs_of_one_that_was_killed(tmp_path: Path) -> None:
    """Whoever reads on, on any of them, is told so within 5 seconds."""
    async with ScriptedUpstream(BEGINNING) as upstream:
        port = str(free_port())
        async with (
            serve(tmp_path, upstream.url, "--workers", "2", "--port", port) as (_, origin),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        ):
            response = await session.post(origin + "/api/queries", json=BODY)
            run = (await response.content.readuntil(b"-1\n"))[4:-3].decode()
            async with Store(tmp_path / "store") as store:
                await until_kept(store, run)
                [row] = await store.runs.under_way()
                os.kill(int(row.server.split(" ")[1]), signal.SIGKILL)
            async with asyncio.timeout(5):
                while True:
                    try:
                        found = await events_at(f"{origin}/api/runs/{run}/events")
                        break
                    except aiohttp.ClientError:  # the kernel gave the connection to who is gone
                        continue
    assert [each["type"] for each in found] == ["start", "chunk", "interrupted"]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
