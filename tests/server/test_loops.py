"""A server inside a host that chose another event loop: its transports are none of asyncio's classes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexus_core.server.server import Server
from nexus_core.server.settings import ServerLimits, ServerSettings
from nexus_core.store.store import Store
from tests.server.conftest import OWN, Fakes, load_pipelines

uvloop = pytest.importorskip("uvloop", reason="not made for this system")

ASKED = {"query": "How many days of leave?", "contextId": "own"}


def under_uvloop(work: Coroutine[Any, Any, None]) -> None:
    """Run as such a host does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, 30))


def server(folder: Path, **limits: int) -> Server:
    """Return a server of one pipeline, which a fake answers."""
    store = Store(folder / "store")
    pipelines = load_pipelines(folder, {"own": OWN}, Fakes(), store)
    return Server(pipelines, store, ServerSettings(port=0, limits=ServerLimits(**limits)))


def told(port: int, sent: bytes) -> bytes:
    """Return all that comes back for some bytes, until the server closes; blocks."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_server_answers_whole_and_as_a_stream_under_uvloop(tmp_path: Path) -> None:
    """Several requests over one connection, and a client that leaves in the middle."""

    async def work() -> None:
        async with server(tmp_path) as running, aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(f"{running.origin}/api/queries", json=ASKED) as answer:
                    assert (answer.status, "response" in await answer.json()) == (200, True)
            streamed = {**ASKED, "options": {"stream": True}}
            async with session.post(f"{running.origin}/api/queries", json=streamed) as answer:
                events = await answer.text()
            assert '"type":"end"' in events

    under_uvloop(work())


def test_a_server_refuses_what_is_no_http_under_uvloop(tmp_path: Path) -> None:
    """In one line of JSON, and closes."""

    async def work() -> None:
        async with server(tmp_path) as running:
            answer = await asyncio.to_thread(told, running.port, b"nonsense\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 400 " in head
        assert json.loads(body)["code"] == "malformed_request"

    under_uvloop(work())


def test_one_connection_too_many_is_told_so_under_uvloop(tmp_path: Path) -> None:
    """And who leaves makes room."""

    async def work() -> None:
        async with server(tmp_path, connections=1) as running, aiohttp.ClientSession() as session:
            health = f"{running.origin}/healthz"
            async with session.get(health) as first:
                assert first.status == 200
            refusal = await asyncio.to_thread(told, running.port, b"")
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert json.loads(refusal.partition(b"\r\n\r\n")[2])["code"] == "overloaded"

    under_uvloop(work())
