"""Answers that do not end: cut at bounds that follow from the model's most tokens, many at once in little memory."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nexus_core import CallOptions, NexusError, Pipeline, ResponseTooLargeError
from nexus_core.testing.upstream import ScriptedUpstream, Silence, delta, event, http_head, stream_answer

pytestmark = pytest.mark.slow

STREAM_MOST = 17 * 2**20
"""Bytes of a stream of a model with the declared defaults, 8,192 tokens."""


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(b": ping\n\n", id="comments"),
        pytest.param(event(delta("")), id="nothing"),
        pytest.param(b"data: {}" + b" " * 240 + b"\n\n", id="no-choices"),  # 75,000 events, not two million
    ],
)
async def test_an_endless_stream_without_content_is_cut(service: Any, piece: bytes) -> None:
    """By what came over the wire: none of it is kept, and no timer sees it."""
    many = piece * (2**20 // len(piece) + 1)
    _, error = await service.streamed(stream_answer([event(delta("a")), *[many] * 18, Silence()]))
    assert type(error) is ResponseTooLargeError
    assert error.transfer is not None
    assert error.transfer.bytes_received <= STREAM_MOST + 2**20


async def test_an_endless_event_of_short_lines_is_cut(service: Any) -> None:
    """Each line counts with what it takes to keep it."""
    _, error = await service.streamed(stream_answer([b"data: x\n" * 100_000, Silence()]))
    assert type(error) is ResponseTooLargeError


async def test_a_whole_answer_is_bounded_by_its_tokens(service: Any) -> None:
    """It was 32 MiB for a model that gives 8,192 tokens, whatever was asked."""
    head = http_head({"Content-Type": "application/json", "Content-Length": str(2 * 2**20)})
    assert type(await service.fails([head, Silence()])) is ResponseTooLargeError


@pytest.mark.parametrize(
    "options", [CallOptions(extra={"logprobs": True}), CallOptions(max_tokens=100_000)], ids=["enlarged", "asked-for"]
)
async def test_a_larger_answer_can_be_asked_for(connect: Any, prompt: Any, options: CallOptions) -> None:
    """By options that make answers larger, and by a number of tokens."""
    from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer

    async with ScriptedUpstream(json_answer(completion("x" * 2 * 2**20))) as upstream, connect(upstream) as openai:
        assert len((await openai.send_prompt(prompt, options)).text) == 2 * 2**20


@pytest.mark.parametrize(("most", "cut"), [(8192, True), (100_000, False)])
async def test_the_bound_of_the_wire_follows_from_the_pipeline(connect: Any, prompt: Any, most: int, cut: bool) -> None:
    """The `max_output` of its YAML, which the prompt brings, and not only that of the table of models."""
    from attrs import evolve

    from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer

    asked = evolve(prompt, max_output=most)
    async with ScriptedUpstream(json_answer(completion("x" * 2 * 2**20))) as upstream, connect(upstream) as openai:
        if cut:
            with pytest.raises(ResponseTooLargeError):
                await openai.send_prompt(asked, CallOptions())
        else:
            assert len((await openai.send_prompt(asked, CallOptions())).text) == 2 * 2**20


PROGRAM = """
import asyncio, sys
from nexus_core import Pipeline

async def one(pipeline):
    async for event in pipeline.stream("Is it so?"):
        last = event
    return getattr(last, "kind", "whole")

async def main():
    async with Pipeline.load(sys.argv[1]) as pipeline:
        found = await asyncio.gather(*(one(pipeline) for _ in range(64)))
    print(found.count("response_too_large"))
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

asyncio.run(main())
"""
PIPELINE = """name: asks
models:
  main:
    {{use: openai, model: m, base_url: "{url}", api_key: k, connections: 64, window: {window}, max_output: {most}}}
steps: [generate: main]
"""
CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "abcdefghijklmnop" * 40}}]}
ENDLESS = {
    "text": event(delta("some words of text, " * 30)),
    "calls": event({"choices": [{"index": 0, "delta": CALL}]}),
    "line": b"x" * 4096,
    "wide": event(delta("some words of text, " * 30 + "\U0001f600")),
}


@asynccontextmanager
async def endless(piece: bytes) -> AsyncIterator[str]:
    """Serve streams that go on until the client leaves; yield the address."""
    many = piece * (65_536 // len(piece))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ")
        writer.write(b"{}\n\n" if piece.startswith(b"data") else b"")
        try:
            while True:
                writer.write(many)
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as on Linux")
@pytest.mark.parametrize(
    ("kind", "most"),
    [*((kind, 16_384) for kind in ENDLESS), ("text", 128_000), ("line", 10**6), ("wide", 10**6)],
)
async def test_64_endless_streams_at_once_take_little_memory(tmp_path: Path, kind: str, most: int) -> None:
    """Under 300 MB for the whole process, however much the model may give, and each of them is cut."""
    async with endless(ENDLESS[kind]) as url:
        file = tmp_path / "asks.yaml"
        file.write_text(PIPELINE.format(url=url, most=most, window=2 * most))
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    cut, peak_kib = map(int, done.stdout.split())
    assert cut == 64
    assert peak_kib < 300_000_000 // 1024


_HEAD = http_head({"Content-Type": "application/json"})


def held() -> set[int]:
    """Return what is there of calls."""
    return {id(one) for one in gc.get_objects() if type(one).__name__ in ("BodyReader", "Failover", "Attempt")}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(
            [_HEAD, b'{"choices": [{"message": {"content": "', *[b"x" * 2**20] * 4, Silence()], id="too-large"
        ),
        pytest.param([http_head({"Content-Length": "7"}), b"no JSON"], id="no-json"),
        pytest.param([http_head({"Content-Length": "2"}, status=500), b"{}"], id="status"),
    ],
)
async def test_a_failed_call_is_freed_at_once(tmp_path: Path, reply: list[Any], streamed: bool) -> None:
    """No frame of a traceback holds its error: what was read of an answer would stay until the collector comes."""
    file = tmp_path / "own.yaml"
    async with ScriptedUpstream(reply) as upstream:
        model = f"{{use: openai, model: m, base_url: '{upstream.url}/v1', api_key: k, max_output: 500}}"
        steps = "calls: {attempts: 1}\nsteps: [{prompt: chat}, {generate: main}]"
        file.write_text(f"name: own\nmodels: {{main: {model}}}\n{steps}\n")
        async with Pipeline.load(file) as pipeline:
            gc.collect()
            before = held()
            gc.disable()
            try:
                if streamed:
                    assert [event.type async for event in pipeline.stream("Why?")][-1] == "run_failed"
                else:
                    with pytest.raises(NexusError):
                        await pipeline.run("Why?")
                assert held() <= before
            finally:
                gc.enable()
