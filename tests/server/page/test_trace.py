"""What the page knows of a run: `includeTrace` of the query API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nexus_core import InvalidRequestError
from nexus_core.engine.json_shapes import TRACE_ENTRIES

REST = ({"prompt": "chat"}, {"generate": "main"})
ASKED = {"query": "How much leave?", "pipeline": "own", "contextId": "own"}


async def answer(running: Any, **options: Any) -> Any:
    return await running.call("POST", "/api/queries", json={**ASKED, "options": options})


async def test_trace_tells_passages_packing_and_attempts(running: Any) -> None:
    """The passages as they were sent, what fills the window, what became of each candidate, and every request."""
    status, told = await answer(running, includeTrace=True)
    assert status == 200
    (passage,) = told["metadata"]["contextItems"]
    assert passage["number"] == 1
    assert passage["whole"] is True
    assert passage["text"] == "Everybody has 28 days of leave."
    packing = told["packing"]
    assert packing["promptTokens"] + packing["reserved"] <= packing["window"] == 4096
    assert [entry["decision"] for entry in packing["trace"]] == ["kept"]
    assert [row["outcome"] for row in told["attempts"]] == ["ok"]


async def test_trace_is_told_to_who_asks_for_it_alone(running: Any) -> None:
    """Metadata alone stays as small as it is documented."""
    _, told = await answer(running, includeMetadata=True)
    assert not {"packing", "attempts"} & told.keys()
    assert told["metadata"]["contextItems"][0].keys() == {"id", "title", "relevance"}
    _, told = await answer(running)
    assert "metadata" not in told


async def test_trace_is_bounded(start: Any) -> None:
    """Of many candidates the best are told, and how many there were."""
    many = TRACE_ENTRIES + 50
    items = [{"id": f"i{number}", "text": f"Leave number {number} is long."} for number in range(many)]
    gather = {"gather": {"use": "inline", "items": items}}
    pipeline = {"name": "own", "models": {"main": {"use": "extractive"}}, "steps": [gather, *REST]}
    running = await start(pipelines={"own": json.dumps(pipeline)})
    _, told = await answer(running, includeTrace=True)
    assert told["packing"]["candidates"] == many
    assert len(told["packing"]["trace"]) == TRACE_ENTRIES


async def test_trace_tells_what_a_follow_up_was_searched_for(start: Any) -> None:
    """Where it is not the question: the words of the one before it, too."""
    items = [{"id": "a", "text": "Everybody has 28 days of leave."}]
    gather = {"gather": {"use": "inline", "items": items}}
    own = {"name": "own", "rewrite": True, "models": {"main": {"use": "extractive"}}, "steps": [gather, *REST]}
    running = await start(pipelines={"own": json.dumps(own)})
    asked = {"includeTrace": True, "conversationId": "monday"}
    found = [
        (await running.call("POST", "/api/queries", json={**ASKED, "query": query, "options": asked}))[1]
        for query in ("How much leave?", "And for whom?")
    ]
    assert [told["packing"]["searched"] for told in found] == [None, "And for whom?\nHow much leave?"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_failure_tells_its_attempts(running: Any, fakes: Any, stream: bool) -> None:
    """A run that fails before its first word keeps its status, and tells which requests it made."""
    fakes.connectors["own"].replies = [InvalidRequestError("no", provider="fake", model="fake-1")]
    status, told = await answer(running, includeTrace=True, stream=stream)
    assert status == 400
    assert [row["model"] for row in told["attempts"]] == ["main"]
    _, told = await answer(running, stream=stream)
    assert "attempts" not in told


async def test_progress_is_told_before_the_answer(running: Any) -> None:
    """What was found, and which model is asked with which passages, without their text; only to who asks for it."""
    asked = {**ASKED, "options": {"stream": True, "includeProgress": True}}
    told = await stream(running, asked)
    assert [event["type"] for event in told][:4] == ["start", "searched", "asking", "chunk"]
    assert told[1] == {"type": "searched", "items": 1}
    assert told[2]["model"] == "main"
    (passage,) = told[2]["contextItems"]
    assert passage["title"] == "Leave"
    assert "text" not in passage
    plain = await stream(running, {**ASKED, "options": {"stream": True}})
    assert {event["type"] for event in plain} == {"start", "chunk", "end"}


async def test_failure_after_progress_ends_the_stream(running: Any, fakes: Any) -> None:
    """The stream has begun, so the failure is its last event, with the attempts."""
    fakes.connectors["own"].replies = [InvalidRequestError("no", provider="fake", model="fake-1")]
    options = {"stream": True, "includeProgress": True, "includeTrace": True}
    *_, last = await stream(running, {**ASKED, "options": options})
    assert (last["type"], last["statusCode"]) == ("error", 400)
    assert [row["model"] for row in last["attempts"]] == ["main"]


async def stream(running: Any, asked: Any) -> list[Any]:
    async with running.session.post(running.origin + "/api/queries", json=asked) as response:
        lines = (await response.text()).splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
