"""Kept answers of a real service: its address and options decide what is the same, its key does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from nexus_core import Event, Pipeline, RunFinished, Store
from nexus_core.testing.answers import DONE, completion, delta, event, json_answer, stream_answer, usage_chunk
from nexus_core.testing.upstream import ScriptedUpstream

PIPELINE = """
name: cached
models: {m: {use: openai, model: m, cache: true, MORE}}
steps: [{generate: m}]
"""
DEFAULT = "api_key: one"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store") as opened:
        yield opened


async def ask(store: Store, folder: Path, more: str = DEFAULT) -> str:
    """Return what a pipeline answers that is loaded for this one question."""
    (folder / "p.yaml").write_text(PIPELINE.replace("MORE", more))
    async with Pipeline.load(folder / "p.yaml", answers=store.answers) as pipeline:
        return (await pipeline.run("Why?")).text


@pytest.mark.parametrize(
    ("more", "is_same"),
    [
        pytest.param(DEFAULT, True, id="same"),
        pytest.param("api_key: two", True, id="key"),
        pytest.param(f"{DEFAULT}, aliases: [best], retry: false", True, id="policies"),
        pytest.param(f"{DEFAULT}, thinks: true", False, id="thinks"),
        pytest.param(f"{DEFAULT}, query: {{api-version: '2'}}", False, id="query"),
        pytest.param(f"{DEFAULT}, headers: {{X-Team: red}}", False, id="header"),
        pytest.param(f"{DEFAULT}, options: {{temperature: 0}}", False, id="call-option"),
        pytest.param(f"{DEFAULT}, window: 9999", False, id="window"),
    ],
)
async def test_options_decide_and_a_key_does_not(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, is_same: bool
) -> None:
    """What is sent to another query, header or model may be answered otherwise."""
    async with ScriptedUpstream(json_answer(completion("One.")), json_answer(completion("Two."))) as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
        assert await ask(store, tmp_path) == "One."
        assert await ask(store, tmp_path, more) == ("One." if is_same else "Two.")
        assert len(upstream.requests) == (1 if is_same else 2)


async def test_another_address_of_the_environment_is_another_service(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing in the file has changed."""
    async with AsyncExitStack() as stack:
        answers = []
        for text in ("One.", "Two."):
            upstream = await stack.enter_async_context(ScriptedUpstream(json_answer(completion(text))))
            monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
            answers += [await ask(store, tmp_path), await ask(store, tmp_path)]
    assert answers == ["One.", "One.", "Two.", "Two."]


async def test_a_stream_with_tool_calls_comes_back_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the service sent it in parts, without another request."""
    parts = [
        {"index": 0, "id": "call_1", "function": {"name": "look", "arguments": '{"at'}},
        {"index": 0, "function": {"arguments": '": 1}'}},
    ]
    chunks = [*map(_calls, parts), delta(finish_reason="tool_calls"), usage_chunk()]
    script = stream_answer([*map(event, chunks), DONE])
    (tmp_path / "p.yaml").write_text(PIPELINE.replace("MORE", DEFAULT))
    async with ScriptedUpstream(script) as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
        async with Pipeline.load(tmp_path / "p.yaml", answers=store.answers) as pipeline:
            told: list[list[Event]] = [[each async for each in pipeline.stream("Why?")] for _ in range(2)]
    assert len(upstream.requests) == 1
    ends = [events[-1].answer for events in told if isinstance(events[-1], RunFinished)]
    first, second = (answer for answer in ends if answer is not None)
    assert first.tool_calls == second.tool_calls != ()
    assert (second.finish_reason, second.attempts[0].from_cache) == ("tool_calls", True)


def _calls(part: dict[str, object]) -> dict[str, object]:
    """Return a chunk with a part of a tool call."""
    chunk = delta()
    chunk["choices"][0]["delta"] = {"tool_calls": [part]}
    return chunk
