"""The official `openai` client and this connector read the same streams alike, chunk by chunk."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core import CallOptions, Chunk, Prompt
from nexus_core.testing.upstream import DONE, ScriptedUpstream, chat_events, delta, event, stream_answer, usage_chunk

official = pytest.importorskip("openai", reason="the official client is not installed (pip install openai)")


def choice(part: dict[str, Any], finish_reason: str | None = None) -> bytes:
    """Return the event of one delta."""
    return event(delta(choices=[{"index": 0, "delta": part, "finish_reason": finish_reason}]))


def called(number: int, arguments: str, **first: Any) -> bytes:
    """Return a part of a tool call; `first` is what stands in its first part only."""
    name = first.pop("name", None)
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return choice({"tool_calls": [{"index": number, "function": function, **first}]})


COUNTS = usage_chunk()["usage"]
ROLE = choice({"role": "assistant", "content": ""})
STREAMS: dict[str, list[bytes]] = {
    "text": chat_events("Yes", ", ", "it is."),
    "length": chat_events("Half an ans", finish_reason="length"),
    "filtered-late": chat_events("Half", finish_reason="content_filter"),
    "unicode": chat_events("né ", "🙂\u2028\u0085", '"\\\n\t', "ﷺ"),
    "no-usage": [ROLE, choice({"content": "a"}), choice({}, "stop"), DONE],
    "usage-with-finish": [choice({"content": "a"}), event(delta(finish_reason="stop", usage=COUNTS)), DONE],
    "azure-filters-first": [event(delta(choices=[], prompt_filter_results=[{"prompt_index": 0}])), *chat_events("a")],
    "comments": [b": hi\n\n", *chat_events("a", "b")],
    "crlf": [piece.replace(b"\n", b"\r\n") for piece in chat_events("a", "b")],
    "text-with-finish": [choice({"content": "a"}), choice({"content": "b"}, "stop"), event(usage_chunk()), DONE],
    "tools": [
        ROLE, choice({"content": "Let me see."}),
        called(0, "", name="weather", id="call_a", type="function"), called(0, '{"city": "R'), called(0, 'ome"}'),
        called(1, "", name="time", id="call_b", type="function"), called(1, "{}"),
        choice({}, "tool_calls"), event(usage_chunk()), DONE,
    ],
}  # fmt: skip


def row(text: str | None, finish: str | None, tokens: Any, calls: Any) -> tuple[Any, ...]:
    """Return what both say in a chunk, `None` for one that says nothing."""
    return (text or "", finish, tokens, tuple(calls))


async def read_by_official(upstream: ScriptedUpstream) -> list[tuple[Any, ...]]:
    """Return what the official client says in each chunk."""
    rows = []
    client = official.AsyncOpenAI(api_key="k" * 9, base_url=upstream.url, max_retries=0)
    async with (
        client,
        await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "?"}], stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        async for chunk in stream:
            first = chunk.choices[0] if chunk.choices else None
            parts = (first.delta.tool_calls if first else None) or ()
            calls = [(p.index, p.id or "", p.function.name or "", p.function.arguments or "") for p in parts]
            usage = chunk.usage and (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
            rows.append(row(first and first.delta.content, first and first.finish_reason, usage, calls))
    return rows


async def read_by_ours(connector: Any, prompt: Prompt) -> list[tuple[Any, ...]]:
    """Return what our connector says in each chunk."""

    def told(chunk: Chunk) -> tuple[Any, ...]:
        usage = chunk.usage and (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        calls = [(part.index, part.id, part.name, part.arguments) for part in chunk.tool_calls]
        return row(chunk.text, chunk.finish_reason, usage, calls)

    async with connector as openai:
        return [told(chunk) async for chunk in openai.stream_response(prompt, CallOptions())]


def content(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return text and tool calls of each chunk that has any."""
    return [(text, calls) for text, _, _, calls in rows if text or calls]


def last(rows: list[tuple[Any, ...]], place: int) -> Any:
    """Return the last finish reason (1) or usage (2) that a chunk told."""
    return next((row[place] for row in reversed(rows) if row[place] is not None), None)


@pytest.mark.parametrize("pieces", STREAMS.values(), ids=STREAMS)
async def test_official_client_reads_the_same(connect: Any, prompt: Prompt, pieces: list[bytes]) -> None:
    """Text and tool calls in the same chunks, the same finish reason and the same usage."""
    async with ScriptedUpstream(stream_answer(pieces)) as upstream:
        theirs, ours = await read_by_official(upstream), await read_by_ours(connect(upstream), prompt)
        assert len(upstream.requests) == 2
    assert content(ours) == content(theirs) != []
    assert (last(ours, 1), last(ours, 2)) == (last(theirs, 1), last(theirs, 2))
