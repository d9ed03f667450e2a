"""What Gemini says: whole answers and streams, calls, thoughts, counts, blocks, cuts and errors."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from nexus_gemini.connector import Gemini
from nexus_gemini.wire import ContentEvents, GenerateWire

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
from nexus_core.toolkit import EventDecoder, parse_error_body, read_error_body
from nexus_core.toolkit.services.error_classes import classify_error

KEY = "canary-5b2e90aa42"
PROMPT = Prompt(messages=(Message("user", "When is high tide?"),))


def event(payload: Any) -> bytes:
    """Return an event of a stream."""
    return b"data: " + json.dumps(payload).encode() + b"\r\n\r\n"


def said(*parts: Any, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return an answer, or a part of one."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, **({"finishReason": reason} if reason else {})}
    return {"candidates": [candidate], "modelVersion": "gemini-x", **fields}


COUNTS = {
    "promptTokenCount": 25, "candidatesTokenCount": 6, "thoughtsTokenCount": 3, "cachedContentTokenCount": 20,
    "totalTokenCount": 34,
}  # fmt: skip
USAGE = Usage(prompt_tokens=25, completion_tokens=9, reasoning_tokens=3, cached_tokens=20)
CALL = {"functionCall": {"name": "tides", "args": {"day": 1}, "id": "c1"}, "thoughtSignature": "c2ln"}
PARTS = [
    said({"text": "Tides turn.", "thought": True}, usageMetadata={"promptTokenCount": 25}),
    said({"text": "At "}),
    said({"text": "six 🙂"}, {"executableCode": {"code": "1"}}),
    said(CALL, {"functionCall": {"name": "now"}}),
    said({"text": "", "thoughtSignature": "eA=="}, reason="STOP", usageMetadata=COUNTS),
]
STREAM = [event(part) for part in PARTS]


def read(pieces: list[bytes]) -> list[Chunk]:
    """Return what a stream says, in pieces as they come."""
    decoder, reading, chunks = EventDecoder(), ContentEvents(), list[Chunk]()
    for piece in pieces:
        for name, data in decoder.feed(piece):
            chunk = reading.take(name, data)
            chunks += [chunk] if chunk else []
    return [*chunks, reading.finish()]


def whole(payload: Any) -> Any:
    """Return an answer that is not streamed."""
    return GenerateWire(Gemini(model="gemini-3.8-flash")).read(json.dumps(payload).encode(), None)


def test_stream_is_read_event_by_event() -> None:
    """Thoughts, text and calls with their signatures, each where it comes."""
    *chunks, last = read(STREAM)
    assert [chunk.reasoning for chunk in chunks if chunk.reasoning] == ["Tides turn."]
    assert [chunk.text for chunk in chunks if chunk.text] == ["At ", "six 🙂"]
    first, second, *rest = [part for chunk in (*chunks, last) for part in chunk.tool_calls]
    assert (first.id, first.name, first.arguments, first.signature) == ("c1", "tides", '{"day":1}', "c2ln")
    assert (second.index, second.name, "".join(part.arguments for part in (second, *rest))) == (1, "now", "{}")
    assert (last.finish_reason, last.usage, last.model) == ("tool_calls", USAGE, "gemini-x")


@given(cuts=st.lists(st.integers(0, len(b"".join(STREAM))), max_size=12))
@settings(max_examples=60)
def test_every_split_of_the_bytes_reads_alike(cuts: list[int]) -> None:
    """However the bytes come, the same chunks."""
    data, places = b"".join(STREAM), sorted({0, *cuts, len(b"".join(STREAM))})
    assert read([data[a:b] for a, b in pairwise(places)]) == read(STREAM)


@pytest.mark.parametrize("kept", range(len(STREAM)))
async def test_a_stream_that_is_cut_is_an_error(kept: int) -> None:
    """After any event before the one with the finish reason."""
    async with (
        ScriptedUpstream(stream_answer(STREAM[:kept])) as upstream,
        Gemini(model="gemini-3.8-flash", base_url=upstream.origin) as gemini,
    ):
        with pytest.raises(TruncatedError):
            [chunk async for chunk in gemini.stream_response(PROMPT, CallOptions())]
    assert upstream.requests[0].target == "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"


def test_whole_answer_is_read() -> None:
    """All its parts at once."""
    parts = [part for one in PARTS for part in one["candidates"][0]["content"]["parts"]]
    answer = whole(said(*parts, reason="STOP", usageMetadata=COUNTS))
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("At six 🙂", "Tides turn.", "tool_calls")
    assert [call.signature for call in answer.tool_calls] == ["c2ln", ""]
    assert answer.usage == USAGE


@pytest.mark.parametrize(
    ("reason", "expected", "native"),
    [("MAX_TOKENS", "length", ""), ("SAFETY", "content_filter", ""), ("RECITATION", "content_filter", ""),
     ("LANGUAGE", "stop", "LANGUAGE")],
)  # fmt: skip
def test_finish_reasons(reason: str, expected: str, native: str) -> None:
    """Each word of the service has its class; one that nobody knows is told."""
    answer = whole(said({"text": "a"}, reason=reason))
    assert (answer.finish_reason, answer.native_finish_reason) == (expected, native)


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_a_call_that_the_model_spoilt_is_an_error(word: str) -> None:
    """Whole and streamed: there is no call in the answer."""
    with pytest.raises(ProtocolError):
        whole(said(reason=word))
    with pytest.raises(ProtocolError):
        read([STREAM[1], event({"candidates": [{"finishReason": word, "index": 0}]})])


@pytest.mark.parametrize(
    "payload",
    [{"promptFeedback": {"blockReason": "SAFETY"}}, {"candidates": [{"finishReason": "PROHIBITED_CONTENT"}]},
     {"candidates": [], "promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {"promptTokenCount": 7}}],
    ids=["prompt", "answer", "no-candidates"],
)  # fmt: skip
def test_what_was_filtered_whole_is_an_error(payload: Any) -> None:
    """Whole and streamed."""
    with pytest.raises(ContentFilterError):
        whole(payload)
    with pytest.raises(ContentFilterError):
        read([event(payload)])


@pytest.mark.parametrize("payload", [{"candidates": {"a": 1}}, {"candidates": ["a"]}, "text", said("text")])
def test_what_is_no_answer_is_an_error(payload: Any) -> None:
    """A body of another shape is the fault of the service."""
    with pytest.raises(ProtocolError):
        whole(payload)


@pytest.mark.parametrize(
    ("status", "word", "message", "expected"),
    [
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "AuthError"),
        (
            400, "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "ContextLengthError",
        ),
        (
            400, "INVALID_ARGUMENT",
            "Please ensure that the number of function response parts is equal to the number of function call parts "
            "of the function call turn.",
            "InvalidRequestError",
        ),
        (403, "PERMISSION_DENIED", "Generative Language API has not been used in project 1.", "AuthError"),
        (404, "NOT_FOUND", "models/nope is not found for API version v1beta", "ModelNotFoundError"),
        (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", "RateLimitError"),
        (500, "INTERNAL", "An internal error has occurred.", "ServerError"),
        (503, "UNAVAILABLE", "The model is overloaded. Please try again later.", "OverloadedError"),
    ],
)  # fmt: skip
def test_errors_have_their_classes(status: int, word: str, message: str, expected: str) -> None:
    """By their words and wordings."""
    data = json.dumps({"error": {"code": status, "message": message, "status": word}}).encode()
    assert classify_error(read_error_body(parse_error_body(data)), status, {}).__name__ == expected


async def test_the_key_is_shown_nowhere() -> None:
    """Not even where the service repeats it; it is no part of the address."""
    said = {"error": {"code": 400, "message": f"API key not valid: {KEY}", "status": "INVALID_ARGUMENT"}}
    async with (
        ScriptedUpstream(json_answer(said, status=400)) as upstream,
        Gemini(model="g", api_key=Secret(KEY), base_url=upstream.origin) as gemini,
    ):
        with pytest.raises(ConnectorError) as caught:
            await gemini.send_prompt(PROMPT, CallOptions())
    assert upstream.requests[0].headers["x-goog-api-key"] == KEY
    assert KEY not in f"{upstream.requests[0].target} {caught.value!r} {caught.value} {gemini!r}"
