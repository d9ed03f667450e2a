"""What Bedrock says: whole answers and event streams, calls, thoughts, cuts and errors; botocore reads alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import HealthCheck, given, settings, strategies as st
from nexus_bedrock.connector import Bedrock
from nexus_bedrock.wire import ConverseEvents, ConverseWire

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
from nexus_core.toolkit import EventStreamDecoder

PROMPT = Prompt(messages=(Message("user", "When is high tide?"),))
USAGE = Usage(prompt_tokens=25, completion_tokens=9, cached_tokens=20)
KIND = "application/vnd.amazon.eventstream"


def bedrock(url: str | None = None) -> Bedrock:
    """Return a connector."""
    return Bedrock(model="meta.llama3", base_url=url, api_key=Secret("k" * 9))


def read(pieces: list[bytes]) -> list[Chunk]:
    """Return what a stream says, in pieces as they come."""
    decoder, reading, chunks = EventStreamDecoder(), ConverseEvents(), list[Chunk]()
    for piece in pieces:
        for name, data in decoder.feed(piece):
            chunk = reading.take(name, data)
            chunks += [chunk] if chunk else []
    return [*chunks, reading.finish()]


def whole(*content: Any, reason: str = "end_turn", **fields: Any) -> Any:
    """Return an answer that is not streamed."""
    payload = {"output": {"message": {"role": "assistant", "content": list(content)}}, "stopReason": reason, **fields}
    return ConverseWire(bedrock()).read(json.dumps(payload).encode(), None)


def told(chunks: list[Chunk]) -> list[tuple[str, str, str, str]]:
    """Return text, thoughts, name and arguments of each chunk."""
    rows = []
    for chunk in chunks:
        part = chunk.tool_calls[0] if chunk.tool_calls else None
        rows.append((chunk.text, chunk.reasoning, part.name if part else "", part.arguments if part else ""))
    return [row for row in rows if any(row)]


def read_by_botocore(data: bytes) -> list[tuple[str, str, str, str]]:
    """Return the same, as botocore parses the bytes and its model of Converse names the fields."""
    buffer, rows = EventStreamBuffer(), []
    buffer.add_data(data)
    for one in buffer:
        event = json.loads(one.payload)
        delta, start = event.get("delta", {}), event.get("start", {})
        thought = delta.get("reasoningContent", {}).get("text", "")
        name = start.get("toolUse", {}).get("name", "")
        rows.append((delta.get("text", ""), thought, name, delta.get("toolUse", {}).get("input", "")))
    return [row for row in rows if any(row)]


def test_stream_is_read_as_botocore_reads_it(stream: list[bytes]) -> None:
    """Thoughts, text and a call, each where it comes."""
    *chunks, last = read(stream)
    assert told(chunks) == read_by_botocore(b"".join(stream)) != []
    assert "".join(chunk.text for chunk in chunks) == "At six 🙂"
    assert (last.finish_reason, last.usage) == ("tool_calls", USAGE)


@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_split_of_the_bytes_reads_alike(stream: list[bytes], cuts: list[int]) -> None:
    """However the bytes come, the same chunks."""
    data = b"".join(stream)
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    assert read([data[a:b] for a, b in pairwise(places)]) == read(stream)


@pytest.mark.parametrize("kept", range(12))
async def test_a_stream_that_is_cut_is_an_error(stream: list[bytes], kept: int) -> None:
    """After any event before the one with the finish reason, and within it; botocore tells nothing of it."""
    pieces = [*stream[:kept], stream[kept][:-1]]
    async with (
        ScriptedUpstream(stream_answer(pieces, content_type=KIND)) as upstream,
        bedrock(upstream.origin) as connector,
    ):
        with pytest.raises(TruncatedError):
            [chunk async for chunk in connector.stream_response(PROMPT, CallOptions())]
    assert upstream.requests[0].target == "/model/meta.llama3/converse-stream"
    assert read_by_botocore(b"".join(pieces)) == read_by_botocore(b"".join(stream[:kept]))


def test_whole_answer_is_read() -> None:
    """Text, thoughts and the call."""
    answer = whole(
        {"reasoningContent": {"reasoningText": {"text": "Tides turn.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "eA=="}}, {"text": "At "}, {"text": "six."},
        {"toolUse": {"toolUseId": "t1", "name": "tides", "input": {"day": 1}}},
        reason="tool_use", usage={"inputTokens": 5, "outputTokens": 9, "cacheReadInputTokens": 20},
    )  # fmt: skip
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("At six.", "Tides turn.", "tool_calls")
    assert (answer.tool_calls[0].id, json.loads(answer.tool_calls[0].arguments)) == ("t1", {"day": 1})
    assert answer.usage == USAGE


@pytest.mark.parametrize(
    ("reason", "expected", "native"),
    [("max_tokens", "length", ""), ("stop_sequence", "stop", ""), ("content_filtered", "content_filter", ""),
     ("model_context_window_exceeded", "length", ""), ("guardrail_intervened", "content_filter", ""),
     ("something_new", "stop", "something_new")],
)  # fmt: skip
def test_finish_reasons(reason: str, expected: str, native: str) -> None:
    """Each word of the service has its class; one that nobody knows is told."""
    answer = whole({"text": "a"}, reason=reason)
    assert (answer.finish_reason, answer.native_finish_reason) == (expected, native)


@pytest.mark.parametrize("word", ["malformed_model_output", "malformed_tool_use"])
def test_what_the_model_spoilt_is_an_error(word: str) -> None:
    """There is no answer."""
    with pytest.raises(ProtocolError):
        whole(reason=word)


def test_a_refusal_without_text_is_an_error() -> None:
    """By a guardrail or a filter."""
    with pytest.raises(ContentFilterError):
        whole(reason="guardrail_intervened")


@pytest.mark.parametrize("data", [b"[]", b'{"output": "text"}', b"{}", b'{"output": {"message": {"content": [1]}}}'])
def test_what_is_no_message_is_no_answer(data: bytes) -> None:
    """A body of another shape is the fault of the service."""
    with pytest.raises(ProtocolError):
        ConverseWire(bedrock()).read(data, None)


def test_an_event_of_another_shape_is_an_error(message: Callable[..., bytes]) -> None:
    """Its checksums are right, and what it holds is not."""
    for payload in ([1], {"delta": "text"}, {"delta": {"toolUse": [1]}}):
        with pytest.raises(ProtocolError):
            read([message(payload, message_type="event", event_type="contentBlockDelta")])


@pytest.mark.parametrize(
    ("status", "kind", "said", "expected"),
    [
        (400, "ValidationException", "Malformed input request", "InvalidRequestError"),
        (400, "ValidationException", "The provided model identifier is invalid.", "ModelNotFoundError"),
        (400, "ValidationException", "Input is too long for requested model.", "ContextLengthError"),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", "AuthError"),
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.", "AuthError"),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model", "ModelNotFoundError"),
        (408, "ModelTimeoutException", "The request took too long to process.", "NotReadyError"),
        (424, "ModelErrorException", "The model failed.", "ServerError"),
        (429, "ThrottlingException", "Too many requests, please wait before trying again.", "RateLimitError"),
        (429, "ModelNotReadyException", "The model is not ready for inference.", "OverloadedError"),
        (500, "InternalServerException", "An internal server error occurred.", "ServerError"),
        (503, "ServiceUnavailableException", "The service isn't currently available.", "OverloadedError"),
    ],
)  # fmt: skip
async def test_errors_have_their_classes(status: int, kind: str, said: str, expected: str) -> None:
    """The type stands in a header, beside the body."""
    script = json_answer({"message": said}, status=status, headers={"x-amzn-ErrorType": f"{kind}:http://example/"})
    async with ScriptedUpstream(script) as upstream, bedrock(upstream.origin) as connector:
        with pytest.raises(ConnectorError) as caught:
            await connector.send_prompt(PROMPT, CallOptions())
    assert type(caught.value).__name__ == expected
    assert caught.value.code == kind


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("throttlingException", "RateLimitError"), ("modelStreamErrorException", "ServerError"),
     ("validationException", "InvalidRequestError"), ("serviceUnavailableException", "OverloadedError")],
)  # fmt: skip
async def test_exceptions_within_a_stream_have_their_classes(
    stream: list[bytes], message: Callable[..., bytes], kind: str, expected: str
) -> None:
    """As the errors before one."""
    failure = message({"message": "No."}, message_type="exception", exception_type=kind)
    script = stream_answer([*stream[:7], failure], content_type=KIND)
    async with ScriptedUpstream(script) as upstream, bedrock(upstream.origin) as connector:
        with pytest.raises(ConnectorError) as caught:
            [chunk async for chunk in connector.stream_response(PROMPT, CallOptions())]
    assert type(caught.value).__name__ == expected
