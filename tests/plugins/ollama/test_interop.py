"""The official `ollama` client and this connector read the same answers alike, chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import ollama as official
import pytest

from nexus_core import CallOptions, Message, Prompt, TruncatedError
from nexus_core.testing.upstream import ScriptedUpstream, http_answer, stream_answer

PROMPT = Prompt(messages=(Message("user", "?"),))
ASKED = [{"role": "user", "content": "?"}]
CALL = {"function": {"name": "tide", "arguments": {"at": "noon"}}}


def line(payload: dict[str, Any]) -> bytes:
    """Return a line of a stream."""
    return json.dumps({"model": "m", **payload}).encode() + b"\n"


def said(**message: Any) -> bytes:
    """Return a line with a part of the answer."""
    return line({"message": {"role": "assistant", "content": "", **message}, "done": False})


def end(reason: str = "stop", **counts: int) -> bytes:
    """Return the last line."""
    return line({"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": reason, **counts})


STREAMS: dict[str, list[bytes]] = {
    "text": [said(content="Yes"), said(content=", "), said(content="it is."), end(prompt_eval_count=7, eval_count=3)],
    "length": [said(content="Half an ans"), end("length", prompt_eval_count=7, eval_count=3)],
    "unicode": [said(content="né "), said(content="🙂\u2028\u0085"), said(content='"\\\n\t'), end()],
    "prompt-at-hand": [said(content="a"), end(eval_count=1)],
    "thinking": [said(thinking="Hm"), said(thinking="."), said(content="Yes."), end(eval_count=4)],
    "tools": [said(content="Let me see."), said(tool_calls=[CALL]), said(tool_calls=[CALL]), end()],
    "text-with-the-end": [said(content="a"), line({"message": {"content": "b", "role": "assistant"}, "done": True})],
}
Row = tuple[str, str, tuple[Any, ...]]


async def read_by_official(upstream: ScriptedUpstream) -> tuple[list[Row], tuple[Any, ...]]:
    """Return what the official client says in each chunk, and its counts."""
    rows: list[Row] = []
    last: Any = None
    async with official.AsyncClient(host=upstream.url.removesuffix("/v1")) as client:
        async for last in await client.chat(model="m", messages=ASKED, stream=True):
            calls = [(call.function.name, dict(call.function.arguments)) for call in last.message.tool_calls or ()]
            rows.append((last.message.content or "", last.message.thinking or "", tuple(calls)))
    return rows, (last.prompt_eval_count, last.eval_count)


async def read_by_ours(connector: Any) -> tuple[list[Row], tuple[Any, ...]]:
    """Return what our connector says in each chunk, and its counts."""
    rows: list[Row] = []
    async with connector as ollama:
        async for last in ollama.stream_response(PROMPT, CallOptions()):
            calls = [(part.name, json.loads(part.arguments)) for part in last.tool_calls]
            rows.append((last.text, last.reasoning, tuple(calls)))
    usage = last.usage
    return rows, (usage and usage.prompt_tokens, usage and usage.completion_tokens)


def content(rows: Sequence[Row]) -> list[Row]:
    """Return the chunks that say something."""
    return [row for row in rows if any(row)]


@pytest.mark.parametrize("pieces", STREAMS.values(), ids=STREAMS)
async def test_official_client_reads_the_same(connect: Any, pieces: list[bytes]) -> None:
    """Text, thinking and tool calls in the same chunks, and the same counts."""
    script = stream_answer(pieces, content_type="application/x-ndjson")
    async with ScriptedUpstream(script) as upstream:
        theirs, ours = await read_by_official(upstream), await read_by_ours(connect(upstream))
    assert content(ours[0]) == content(theirs[0]) != []
    assert ours[1] == theirs[1]


async def test_official_client_reads_the_same_whole_answer(connect: Any) -> None:
    """Text, finish reason and counts."""
    message = {"role": "assistant", "content": "Yes.", "thinking": "Hm", "tool_calls": [CALL]}
    body = {"model": "m", "message": message, "done": True, "done_reason": "stop", "eval_count": 5}
    async with ScriptedUpstream(http_answer(json.dumps(body).encode())) as upstream:
        async with official.AsyncClient(host=upstream.url.removesuffix("/v1")) as client:
            theirs: Any = await client.chat("m", ASKED)
        async with connect(upstream) as ollama:
            ours = await ollama.send_prompt(PROMPT, CallOptions())
    assert (ours.text, ours.reasoning) == (theirs.message.content, theirs.message.thinking)
    assert [call.name for call in ours.tool_calls] == [call.function.name for call in theirs.message.tool_calls]
    assert ours.usage.completion_tokens == theirs.eval_count


async def test_official_client_accepts_a_stream_that_is_cut_and_ours_does_not(connect: Any) -> None:
    """Half an answer, and then nothing."""
    script = stream_answer([said(content="Half")], content_type="application/x-ndjson")
    async with ScriptedUpstream(script) as upstream:
        rows, _ = await read_by_official(upstream)
        assert content(rows) == [("Half", "", ())]
        with pytest.raises(TruncatedError):
            await read_by_ours(connect(upstream))
