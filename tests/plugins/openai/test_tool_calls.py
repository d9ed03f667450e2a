"""Tool calls, reasoning and structured output: what goes out and what comes back, intact (faults 60 to 62)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from nexus_openai.response_parsing import read_completion

from nexus_core import CallOptions, ProtocolError, ToolCall, ToolCallDelta, ToolCallIncompleteError, Usage
from nexus_core.testing.upstream import completion, delta, event, json_answer, stream_answer, usage_chunk
from nexus_core.toolkit import ToolCallParts

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Rome", "Łódź"]}}},
        "strict": True,
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object", "additionalProperties": False}},
}
CALL = {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}


def answer(*calls: Any, finish_reason: str = "tool_calls", **message: Any) -> dict[str, Any]:
    """Return a completion with tool calls."""
    whole = {"role": "assistant", "content": None, "tool_calls": list(calls), **message}
    return completion(None, choices=[{"index": 0, "message": whole, "finish_reason": finish_reason}])


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_tools_and_schemas_pass_through(service: Any, streamed: bool) -> None:
    """What a pipeline puts into `extra` stands in the request as it is, structured output included."""
    extra = {"tools": [TOOL], "tool_choice": "auto", "response_format": SCHEMA, "parallel_tool_calls": False}
    if streamed:
        await service.stream(stream_answer([event(delta("{}", finish_reason="stop"))]), CallOptions(extra=extra))
    else:
        await service.send(json_answer(completion("{}")), CallOptions(extra=extra))
    assert {name: service.sent[name] for name in extra} == extra


async def test_tool_calls_of_a_whole_answer(service: Any) -> None:
    """Id, name and arguments as the model wrote them, and no text."""
    done = await service.send(json_answer(answer(CALL, CALL | {"id": "call_b"})))
    weather = ToolCall(id="call_a", name="weather", arguments='{"city": "Rome"}')
    assert (done.text, done.finish_reason) == ("", "tool_calls")
    assert done.tool_calls == (weather, ToolCall(id="call_b", name="weather", arguments='{"city": "Rome"}'))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ({"name": "f", "arguments": {"a": [1, "é"]}}, '{"a":[1,"é"]}'),
        ({"name": "f", "arguments": ""}, "{}"),
        ({"name": "f", "arguments": None}, "{}"),
        ({"name": "f"}, "{}"),
        ({"name": "f", "arguments": ' {"a" : 1} '}, ' {"a" : 1} '),
    ],
    ids=["object", "empty", "null", "absent", "as-written"],
)
def test_arguments_are_json_text(function: dict[str, Any], arguments: str) -> None:
    """Fault 61: also where a service sends an object, or nothing; without an id the call gets one."""
    done = read_completion(json.dumps(answer({"function": function})).encode())
    assert done.tool_calls == (ToolCall(id="call_0", name="f", arguments=arguments),)


def test_legacy_function_call_is_a_tool_call() -> None:
    """The older name of the same."""
    payload = answer(function_call=CALL["function"], finish_reason="function_call")
    done = read_completion(json.dumps(payload).encode())
    assert done.tool_calls == (ToolCall(id="call_0", name="weather", arguments='{"city": "Rome"}'),)
    assert done.finish_reason == "tool_calls"


@pytest.mark.parametrize("reason", ["tool_calls", "length", "stop"])
@pytest.mark.parametrize("arguments", ['{"city": "Ro', "{", "{'city': 1}"])
async def test_cut_arguments_are_an_error(service: Any, arguments: str, reason: str) -> None:
    """Fault 62: whatever the finish reason says, half a call is no call."""
    cut = {"id": "x", "function": {"name": "weather", "arguments": arguments}}
    error = await service.fails(json_answer(answer(cut, finish_reason=reason)))
    assert type(error) is ToolCallIncompleteError
    assert (error.code, error.status) == ("tool_call_incomplete", 200)
    assert ("max_tokens" in str(error)) == (reason == "length")
    streamed = stream_answer([event(delta(choices=[{"delta": {"tool_calls": [cut]}, "finish_reason": reason}]))])
    _, error = await service.streamed(streamed)
    assert type(error) is ToolCallIncompleteError


@pytest.mark.parametrize("calls", [[{}], [{"function": {"arguments": "{}"}}]], ids=["nothing", "no-name"])
async def test_call_without_a_name_is_incomplete(service: Any, calls: list[Any]) -> None:
    """Nobody could run it."""
    assert type(await service.fails(json_answer(answer(*calls)))) is ToolCallIncompleteError


@pytest.mark.parametrize("calls", [[3], ["x"], 7, [{"function": "f"}]], ids=repr)
async def test_odd_tool_calls_are_a_protocol_error(service: Any, calls: Any) -> None:
    """Fault 40, in tool calls."""
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    whole = completion(None, choices=[{"message": message, "finish_reason": "tool_calls"}])
    assert type(await service.fails(json_answer(whole))) is ProtocolError
    _, error = await service.streamed(stream_answer([event(delta(choices=[{"delta": message}]))]))
    assert type(error) is ProtocolError


async def test_deltas_are_given_as_they_come(service: Any) -> None:
    """Each part in a chunk of its own, with text and reasoning in their own fields (faults 60 and 61)."""
    first = {"index": 0, "id": "call_a", "function": {"name": "weather", "arguments": ""}}
    parts = [
        {"content": "Let me see."},
        {"content": None, "reasoning_content": "hm"},
        {"tool_calls": [first]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ]
    events = [event(delta(choices=[{"index": 0, "delta": part, "finish_reason": None}])) for part in parts]
    chunks = await service.stream(stream_answer([*events, event(delta(finish_reason="tool_calls"))]))
    assert [(chunk.text, chunk.reasoning, chunk.tool_calls) for chunk in chunks] == [
        ("Let me see.", "", ()),
        ("", "hm", ()),
        ("", "", (ToolCallDelta(index=0, id="call_a", name="weather"),)),
        ("", "", (ToolCallDelta(index=0, arguments='{"a"'),)),
        ("", "", (ToolCallDelta(index=0, arguments=":1}"),)),
        ("", "", ()),
    ]


@pytest.mark.slow
@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers()), min_size=1, max_size=4),
       st.lists(st.integers(0, 200), max_size=6), st.sampled_from(["index", "id", "arrival"]))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_fragments_make_the_same_calls(arguments: list[dict[str, Any]], cuts: list[int], by: str) -> None:
    """Fault 61: however the arguments are cut, and whatever tells the calls apart, they are the same at the end."""
    parts, texts = ToolCallParts(), [json.dumps(value) for value in arguments]
    for number, text in enumerate(texts):
        marks: dict[str, dict[str, Any]] = {"index": {"index": number}, "id": {"id": f"id-{number}"}, "arrival": {}}
        mark = marks[by]
        # By arrival alone, nothing tells two calls of one name apart while the first has no arguments yet.
        least = 1 if by == "arrival" else 0
        edges = [0, *sorted(max(least, min(cut, len(text))) for cut in cuts), len(text)]
        parts.take([{**mark, "function": {"name": "f", "arguments": text[: edges[1]]}}])
        for start, end in pairwise(edges[1:]):
            parts.take([{**mark, "function": {"arguments": text[start:end]}}])
    parts.finish("tool_calls")
    calls = parts.calls()
    assert [call.arguments for call in calls] == texts
    assert len({call.id for call in calls}) == len(texts)


@pytest.mark.parametrize(
    ("message", "thought"),
    [
        ({"content": "a", "reasoning_content": "hm"}, "hm"),
        ({"content": "a", "reasoning": "hm", "reasoning_content": "hm"}, "hm"),
        ({"content": "a", "reasoning": None, "refusal": None}, ""),
        ({"content": "a", "reasoning": {"effort": "low"}, "role": "assistant"}, ""),
    ],
    ids=["content", "twice", "null", "object"],
)
def test_reasoning_is_no_part_of_the_answer(message: dict[str, Any], thought: str) -> None:
    """Fault 60: it has a field of its own."""
    done = read_completion(json.dumps(completion("", choices=[{"message": message}])).encode())
    assert (done.text, done.reasoning) == ("a", thought)


DETAILS: dict[str, Any] = {
    "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2, "accepted_prediction_tokens": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "reasoning", "cached"),
    [
        (DETAILS, 2, 4),
        ({**DETAILS, "prompt_tokens_details": None}, 2, None),
        ({**DETAILS, "completion_tokens_details": {}}, None, 4),
        ({**DETAILS, "completion_tokens_details": {"reasoning_tokens": 0}}, 0, 4),
        ({**DETAILS, "prompt_tokens_details": {"cached_tokens": "4"}, "completion_tokens_details": 3}, None, None),
    ],
    ids=["both", "null", "empty", "zero-is-zero", "odd"],
)
async def test_usage_details(service: Any, usage: dict[str, Any], reasoning: int | None, cached: int | None) -> None:
    """Thought and cached tokens, whole and streamed; what is odd about them is unknown."""
    expected = Usage(prompt_tokens=7, completion_tokens=3, reasoning_tokens=reasoning, cached_tokens=cached)
    assert (await service.send(json_answer(completion("a", usage=usage)))).usage == expected
    events = [delta("a", finish_reason="stop"), {**usage_chunk(), "usage": usage}]
    assert (await service.stream(stream_answer(map(event, events))))[-1].usage == expected
