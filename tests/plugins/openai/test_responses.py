"""The Responses API: what is sent, what is read whole and streamed, and the official client beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import openai as official
import pytest
from nexus_openai.connector import OpenAI
from nexus_openai.responses import ResponsesReading

from nexus_core import (
    CallOptions,
    ConnectorError,
    ContentFilterError,
    ImagePart,
    Message,
    Prompt,
    RateLimitError,
    TextPart,
    ToolCall,
    ToolDefinition,
    TruncatedError,
)
from nexus_core.testing.upstream import ScriptedUpstream, json_answer, stream_answer
from nexus_core.toolkit import EventDecoder

USAGE = {
    "input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 21,
}  # fmt: skip
CLOCK = ToolDefinition(name="clock", description="Tells the time.", parameters={"type": "object", "properties": {}})


def message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}


def call(arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": "f", "call_id": "c1", "name": "clock", "arguments": arguments}


def response(*output: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-6", "error": None,
        "incomplete_details": None, "output": list(output), "usage": USAGE, "parallel_tool_calls": True, "tools": [],
        "tool_choice": "auto", **fields,
    }  # fmt: skip


def events(*said: tuple[str, Mapping[str, Any]]) -> list[bytes]:
    return [
        f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **fields})}\n\n".encode()
        for number, (name, fields) in enumerate(said)
    ]


def delta(name: str, text: str, place: int = 0) -> tuple[str, dict[str, Any]]:
    return name, {"delta": text, "output_index": place, "item_id": "m", "content_index": 0, "logprobs": []}


TEXT = events(
    ("response.created", {"response": response(status="in_progress", usage=None)}),
    ("response.output_item.added", {"output_index": 0, "item": message("")}),
    delta("response.reasoning_summary_text.delta", "Sunday?"),
    delta("response.output_text.delta", "Yes, "),
    delta("response.output_text.delta", "until six."),
    ("response.output_text.done", {"text": "Yes, until six.", "output_index": 0, "item_id": "m", "content_index": 0}),
    ("response.completed", {"response": response(message("Yes, until six."))}),
)
CALLED = events(
    ("response.output_item.added", {"output_index": 1, "item": call("")}),
    delta("response.function_call_arguments.delta", '{"a', 1),
    delta("response.function_call_arguments.delta", '": 1}', 1),
    ("response.function_call_arguments.done", {"arguments": '{"a": 1}', "output_index": 1, "item_id": "f"}),
    ("response.completed", {"response": response(call('{"a": 1}'))}),
)


async def test_request_says_all_in_the_words_of_the_api(service: Any) -> None:
    """Instructions, parts, calls and their results, tools, a schema and an effort; nothing is stored."""
    prompt = Prompt(
        messages=(
            Message("system", "Be brief."),
            Message("user", (TextPart("What is it?"), ImagePart(data=b"GIF89a", media_type="image/gif", detail="low"))),
            Message("assistant", "", (ToolCall(id="c1", name="clock", arguments="{}"),)),
            Message("tool", "noon", tool_call_id="c1"),
        )
    )
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    options = CallOptions(
        max_tokens=50, tools=(CLOCK,), tool_choice="clock", response_schema=schema, reasoning_effort="low", stop=("x",)
    )
    async with (
        ScriptedUpstream(json_answer(response(message("Noon.")))) as upstream,
        OpenAI(model="m", base_url=upstream.url, endpoint="responses") as openai,
    ):
        assert (await openai.send_prompt(prompt, options)).text == "Noon."
    request = upstream.requests[0]
    assert request.target == "/v1/responses"
    body = request.json()
    assert body["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": "data:image/gif;base64,R0lGODlh", "detail": "low"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "noon"},
    ]
    assert (body["instructions"], body["store"], body["max_output_tokens"]) == ("Be brief.", False, 50)
    assert body["tools"][0]["name"] == body["tool_choice"]["name"] == "clock"
    assert body["text"]["format"] == {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    assert (body["reasoning"], "stop" in body) == ({"effort": "low", "summary": "auto"}, False)


async def test_whole_answer_tells_reasoning_calls_and_usage(service: Any) -> None:
    """Summaries of reasoning, calls, and the counts with their details."""
    thought = {"type": "reasoning", "id": "t", "summary": [{"type": "summary_text", "text": "Sunday?"}]}
    said = await service.send(json_answer(response(thought, message("Yes."), call('{"a": 1}'))), endpoint="responses")
    assert (said.text, said.reasoning, said.finish_reason, said.model) == ("Yes.", "Sunday?", "tool_calls", "gpt-6")
    assert said.tool_calls == (ToolCall(id="c1", name="clock", arguments='{"a": 1}'),)
    usage = said.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (9, 12, 4, 5)


async def test_stream_is_read_as_the_whole_answer(service: Any) -> None:
    """Text and reasoning as they come, usage and finish reason at the end."""
    chunks = await service.stream(stream_answer(TEXT), endpoint="responses")
    assert [chunk.text for chunk in chunks if chunk.text] == ["Yes, ", "until six."]
    assert "".join(chunk.reasoning for chunk in chunks) == "Sunday?"
    assert (chunks[-1].finish_reason, chunks[-1].usage.prompt_tokens) == ("stop", 9)


async def test_calls_come_whole_in_a_stream(service: Any) -> None:
    """The name once, the arguments in parts, and nothing again where events repeat it."""
    chunks = await service.stream(stream_answer(CALLED), endpoint="responses")
    parts = [part for chunk in chunks for part in chunk.tool_calls]
    assert [(part.index, part.name, part.arguments) for part in parts] == [
        (0, "clock", ""),
        (0, "", '{"a'),
        (0, "", '": 1}'),
    ]
    assert chunks[-1].finish_reason == "tool_calls"


WAIT = {"code": "rate_limit_exceeded", "message": "wait"}


def cut(reason: str) -> dict[str, Any]:
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


ENDS: list[tuple[str, dict[str, Any], type[ConnectorError] | str]] = [
    ("response.incomplete", cut("max_output_tokens"), "length"),
    ("response.incomplete", cut("content_filter"), "content_filter"),
    ("response.failed", {"status": "failed", "error": WAIT}, RateLimitError),
]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "stream"])
@pytest.mark.parametrize(("name", "fields", "expected"), ENDS, ids=["length", "filter", "failed"])
async def test_other_ends_are_what_they_mean(
    service: Any, name: str, fields: dict[str, Any], expected: Any, whole: bool
) -> None:
    """An answer that is cut or filtered says so; one that failed is an error of its class."""
    last = response(message("Half"), **fields)
    script = stream_answer(events(delta("response.output_text.delta", "Half"), (name, {"response": last})))
    if isinstance(expected, str):
        said = await (
            service.send(json_answer(last), endpoint="responses")
            if whole
            else service.streamed(script, endpoint="responses")
        )
        assert (said.finish_reason if whole else said[1].finish_reason) == expected
    elif whole:
        assert type(await service.fails(json_answer(last), endpoint="responses")) is expected
    else:
        assert type((await service.streamed(script, endpoint="responses"))[1]) is expected


async def test_refusal_is_a_content_filter_error(service: Any) -> None:
    """Whole and streamed."""
    refused = {**message(""), "content": [{"type": "refusal", "refusal": "No."}]}
    assert type(await service.fails(json_answer(response(refused)), endpoint="responses")) is ContentFilterError
    script = stream_answer(
        events(delta("response.refusal.delta", "No."), ("response.completed", {"response": response(refused)}))
    )
    assert type((await service.streamed(script, endpoint="responses"))[1]) is ContentFilterError


@pytest.mark.parametrize("kept", range(len(TEXT)))
async def test_cut_stream_is_never_an_answer(service: Any, kept: int) -> None:
    """Without its last event it is truncated, wherever it ends."""
    text, last = await service.streamed(stream_answer(TEXT[:kept]), endpoint="responses")
    assert type(last) is TruncatedError
    assert "Yes, until six.".startswith(text)


def test_every_split_reads_the_same() -> None:
    """However the bytes are cut."""
    data = b"".join(TEXT + CALLED[:0])

    def read(*pieces: bytes) -> list[Any]:
        decoder, reading = EventDecoder(), ResponsesReading()
        parts = [reading.take(*event) for piece in pieces for event in decoder.feed(piece)]
        return [*filter(None, parts), reading.finish()]

    whole = read(data)
    assert all(read(data[:cut], data[cut:]) == whole for cut in range(len(data)))


@pytest.mark.parametrize("pieces", [TEXT, CALLED], ids=["text", "call"])
async def test_official_client_reads_the_same(connect: Any, prompt: Prompt, pieces: list[bytes]) -> None:
    """The same parts of text and of arguments, in order."""
    async with ScriptedUpstream(stream_answer(pieces)) as upstream:
        async with (
            official.AsyncOpenAI(api_key="k", base_url=upstream.url, max_retries=0) as client,
            await client.responses.create(model="m", input="?", stream=True) as stream,
        ):
            told = [event async for event in stream]
        async with connect(upstream, endpoint="responses") as openai:
            chunks = [chunk async for chunk in openai.stream_response(prompt, CallOptions())]
    theirs = [
        event.delta
        for event in told
        if event.type == "response.output_text.delta" or event.type == "response.function_call_arguments.delta"
    ]
    ours = [part for chunk in chunks for part in (chunk.text, *(call.arguments for call in chunk.tool_calls)) if part]
    assert ours == theirs != []


CALL = call('{"at": 1}')
ENDED = ("response.completed", {"response": response(message("Yes."))})
LAST_CALL = ("response.completed", {"response": response(CALL)})
ADDED = ("response.output_item.added", {"output_index": 0, "item": call("")})
ONLY_AT_THE_END: dict[str, list[tuple[str, Mapping[str, Any]]]] = {
    "text": [ENDED],
    "call": [LAST_CALL],
    "arguments": [ADDED, ("response.function_call_arguments.done", {"output_index": 0, "arguments": '{"at": 1}'}),
                  LAST_CALL],
    "item": [("response.output_item.done", {"output_index": 0, "item": CALL}), LAST_CALL],
    "all": [ADDED, ("response.function_call_arguments.delta", {"output_index": 0, "delta": '{"at": 1}'}),
            ("response.function_call_arguments.done", {"output_index": 0, "arguments": '{"at": 1}'}),
            ("response.output_item.done", {"output_index": 0, "item": CALL}), LAST_CALL],
}  # fmt: skip


@pytest.mark.parametrize("said", ONLY_AT_THE_END.values(), ids=ONLY_AT_THE_END)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_what_comes_without_deltas_is_read_once(
    service: Any, said: list[tuple[str, Mapping[str, Any]]], streamed: bool
) -> None:
    """From the events that end a part, from the response at the end, and from a stream that nobody asked for."""
    script = stream_answer(events(*said))
    if streamed:
        chunks = await service.stream(script, endpoint="responses")
        text = "".join(chunk.text for chunk in chunks)
        arguments = "".join(delta.arguments for chunk in chunks for delta in chunk.tool_calls)
    else:
        done = await service.send(script, endpoint="responses")
        text, arguments = done.text, "".join(each.arguments for each in done.tool_calls)
    assert (text, arguments) == (("Yes.", "") if said == [ENDED] else ("", '{"at": 1}'))


@pytest.mark.parametrize(
    "body",
    [{"errors": [{"message": "Rate limit reached"}]}, {"message": "Rate limit reached", "code": 429},
     {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, {"error": "Rate limit reached"},
     [{"error": {"message": "x", "code": "rate_limit_exceeded"}}]],
    ids=["errors", "message", "base_resp", "text", "list"],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_error_in_a_good_answer_keeps_its_class(service: Any, body: Any, streamed: bool) -> None:
    """Wherever it stands, as in chat completions; an error without content is none."""
    data = json.dumps(body)
    if streamed:
        _, error = await service.streamed(stream_answer([f"data: {data}\n\n".encode()]), endpoint="responses")
    else:
        error = await service.fails(json_answer(body), endpoint="responses")
    assert type(error) is RateLimitError
    empty = json_answer(response(message("Yes."), error={"code": None, "message": ""}))
    assert (await service.send(empty, endpoint="responses")).text == "Yes."


def test_end_without_a_status_is_what_its_event_says() -> None:
    """A cut answer never passes for a whole one; pings and blank data say nothing."""
    reading = ResponsesReading()
    reading.take(b"ping", b"ping")
    reading.take(b"", b" ")
    reading.take(b"response.output_text.delta", b'{"delta": "Yes"}')
    reading.take(b"response.incomplete", b'{"response": {"incomplete_details": {"reason": "max_output_tokens"}}}')
    assert reading.finish().finish_reason == "length"
