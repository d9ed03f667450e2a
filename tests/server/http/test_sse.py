"""Streams: their headers, their heartbeats, clients that read slowly or go away."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import struct
from typing import Any

import pytest
from attrs import evolve

from nexus_core import TruncatedError
from nexus_core.contract.values import Chunk
from nexus_core.server.http.sse import event
from nexus_core.server.settings import ServerLimits
from nexus_core.testing.upstream import ScriptedUpstream, Silence, chat_events, stream_answer

BODY: dict[str, Any] = {"query": "Is it so?", "contextId": "own", "pipeline": "own"}
STREAM = BODY | {"options": {"stream": True}}


UPSTREAM = """name: own
models: {{main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192}}}}
steps:
  - generate: main
"""


async def until(holds: Any) -> None:
    """Wait until something holds, for a while."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never held")


async def text_of(running: Any) -> str:
    async with running.session.post(running.origin + "/api/queries", json=STREAM) as answer:
        return str(await answer.text())


async def test_the_headers_keep_proxies_from_waiting(running: Any) -> None:
    """Nothing is compressed, cached or buffered, whatever the client takes (fault 86)."""
    headers = {"Accept-Encoding": "gzip"}
    async with running.session.post(running.origin + "/api/queries", json=STREAM, headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store, no-transform"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in answer.headers


@pytest.mark.slow
async def test_a_silent_stream_says_that_it_lives(start: Any, fakes: Any) -> None:
    """By comments of one line, which are no events; before the first content too (faults 87, 88)."""
    running = await start(limits=ServerLimits(commit_s=0.05, heartbeat_s=0.05))
    fakes.connectors["own"].replies = [[0.3, Chunk("Yes."), 0.3, Chunk(finish_reason="stop")]]
    text = await text_of(running)
    assert text.count(": ping\n") >= 3
    assert ": ping\n\n" not in text
    events = [json.loads(line[6:])["type"] for line in text.splitlines() if line.startswith("data: ")]
    assert events == ["start", "chunk", "end"]


@pytest.mark.slow
async def test_a_failure_behind_a_heartbeat_is_an_event(start: Any, fakes: Any) -> None:
    """The status is sent already: what is left is to say it in the stream, and no end."""
    running = await start(limits=ServerLimits(commit_s=0.05, heartbeat_s=0.05))
    fakes.connectors["own"].replies = [[0.3, TruncatedError("cut", provider="fake", model="own")]]
    events = [json.loads(line[6:]) for line in (await text_of(running)).splitlines() if line.startswith("data: ")]
    assert events[-1]["type"] == "error"
    assert not [each for each in events if each["type"] in ("end", "chunk")]


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["json", "stream"])
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "silent"])
async def test_a_client_that_goes_ends_its_run(start: Any, fakes: Any, body: dict[str, Any], begun: bool) -> None:
    """Within half a second where no stream is to be read on, and its place is free again (faults 75, 76, 80)."""
    running = await start(limits=ServerLimits(resume_s=0))
    fakes.connectors["own"].replies = [[*([Chunk("Yes ")] if begun else []), float("inf")]]
    asked = asyncio.create_task(running.call("POST", "/api/queries", json=body))
    await until(lambda: fakes.connectors["own"].running == 1)
    await asyncio.sleep(0.05)
    asked.cancel()
    async with asyncio.timeout(0.5):
        while fakes.connectors["own"].running or running.server.gate.places.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_client_that_goes_closes_the_upstream(start: Any, stream: bool) -> None:
    """The model service is not asked to go on for nobody (fault 75)."""
    async with ScriptedUpstream(stream_answer([*chat_events("Yes")[:2], Silence()], ends=False)) as upstream:
        running = await start(pipelines={"own": UPSTREAM.format(url=upstream.url)}, limits=ServerLimits(resume_s=0))
        asked = asyncio.create_task(running.call("POST", "/api/queries", json=STREAM if stream else BODY))
        await until(lambda: upstream.requests)
        await asyncio.sleep(0.05)
        asked.cancel()
        assert await upstream.left_open(5) == []


@pytest.mark.slow
async def test_clients_that_reset_a_stream_leave_no_traceback(
    start: Any, fakes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What is written after that goes nowhere, and nobody hears of it (fault 83)."""
    running = await start(limits=ServerLimits(resume_s=0))
    fakes.connectors["own"].replies = [[Chunk("Yes "), *[0.01, Chunk("and no ")] * 1_000]]
    data = json.dumps(STREAM).encode()
    head = "POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", running.server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            await until(lambda: fakes.connectors["own"].running == 1)
        await until(lambda: fakes.connectors["own"].running == 0)
    await until(lambda: not running.server.gate.places.running and not running.server.gate.places.others)
    gc.collect()  # else what nobody retrieves would be told of later
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []


async def test_a_half_closed_connection_is_one_that_is_gone(running: Any, fakes: Any) -> None:
    """As asyncio has it; a client keeps its side open until it has read (fault 85)."""
    fakes.connectors["own"].replies = [[float("inf")]]
    data = json.dumps(BODY).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    head = "POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    await until(lambda: fakes.connectors["own"].running == 1)
    writer.write_eof()
    await until(lambda: fakes.connectors["own"].running == 0)
    writer.close()


@pytest.mark.slow
async def test_a_client_that_does_not_read_is_cut(start: Any, fakes: Any) -> None:
    """After a while; until then the upstream waits with it, and not in our memory (faults 81, 82)."""
    own = fakes.connectors["own"]
    own.model_info = evolve(own.model_info, window=10**8)  # so much may come of it
    running = await start(limits=ServerLimits(write_s=0.3, resume_s=0))
    played = [0]

    class Endless(list[Any]):
        def __iter__(self) -> Any:
            while played[0] < 10_000:
                played[0] += 1
                yield Chunk("x" * 16_384)

    fakes.connectors["own"].replies = [Endless([Chunk("x")])]
    data = json.dumps(STREAM).encode()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", running.server.port))
    head = "POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    await until(lambda: fakes.connectors["own"].running == 1)
    await until(lambda: fakes.connectors["own"].running == 0)
    assert played[0] < 2_000
    await until(lambda: running.server.gate.places.running == 0)
    client.close()


@pytest.mark.parametrize("text", ["a\rb", "a\n\ndata: {}\n\nb", "a\u2028b\u2029c\x85d", "\x00\x1b[2J", "é\U0001f600"])
async def test_no_text_breaks_out_of_its_event(running: Any, fakes: Any, text: str) -> None:
    """An event is one line of JSON, whatever the model writes (faults 89, 190)."""
    assert event({"content": text}).count(b"\n") == 2
    assert b"\r" not in event({"content": text})
    fakes.connectors["own"].replies = [[Chunk(text), Chunk(finish_reason="stop")]]
    lines = [line[6:] for line in (await text_of(running)).split("\n") if line.startswith("data: ")]
    assert [json.loads(line).get("content") for line in lines] == [None, text, None]
