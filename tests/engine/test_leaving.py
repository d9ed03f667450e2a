"""A reader that breaks out of a stream without closing it: collecting it closes the upstream; nothing is left."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import pytest

from nexus_core import AttemptFinished, Delta, Pipeline, RunFailed, RunStarted, UsageError
from nexus_core.testing.fakes import FakeConnector, FakeSink
from nexus_core.testing.upstream import ScriptedUpstream, Silence, chat_events, stream_answer

pytestmark = pytest.mark.slow

PIPELINE = """name: left
models:
  main: {{use: openai, model: m, base_url: "{url}", limits: {{concurrency: 1}}}}
steps:
  - generate: main
    timeout: {step}
sinks: [{{use: jsonl, path: "{folder}/runs.jsonl", durable: false}}]
"""
ENDLESS = stream_answer([*chat_events("It ", "is")[:3], Silence()], ends=False)


async def read_until(pipeline: Pipeline, kind: type) -> None:
    """Read events up to the first of a kind, and leave the stream as it is."""
    async for event in pipeline.stream("Why?"):
        if isinstance(event, kind):
            break


@pytest.mark.parametrize("step", ["~", "60s"], ids=["no step timeout", "step timeout"])
async def test_dropped_stream_closes_the_upstream(tmp_path: Path, caplog: pytest.LogCaptureFixture, step: str) -> None:
    """Within 500 ms, with a row in the ledger and the slot given back, and asyncio has nothing to complain of."""
    gc.collect()  # what tests before have left is not complained of here
    caplog.clear()
    file = tmp_path / "left.yaml"
    async with ScriptedUpstream(ENDLESS) as upstream:
        file.write_text(PIPELINE.format(url=upstream.url, folder=tmp_path, step=step))
        async with Pipeline.load(file) as pipeline:
            for _ in range(3):  # the limit lets one in: each must have left for the next to come
                await read_until(pipeline, Delta)
                gc.collect()
                assert await upstream.left_open(5) == []
            await quiet()
    assert len(upstream.requests) == 3
    assert (tmp_path / "runs.jsonl").read_text().count('"outcome":"cancelled"') == 3
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("phase", [RunStarted, Delta], ids=["before the request", "in the answer"])
async def test_dropped_stream_leaves_no_task(fakes: Any, load: Any, phase: type) -> None:
    """The event loop closes what was dropped: the run is told as cancelled, and each request has its row."""
    fakes.connectors["main"] = connector = FakeConnector(replies=("one two three",))
    fakes.sink = FakeSink()
    text = "name: left\nmodels: {main: {use: fake}}\nsteps: [{generate: main}]\nsinks: [fake]\n"
    async with load(text) as pipeline:
        await read_until(pipeline, phase)
        gc.collect()
        await quiet()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (connector.running, connector.closed) == (0, len(connector.prompts))
    events = fakes.sink.events
    assert [event.kind for event in events if isinstance(event, RunFailed)] == ["cancelled"]
    rows = [event.outcome for event in events if isinstance(event, AttemptFinished)]
    assert rows == ["cancelled"] * len(connector.prompts)


async def test_leaving_takes_no_detour(fakes: Any, load: Any) -> None:
    """A stream that is dropped by a task that is cancelled is closed by the cancellation itself."""
    fakes.connectors["main"] = connector = FakeConnector(replies=([float("inf")],))
    async with load("name: left\nmodels: {main: {use: fake}}\nsteps: [{generate: main}]\n") as pipeline:
        task = asyncio.create_task(read_until(pipeline, RunFailed))
        await quiet()
        assert connector.running == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (connector.running, connector.closed) == (0, 1)


async def quiet() -> None:
    """Let everything run that can run at once."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("held", [False, True], ids=["dropped", "held"])
async def test_closing_the_pipeline_ends_its_streams(fakes: Any, load: Any, held: bool) -> None:
    """The sinks get the row and the end of a run that its reader has left, or merely stopped to read."""
    fakes.connectors["main"] = connector = FakeConnector(replies=("one two three",))
    async with load("name: left\nmodels: {main: {use: fake}}\nsteps: [{generate: main}]\nsinks: [fake]\n") as pipeline:
        events = pipeline.stream("Why?")
        async for event in events:
            if isinstance(event, Delta):
                break
        if not held:
            del events
    assert (connector.running, connector.closed) == (0, 1)
    assert [event.type for event in fakes.sink.events][-2:] == ["attempt_finished", "run_failed"]
    if held:
        with pytest.raises(UsageError, match="was closed before this stream"):
            await anext(events)
