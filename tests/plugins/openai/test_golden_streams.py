"""Golden streams of all services, in every newline style and cut at every byte: the same chunks.

Faults by name: those of the stream format (41 to 46, 50 to 53, 66, 67) and of what is in it (47 to 49, 57 to 65).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nexus_openai.stream_parsing import StreamReading

from nexus_core import (
    Chunk,
    ConnectorError,
    ContentFilterError,
    ServerError,
    ToolCallIncompleteError,
    TruncatedError,
    Usage,
)
from nexus_core.testing.upstream import HalfClose, Pause, close_answer, stream_answer
from nexus_core.toolkit import EventDecoder, InBandError

pytestmark = pytest.mark.slow

DONE = "data: [DONE]\n\n"
STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
TOOLS = '{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}'
USAGE = '{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}'
ROLE = '{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
SEVEN = Usage(prompt_tokens=7, completion_tokens=3)


def sse(*payloads: str) -> str:
    """Return events: a JSON text is the data of one, anything else stands as it is."""
    return "".join(f"data: {text}\n\n" if text.startswith("{") else text for text in payloads)


def say(*texts: str, more: str = "") -> str:
    """Return events of text, as most services send them."""
    shown = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return sse(
        *(f'{{"choices":[{{"index":0,"delta":{{"content":"{t}"}},"finish_reason":null}}]{more}}}' for t in shown)
    )


def delta(inner: str, finish: str = "null", more: str = "") -> str:
    """Return the event of one delta."""
    return sse(f'{{"choices":[{{"index":0,"delta":{{{inner}}},"finish_reason":{finish}}}]{more}}}')


def tool(inner: str) -> str:
    """Return the event of one part of a tool call."""
    return delta(f'"tool_calls":[{inner}]')


def ok(
    text: str = "", finish: str = "stop", usage: Usage | None = SEVEN, thought: str = "", calls: Any = ()
) -> tuple[Any, ...]:
    """Return what a good stream comes to; `calls` are (id, name, arguments)."""
    return (text, thought, list(calls), finish, usage)


END = sse(STOP, USAGE, DONE)
WEATHER = ("call_a", "weather", '{"city":"Rome"}')
TIME = ("call_b", "time", '{"zone":"CET"}')
OLLAMA_CALL = (
    '{"id":"call_a","index":0,"type":"function","function":{"name":"weather","arguments":"{\\"city\\":\\"Rome\\"}"}}'
)
OLLAMA_TIME = (
    '{"id":"call_b","index":0,"type":"function","function":{"name":"time","arguments":"{\\"zone\\":\\"CET\\"}"}}'
)
FULL_USAGE = (
    '{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":'
    '{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}'
)
VLLM_1 = ',"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1}'
VLLM_3 = ',"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}'
AZURE_FILTERS = (
    '{"id":"","object":"","created":0,"model":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":'
    '{"hate":{"filtered":false,"severity":"safe"}}}],"choices":[]}'
)
LLAMA_END = (
    '{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"usage":{"completion_tokens":3,"prompt_tokens":7,'
    '"total_tokens":10},"timings":{"prompt_n":7,"predicted_n":3,"predicted_per_second":41.2}}'
)
OPENROUTER_ERROR = (
    '{"id":"gen-1","error":{"code":502,"message":"Provider disconnected"},"choices":[{"index":0,"delta":{"content":""},'
    '"finish_reason":"error"}]}'
)

GOLDEN: dict[str, tuple[str, Any]] = {
    "openai": (sse(ROLE) + say("Yes", ", it is.") + END, ok("Yes, it is.")),
    "openai-usage-details": (
        sse(ROLE) + say("a") + sse(STOP, FULL_USAGE, DONE),
        ok("a", usage=Usage(prompt_tokens=7, completion_tokens=3, reasoning_tokens=2, cached_tokens=4)),
    ),
    "openai-usage-null-before": (
        sse(ROLE) + say("a", more=',"usage":null') + sse(STOP, USAGE, DONE), ok("a"),
    ),
    "openai-obfuscation": (say("a", more=',"obfuscation":"x8Jq"') + END, ok("a")),
    "openai-refusal": (delta('"refusal":"I cannot."') + END, ContentFilterError),
    "openai-legacy": (
        sse('{"choices":[{"text":"a","index":0,"logprobs":null,"finish_reason":null}]}',
            '{"choices":[{"text":"","index":0,"finish_reason":"stop"}]}', USAGE, DONE), ok("a"),
    ),
    "openai-tools": (
        tool('{"index":0,"id":"call_a","type":"function","function":{"name":"weather","arguments":""}}')
        + tool('{"index":0,"function":{"arguments":"{\\"city\\":"}}')
        + tool('{"index":0,"function":{"arguments":"\\"Rome\\"}"}}')
        + tool('{"index":1,"id":"call_b","type":"function","function":{"name":"time","arguments":""}}')
        + tool('{"index":1,"function":{"arguments":"{\\"zone\\":\\"CET\\"}"}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[WEATHER, TIME]),
    ),
    "openai-function-call": (
        delta('"function_call":{"name":"weather","arguments":"{\\"city\\":"}')
        + delta('"function_call":{"arguments":"\\"Rome\\"}"}') + delta("", '"function_call"') + sse(USAGE, DONE),
        ok(finish="tool_calls", calls=[("call_0", "weather", '{"city":"Rome"}')]),
    ),
    "azure": (
        sse(AZURE_FILTERS, ROLE)
        + sse('{"choices":[{"index":0,"delta":{"content":"a"},"content_filter_results":{},"finish_reason":null}]}')
        + END, ok("a"),
    ),
    "azure-async-filter": (
        sse(ROLE) + say("a") + sse('{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"end":4}}]}')
        + END, ok("a"),
    ),
    "azure-filtered": (sse(AZURE_FILTERS, ROLE) + delta("", '"content_filter"') + DONE, ContentFilterError),
    "azure-filtered-late": (
        say("a") + delta("", '"content_filter"') + DONE, ok("a", "content_filter", None),
    ),
    "vllm-continuous-usage": (
        sse(ROLE) + say("a", more=VLLM_1) + say("b", more=VLLM_3) + delta("", '"stop"', VLLM_3) + DONE, ok("ab"),
    ),
    "vllm-stop-reason": (
        sse(ROLE) + sse('{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":"length",'
                        '"stop_reason":null}]}', USAGE, DONE), ok("a", "length"),
    ),
    "vllm-reasoning": (
        delta('"reasoning_content":"hm"') + delta('"reasoning_content":"m","content":null') + say("a") + END,
        ok("a", thought="hmm"),
    ),
    "vllm-error": (
        say("a") + sse('{"object":"error","message":"engine died","type":"InternalServerError","code":500}', DONE),
        ServerError,
    ),
    "vllm-tool-cut": (
        tool('{"index":0,"id":"x","function":{"name":"weather","arguments":"{\\"ci"}}') + sse(TOOLS, USAGE, DONE),
        ToolCallIncompleteError,
    ),
    "vllm-tool-cut-by-length": (
        tool('{"index":0,"id":"x","function":{"name":"weather"}}') + delta("", '"length"') + sse(USAGE, DONE),
        ToolCallIncompleteError,
    ),
    "ollama": (delta('"role":"assistant","content":"a"') + delta('"role":"assistant","content":""', '"stop"')
               + sse(USAGE, DONE), ok("a")),
    "ollama-tools-all-index-0": (
        delta(f'"role":"assistant","content":"","tool_calls":[{OLLAMA_CALL}]')
        + delta(f'"role":"assistant","content":"","tool_calls":[{OLLAMA_TIME}]') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[WEATHER, TIME]),
    ),
    "ollama-tools-in-one": (
        tool(f"{OLLAMA_CALL},{OLLAMA_TIME}") + sse(STOP, USAGE, DONE), ok(calls=[WEATHER, TIME]),
    ),
    "ollama-tool-object": (
        tool('{"function":{"name":"weather","arguments":{"city":"Rome"}}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[("call_0", "weather", '{"city":"Rome"}')]),
    ),
    "ollama-thinking": (
        delta('"role":"assistant","content":"","reasoning":"hm"') + say("a") + END, ok("a", thought="hm"),
    ),
    "llama.cpp": (
        sse(ROLE) + say("a", more=',"created":1,"model":"default","system_fingerprint":"b1"') + sse(LLAMA_END, DONE),
        ok("a"),
    ),
    "llama.cpp-null-content": (delta('"role":"assistant","content":null') + say("a") + sse(LLAMA_END, DONE), ok("a")),
    "llama.cpp-error": (
        say("a") + 'error: {"code":500}\n\n' + sse('{"error":{"code":500,"message":"slot"}}'), ServerError,
    ),
    "lm-studio": (delta('"role":"assistant","content":"a"') + delta("", '"stop"') + sse(USAGE, DONE), ok("a")),
    "lm-studio-error-event": ('event: error\ndata: {"error":{"message":"The model has crashed"}}\n\n', ServerError),
    "openrouter": (
        ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"
        + say("a", more=',"provider":"Example","usage":null') + ": OPENROUTER PROCESSING\n\n" + END, ok("a"),
    ),
    "openrouter-comment-in-event": (
        ": x\n" + say("a") + ": y\ndata: " + STOP + "\n: z\n\n" + sse(USAGE, DONE), ok("a"),
    ),
    "openrouter-error-later": (": OPENROUTER PROCESSING\n\n" + say("a") + sse(OPENROUTER_ERROR, DONE), ServerError),
    "openrouter-reasoning": (
        delta('"role":"assistant","content":"","reasoning":"hm","reasoning_details":[{"text":"hm"}]') + say("a") + END,
        ok("a", thought="hm"),
    ),
    "openrouter-finish-twice": (
        say("a") + sse(STOP) + delta('"role":"assistant","content":""', '"stop"', VLLM_3) + DONE, ok("a"),
    ),
    "deepseek-reasoner": (
        delta('"content":null,"reasoning_content":"h"') + delta('"content":null,"reasoning_content":"m"')
        + delta('"content":"a","reasoning_content":null')
        + delta('"content":"","reasoning_content":null', '"stop"', VLLM_3) + DONE, ok("a", thought="hm"),
    ),
    "60-both-in-one-delta": (delta('"content":"a","reasoning_content":"hm"') + END, ok("a", thought="hm")),
    "60-reasoning-and-tool": (
        delta(f'"content":null,"reasoning":"hm","tool_calls":[{OLLAMA_CALL}]') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", thought="hm", calls=[WEATHER]),
    ),
    "61-no-index-ids-only": (
        tool('{"id":"call_a","function":{"name":"weather","arguments":"{\\"city\\":"}}')
        + tool('{"id":"call_b","function":{"name":"time","arguments":"{\\"zone\\":"}}')
        + tool('{"id":"call_a","function":{"arguments":"\\"Rome\\"}"}}')
        + tool('{"id":"call_b","function":{"arguments":"\\"CET\\"}"}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[WEATHER, TIME]),
    ),
    "61-arrival-alone": (
        tool('{"function":{"name":"weather","arguments":"{\\"city\\":"}}')
        + tool('{"function":{"arguments":"\\"Rome\\"}"}}')
        + tool('{"function":{"name":"weather","arguments":"{}"}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[("call_0", "weather", '{"city":"Rome"}'), ("call_1", "weather", "{}")]),
    ),
    "61-new-id-each-time": (
        tool('{"index":0,"id":"a","function":{"name":"weather","arguments":"{\\"city\\":"}}')
        + tool('{"index":0,"id":"b","function":{"name":null,"arguments":"\\"Rome\\"}"}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[("a", "weather", '{"city":"Rome"}')]),
    ),
    "61-name-and-id-repeated": (
        tool('{"index":0,"id":"a","function":{"name":"weather","arguments":"{\\"city\\":"}}')
        + tool('{"index":0,"id":"a","function":{"name":"weather","arguments":"\\"Rome\\"}"}}')
        + tool('{"index":0,"id":"a","function":{"name":"weather","arguments":""}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[("a", "weather", '{"city":"Rome"}')]),
    ),
    "61-one-id-for-all": (
        tool('{"index":0,"id":"x","function":{"name":"weather","arguments":"{}"}}')
        + tool('{"index":1,"id":"x","function":{"name":"time","arguments":"{}"}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[("x", "weather", "{}"), ("call_1", "time", "{}")]),
    ),
    "61-no-arguments": (
        tool('{"index":0,"id":"x","function":{"name":"now"}}') + sse(TOOLS, USAGE, DONE),
        ok(finish="tool_calls", calls=[("x", "now", "{}")]),
    ),
    "42-separators-in-text": (say("a\u2028b\u2029c\u0085d\u000b"[:7] + "é🙂") + END, ok("a\u2028b\u2029c\u0085dé🙂")),
    "44-bom": ("\ufeff" + say("a") + END, ok("a")),
    "46-last-line-open": (say("a") + sse(STOP, USAGE) + "data: [DONE]", ok("a")),
    "46-finish-open": (say("a") + "data: " + STOP, TruncatedError),
    "49-error-null": (say("a", more=',"error":null') + END, ok("a")),
    "51-pings": ("data: : keepalive\n\ndata:\n\n" + sse('{"type":"ping"}') + say("a") + END, ok("a")),
    "52-meta": ("retry: 3000\n\nid: 7\n: ping\n\nevent: ping\n\n" + say("a") + END, ok("a")),
    "53-no-space": ((say("a") + END).replace("data: ", "data:"), ok("a")),
    "53-several-lines": ('data: {"choices": [{"delta":\ndata:{"content": "a"}}]}\n\nid: \0\nfoo\n' + END, ok("a")),
    "53-named-events": ((say("a") + END).replace("data: {", "event: chunk\nid: 1\ndata: {"), ok("a")),
    "57-empty-choices-first": (sse('{"choices":[]}', ROLE) + say("a") + END, ok("a")),
    "58-nulls": (
        sse('{"choices":null}', '{"choices":[{"index":0}]}', '{"choices":[{"index":0,"delta":null}]}') + say("a") + END,
        ok("a"),
    ),
    "59-role-then-error": (sse(ROLE, '{"error":{"message":"x","type":"server_error"}}'), ServerError),
    "63-text-with-finish": (delta('"content":"a"', '"length"') + sse(USAGE, DONE), ok("a", "length")),
    "64-choices-interleaved": (
        sse('{"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"a"}}]}',
            '{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}') + say("b") + END, ok("ab"),
    ),
    "64-other-choice-ends": (sse('{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}') + say("a") + DONE,
                             TruncatedError),
    "65-usage-with-finish": (say("a") + delta("", '"stop"', VLLM_3) + DONE, ok("a")),
    "65-no-usage": (say("a") + sse(STOP, DONE), ok("a", usage=None)),
    "66-after-done": (say("a") + END.replace("[DONE]", "[DONE] ") + say("never") + "data: {broken\n\n", ok("a")),
    "finish-reason-empty-until-the-end": (delta('"content":"a"', '""') + END, ok("a")),
    "45-cut": (say("a", "b"), TruncatedError),
    "45-done-without-finish": (say("a") + DONE, TruncatedError),
}  # fmt: skip

NEWLINES = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
MIXED = {"67-invalid-utf-8": (say("a\x00").encode().replace(b"\x00", b"\xff") + END.encode(), ok("a\ufffd"))}


def read(*pieces: bytes) -> list[Chunk | type[Exception]]:
    """Return the chunks of a stream that comes in pieces, the class of its error at the end."""
    decoder, reading, chunks = EventDecoder(), StreamReading(), list[Chunk | type[Exception]]()
    try:
        for piece in pieces:
            for name, data in decoder.feed(piece):
                part = reading.take(name, data)
                if part is not None:
                    chunks.append(part)
                if reading.done:
                    break
            if reading.done:
                break
        chunks.append(reading.finish())
    except (InBandError, ConnectorError) as error:
        chunks.append(type(error))
    return chunks


def summed(chunks: list[Any]) -> Any:
    """Return what chunks come to: the parts of each tool call together, or the class of the error."""
    *_, last = chunks
    if isinstance(last, type):
        return ServerError if last is InBandError else last
    calls: dict[int, list[str]] = {}
    for part in (part for chunk in chunks for part in chunk.tool_calls):
        call = calls.setdefault(part.index, ["", "", ""])
        call[:] = [call[0] + part.id, call[1] + part.name, call[2] + part.arguments]
    assert list(calls) == list(range(len(calls)))
    text, thought = ("".join(getattr(chunk, name) for chunk in chunks) for name in ("text", "reasoning"))
    return (text, thought, [tuple(call) for call in calls.values()], last.finish_reason, last.usage)


def test_there_are_golden_streams_enough() -> None:
    """Of every service that is named in the README, and of every fault of streams that can be written down."""
    assert len(GOLDEN) >= 60
    for service in ("openai", "azure", "vllm", "ollama", "llama.cpp", "lm-studio", "openrouter"):
        assert sum(name.startswith(service) for name in GOLDEN) >= 2


@pytest.mark.parametrize(("stream", "expected"), GOLDEN.values(), ids=GOLDEN)
def test_golden_stream_is_read(stream: str, expected: Any) -> None:
    """What the stream comes to."""
    assert summed(read(stream.encode())) == expected


@pytest.mark.parametrize("newline", NEWLINES.values(), ids=NEWLINES)
@pytest.mark.parametrize("stream", [stream for stream, _ in GOLDEN.values()], ids=GOLDEN)
def test_golden_stream_reads_the_same_however_it_is_cut(stream: str, newline: bytes) -> None:
    """Faults 41 and 43: two pieces cut at every byte, and byte by byte, in every newline style: the same chunks."""
    whole = read(stream.encode())
    data = stream.encode().replace(b"\n", newline)
    assert all(read(data[:at], data[at:]) == whole for at in range(len(data)))
    assert read(*(data[at : at + 1] for at in range(len(data)))) == whole


def test_golden_stream_with_invalid_utf_8() -> None:
    """Fault 67: what is no character is replaced, wherever the bytes are cut."""
    data, expected = MIXED["67-invalid-utf-8"]
    whole = read(data)
    assert summed(whole) == expected
    assert all(read(data[:at], data[at:]) == whole for at in range(len(data)))


SOCKETS = [
    "openai-tools",
    "azure",
    "vllm-reasoning",
    "openrouter",
    "ollama-tools-all-index-0",
    "44-bom",
    "openai-refusal",
]


@pytest.mark.parametrize("newline", NEWLINES.values(), ids=NEWLINES)
@pytest.mark.parametrize("step", [1, 7, 64])
async def test_golden_streams_over_a_socket(service: Any, newline: bytes, step: int) -> None:
    """The same as the decoder alone, with each few bytes a chunk of HTTP."""
    for name in SOCKETS:
        stream, expected = GOLDEN[name]
        data = stream.encode().replace(b"\n", newline)
        pieces = [b"".join(b"1\r\n%c\r\n" % byte for byte in data[at : at + step]) for at in range(0, len(data), step)]
        framed = stream_answer([], ends=False) + pieces + [b"0\r\n\r\n"]
        try:
            chunks: list[Any] = await service.stream(framed)
        except ConnectorError as error:
            chunks = [type(error)]
        assert summed(chunks) == expected, name


async def test_golden_streams_without_a_length(service: Any) -> None:
    """Bodies that end where the connection does, as HTTP/1.0 has them (faults 21 and 36)."""
    for name in SOCKETS[:-1]:
        stream, expected = GOLDEN[name]
        script = close_answer([stream.encode()], content_type="text/event-stream")
        assert summed(await service.stream(script)) == expected


@pytest.mark.parametrize(
    ("stream", "quirks", "expected"),
    [
        (GOLDEN["46-finish-open"][0], {"flush_at_eof": True}, ok("a", usage=None)),
        (GOLDEN["46-finish-open"][0][:-3], {"flush_at_eof": True}, TruncatedError),
        (say("a") + "data: [DONE]", {"flush_at_eof": True, "complete_unconfirmed": True}, ok("a", usage=None)),
        (GOLDEN["45-done-without-finish"][0], {"complete_unconfirmed": True}, ok("a", usage=None)),
        (DONE, {"complete_unconfirmed": True}, TruncatedError),
        (GOLDEN["45-cut"][0], {"complete_unconfirmed": True}, TruncatedError),
        (tool(OLLAMA_CALL) + DONE, {"complete_unconfirmed": True}, ok("", "tool_calls", None, calls=[WEATHER])),
    ],
    ids=["flush", "flush-cut", "flush-done", "done", "done-alone", "no-done", "tools"],
)
async def test_quirk_options(service: Any, stream: str, quirks: dict[str, Any], expected: Any) -> None:
    """Faults 45 and 46: by declaration alone a stream without its last blank line, or without a reason, is whole."""
    script = stream_answer([stream.encode(), Pause(0)])
    try:
        chunks: list[Any] = await service.stream(script, **quirks)
    except ConnectorError as error:
        chunks = [type(error)]
    assert summed(chunks) == expected


async def test_golden_streams_end_their_tasks(service: Any) -> None:
    """After streams of all kinds nothing runs on."""
    before = len(asyncio.all_tasks())
    for name in SOCKETS:
        await service.streamed([*stream_answer([GOLDEN[name][0].encode()], ends=False), HalfClose()])
    assert len(asyncio.all_tasks()) == before
