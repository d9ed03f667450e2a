"""Connections: shared by the models of a process, counted as they go, and none left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from nexus_openai.connector import OpenAI
from nexus_openai.stream_parsing import StreamReading

from nexus_core import (
    CallOptions,
    Chunk,
    ConnectorError,
    NotConfiguredError,
    Pipeline,
    Prompt,
    RateLimitError,
    StalledError,
    Transfer,
    TruncatedError,
)
from nexus_core.testing.upstream import (
    HalfClose,
    Repeat,
    Reset,
    ScriptedUpstream,
    Silence,
    Step,
    chat_events,
    completion,
    delta,
    event,
    http_answer,
    json_answer,
    stream_answer,
)
from nexus_core.toolkit import BodyReader, SharedResources

pytestmark = pytest.mark.slow

YES = json_answer(completion("Yes."))
STREAM = stream_answer(chat_events("a", "b"))
A = event(delta("a"))


@pytest.mark.parametrize("same", [True, False], ids=["same", "own-limit"])
async def test_connectors_share_one_session(connect: Any, prompt: Prompt, same: bool) -> None:
    """Two models of one process, one connection; only what must differ has a session of its own."""
    shared = SharedResources()
    async with ScriptedUpstream(YES) as upstream:
        first, second = connect(upstream), connect(upstream, api_key="other-key-1", connections=100 if same else 7)
        first.shared = second.shared = shared
        async with second:
            async with first:
                await first.send_prompt(prompt, CallOptions())
            await second.send_prompt(prompt, CallOptions())
            assert len(shared) == 1
        assert len(upstream.connections) == (1 if same else 2)
        assert [request.headers["authorization"][-6:] for request in upstream.requests] == ["ab20e6", "-key-1"]
        assert await upstream.left_open() == []
    assert len(shared) == 0


PIPELINE = """
name: shared
models:
  first: {{use: openai, base_url: "{url}", model: a, fallback: [second]}}
  second: {{use: openai, base_url: "{url}", model: b, api_key: key-of-the-second}}
steps:
  - generate: first
"""


async def test_models_of_a_pipeline_share_one_session(tmp_path: Path) -> None:
    """The fallback goes over the connection that the first model left, with a key of its own."""
    async with ScriptedUpstream(json_answer({"error": "no"}, status=401), YES) as upstream:
        (tmp_path / "shared.yaml").write_text(PIPELINE.format(url=upstream.url))
        async with Pipeline.load(tmp_path / "shared.yaml", environment={}) as pipeline:
            answer = await pipeline.run("Is it open?")
        assert answer.text == "Yes."
        assert [request.headers.get("authorization") for request in upstream.requests] == [
            None,
            "Bearer key-of-the-second",
        ]
        assert len(upstream.connections) == 1
        assert await upstream.left_open() == []


async def test_pipelines_of_a_process_share_one_session(tmp_path: Path) -> None:
    """Who runs several pipelines gives them one `Shared`; the connections end with the last of them."""
    shared = SharedResources()
    async with ScriptedUpstream(YES) as upstream:
        (tmp_path / "shared.yaml").write_text(PIPELINE.format(url=upstream.url))
        one, other = (Pipeline.load(tmp_path / "shared.yaml", environment={}, shared=shared) for _ in range(2))
        async with one:
            async with other:
                await other.run("Is it open?")
                await one.run("Is it open?")
            await one.run("Is it open?")
        assert len(upstream.connections) == 1
        assert await upstream.left_open() == []


async def test_whole_answer_tells_its_transfer(connect: Any, prompt: Prompt) -> None:
    """Status, time to the head, and bytes."""
    async with ScriptedUpstream(YES) as upstream, connect(upstream) as openai:
        transfer = (await openai.send_prompt(prompt, CallOptions())).transfer
    assert transfer is not None
    assert transfer.first_byte_s is not None
    assert transfer.first_byte_s > 0
    size = len(YES[0].partition(b"\r\n\r\n")[2]) if isinstance(YES[0], bytes) else 0
    assert (transfer.status, transfer.bytes_received, transfer.events) == (200, size, 0)


async def test_stream_tells_its_transfer_from_the_head_on(connect: Any, prompt: Prompt) -> None:
    """The first chunk carries it, empty, and it goes on counting; leaving early leaves it right."""
    async with (
        ScriptedUpstream(stream_answer([A, A, b": ping\n\n", Silence()])) as upstream,
        connect(upstream) as openai,
        aclosing(openai.stream_response(prompt, CallOptions())) as chunks,
    ):
        first = await anext(chunks)
        transfer = first.transfer
        assert first == Chunk(transfer=transfer)
        assert isinstance(transfer, Transfer)
        assert (transfer.status, transfer.bytes_received, transfer.events) == (200, 0, 0)
        await anext(chunks)
        await anext(chunks)
        await chunks.aclose()
        assert (transfer.bytes_received, transfer.events) == (2 * len(A), 2)


@pytest.mark.parametrize(
    ("script", "expected", "counts"),
    [
        (stream_answer([A, Silence()]), StalledError, (200, len(A), 1)),
        ([*stream_answer([A, A], ends=False), HalfClose()], TruncatedError, (200, 2 * len(A), 2)),
        (json_answer({"error": "x"}, status=429), RateLimitError, (429, 14, 0)),
    ],
    ids=["stalled", "cut", "refused"],
)
async def test_errors_tell_the_transfer(
    service: Any, script: list[Step], expected: type[ConnectorError], counts: tuple[int, ...]
) -> None:
    """What had come when it failed."""
    _, error = await service.streamed(script, idle_timeout_s=0.05)
    assert type(error) is expected
    assert error.transfer is not None
    assert (error.transfer.status, error.transfer.bytes_received, error.transfer.events) == counts


@pytest.mark.parametrize("value", ["true", "false"])
async def test_errors_tell_whether_to_retry(service: Any, value: str) -> None:
    """Fault 7: what the service says goes with the error."""
    error = await service.fails(json_answer({}, status=500, headers={"x-should-retry": value}))
    assert error.should_retry is (value == "true")


BAD: list[list[Step]] = [
    [HalfClose()],
    [Reset()],
    [Silence()],
    json_answer({"error": "x"}, status=500),
    json_answer({"error": "x"}, status=429),
    http_answer(b"no"),
    stream_answer([A, Silence()]),
    [*stream_answer([A], ends=False), Reset()],
    [*stream_answer([A], ends=False), HalfClose()],
    stream_answer([A, b"data: {broken\n\n"]),
    [*stream_answer([A], ends=False), b"zz\r\n"],
    stream_answer([A, Repeat(A, 50), Silence()]),
]


async def one_call(openai: OpenAI, prompt: Prompt, dice: random.Random) -> None:
    """Make a call, whole or streamed, and leave some streams early."""
    try:
        if dice.random() < 0.5:
            await openai.send_prompt(prompt, CallOptions())
            return
        async with aclosing(openai.stream_response(prompt, CallOptions())) as chunks:
            async for _ in chunks:
                if dice.random() < 0.1:
                    break
    except ConnectorError:
        return


async def caller(openai: OpenAI, prompt: Prompt, dice: random.Random) -> None:
    """Make calls one after another, and cancel some at a random moment."""
    for _ in range(15):
        task = asyncio.create_task(one_call(openai, prompt, dice))
        if dice.random() < 0.15:
            for _ in range(dice.randrange(30)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])


def descriptors() -> int:
    """Return how many file descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file descriptors as Linux shows them")
async def test_nothing_is_left_after_failures_of_every_kind(connect: Any, prompt: Prompt) -> None:
    """Faults 18 and 73: 600 mixed calls, failed, cancelled and left: only idle connections stay, and none when closed.

    Each idle connection is a descriptor here and one at the upstream, which has two tasks for it: so the figures of a
    long run go up and down with the number of calls that were under way at once, and no further.
    """
    dice = random.Random(7)
    limits = {"total_timeout_s": 0.1, "idle_timeout_s": 0.1, "first_byte_timeout_s": 0.1}
    async with ScriptedUpstream() as upstream:
        upstream.scripts = [dice.choice([*BAD, *[YES, STREAM] * 8]) for _ in range(1000)]
        openai = connect(upstream, **limits)
        gc.collect()  # what earlier tests left is not to end in the middle of this one
        async with connect(upstream):  # what is loaded at first use counts for nothing
            fds, tasks = descriptors(), len(asyncio.all_tasks())
        async with openai:
            await asyncio.gather(*(caller(openai, prompt, dice) for _ in range(40)))
            session = openai._client._session
            pool = session.connector
            await settled(lambda: descriptors() - fds == 2 * idle(pool))
            assert len(pool._acquired) == 0
            assert descriptors() - fds == 2 * idle(pool)
            assert len(asyncio.all_tasks()) - tasks <= 4 * idle(pool)
        assert await upstream.left_open(5) == []
        await settled(lambda: (descriptors(), len(asyncio.all_tasks())) == (fds, tasks))
        assert (descriptors(), len(asyncio.all_tasks())) == (fds, tasks)
    assert timers() == []
    gc.collect()  # what was forgotten would warn now, and a warning is an error


def idle(pool: Any) -> int:
    return sum(map(len, pool._conns.values()))


async def settled(done: Any) -> None:
    """Give the loop some time until something holds."""
    for _ in range(200):
        if done():
            return
        await asyncio.sleep(0.01)


def timers() -> list[str]:
    """Return our timers that are still to come."""
    loop: Any = asyncio.get_running_loop()
    left = [repr(timer) for timer in loop._scheduled if not timer.cancelled()]
    return [timer for timer in left if "Timer._check" in timer or "BodyReader" in timer]


async def test_closing_leaves_no_timer(connect: Any, prompt: Prompt) -> None:
    """Fault 18: also the timers of limits that were not reached."""
    async with ScriptedUpstream(YES, STREAM) as upstream, connect(upstream) as openai:
        await openai.send_prompt(prompt, CallOptions())
        assert [chunk.text async for chunk in openai.stream_response(prompt, CallOptions())] == ["", "a", "b", ""]
        assert timers() != []
        await openai.__aexit__(None, None, None)
        assert timers() == []


async def test_cancelling_while_the_end_is_awaited_closes_the_connection(connect: Any, prompt: Prompt) -> None:
    """Fault 66: between `[DONE]` and the end of the body there is a wait, which can be cancelled like any other."""
    script = stream_answer([*chat_events("a"), Silence()])

    async def drain() -> None:
        async for chunk in openai.stream_response(prompt, CallOptions()):
            if chunk.finish_reason:
                finished.set()

    finished = asyncio.Event()
    async with ScriptedUpstream(script) as upstream, connect(upstream) as openai:
        task = asyncio.create_task(drain())
        await finished.wait()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await upstream.left_open(5) == []


@pytest.mark.parametrize("end", [[A] * 3, [b"data: x\n\n" * 20_000]], ids=["some", "much"])
async def test_what_comes_after_done_is_not_used(connect: Any, prompt: Prompt, end: list[bytes]) -> None:
    """Fault 66: a body that goes on is read for a moment at most, and its connection serves nobody after it."""
    script = stream_answer([*chat_events("a"), *end, Silence()])
    async with ScriptedUpstream(script) as upstream, connect(upstream) as openai:
        assert [chunk.text async for chunk in openai.stream_response(prompt, CallOptions())] == ["", "a", ""]
        assert await upstream.left_open(5) == []


@pytest.mark.parametrize("endless", [A, event(delta("")), b": ping\n\n"], ids=["chunk", "empty", "comment"])
async def test_endless_stream_ends(service: Any, endless: bytes) -> None:
    """Faults 55, 68 and 69: a service that never stops is stopped, whatever it repeats."""
    script = [*stream_answer([A], ends=False), Repeat(b"%x\r\n%s\r\n" % (len(endless), endless))]
    _, error = await service.streamed(script, stream_timeout_s=0.1)
    assert error.code == "timeout_total"


async def test_slow_reader_is_not_cancelled(connect: Any, prompt: Prompt) -> None:
    """Fault 74: no time limit runs while the reader has the turn, so none of them ends the reader's own task."""
    limits = {"first_byte_timeout_s": 0.02, "idle_timeout_s": 0.02, "progress_timeout_s": 0.02}
    async with ScriptedUpstream(STREAM) as upstream, connect(upstream, **limits) as openai:
        texts = []
        async for chunk in openai.stream_response(prompt, CallOptions()):
            texts.append(chunk.text)
            await asyncio.sleep(0.05)
    assert texts == ["", "a", "b", ""]


async def test_memory_does_not_grow_with_streams(connect: Any, prompt: Prompt) -> None:
    """Fault 19: a hundred streams more, and not one object of ours more."""

    async def read_some() -> int:
        for _ in range(100):
            async for _ in openai.stream_response(prompt, CallOptions()):
                continue
        upstream.requests.clear()
        upstream.connections[0].requests.clear()
        gc.collect()
        return sum(isinstance(thing, Chunk | Transfer | BodyReader | StreamReading) for thing in gc.get_objects())

    at_once = b"".join(step for step in STREAM if isinstance(step, bytes))
    async with ScriptedUpstream([at_once]) as upstream, connect(upstream) as openai:
        before = await read_some()
        assert await read_some() == before


PLAIN = [
    ("http://api.example.com/v1", False),
    ("http://93.184.216.34/v1", False),
    ("http://0x7f.1/v1", False),
    ("https://api.example.com/v1", True),
    ("http://localhost:11434/v1", True),
    ("http://ollama:11434/v1", True),
    ("http://gpu.lan/v1", True),
    ("http://host.docker.internal:1/v1", True),
    ("http://vllm.models.svc.cluster.local/v1", True),
    ("http://10.1.2.3/v1", True),
    ("http://[::1]:8080/v1", True),
    ("http://100.101.102.103/v1", True),
    ("http://[::ffff:127.0.0.1]/v1", True),
]


@pytest.mark.parametrize(("url", "allowed"), PLAIN, ids=[url for url, _ in PLAIN])
async def test_plain_http_stays_near(url: str, allowed: bool) -> None:
    """Keys and prompts do not cross other networks in the clear, unless the pipeline says that this is well."""
    async with OpenAI(model="m", base_url=url, allow_http=True) as openai:
        assert openai.model == "m"
    near = OpenAI(model="m", base_url=url)
    with nullcontext() if allowed else pytest.raises(NotConfiguredError, match="allow_http: true"):
        await near.__aenter__()
    await near.__aexit__(None, None, None)
