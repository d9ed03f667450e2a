"""The query API: the same question as JSON and as a stream, and what becomes of failures in each."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nexus_core import AuthError, Chunk, EmptyAnswerError, ImagePart, NoAnswerError, ToolCallDelta, TruncatedError
from nexus_core.server.errors import failure_of
from nexus_core.store.usage import DailyUsage
from tests.server.conftest import PIPELINES

pytestmark = pytest.mark.slow


def ask(**options: Any) -> dict[str, Any]:
    return {"json": {"query": "How many days of leave?", "contextId": "own", "pipeline": "own", "options": options}}


async def streamed(running: Any, body: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    async with running.session.post(running.origin + "/api/queries", **body) as response:
        text = await response.text()
        if response.status != 200:
            return response.status, [json.loads(text)]
        return response.status, [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def test_a_query_is_answered_whole(running: Any) -> None:
    """With what was asked, who answered, and the figures where they are wanted."""
    status, told = await running.call("POST", "/api/queries", **ask(includeMetadata=True))
    assert status == 200
    assert (told["query"], told["contextId"]) == ("How many days of leave?", "own")
    assert told["metadata"]["contextItems"][0]["id"] == "leave"


@pytest.mark.parametrize("called", ["main", "best", "fake-1"], ids=["name", "alias", "id"])
async def test_a_model_is_called_as_answers_call_it(running: Any, called: str) -> None:
    """By its name, an alias, or the id that the list of models and every answer give."""
    wanted = {"query": "leave?", "contextId": "handbook", "pipeline": "talk", "options": {"modelId": called}}
    status, told = await running.call("POST", "/api/queries", json=wanted)
    assert (status, told["modelId"]) == (200, "fake-1")
    again = wanted | {"options": {"modelId": told["modelId"]}}
    assert (await running.call("POST", "/api/queries", json=again))[0] == 200


async def test_a_stream_says_the_same_as_the_whole_answer(running: Any) -> None:
    """One start, the chunks, one end, and nothing after it."""
    _, whole = await running.call("POST", "/api/queries", **ask())
    status, events = await streamed(running, ask(stream=True))
    assert status == 200
    assert [events[0]["type"], events[-1]["type"]] == ["start", "end"]
    assert "".join(event["content"] for event in events if event["type"] == "chunk") == whole["response"]
    assert {event["type"] for event in events[1:-1]} == {"chunk"}


PRICED = """name: own
models: {main: {use: fake, to: own, prices: {input: 100, output: 1000}}}
steps: [{generate: main}]
"""
UNPRICED = PRICED.replace(", prices: {input: 100, output: 1000}", "")


@pytest.mark.parametrize(("text", "cost"), [(PRICED, 0.0037), (UNPRICED, None)], ids=["known", "unknown"])
async def test_cost_is_told_of_answers_and_models(text: str, cost: float | None, start: Any) -> None:
    """Of the answer, its attempts, and the sums of the model; where nobody knows it, it is null."""
    running = await start(pipelines={"own": text})
    _, answer = await running.call("POST", "/api/queries", **ask(includeTrace=True))
    _, told = await running.call("GET", "/api/queries/usage")
    [figures], expected = told["usage"], cost and pytest.approx(cost)
    assert [answer["metadata"]["cost"], answer["attempts"][0]["cost"], figures["cost"]] == [expected] * 3
    assert (answer["metadata"]["unpricedAttempts"], figures["unpriced"]) == (int(cost is None), int(cost is None))
    _, told = await running.call("GET", "/api/queries/models")
    prices = told["models"][0]["prices"]
    assert prices == (None if cost is None else {
        "input": 100, "cached": 100, "output": 1000, "reasoning": 1000, "longFrom": None, "long": None,
    })  # fmt: skip


@pytest.mark.parametrize(("step", "named"), [("generate: spare", True), ("generate:", False)], ids=["named", "default"])
async def test_default_is_the_model_that_answers(
    step: str, named: bool, start: Any, fakes: Any, handbook: Path, tmp_path: Path
) -> None:
    """Also where `generate` names it; another one is chosen where that has an effect, and refused where it has none."""
    shutil.copytree(handbook, tmp_path / "store")
    running = await start(pipelines={"talk": PIPELINES["talk"].replace("generate:", step)})
    asked = {"query": "How much leave?", "contextId": "handbook", "pipeline": "talk"}

    async def default() -> str:
        _, told = await running.call("GET", "/api/queries/models")
        (name,) = (each["name"] for each in told["models"] if each["default"])
        before = len(fakes.connectors[name].prompts)
        assert (await running.call("POST", "/api/queries", json=asked))[0] == 200
        assert len(fakes.connectors[name].prompts) == before + 1
        return str(name)

    assert await default() == ("spare" if named else "main")
    other = {"pipeline": "talk", "modelId": "main" if named else "spare"}
    status, told = await running.call("PUT", "/api/queries/models/default", json=other)
    assert (status, "names 'spare' in `generate`" in json.dumps(told)) == ((400, True) if named else (200, False))
    assert await default() == "spare"


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        pytest.param({"contextId": "nowhere"}, 404, "context_not_found", id="context"),
        pytest.param({"pipeline": "nothing"}, 404, "pipeline_not_found", id="pipeline"),
        pytest.param({"options": {"modelId": "nobody"}}, 404, "model_not_found", id="model"),
        pytest.param({"query": "  "}, 400, "invalid_request", id="empty-query"),
        pytest.param({"query": None}, 400, "invalid_request", id="no-query"),
        pytest.param({"api_base": "http://x"}, 400, "invalid_request", id="unknown-field"),
        pytest.param({"options": {"systemPrompt": "Be nice."}}, 400, "invalid_request", id="no-system-prompt"),
    ],
)
async def test_a_wrong_query_is_refused_before_any_event(
    running: Any, change: dict[str, Any], status: int, code: str, stream: bool
) -> None:
    """As a status, with the code, in one shape (faults 187, 206)."""
    body = ask()["json"] | change
    body["options"] = {**body["options"], "stream": stream}
    found, events = await streamed(running, {"json": body})
    assert (found, events[0]["code"], events[0]["statusCode"]) == (status, code, status)
    assert set(events[0]) == {"error", "statusCode", "code", "requestId"}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_failure_before_the_first_content_is_a_status(running: Any, fakes: Any, stream: bool) -> None:
    """In both modes the same one, and never a success."""
    fakes.connectors["own"].replies = [AuthError("no", provider="fake", model="own")]
    status, told = await streamed(running, ask(stream=stream))
    assert status == 502
    assert told[0]["statusCode"] == status


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_an_answer_without_text_is_a_failure(running: Any, fakes: Any, stream: bool) -> None:
    """It has a code of its own, in both modes and in the API of OpenAI."""
    fakes.connectors["own"].replies = [[Chunk(" \n"), Chunk(finish_reason="stop")]]
    status, told = await streamed(running, ask(stream=stream))
    assert (status, told[0]["statusCode"], told[0]["code"]) == (502, 502, "empty_answer")
    body = {"model": "nexus/own", "messages": [{"role": "user", "content": "Why?"}], "stream": stream}
    status, said = await running.call("POST", "/v1/chat/completions", json=body)
    assert (status, said["error"]["code"]) == (502, "empty_answer")


async def test_only_empty_answers_of_a_chain_are_told_as_such(running: Any, fakes: Any) -> None:
    """Where another model failed in another way, there is no answer."""
    empty = [Chunk(finish_reason="stop")]
    failure = NoAnswerError("x", [EmptyAnswerError("a"), EmptyAnswerError("b")])
    assert (failure_of(failure).status, failure_of(failure).code) == (502, "empty_answer")
    assert failure_of(NoAnswerError("x", [EmptyAnswerError("a"), TruncatedError("b")])).code == "no_answer"
    fakes.connectors["own"].replies = [empty, "Because."]
    status, _ = await streamed(running, ask())
    assert status == 200, "it is asked once more"


async def test_a_failure_after_the_first_content_is_an_event_in_place_of_the_end(running: Any, fakes: Any) -> None:
    """What was shown before it is no answer (fault 35)."""
    fakes.connectors["own"].replies = [("Half an ans", TruncatedError("cut", provider="fake", model="own"))]
    status, events = await streamed(running, ask(stream=True))
    assert status == 200
    assert [events[0]["type"], events[-1]["type"]] == ["start", "error"]
    assert "end" not in {event["type"] for event in events}
    assert (events[-1]["statusCode"], events[-1]["code"]) == (502, "upstream_truncated")


async def test_attachments_reach_the_model(start: Any, fakes: Any, handbook: Any, tmp_path: Any) -> None:
    """In base64 or by their address; the connector gets parts."""
    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\4\0\0\0\4\0\x08\x02\0\0\0"
    main = fakes.connectors["main"]
    main.model_info = evolve(main.model_info, capabilities=frozenset({"streaming", "vision"}), window=100_000)
    shutil.copytree(handbook, tmp_path / "store")
    running = await start()
    sent = [{"data": b64encode(data).decode(), "mediaType": "image/png"}, {"url": "https://example.org/a.png"}]
    body = {"query": "leave?", "contextId": "handbook", "pipeline": "talk", "attachments": sent}
    status, told = await running.call("POST", "/api/queries", json=body)
    assert status == 200, told
    parts = main.prompts[-1].messages[-1].content
    assert parts[:2] == (ImagePart(data=data, media_type="image/png"), ImagePart(url="https://example.org/a.png"))


@pytest.mark.parametrize(
    ("attachment", "said"),
    [
        ({"url": "file:///etc/passwd"}, "must begin with"),
        ({"data": "%%"}, "it is no base64"),
        ({"data": "TVo="}, "none of the kinds"),
        ({"url": "https://example.org/a.png"}, "would need the capability vision"),
        ({"mediaType": "image/png"}, "give either"),
    ],
    ids=["address", "base64", "kind", "model", "neither"],
)
async def test_attachments_that_cannot_be_are_400(running: Any, attachment: dict[str, str], said: str) -> None:
    """Before anything is asked."""
    body = {"query": "leave?", "contextId": "handbook", "pipeline": "talk", "attachments": [attachment]}
    status, told = await running.call("POST", "/api/queries", json=body)
    assert (status, said in told["error"]) == (400, True), told


SEARCHING = """name: own
models: {main: {use: fake, to: own}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - rank: bm25
  - prompt: chat
  - generate: {tools: [search]}
"""


async def test_what_a_model_calls_is_told_before_the_answer(start: Any, fakes: Any) -> None:
    """As an event for each round, and with the answer; arguments and results only where the trace is asked for."""
    own = fakes.connectors["own"]
    own.model_info = evolve(own.model_info, capabilities=frozenset({"streaming", "tools"}))
    call = ToolCallDelta(index=0, id="s1", name="search", arguments='{"query": "days of leave"}')
    searches = [Chunk("Let me look."), Chunk(tool_calls=(call,)), Chunk(finish_reason="tool_calls")]
    running = await start(pipelines={"own": SEARCHING})
    brief = {"round": 1, "number": 1, "name": "search", "outcome": "ok", "items": 1, "wasCut": False}
    for trace in (False, True):
        own.replies = [searches, "28 days [101]."]
        own.prompts.clear()
        status, events = await streamed(running, ask(stream=True, includeTrace=trace))
        assert status == 200
        assert [event["type"] for event in events if event["type"] != "chunk"] == ["start", "tool", "end"]
        assert "".join(event["content"] for event in events if event["type"] == "chunk") == "28 days [101]."
        told, end = events[1], events[-1]
        assert (told["round"], told["content"]) == (1, "Let me look.")
        [row] = told["calls"]
        assert end["tools"] == told["calls"]
        assert brief.items() <= row.items()
        assert ({"arguments", "result", "trace"} <= row.keys()) is trace
        if trace:
            assert row["result"].startswith("[101] Leave")
            assert [entry["id"] for entry in row["trace"]] == ["leave"]


async def test_usage_tells_what_this_month_has_cost(start: Any, tmp_path: Path) -> None:
    """Out of the store, where it is kept; clearing the figures and starting anew change nothing of it."""
    kept = PRICED.replace("name: own", "name: kept") + f"sinks: [{{use: store, path: '{tmp_path / 'store'}'}}]\n"
    running = await start(pipelines={"kept": kept, "own": PRICED})
    row = DailyUsage(
        day="2999-01-01", pipeline="kept", model="main", model_id="fake-1", outcome="ok", attempts=2, requests=2,
        prompt_tokens=10, completion_tokens=5, reasoning_tokens=0, cached_tokens=0, unreported=0, estimated=0,
        cost=0.25, unpriced=1, duration_s=1.5,
    )  # fmt: skip
    await running.store.add_usage(
        [row, evolve(row, model_id="fake-2"), evolve(row, day="2000-01-01")], keep_days=100_000
    )
    await running.call("DELETE", "/api/queries/usage")
    _, told = await running.call("GET", "/api/queries/usage")
    months = {each["pipeline"]: each["month"] for each in told["usage"]}
    assert months["own"] is None
    assert (months["kept"].pop("since")[-3:], months["kept"]) == ("-01", {"requests": 4, "cost": 0.5, "unpriced": 2})
