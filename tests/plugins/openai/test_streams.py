"""Streams: what services send, what counts as whole, and how every way to break off is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from nexus_openai.stream_parsing import StreamReading

from nexus_core import (
    CallOptions,
    Chunk,
    ConnectorError,
    ContentFilterError,
    ContextLengthError,
    OverloadedError,
    Prompt,
    ProtocolError,
    RateLimitError,
    ResponseTooLargeError,
    ServerError,
    StalledError,
    TruncatedError,
    UpstreamTimeoutError,
    Usage,
)
from nexus_core.testing.upstream import (
    DONE,
    Gate,
    HalfClose,
    Reset,
    ScriptedUpstream,
    Silence,
    Step,
    chat_events,
    completion,
    delta,
    error_body,
    event,
    http_answer,
    http_head,
    json_answer,
    stream_answer,
    usage_chunk,
)
from nexus_core.toolkit import EventDecoder, InBandError

USAGE = Usage(prompt_tokens=7, completion_tokens=3)
A = event(delta("a"))
STOP = event(delta(finish_reason="stop"))
ENDLESS = http_head({"Content-Type": "text/event-stream", "Connection": "close"})


async def test_stream_is_read_chunk_by_chunk(service: Any) -> None:
    """A chunk for each text, none for role and blanks, and a last one that says how it ended."""
    chunks = await service.stream(stream_answer(chat_events("Yes", ", ", "it is.")))
    assert chunks == [Chunk("Yes"), Chunk(", "), Chunk("it is."), Chunk("", "stop", USAGE, "scripted-1")]


async def test_chunks_are_given_as_they_come(connect: Any, prompt: Prompt) -> None:
    """Nothing is held back until more has come."""
    gate = Gate()
    async with (
        ScriptedUpstream(stream_answer([A, gate, event(delta("b")), STOP])) as upstream,
        connect(upstream) as openai,
        aclosing(openai.stream_response(prompt, CallOptions())) as chunks,
    ):
        assert (await anext(chunks)).transfer is not None
        assert (await anext(chunks)).text == "a"
        gate.open()
        assert [chunk.text async for chunk in chunks] == ["b", ""]


async def test_connection_is_used_again_after_a_stream(connect: Any, prompt: Prompt) -> None:
    """Also when the body ends only after the stream has, and when the reader stops at the last chunk."""
    late = [*stream_answer(chat_events("a"), ends=False), b"0\r\n\r\n"]
    async with ScriptedUpstream(late) as upstream, connect(upstream) as openai:
        for _ in range(3):
            async with aclosing(openai.stream_response(prompt, CallOptions())) as chunks:
                async for chunk in chunks:
                    if chunk.finish_reason:
                        break
        assert (len(upstream.requests), len(upstream.connections)) == (3, 1)


def events_of(*payloads: Any) -> bytes:
    return b"".join(payload if isinstance(payload, bytes) else event(payload) for payload in payloads)


REASONING = {"index": 0, "delta": {"content": None, "reasoning_content": "hm"}, "finish_reason": None}
BOTH = {"index": 0, "delta": {"content": "a", "reasoning": "hm"}, "finish_reason": None}
SECOND = {"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}
LEGACY = [{"index": 0, "text": "a", "finish_reason": None}]
TOOL = {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, "finish_reason": None}
DELTAS = {
    "openai": [delta("", role="assistant"), delta("a"), delta(finish_reason="stop"), usage_chunk(), DONE],
    "45-no-done": [delta("a"), delta(finish_reason="stop"), usage_chunk()],
    "43-crlf": [events_of(delta("a"), delta(finish_reason="stop"), usage_chunk(), DONE).replace(b"\n", b"\r\n")],
    "43-cr": [events_of(delta("a"), delta(finish_reason="stop"), usage_chunk(), DONE).replace(b"\n", b"\r")],
    "44-bom": [b"\xef\xbb\xbf", delta("a"), delta(finish_reason="stop"), usage_chunk(), DONE],
    "49-error-null": [delta("a", error=None), delta(finish_reason="stop", error=None), usage_chunk(), DONE],
    "50-comments": [b": OPENROUTER PROCESSING\n\n", delta("a"), b": x\n\n", delta(finish_reason="stop"), b":\n\n",
                    usage_chunk(), DONE],
    "51-data-keep-alive": [b"data: : keepalive\n\n", b"data:\n\n", {"type": "ping"}, delta("a"),
                           delta(finish_reason="stop"), usage_chunk(), DONE],
    "52-meta-events": [b"retry: 3000\n\n", b"id: 7\n\n", b"event: ping\n\n", delta("a"), delta(finish_reason="stop"),
                       usage_chunk(), DONE],
    "53-no-space": [events_of(delta("a"), delta(finish_reason="stop"), usage_chunk()).replace(b"data: ", b"data:")],
    "53-lines": [b'data: {"choices": [{"delta":\ndata: {"content": "a"}}]}\n\n', delta(finish_reason="stop"),
                 usage_chunk(), DONE],
    "57-azure-filter-first": [delta(choices=[], prompt_filter_results=[{"x": {}}]), delta("a"),
                              delta(finish_reason="stop"), usage_chunk(), DONE],
    "58-nulls": [delta(choices=None), delta(choices=[{"index": 0}]), delta(choices=[{"index": 0, "delta": None}]),
                 delta(choices=[{"index": 0, "delta": {"content": None}}]), delta("a"), delta(finish_reason="stop"),
                 usage_chunk(), DONE],
    "60-reasoning": [delta(choices=[REASONING]), delta(choices=[BOTH]), delta(finish_reason="stop"), usage_chunk()],
    "61-tool-calls-beside": [delta("a"), delta(choices=[TOOL]), delta(finish_reason="stop"), usage_chunk(), DONE],
    "63-text-with-finish": [delta("a", finish_reason="stop"), usage_chunk(), DONE],
    "64-second-choice": [delta(choices=[SECOND]), delta("a"), delta(choices=[SECOND]), delta(finish_reason="stop"),
                         usage_chunk(), DONE],
    "64-no-index": [delta(choices=[{"delta": {"content": "a"}}]), delta(finish_reason="stop"), usage_chunk(), DONE],
    "65-usage-on-every-chunk": [delta("a", usage={"prompt_tokens": 7, "completion_tokens": 1}), delta("", usage=None),
                                delta(finish_reason="stop", usage=usage_chunk()["usage"]), DONE],
    "66-after-done": [delta("a"), delta(finish_reason="stop"), usage_chunk(), b"data: [DONE] \n\n", delta("never"),
                      b"data: {broken\n\n"],
    "66-done-with-a-name": [delta("a"), delta(finish_reason="stop"), usage_chunk(), b"event: done\ndata: [DONE]\n\n"],
    "legacy": [delta(choices=LEGACY), delta(choices=[{"index": 0, "text": "", "finish_reason": "stop"}]), usage_chunk(),
               DONE],
}  # fmt: skip


@pytest.mark.parametrize("payloads", DELTAS.values(), ids=DELTAS)
async def test_stream_shapes(service: Any, payloads: list[Any]) -> None:
    """What services of all kinds send; in each the answer is `a` and 7 + 3 tokens."""
    text, last = await service.streamed(stream_answer([events_of(*payloads)]))
    assert text == "a"
    assert isinstance(last, Chunk), last
    assert (last.finish_reason, last.usage) == ("stop", USAGE)


def read(pieces: list[bytes]) -> tuple[str, bool, Any]:
    """Return text, whether it was whole, and usage, by decoder and reading alone."""
    decoder, reading, text = EventDecoder(), StreamReading(), ""
    for piece in pieces:
        for name, data in decoder.feed(piece):
            if not reading.done:
                part = reading.take(name, data)
                text += part.text if part else ""
    return text, reading.finish_reason is not None, reading.usage


@pytest.mark.parametrize("payloads", DELTAS.values(), ids=DELTAS)
def test_stream_reads_the_same_for_every_split(payloads: list[Any]) -> None:
    """Fault 41: two pieces cut at every byte, and byte by byte."""
    stream = events_of(*payloads)
    assert read([stream]) == ("a", True, USAGE)
    assert read([stream[at : at + 1] for at in range(len(stream))]) == ("a", True, USAGE)
    assert all(read([stream[:at], stream[at:]]) == ("a", True, USAGE) for at in range(len(stream)))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"choices":[{"delta":{"content":"a\u2028\u0085b"}}]}'.encode(), "a\u2028\u0085b"),
        (rb'{"choices":[{"delta":{"content":"a\ud83d"}}]}', "a\ufffd"),
        (b'{"choices":[{"delta":{"content":"a\xff"}}]}', "a\ufffd"),
    ],
    ids=["42-line-separators", "90-lone-surrogate", "67-invalid-utf-8"],
)
def test_stream_text_is_valid_unicode(data: bytes, text: str) -> None:
    """What could not be written again is replaced, and nothing else is changed."""
    assert StreamReading().take(b"", data) == Chunk(text)


@pytest.mark.parametrize(
    "data",
    [
        b"3", b"[]", b"null", b'"text"', b"{broken", b'{"choices": 3}', b'{"choices": {"a": 1}}', b'{"choices": [3]}',
        b'{"choices": [{"delta": "text"}]}', b'{"choices": [{"delta": {"content": ["a"]}}]}',
        b'{"choices": [{"delta": {}, "finish_reason": 3}]}',
        b'{"choices": [{"delta": {"content": NaN}}]}', b"<html>",
    ],
    ids=repr,
)  # fmt: skip
def test_odd_event_is_a_protocol_error(data: bytes) -> None:
    """Fault 40, within a stream."""
    with pytest.raises((ProtocolError, TruncatedError)):
        StreamReading().take(b"", data)


@pytest.mark.parametrize(
    "data",
    [b'{"choices": [{"delta": {}, "finish_reason": "error"}]}', b'{"choices": [{"finish_reason": "network_error"}]}'],
    ids=["openrouter", "zhipu"],
)
def test_finish_reason_that_is_a_failure(data: bytes) -> None:
    """Some services say by the finish reason that they failed; like every reason it counts where nothing follows."""
    reading = StreamReading()
    assert reading.take(b"", data) is None
    with pytest.raises(ServerError):
        reading.finish()


RATE = error_body("Rate limit reached", code="rate_limit_exceeded", type="tokens")
IN_STREAM: dict[str, tuple[bytes, type[ConnectorError]]] = {
    "47-object": (event(RATE), RateLimitError),
    "47-string": (event({"error": "the model crashed"}), ServerError),
    "47-number": (event(error_body("busy", code=503)), OverloadedError),
    "48-object-error": (event({"object": "error", "message": "maximum context length is 9", "code": 400}),
                        ContextLengthError),
    "48-event-error": (b'event: error\ndata: {"message": "x", "type": "overloaded_error"}\n\n', OverloadedError),
    "48-event-error-text": (b"event: error\ndata: something broke\n\n", ServerError),
    "vllm": (event(error_body("bad", code=429, type="BadRequestError")), RateLimitError),
}  # fmt: skip


@pytest.mark.parametrize("before", [[], [A], [A, STOP]], ids=["first", "middle", "last"])
@pytest.mark.parametrize(("data", "expected"), IN_STREAM.values(), ids=IN_STREAM)
async def test_error_inside_a_stream(
    service: Any, data: bytes, expected: type[ConnectorError], before: list[bytes]
) -> None:
    """Faults 47 and 48: an error is an error wherever it stands, and the text before it was given."""
    text, error = await service.streamed(stream_answer([b"".join([*before, data, DONE])]))
    assert text == "a" * bool(before)
    assert type(error) is expected, error
    assert (error.status, error.provider, error.model) == (200, "openai", "test-model")


@pytest.mark.parametrize("ends", ["fin", "clean-end", "reset", "no-length", "done"])
@pytest.mark.parametrize("count", range(5))
async def test_stream_that_breaks_off_is_truncated(service: Any, count: int, ends: str) -> None:
    """Faults 20, 21 and 45: cut after any event, in any way: the text so far, and no claim that it is whole."""
    events = [event(delta("", role="assistant")), *(event(delta(letter)) for letter in "abcd")][:count]
    scripts: dict[str, list[Step]] = {
        "fin": [*stream_answer(events, ends=False), HalfClose()],
        "clean-end": stream_answer(events),
        "reset": [*stream_answer(events, ends=False), Gate(), Reset()],
        "no-length": [ENDLESS, *events, HalfClose()],
        "done": stream_answer([*events, DONE]),
    }
    for step in scripts[ends]:
        if isinstance(step, Gate):
            step.open()
    text, error = await service.streamed(scripts[ends])
    assert text == "abcd"[: max(0, count - 1)]
    assert type(error) is TruncatedError, error
    assert len(service.upstream.requests) == 1


async def test_last_event_without_blank_line_does_not_count(service: Any) -> None:
    """Fault 46: the format discards it, so that the stream is truncated."""
    text, error = await service.streamed(stream_answer([A, STOP.rstrip(b"\n") + b"\n"]))
    assert (text, type(error)) == ("a", TruncatedError)


@pytest.mark.parametrize("end", [HalfClose(), Reset(), Silence()], ids=["fin", "reset", "silence"])
async def test_stream_is_whole_once_it_has_finished(service: Any, end: Step) -> None:
    """After the finish reason a broken or silent connection costs the usage, not the answer."""
    script = [*stream_answer([A + STOP], ends=False), end]
    text, last = await service.streamed(script, stream_timeout_s=0.05)
    assert (text, last) == ("a", Chunk("", "stop", None, "scripted-1"))


@pytest.mark.parametrize(
    ("payloads", "text", "whole"),
    [
        ([delta("a"), delta(finish_reason="content_filter")], "a", True),
        ([delta("", role="assistant"), delta(finish_reason="content_filter")], "", False),
        ([delta(choices=[{"delta": {"refusal": "I cannot."}}]), delta(finish_reason="stop")], "", False),
    ],
    ids=["after-text", "nothing", "refusal"],
)
async def test_filtered_stream(service: Any, payloads: list[Any], text: str, whole: bool) -> None:
    """Fault 28: what was filtered as a whole is an error, what was cut off by a filter says so."""
    got, last = await service.streamed(stream_answer([events_of(*payloads, DONE)]))
    assert got == text
    if whole:
        assert last.finish_reason == "content_filter"
    else:
        assert type(last) is ContentFilterError


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain", ""])
async def test_completion_where_a_stream_was_asked(service: Any, kind: str) -> None:
    """Fault 25: a service that does not stream is taken at its word."""
    body = b" " + json_body(completion("Yes."))
    chunks = await service.stream(http_answer(body, content_type=kind))
    assert chunks == [Chunk("Yes."), Chunk("", "stop", USAGE, "scripted-1")]


def json_body(payload: Any) -> bytes:
    step = json_answer(payload)[0]
    assert isinstance(step, bytes)
    return step.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(json_answer(error_body("slow down", code="slow_down")), OverloadedError, id="json-error"),
        pytest.param(http_answer(b"<!doctype html>", content_type="text/html"), ProtocolError, id="html"),
        pytest.param(http_answer(b"  <html>", content_type="text/event-stream"), ProtocolError, id="html-in-disguise"),
        pytest.param(http_answer(b"", content_type="text/event-stream"), TruncatedError, id="empty"),
        pytest.param(http_answer(b"just text", content_type="text/plain"), TruncatedError, id="text"),
        pytest.param(http_answer(json_body(completion("Yes."))[:-9]), TruncatedError, id="json-cut"),
        pytest.param(json_answer({"choices": []}), ProtocolError, id="json-odd"),
        pytest.param(json_answer(RATE, status=429), RateLimitError, id="status"),
        pytest.param([HalfClose()], ConnectorError, id="nothing"),
    ],
)
async def test_no_stream_where_one_was_asked(service: Any, script: list[Step], expected: type[ConnectorError]) -> None:
    """Fault 25: everything else is an error that says what came."""
    text, error = await service.streamed(script)
    assert text == ""
    assert isinstance(error, expected), error
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize(
    ("script", "limits", "code"),
    [
        pytest.param([Silence()], {"first_byte_timeout_s": 0.03}, "timeout_first_byte", id="15-no-head"),
        pytest.param(stream_answer([Silence()]), {"idle_timeout_s": 0.03}, "timeout_idle", id="15-head-only"),
        pytest.param(stream_answer([A, Silence()]), {"idle_timeout_s": 0.03}, "timeout_idle", id="15-one"),
        pytest.param(
            stream_answer([A, b": ping\n\n", b": ping\n\n", Silence()]),
            {"progress_timeout_s": 0.03}, "timeout_progress", id="69-pings",
        ),
        pytest.param(stream_answer([A, Silence()]), {"stream_timeout_s": 0.03}, "timeout_total", id="total"),
    ],
)  # fmt: skip
async def test_stalled_stream_times_out(service: Any, script: list[Step], limits: dict[str, float], code: str) -> None:
    """Faults 15 and 69: each timer fires by itself and is named."""
    _, error = await service.streamed(script, **limits)
    stalled = code in ("timeout_idle", "timeout_progress")
    assert type(error) is (StalledError if stalled else UpstreamTimeoutError), error
    assert error.code == code
    assert next(iter(limits)) in str(error)


async def test_endless_line_is_refused(service: Any) -> None:
    """Fault 55: a line without end does not fill the memory, and what came before it is given."""
    text, error = await service.streamed(stream_answer([A, b"data: " + b"x" * 9 * 2**20, Silence()]))
    assert (text, type(error)) == ("a", ResponseTooLargeError)


async def test_leaving_early_closes_the_connection(connect: Any, prompt: Prompt) -> None:
    """Fault 73: a reader who leaves stops the generation."""
    script = stream_answer([A, Silence()])
    async with ScriptedUpstream(script) as upstream, connect(upstream) as openai:
        async with aclosing(openai.stream_response(prompt, CallOptions())) as chunks:
            await anext(chunks)
            await anext(chunks)
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)


@pytest.mark.parametrize("begun", [False, True], ids=["before-the-head", "in-the-middle"])
async def test_cancelled_stream_closes_the_connection(connect: Any, prompt: Prompt, begun: bool) -> None:
    """Cancelling the task that reads has the same effect, before the head and after it."""

    async def drain() -> None:
        async for chunk in openai.stream_response(prompt, CallOptions()):
            assert chunk.text in ("", "a")

    gate = Gate()
    script = stream_answer([A, gate]) if begun else [gate]
    async with ScriptedUpstream(script) as upstream, connect(upstream) as openai:
        task = asyncio.create_task(drain())
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)


async def test_reader_paces_the_service(connect: Any, prompt: Prompt) -> None:
    """Fault 82: a slow reader does not make us buffer the whole stream."""
    end = Gate()
    events = [event(delta("x" * 2**18)) for _ in range(60)]
    async with (
        ScriptedUpstream(stream_answer([*events, STOP, end])) as upstream,
        connect(upstream) as openai,
        aclosing(openai.stream_response(prompt, CallOptions())) as chunks,
    ):
        await anext(chunks)
        await anext(chunks)
        for _ in range(5000):  # rounds of the loop, in each of which the service could go on
            await asyncio.sleep(0)
        assert not end.reached.is_set()
        assert len([chunk async for chunk in _until_end(chunks, end)]) == 60


async def _until_end(chunks: AsyncIterator[Chunk], end: Gate) -> AsyncIterator[Chunk]:
    end.open()
    async for chunk in chunks:
        yield chunk


def test_first_event_may_be_an_error_object() -> None:
    """What an event says is kept for whoever classifies it."""
    with pytest.raises(InBandError) as caught:
        StreamReading().take(b"", b'{"error": {"message": "no"}}')
    assert caught.value.payload == {"error": {"message": "no"}}
