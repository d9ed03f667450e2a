"""The official client `google-genai` and this connector read the same answers alike, whole and event by event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google import genai
from google.genai import types
from nexus_gemini.connector import Gemini

from nexus_core import CallOptions, Message, Prompt, Secret, TruncatedError
from nexus_core.testing.upstream import ScriptedUpstream, json_answer, stream_answer

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # of the client's own session
PROMPT = Prompt(messages=(Message("user", "?"),))
COUNTS = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
WORDS = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}


def said(*parts: Any, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return an answer, or a part of one."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, **({"finishReason": reason} if reason else {})}
    return {"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r", **fields}


def stream(*parts: Any, reason: str = "STOP") -> list[bytes]:
    payloads = [*(said(part) for part in parts), said(reason=reason, usageMetadata=COUNTS)]
    return [b"data: " + json.dumps(payload).encode() + b"\r\n\r\n" for payload in payloads]


CALL = {"functionCall": {"name": "tides", "args": {"day": [1, None]}, "id": "c1"}}
STREAMS = {
    "text": stream({"text": "Yes"}, {"text": ", "}, {"text": "it is."}),
    "length": stream({"text": "Half an ans"}, reason="MAX_TOKENS"),
    "filtered-late": stream({"text": "Half"}, reason="SAFETY"),
    "unicode": stream({"text": "né "}, {"text": "🙂\u2028\u0085"}, {"text": '"\\\n\t'}, {"text": "ﷺ"}),
    "lf": [piece.replace(b"\r\n", b"\n") for piece in stream({"text": "a"}, {"text": "b"})],
    "thoughts": stream({"text": "hm", "thought": True}, {"text": "six"}),
    "tools": stream(
        {"text": "Let me see."}, CALL, {"functionCall": {"name": "now", "args": {"zone": "UTC"}, "id": "c2"}}
    ),
}
ANSWERS = {
    "text": said({"text": "Yes."}, reason="STOP", usageMetadata=COUNTS),
    "parts": said({"text": "hm", "thought": True}, {"text": "a"}, {"text": "b"}, reason="STOP", usageMetadata=COUNTS),
    "tools": said(CALL, reason="STOP", usageMetadata=COUNTS),
}


def official(upstream: ScriptedUpstream) -> genai.Client:
    """Return the client of Google."""
    return genai.Client(api_key="k" * 9, http_options=types.HttpOptions(base_url=upstream.origin))


def ours(upstream: ScriptedUpstream) -> Gemini:
    return Gemini(model="gemini-x", base_url=upstream.origin, api_key=Secret("k" * 9))


def row(answer: types.GenerateContentResponse) -> tuple[Any, ...]:
    """Return text, thoughts and calls of what the official client read."""
    content = answer.candidates[0].content if answer.candidates else None
    parts = (content.parts if content else None) or []
    text = "".join(part.text or "" for part in parts if not part.thought)
    thoughts = "".join(part.text or "" for part in parts if part.thought)
    calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
    return text, thoughts, calls


def end(answer: types.GenerateContentResponse, *, called: bool) -> tuple[Any, ...]:
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is not None
    assert answer.usage_metadata is not None
    word = WORDS[answer.candidates[0].finish_reason.value]
    counts = (answer.usage_metadata.prompt_token_count, answer.usage_metadata.candidates_token_count)
    return ("tool_calls" if called and word == "stop" else word, counts)


async def streamed_by_official(upstream: ScriptedUpstream) -> list[Any]:
    """Return what the official client says in each event, then how it ended."""
    async with official(upstream).aio as client:
        events = await client.models.generate_content_stream(model="gemini-x", contents="?")
        answers = [answer async for answer in events]
    rows = [told for told in map(row, answers) if any(told)]
    return [*rows, end(answers[-1], called=any(calls for *_, calls in rows))]


async def streamed_by_ours(upstream: ScriptedUpstream) -> list[Any]:
    async with ours(upstream) as connector:
        *chunks, last = [chunk async for chunk in connector.stream_response(PROMPT, CallOptions())]
    assert last.usage is not None
    rows = [
        (chunk.text, chunk.reasoning, [(part.name, json.loads(part.arguments)) for part in chunk.tool_calls])
        for chunk in chunks
    ]
    counts = (last.usage.prompt_tokens, last.usage.completion_tokens)
    return [*(told for told in rows if any(told)), (last.finish_reason, counts)]


@pytest.mark.parametrize("pieces", STREAMS.values(), ids=STREAMS)
async def test_official_client_reads_the_same_stream(pieces: list[bytes]) -> None:
    """Text, thoughts and calls in the same events, the same end and the same counts."""
    async with ScriptedUpstream(stream_answer(pieces)) as upstream:
        theirs, own = await streamed_by_official(upstream), await streamed_by_ours(upstream)
        assert upstream.requests[1].target.endswith(upstream.requests[0].target.removeprefix("/v1"))
    assert own == theirs
    assert len(own) > 1


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_official_client_reads_the_same_answer(answer: dict[str, Any]) -> None:
    """Text, thoughts, calls, end and counts."""
    async with ScriptedUpstream(json_answer(answer)) as upstream:
        async with official(upstream).aio as client:
            theirs = await client.models.generate_content(model="gemini-x", contents="?")
        async with ours(upstream) as connector:
            own = await connector.send_prompt(PROMPT, CallOptions())
    calls = [(call.name, json.loads(call.arguments)) for call in own.tool_calls]
    assert (own.text, own.reasoning, calls) == row(theirs)
    counts = (own.usage.prompt_tokens, own.usage.completion_tokens)
    assert (own.finish_reason, counts) == end(theirs, called=bool(calls))


async def test_a_cut_stream_is_an_error_of_ours_alone() -> None:
    """The official client takes it for an answer."""
    async with ScriptedUpstream(stream_answer(STREAMS["text"][:2])) as upstream:
        async with official(upstream).aio as client:
            events = await client.models.generate_content_stream(model="gemini-x", contents="?")
            assert [answer.text async for answer in events] == ["Yes", ", "]
        with pytest.raises(TruncatedError):
            await streamed_by_ours(upstream)
