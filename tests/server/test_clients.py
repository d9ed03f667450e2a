"""Many clients that stream at once, some of whom leave or do not read: the others notice nothing, nothing is left.

The same with a thousand of them, and with times, is `tests/bench/clients.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from nexus_core.server.settings import ServerLimits
from nexus_core.testing.upstream import Gate, Repeat, ScriptedUpstream, Silence, chat_events, stream_answer

pytestmark = pytest.mark.slow

PIPELINE = """name: {name}
content: false
models:
  main:
    use: openai
    model: m
    base_url: "{url}"
    api_key: sk-test
    window: 100000000
    limits: {{concurrency: 100}}
steps:
  - generate: main
sinks: [{{use: jsonl, path: "{runs}", durable: false}}]
"""
STAY, LEAVE, SILENT = 45, 10, 5
WORDS = [f"word{number} " for number in range(20)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file descriptors as Linux shows them")
async def test_who_leaves_or_does_not_read_harms_nobody(start: Any, tmp_path: Path) -> None:
    """Sixty at once: those who stay get all, the others' upstream is closed, each request has its row.

    Nor is anything taken at the end that was not before (faults 75, 77, 78, 80 and 81).
    """
    gate, runs = Gate(), tmp_path / "runs.jsonl"
    head, *chunks = stream_answer(chat_events(*WORDS))
    lengthy = stream_answer(chat_events("x" * 2**18), ends=False)[2]
    assert isinstance(lengthy, bytes)
    scripts = {
        "stay": [head, *chunks[:5], gate, *chunks[5:]],
        "leave": [head, *chunks[:5], Silence()],
        "silent": [head, *chunks[:5], Repeat(lengthy)],
    }
    async with AsyncExitStack() as opened:
        upstreams = {name: await opened.enter_async_context(ScriptedUpstream(steps)) for name, steps in scripts.items()}
        pipelines = {name: PIPELINE.format(name=name, url=each.url, runs=runs) for name, each in upstreams.items()}
        running = await start(pipelines=pipelines, limits=ServerLimits(write_s=0.3, resume_s=0))
        before = descriptors()
        port, places = running.server.port, running.server.gate.places
        staying = [asyncio.create_task(whole(port)) for _ in range(STAY)]
        silent = [await silent_client(port) for _ in range(SILENT)]
        leaving = [await begun(port, "leave") for _ in range(LEAVE)]
        await until(lambda: len(upstreams["stay"].requests) == STAY)
        for writer in leaving:
            writer.transport.abort()
        assert await upstreams["leave"].left_open(5) == []
        assert await upstreams["silent"].left_open(20) == []
        gate.open()
        assert await asyncio.gather(*staying) == ["".join(WORDS)] * STAY
        for client in silent:
            client.close()
        await until(lambda: (places.running, places.waiting, places.others) == (0, 0, 0))
        kept = len(upstreams["stay"].open_connections)
        await until(lambda: descriptors() == before + 2 * kept)
        await until(lambda: len(rows(runs)) == STAY + LEAVE + SILENT)
        sent = [request.headers["x-client-request-id"] for each in upstreams.values() for request in each.requests]
        assert Counter(row["call_id"] for row in rows(runs)) == Counter(sent)
        assert Counter(row["outcome"] for row in rows(runs)) == {"ok": STAY, "cancelled": LEAVE + SILENT}


def request(name: str) -> bytes:
    """Return a request for a stream of a pipeline."""
    data = json.dumps({"query": "Is it so?", "contextId": name, "pipeline": name, "options": {"stream": True}}).encode()
    head = "POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def whole(port: int) -> str:
    """Return the text of a stream that has ended as it should."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("stay"))
    lines = (await reader.readuntil(b"\r\n0\r\n\r\n")).decode().splitlines()
    writer.close()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [each["type"] for each in events] == ["start", *["chunk"] * len(WORDS), "end"]
    return "".join(each.get("content", "") for each in events)


async def begun(port: int, name: str) -> asyncio.StreamWriter:
    """Return a connection over which some of a stream has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(name))
    await reader.readuntil(b'"chunk"')
    return writer


async def silent_client(port: int) -> socket.socket:
    """Return a socket that has asked for a stream and does not read it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, request("silent"))
    return client


def rows(runs: Path) -> list[dict[str, Any]]:
    """Return the rows of the ledger."""
    found = [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []
    return [row for row in found if row["type"] == "attempt_finished"]


def descriptors() -> int:
    """Return how many file descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for a while."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
