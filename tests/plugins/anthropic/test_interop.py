"""The official client `anthropic` and this connector read the same answers alike, whole and event by event."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import anthropic
import pytest
from nexus_anthropic.connector import Anthropic

from nexus_core import CallOptions, Message, Prompt, Secret, TruncatedError
from nexus_core.testing.upstream import ScriptedUpstream, json_answer, stream_answer

PROMPT = Prompt(messages=(Message("user", "?"),))
COUNTS = {"input_tokens": 7, "output_tokens": 3}
WORDS = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}


def event(kind: str, **fields: Any) -> bytes:
    """Return an event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message(*content: Any, reason: str | None = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": list(content),
        "stop_reason": reason, "stop_sequence": None, "usage": COUNTS,
    }  # fmt: skip


def block(index: int, begun: Any, *deltas: Any) -> list[bytes]:
    """Return the events of one block."""
    said = [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    start = event("content_block_start", index=index, content_block=begun)
    return [start, *said, event("content_block_stop", index=index)]


def stream(*blocks: list[bytes], reason: str = "end_turn") -> list[bytes]:
    return [
        event("message_start", message=message(reason=None)), event("ping"), *chain(*blocks),
        event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=COUNTS),
        event("message_stop"),
    ]  # fmt: skip


def texts(*said: str) -> list[bytes]:
    return block(0, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in said))


THOUGHT = block(
    0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "hm"},
    {"type": "signature_delta", "signature": "c2ln"},
)  # fmt: skip
CALL = block(
    1, {"type": "tool_use", "id": "t1", "name": "tides", "input": {}},
    {"type": "input_json_delta", "partial_json": '{"day"'}, {"type": "input_json_delta", "partial_json": ": 1}"},
)  # fmt: skip
STREAMS = {
    "text": stream(texts("Yes", ", ", "it is.")),
    "length": stream(texts("Half an ans"), reason="max_tokens"),
    "filtered-late": stream(texts("Half"), reason="refusal"),
    "unicode": stream(texts("né ", "🙂\u2028\u0085", '"\\\n\t', "ﷺ")),
    "crlf": [piece.replace(b"\n", b"\r\n") for piece in stream(texts("a", "b"))],
    "thoughts": stream(THOUGHT, block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "six"})),
    "tools": stream(texts("Let me see."), CALL, reason="tool_use"),
}
ANSWERS = {
    "text": message({"type": "text", "text": "Yes."}),
    "blocks": message({"type": "text", "text": "a"}, {"type": "text", "text": "b"}, reason="max_tokens"),
    "tools": message({"type": "tool_use", "id": "t1", "name": "tides", "input": {"day": [1, None]}}, reason="tool_use"),
}


def official(upstream: ScriptedUpstream) -> anthropic.AsyncAnthropic:
    """Return the client of Anthropic."""
    return anthropic.AsyncAnthropic(api_key="k" * 9, base_url=upstream.origin, max_retries=0)


def ours(upstream: ScriptedUpstream) -> Anthropic:
    return Anthropic(model="claude-x", base_url=upstream.origin, api_key=Secret("k" * 9))


async def streamed_by_official(upstream: ScriptedUpstream) -> list[Any]:
    """Return what the official client says in each event, then how it ended."""
    rows: list[Any] = []
    word, tokens = None, None
    asked: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
    async with official(upstream) as client, await client.messages.create(**asked, stream=True) as events:
        async for said in events:
            if said.type == "content_block_delta":
                part: Any = said.delta
                arguments = getattr(part, "partial_json", "")
                rows.append((getattr(part, "text", ""), getattr(part, "thinking", ""), "", arguments))
            elif said.type == "content_block_start" and said.content_block.type == "tool_use":
                rows.append(("", "", said.content_block.name, ""))
            elif said.type == "message_delta":
                word, tokens = said.delta.stop_reason, (said.usage.input_tokens or 7, said.usage.output_tokens)
    return [*(row for row in rows if any(row)), (WORDS[word or ""], tokens)]


async def streamed_by_ours(upstream: ScriptedUpstream) -> list[Any]:
    async with ours(upstream) as connector:
        *chunks, last = [chunk async for chunk in connector.stream_response(PROMPT, CallOptions())]
    rows = []
    for chunk in chunks:
        part = chunk.tool_calls[0] if chunk.tool_calls else None
        rows.append((chunk.text, chunk.reasoning, part.name if part else "", part.arguments if part else ""))
    assert last.usage is not None
    end = (last.finish_reason, (last.usage.prompt_tokens, last.usage.completion_tokens))
    return [*(row for row in rows if any(row)), end]


@pytest.mark.parametrize("pieces", STREAMS.values(), ids=STREAMS)
async def test_official_client_reads_the_same_stream(pieces: list[bytes]) -> None:
    """Text, thoughts and calls in the same events, the same end and the same counts."""
    async with ScriptedUpstream(stream_answer(pieces)) as upstream:
        theirs, own = await streamed_by_official(upstream), await streamed_by_ours(upstream)
        assert len(upstream.requests) == 2
    assert own == theirs
    assert len(own) > 1


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_official_client_reads_the_same_answer(answer: dict[str, Any]) -> None:
    """Text, calls, end and counts."""
    asked: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
    async with ScriptedUpstream(json_answer(answer)) as upstream, official(upstream) as client:
        said = await client.messages.create(**asked)
        async with ours(upstream) as connector:
            own = await connector.send_prompt(PROMPT, CallOptions())
    assert own.text == "".join(part.text for part in said.content if part.type == "text")
    calls = [(part.id, part.name, part.input) for part in said.content if part.type == "tool_use"]
    assert [(call.id, call.name, json.loads(call.arguments)) for call in own.tool_calls] == calls
    assert own.finish_reason == WORDS[said.stop_reason or ""]
    assert (own.usage.prompt_tokens, own.usage.completion_tokens) == (said.usage.input_tokens, said.usage.output_tokens)


async def test_a_cut_stream_is_an_error_of_ours_alone() -> None:
    """The official client takes it for an answer."""
    async with ScriptedUpstream(stream_answer(STREAMS["text"][:4])) as upstream:
        asked: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
        async with official(upstream) as client, await client.messages.create(**asked, stream=True) as events:
            assert [said.type async for said in events][-1] == "content_block_delta"
        with pytest.raises(TruncatedError):
            await streamed_by_ours(upstream)
