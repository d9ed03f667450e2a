"""What a plugin does in one request ends that request with an answer, and harms no other that is under way."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexus_core.server.api import run_query
from nexus_core.server.settings import ServerLimits
from tests.server.test_drain import Child

PLUGIN = '''
import asyncio
from pathlib import Path
from nexus_core import *

async def act(how):
    """Do what a query says."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    match how:
        case "cancels":
            task.cancel()
        case "is cancelled later":
            loop.call_soon(task.cancel)
        case "is cancelled by another":
            async def cancel():
                task.cancel()
            asyncio.create_task(cancel())
        case "has a time that never ends":
            await asyncio.timeout(0).__aenter__()
        case "leaks":
            other = asyncio.create_task(asyncio.sleep(60))
            other.cancel()
            await other
        case "exits":
            raise SystemExit(3)
        case "interrupts":
            raise KeyboardInterrupt
        case "closes":
            raise GeneratorExit
        case "raises":
            raise type("Odd", (BaseException,), {})
        case "exits in a task":
            async def leave():
                raise SystemExit(3)
            asyncio.create_task(leave())
            return await asyncio.sleep(0.01)
        case "interrupts in a task":
            async def leave():
                raise KeyboardInterrupt
            asyncio.create_task(leave())
            return await asyncio.sleep(0.01)
        case "stops the loop":
            loop.stop()
            return await asyncio.sleep(0.01)
        case "is deaf":
            while not Path(FOLDER, "done").exists():
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
            return
        case "waits":
            while not Path(FOLDER, "done").exists():
                await asyncio.sleep(0.01)
            return
    await asyncio.sleep(60)

@component
class Finds:
    name = "unruly"
    async def gather(self, query, run):
        await act(query)
        return (Item(id="a", text="One."),)

@component
class Says:
    name = "unruly"
    model_info = ModelInfo(id="unruly-1", provider="test", window=4096, capabilities=frozenset({"streaming"}))
    async def send_prompt(self, prompt, options):
        await act(prompt.query)
        return Completion(text="One.", finish_reason="stop")
    async def stream_response(self, prompt, options):
        yield Chunk("One")
        await act(prompt.query)
        yield Chunk(".", finish_reason="stop")

@hookimpl
def nexus_sources():
    return [Finds]

@hookimpl
def nexus_connectors():
    return [Says]
'''
PIPELINES = {
    "source": "name: source\nplugins: [./unruly.py]\nmodels: {main: extractive}\n"
    "steps: [{gather: unruly}, {prompt: qa}, {generate: main}]\n",
    "model": "name: model\nplugins: [./unruly.py]\nmodels: {main: {use: unruly, retry: false, breaker: false}}\n"
    "steps: [{prompt: {template: {text: '{{ query }}'}}}, {generate: main}]\n",
}
OWN = ("cancels", "leaks", "exits", "closes", "raises")
"""What is found to be the plugin's, as any of its errors."""
LEFT_BEHIND = ("is cancelled later", "is cancelled by another", "has a time that never ends")
"""What cancels the task of the request from outside of the plugin's call."""
SURFACES: dict[str, tuple[str, dict[str, Any]]] = {
    "json": ("/api/queries", {"query": "HOW", "pipeline": "WHERE", "contextId": "WHERE"}),
    "events": (
        "/api/queries",
        {"query": "HOW", "pipeline": "WHERE", "contextId": "WHERE", "options": {"stream": True}},
    ),
    "chat": ("/v1/chat/completions", {"model": "nexus/WHERE", "messages": [{"role": "user", "content": "HOW"}]}),
    "chat, streamed": (
        "/v1/chat/completions",
        {"model": "nexus/WHERE", "messages": [{"role": "user", "content": "HOW"}], "stream": True},
    ),
    "mcp": (
        "/mcp",
        {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "ask", "arguments": {"question": "HOW", "pipeline": "WHERE"}},
        },
    ),
}  # fmt: skip


def asked(surface: str, where: str, how: str) -> tuple[str, Any]:
    """Return where a question is sent, and its body."""
    path, body = SURFACES[surface]
    return path, json.loads(json.dumps(body).replace("HOW", how).replace("WHERE", where))


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("where", PIPELINES)
async def test_what_a_plugin_does_is_told_to_its_client_and_harms_nobody_else(
    start: Any, tmp_path: Path, where: str, surface: str
) -> None:
    """Each client has an answer that says so, and who asks meanwhile has its own; no place is lost."""
    (tmp_path / "unruly.py").write_text(PLUGIN.replace("FOLDER", repr(str(tmp_path))))
    running = await start(pipelines=PIPELINES)

    async def ask(how: str, where: str = where) -> tuple[int, str]:
        path, body = asked(surface, where, how)
        accept = {"Accept": "application/json, text/event-stream"}
        async with running.session.post(running.origin + path, json=body, headers=accept) as response:
            return response.status, await response.text()

    async with asyncio.timeout(60):
        others = [asyncio.create_task(ask("waits", name)) for name in PIPELINES]
        for how in (*OWN, *LEFT_BEHIND):
            status, text = await ask(how)
            told = text.replace("\\'", "'")
            if surface == "mcp":
                assert status == 200
                assert '"isError":true' in told or how in LEFT_BEHIND
                assert '"error":' in told or how in OWN
            elif "data:" in told:
                assert (status, where) == (200, "model")
            else:
                assert status in (500, 502)
            if how in OWN:
                assert ("source 'unruly' failed" if where == "source" else "connector Says of 'main'") in told
                assert ("cancelled the task that it runs in" in told) is (how == "cancels")
            elif surface != "mcp":
                assert "something within the run cancelled the task of its caller (unruly.py, line" in told
        (tmp_path / "done").touch()
        for other in others:
            status, text = await other
            assert (status, "run_failed" in text, "One" in text or "Nothing in" in text) == (200, False, True)
    places = running.server.gate.places
    assert (places.running, places.waiting) == (0, 0)


@pytest.mark.parametrize("surface", ["json", "chat"])
async def test_a_plugin_that_does_not_end_holds_no_client(
    start: Any, tmp_path: Path, surface: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its request is answered when its time is up, also when the server stops; the log says which pipeline goes on."""
    monkeypatch.setattr(run_query, "HEEDS_S", 0.05)
    (tmp_path / "unruly.py").write_text(PLUGIN.replace("FOLDER", repr(str(tmp_path))))
    running = await start(pipelines=PIPELINES, limits=ServerLimits(drain_s=0), deadline_s=0.2)
    path, body = asked(surface, "source", "is deaf")
    try:
        async with asyncio.timeout(30):
            status, told = await running.call("POST", path, json=body)
        assert (status, "timeout" in json.dumps(told)) == (504, True)
        assert "a run of pipeline source goes on though it was cancelled" in caplog.text
        assert running.server.gate.places.running == 0
    finally:
        (tmp_path / "done").touch()
        for task in run_query._deaf.copy():
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_a_plugin_that_stops_the_loop_stops_no_server(tmp_path: Path) -> None:
    """Nor does one that ends the process from a task of its own; what others have asked is answered."""
    (tmp_path / "unruly.py").write_text(PLUGIN.replace("FOLDER", repr(str(tmp_path))))
    (tmp_path / "source.yaml").write_text(PIPELINES["source"])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexus_core.cli.main", "serve", "source.yaml", "--port", "0", "--no-warm-up",
        cwd=tmp_path, env={**os.environ, "NEXUS_STORE": "store"}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    server = Child(process)
    listening = asyncio.create_task(server.listen())
    try:
        origin = (await server.says("listening on")).rpartition(" ")[2]
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:

            async def ask(how: str) -> tuple[int, str]:
                path, body = asked("json", "source", how)
                async with session.post(origin + path, json=body) as response:
                    return response.status, await response.text()

            other = asyncio.create_task(ask("waits"))
            for how in ("exits in a task", "interrupts in a task", "stops the loop"):
                assert (await ask(how))[0] == 200
                await server.says("has stopped the event loop, which goes on")
            for how in ("interrupts", "exits"):
                status, text = await ask(how)
                assert (status, "source 'unruly' failed" in text) == (500, True)
            (tmp_path / "done").touch()
            assert (await other)[0] == 200
        server.tell()
        assert await server.ended(20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await listening
