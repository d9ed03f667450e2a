"""`/mcp` as HTTP: methods, bodies, sessions, a server that stops, several workers, and one without the SDK."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from nexus_core.server.http.app import REQUEST_ID
from nexus_core.server.mcp.asgi_bridge import AsgiExchange
from nexus_core.server.mcp.mcp_api import MISSING, SESSION
from nexus_core.server.settings import ServerLimits
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.store import Store
from nexus_core.testing.upstream import Gate, ScriptedUpstream, Silence, chat_events, stream_answer
from nexus_core.toolkit.timers import TimeLimit
from tests.server.mcp.conftest import ASKS, Connect, arrived, connected

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start


ACCEPT = {"Accept": "application/json, text/event-stream"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip
CALL = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "ask", "arguments": {"question": "Is it so?"}},
}  # fmt: skip
CANCEL = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_other_methods_than_post_are_refused(running: Running, method: str) -> None:
    """There is no session to listen to or to end; POST alone is told of."""
    async with running.session.request(method, f"{running.origin}/mcp", headers=ACCEPT) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (400, {"data": b"[" + json.dumps(LIST).encode() + b"]"}),
        (400, {"data": b"{"}),
        (400, {"data": b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "tools/list"}'}),
        (400, {"data": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + b"[" * 99 + b"]" * 99 + b"}"}),
        (400, {"data": b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}'}),
        (400, {"data": b"{}", "params": {"odd": "1"}}),
        (406, {"data": json.dumps(LIST), "headers": {"Accept": "text/html"}}),
        (413, {"data": BytesIO(b"x" * (2**20 + 1))}),
        (415, {"data": json.dumps(LIST), "headers": {"Content-Type": "text/plain"}}),
        (415, {"data": json.dumps(LIST), "headers": {"Content-Encoding": "gzip"}}),
    ],
    ids=["batch", "half", "twice", "deep", "version", "query", "accept", "large", "type", "encoding"],
)  # fmt: skip
async def test_what_is_no_message_is_refused_as_json_rpc_does(
    running: Running, status: int, more: dict[str, Any]
) -> None:
    """With its status, and an error without an id."""
    headers = {"Content-Type": "application/json", **ACCEPT, **more.pop("headers", {})}
    found, told = await running.call("POST", "/mcp", headers=headers, **more)
    assert (found, told["jsonrpc"], told["id"]) == (status, "2.0", None), told


async def test_a_session_is_a_name_and_no_state(running: Running) -> None:
    """It is told once, and what comes with any other, or none, is answered just so."""
    async with running.session.post(f"{running.origin}/mcp", json=INITIALIZE, headers=ACCEPT) as response:
        session = response.headers[SESSION]
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store, no-transform"
    assert re.fullmatch("[0-9a-f]{32}", session)
    for headers in (ACCEPT, {**ACCEPT, SESSION: session}, {**ACCEPT, SESSION: "another"}):
        async with running.session.post(f"{running.origin}/mcp", json=LIST, headers=headers) as response:
            assert (response.status, SESSION in response.headers) == (200, False)
            assert "ask_quotes" in await response.text()


async def test_a_notification_is_taken_without_an_answer(running: Running) -> None:
    """As the protocol wants it."""
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert await running.call("POST", "/mcp", json=message, headers=ACCEPT) == (202, None)


@pytest.mark.parametrize("named", [None, [1], {"a": 1}, 1.5, "nothing", 2**80], ids=str)
async def test_a_cancellation_of_nothing_is_taken(running: Running, named: Any) -> None:
    """Whatever it names."""
    message = {**CANCEL, "params": {"requestId": named}}
    headers = {**ACCEPT, SESSION: "mine"}
    assert (await running.call("POST", "/mcp", json=message, headers=headers))[0] == 202


async def test_a_stream_of_a_long_call_says_that_it_is_alive(start: Start, fakes: Fakes) -> None:
    """While nothing else is said; the answer is its last event."""
    gate = Gate()
    async with ScriptedUpstream([gate, *stream_answer(chat_events("Yes."))]) as upstream:
        limits = ServerLimits(commit_s=0.05, heartbeat_s=0.05)
        running = await start(pipelines={"asks": ASKS.format(url=upstream.url)}, limits=limits)
        async with running.session.post(f"{running.origin}/mcp", json=CALL, headers=ACCEPT) as response:
            assert await response.content.readline() == b": ping\n"
            gate.open()
            text = await response.text()
        assert "Yes." in text.rpartition("data: ")[2]


async def test_a_client_that_sends_no_body_is_not_waited_for(start: Start) -> None:
    """Longer than the server has it."""
    running = await start(limits=ServerLimits(body_s=0.05))

    async def nothing() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    headers = {"Content-Type": "application/json", **ACCEPT}
    async with running.session.post(f"{running.origin}/mcp", data=nothing(), headers=headers) as response:
        assert (response.status, (await response.json())["error"]["data"]["code"]) == (408, "body_timeout")


async def test_an_application_without_an_answer_is_a_failure(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """No client waits for it."""

    async def nothing(*_: Any) -> None:
        return

    await running.call("POST", "/mcp", json=CANCEL, headers=ACCEPT)
    monkeypatch.setattr(await running.server.mcp._started(), "handle_request", nothing)
    status, told = await running.call("POST", "/mcp", json=LIST, headers=ACCEPT)
    assert (status, told["error"]["data"]["code"]) == (500, "internal_error")


async def begin_call(running: Running) -> aiohttp.ClientResponse:
    """Return the answer to a call once it begins."""
    return await running.session.post(f"{running.origin}/mcp", json=CALL, headers=ACCEPT)


async def test_a_server_that_stops_refuses_messages_and_lets_calls_end(start: Start) -> None:
    """With 503 for the one, and the whole answer for the other."""
    gate = Gate()
    async with ScriptedUpstream([gate, *stream_answer(chat_events("Yes."))]) as upstream:
        running = await start(pipelines={"asks": ASKS.format(url=upstream.url)})
        call = asyncio.create_task(
            running.session.post(f"{running.origin}/mcp", json=CALL, headers=ACCEPT).__aenter__()
        )
        async with asyncio.timeout(30):
            while not upstream.requests:  # noqa: ASYNC110 - the upstream counts and has no event
                await asyncio.sleep(0.01)
        draining = asyncio.create_task(running.server.gate.drained(30))
        await asyncio.sleep(0)
        status, told = await running.call("POST", "/mcp", json=LIST, headers=ACCEPT)
        assert (status, told["error"]["data"]["code"]) == (503, "server_shutting_down")
        gate.open()
        assert "Yes." in await (await call).text()
        assert await draining


async def test_a_call_that_is_cut_says_so(start: Start) -> None:
    """As the error of the tool, and the upstream is let go."""
    async with ScriptedUpstream([Silence()]) as upstream:
        running = await start(pipelines={"asks": ASKS.format(url=upstream.url)})
        call = asyncio.create_task(
            running.session.post(f"{running.origin}/mcp", json=CALL, headers=ACCEPT).__aenter__()
        )
        async with asyncio.timeout(30):
            while not upstream.requests:  # noqa: ASYNC110 - the upstream counts and has no event
                await asyncio.sleep(0.01)
        running.server.cut()
        text = await (await call).text()
        assert "server_shutting_down: the server is about to stop" in text
        assert await upstream.connections[0].closed_within(5)


async def test_without_the_sdk_it_says_what_to_install(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the server needs nothing of it."""
    monkeypatch.setitem(sys.modules, "mcp.server.streamable_http_manager", None)
    status, told = await running.call("POST", "/mcp", json=LIST, headers=ACCEPT)
    assert (status, told["error"]["message"], told["error"]["data"]["code"]) == (501, MISSING, "not_installed")
    assert (await running.call("GET", "/api/contexts"))[0] == 200


async def test_clients_of_both_eras_go_on_after_a_failure(connect: Connect, running: Running) -> None:
    """A tool that fails inside ends its call alone, and tells nothing of what went wrong."""
    running.server.serving._known.clear()

    async with connect() as client:
        original = running.server.serving.check_context
        running.server.serving.check_context = broken  # type: ignore[method-assign, assignment]
        result = await client.call_tool("ask", {"question": "Leave?", "context": "handbook"})
        running.server.serving.check_context = original  # type: ignore[method-assign]
        assert (result.is_error, "c4n4ry" in str(result)) == (True, False)
        assert not (await client.call_tool("ask", {"question": "Leave?", "context": "handbook"})).is_error


async def broken(*_: Any) -> None:
    """Fail as nobody foresaw."""
    raise RuntimeError("c4n4ry")


def spawn(folder: Path, port: int) -> subprocess.Popen[str]:
    """Start `nexus serve asks.yaml --workers 2` in a folder."""
    arguments = [sys.executable, "-m", "nexus_core", "serve", "asks.yaml", f"--port={port}", "--workers=2"]
    environment = {**os.environ, "NEXUS_STORE": str(folder / "store")}
    return subprocess.Popen(arguments, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE)


@asynccontextmanager
async def two_workers(folder: Path, url: str) -> AsyncIterator[tuple[str, str]]:
    """Run a server of two workers; yields its origin and a key."""
    (folder / "asks.yaml").write_text(ASKS.format(url=url))
    async with Store(folder / "store") as store:
        _, key = await ApiKeys(store).new("ann")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = spawn(folder, port)
    try:
        assert process.stderr is not None
        listening = 0
        while listening < 2:
            line = await asyncio.to_thread(process.stderr.readline)
            assert line, "the workers have not started"
            listening += "listening on" in line
        yield f"http://127.0.0.1:{port}", key
    finally:
        for _ in range(2):  # the second cuts what runs
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
        await asyncio.to_thread(process.communicate, timeout=30)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no several workers")
@pytest.mark.slow
async def test_any_worker_takes_any_message(tmp_path: Path) -> None:
    """Each by a connection of its own: lists, calls, and a cancellation that comes to the other worker."""
    async with (
        ScriptedUpstream(stream_answer(chat_events("Yes.")), [Silence()]) as upstream,
        two_workers(tmp_path, upstream.url) as (origin, key),
        aiohttp.ClientSession() as session,
    ):
        headers = {**ACCEPT, "Authorization": f"Bearer {key}", "Connection": "close", SESSION: "mine"}

        async def post(message: Any) -> tuple[int, str]:
            async with session.post(f"{origin}/mcp", json=message, headers=headers) as response:
                return response.status, await response.text()

        for _ in range(8):
            status, text = await post(LIST)
            assert (status, "ask_asks" in text) == (200, True)
        assert "Yes." in (await post(CALL))[1]
        calls = [asyncio.create_task(post({**CALL, "id": number})) for number in range(4)]
        await arrived(upstream, 5)
        for number in range(4):
            assert (await post({**CANCEL, "params": {"requestId": number}}))[0] == 202
        for status, text in await asyncio.wait_for(asyncio.gather(*calls), 30):
            assert (status, "Request cancelled" in text) == (200, True)
        async with connected(origin, "2026-07-28", Authorization=f"Bearer {key}") as client:
            assert (await client.list_prompts()).prompts


@pytest.mark.parametrize(("more", "told"), [(False, ["answered"]), (True, ["left"])], ids=["whole", "half"])
async def test_a_client_that_leaves_with_the_last_byte_was_answered(more: bool, told: list[str]) -> None:
    """While the application still tidies up; one that leaves before has left, as the log of requests says then."""
    seen: list[str] = []
    limits = ServerLimits()

    async def application(scope: object, receive: object, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        if not more:
            await send({"type": "http.response.body", "body": b""})
        await asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.StreamResponse:
        request[REQUEST_ID] = "r"
        exchange = AsgiExchange(request, b"", limits, TimeLimit(limits.write_s))
        seen.append("left")
        response = await exchange.answer(application, {})
        seen[:] = ["answered"]
        return response

    server = web.Application()
    server.router.add_get("/", handler)
    runner = web.AppRunner(server, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"data: 1\n\n" if more else b"\r\n0\r\n\r\n")
        writer.transport.abort()
    finally:
        await runner.cleanup()
    assert seen == told
