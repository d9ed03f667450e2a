"""What Claude says: whole answers and streams, calls of tools, thoughts, counts, cuts and errors."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from nexus_anthropic.connector import Anthropic
from nexus_anthropic.wire import MessageEvents, MessagesWire

from nexus_core import (
    CallOptions,
    Chunk,
    ConnectorError,
    ContentFilterError,
    Message,
    Prompt,
    ProtocolError,
    Secret,
    TruncatedError,
    Usage,
)
from nexus_core.testing.upstream import ScriptedUpstream, json_answer, stream_answer
from nexus_core.toolkit import EventDecoder, InBandError, parse_error_body, read_error_body
from nexus_core.toolkit.services.error_classes import classify_error

KEY = "canary-5b2e90aa41"
PROMPT = Prompt(messages=(Message("user", "When is high tide?"),))


def event(kind: str, **fields: Any) -> bytes:
    """Return an event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def delta(index: int, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


STREAM = [
    event("message_start", message={"model": "claude-x", "usage": {
        "input_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 0, "output_tokens": 1}}),
    event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
    event("ping"),
    delta(0, type="thinking_delta", thinking="Tides "),
    delta(0, type="thinking_delta", thinking="turn."),
    delta(0, type="signature_delta", signature="c2ln"),
    event("content_block_stop", index=0),
    event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    delta(1, type="text_delta", text="At "),
    delta(1, type="text_delta", text="six 🙂"),
    event("content_block_note", index=1, message="A kind of event that nobody knows yet."),
    event("content_block_stop", index=1),
    event("content_block_start", index=2, content_block={"type": "tool_use", "id": "t1", "name": "tides", "input": {}}),
    delta(2, type="input_json_delta", partial_json='{"day"'),
    delta(2, type="input_json_delta", partial_json=": 1}"),
    event("content_block_stop", index=2),
    event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
    event("message_stop"),
]  # fmt: skip
BLOCKS = {"blocks": [{"type": "thinking", "thinking": "Tides turn.", "signature": "c2ln"}]}
USAGE = Usage(prompt_tokens=25, completion_tokens=9, cached_tokens=20)


def claude() -> Anthropic:
    """Return a connector."""
    return Anthropic(model="claude-sonnet-4-5", api_key=Secret(KEY))


def read(pieces: list[bytes]) -> list[Chunk]:
    """Return what a stream says, in pieces as they come."""
    decoder, reading, chunks = EventDecoder(), MessageEvents(), list[Chunk]()
    for piece in pieces:
        for name, data in decoder.feed(piece):
            chunk = reading.take(name, data)
            chunks += [chunk] if chunk else []
    return [*chunks, reading.finish()]


def whole(*content: Any, stop_reason: str | None = "end_turn", **fields: Any) -> bytes:
    """Return an answer that is not streamed."""
    return json.dumps({"type": "message", "content": list(content), "stop_reason": stop_reason, **fields}).encode()


def test_stream_is_read_event_by_event() -> None:
    """Thoughts, text and a call, each where it comes; the call carries the thoughts before it."""
    *chunks, last = read(STREAM)
    assert [chunk.reasoning for chunk in chunks if chunk.reasoning] == ["Tides ", "turn."]
    assert [chunk.text for chunk in chunks if chunk.text] == ["At ", "six 🙂"]
    calls = [part for chunk in chunks for part in chunk.tool_calls]
    assert (calls[0].id, calls[0].name, "".join(part.arguments for part in calls)) == ("t1", "tides", '{"day": 1}')
    assert json.loads(calls[0].signature) == BLOCKS
    assert (last.finish_reason, last.usage, last.model) == ("tool_calls", USAGE, "claude-x")


@given(cuts=st.lists(st.integers(0, len(b"".join(STREAM))), max_size=12))
@settings(max_examples=60)
def test_every_split_of_the_bytes_reads_alike(cuts: list[int]) -> None:
    """However the bytes come, the same chunks."""
    data, places = b"".join(STREAM), sorted({0, *cuts, len(b"".join(STREAM))})
    assert read([data[a:b] for a, b in pairwise(places)]) == read(STREAM)


@pytest.mark.parametrize("kept", range(len(STREAM) - 2))
async def test_a_stream_that_is_cut_is_an_error(kept: int) -> None:
    """After any event before the one with the finish reason."""
    async with (
        ScriptedUpstream(stream_answer(STREAM[:kept])) as upstream,
        Anthropic(model="claude-sonnet-4-5", base_url=upstream.origin) as anthropic,
    ):
        with pytest.raises(TruncatedError):
            [chunk async for chunk in anthropic.stream_response(PROMPT, CallOptions())]


def test_whole_answer_is_read() -> None:
    """Text, thoughts and the call with its signature."""
    data = whole(
        BLOCKS["blocks"][0], {"type": "text", "text": "At six."}, {"type": "server_note"},
        {"type": "tool_use", "id": "t1", "name": "tides", "input": {"day": 1}},
        stop_reason="tool_use", usage={"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 9},
    )  # fmt: skip
    answer = MessagesWire(claude()).read(data, None)
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("At six.", "Tides turn.", "tool_calls")
    assert json.loads(answer.tool_calls[0].signature) == BLOCKS
    assert json.loads(answer.tool_calls[0].arguments) == {"day": 1}
    assert answer.usage == USAGE


@pytest.mark.parametrize(
    ("reason", "expected", "native"),
    [("max_tokens", "length", ""), ("stop_sequence", "stop", ""), ("pause_turn", "stop", "pause_turn"),
     ("model_context_window_exceeded", "length", ""), ("refusal", "content_filter", "")],
)  # fmt: skip
def test_finish_reasons(reason: str, expected: str, native: str) -> None:
    """Each word of the service has its class; one that nobody knows is told."""
    answer = MessagesWire(claude()).read(whole({"type": "text", "text": "a"}, stop_reason=reason), None)
    assert (answer.finish_reason, answer.native_finish_reason) == (expected, native)


def test_a_refusal_without_text_is_an_error() -> None:
    """Whole and streamed."""
    with pytest.raises(ContentFilterError):
        MessagesWire(claude()).read(whole(stop_reason="refusal"), None)
    with pytest.raises(ContentFilterError):
        read([STREAM[0], event("message_delta", delta={"stop_reason": "refusal"}, usage={"output_tokens": 1})])


@pytest.mark.parametrize("data", [b"[]", b'{"content": "text"}', b'{"id": "msg_1"}'])
def test_what_is_no_message_is_no_answer(data: bytes) -> None:
    """A body of another shape is the fault of the service."""
    with pytest.raises(ProtocolError):
        MessagesWire(claude()).read(data, None)


def test_an_error_within_a_stream_is_read() -> None:
    """As the body of an error is."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    with pytest.raises(InBandError) as caught:
        read([*STREAM[:4], event("error", error=error)])
    assert read_error_body(caught.value.payload).codes[0] == "overloaded_error"


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "prompt is too long: 205000 tokens > 200000 maximum", "ContextLengthError"),
        (400, "invalid_request_error", "messages.0: user messages must have non-empty content", "InvalidRequestError"),
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", "QuotaError"),
        (
            400, "invalid_request_error",
            "This model does not support assistant message prefill. The conversation must end with a user message.",
            "UnsupportedRequestError",
        ),
        (401, "authentication_error", "invalid x-api-key", "AuthError"),
        (403, "permission_error", "Your API key does not have permission to use it.", "AuthError"),
        (404, "not_found_error", "model: claude-nope", "ModelNotFoundError"),
        (413, "request_too_large", "Request exceeds the maximum size", "UnsupportedRequestError"),
        (429, "rate_limit_error", "This request would exceed your rate limit", "RateLimitError"),
        (500, "api_error", "Internal server error", "ServerError"),
        (529, "overloaded_error", "Overloaded", "OverloadedError"),
    ],
)  # fmt: skip
def test_errors_have_their_classes(status: int, kind: str, message: str, expected: str) -> None:
    """By their types and wordings."""
    data = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    assert classify_error(read_error_body(parse_error_body(data)), status, {}).__name__ == expected


async def test_the_key_is_shown_nowhere() -> None:
    """Not even where the service repeats it."""
    said = {"type": "error", "error": {"type": "authentication_error", "message": f"invalid {KEY}"}}
    async with (
        ScriptedUpstream(json_answer(said, status=401)) as upstream,
        Anthropic(model="c", api_key=Secret(KEY), base_url=upstream.origin) as anthropic,
    ):
        with pytest.raises(ConnectorError) as caught:
            await anthropic.send_prompt(PROMPT, CallOptions())
    assert upstream.requests[0].headers["x-api-key"] == KEY
    assert upstream.requests[0].headers["anthropic-version"] == "2023-06-01"
    assert KEY not in f"{caught.value!r} {caught.value} {anthropic!r}"
