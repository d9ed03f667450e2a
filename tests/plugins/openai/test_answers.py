"""Whole answers: what is sent, what is read, and how each way to fail is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from attrs import evolve
from nexus_openai.response_parsing import read_completion

from nexus_core import (
    CallOptions,
    Completion,
    ConnectError,
    ConnectorError,
    ContentFilterError,
    DisconnectedError,
    Message,
    PoolBusyError,
    Prompt,
    ProtocolError,
    ResponseTooLargeError,
    ServerError,
    TruncatedError,
    UpstreamTimeoutError,
    Usage,
)
from nexus_core.testing.upstream import (
    Gate,
    HalfClose,
    Reset,
    ScriptedUpstream,
    Silence,
    Step,
    completion,
    http_answer,
    http_head,
    json_answer,
    stream_answer,
)


async def test_answer_is_read(service: Any) -> None:
    """Text, finish reason, usage and the model by the service's own account."""
    answer = await service.send(json_answer(completion("Yes.")))
    expected = Usage(prompt_tokens=7, completion_tokens=3)
    assert evolve(answer, transfer=None) == Completion(
        text="Yes.", finish_reason="stop", usage=expected, model="scripted-1"
    )


async def test_connections_are_used_again(connect: Any, prompt: Prompt) -> None:
    """Ten calls, ten requests, one connection."""
    async with ScriptedUpstream(json_answer(completion("Yes."))) as upstream, connect(upstream) as openai:
        for _ in range(10):
            await openai.send_prompt(prompt, CallOptions())
        assert (len(upstream.requests), len(upstream.connections)) == (10, 1)


async def test_connector_works_in_one_event_loop_after_another(service: Any) -> None:
    """A component that was closed can be opened again, also by another loop."""
    in_a_thread = asyncio.to_thread(lambda: asyncio.run(service.send(json_answer(completion("a")))))
    assert (await in_a_thread).text == "a"
    assert (await service.send(json_answer(completion("b")))).text == "b"


async def test_large_prompts_are_sent(connect: Any) -> None:
    """Also those of more than a mebibyte, without a warning."""
    prompt = Prompt(messages=(Message("user", "long " * 400_000),))
    async with ScriptedUpstream(json_answer(completion("Yes."))) as upstream, connect(upstream) as openai:
        await openai.send_prompt(prompt, CallOptions())
        assert upstream.requests[0].json()["messages"][0]["content"] == prompt.messages[0].content


CALL = {"function": {"name": "f"}}


def choice(**fields: Any) -> dict[str, Any]:
    return completion("", choices=[fields])


@pytest.mark.parametrize(
    ("payload", "text", "reason"),
    [
        (completion(None, finish_reason="length"), "", "length"),
        (choice(message={"content": None, "tool_calls": [CALL]}, finish_reason="tool_calls"), "", "tool_calls"),
        (choice(message={"content": "a"}, finish_reason="function_call"), "a", "tool_calls"),
        (completion("a", finish_reason="content_filter"), "a", "content_filter"),
        (completion("a", finish_reason="end_turn"), "a", "stop"),
        (completion("a", finish_reason=None), "a", "stop"),
        (completion("a", error=None), "a", "stop"),
        (choice(text="a", finish_reason="stop"), "a", "stop"),
        (choice(message={"content": "a", "reasoning_content": "hm"}, finish_reason="stop"), "a", "stop"),
    ],
    ids=[
        "null-content", "tool-calls", "function-call", "filtered-late", "unknown-reason", "no-reason", "error-null",
        "legacy", "reasoning",
    ],
)  # fmt: skip
def test_answer_shapes(payload: Any, text: str, reason: str) -> None:
    """What services of all kinds send as a good answer."""
    answer = read_completion(json.dumps(payload).encode())
    assert (answer.text, answer.finish_reason) == (text, reason)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ({}, Usage()),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(prompt_tokens=0, completion_tokens=0)),
        ({"prompt_tokens": 5, "completion_tokens": None}, Usage(prompt_tokens=5)),
    ],
    ids=["null", "empty", "zero-is-zero", "half"],
)
def test_usage_that_is_unknown_stays_unknown(usage: Any, expected: Usage) -> None:
    """`None` is not 0 and 0 is not `None`."""
    assert read_completion(json.dumps(completion("a", usage=usage)).encode()).usage == expected


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"null", b"3", b'"text"', b"{}", b'{"choices": null}', b'{"choices": []}', b'{"choices": {}}',
        b'{"choices": [null]}', b'{"choices": [{}]}', b'{"choices": "abc"}', b'{"choices": [{"message": "x"}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}', b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": "a"}, "finish_reason": 5}]}',
        b'{"choices": [{"message": {"content": NaN}}]}',
        b'{"a": Infinity}', b'{"a": ' + b"9" * 5000 + b"}", b"[" * 100_000 + b"]" * 100_000, b"Bad Gateway",
        b'{"choices": []}{"choices": []}', b"{'a': 1}",
    ],
    ids=lambda body: body[:60].decode(),
)  # fmt: skip
def test_odd_json_is_a_protocol_error(body: bytes) -> None:
    """Fault 40: whatever is not as promised is told in one way."""
    with pytest.raises(ProtocolError):
        read_completion(body)


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    """Fault 40: as in every usual reader of JSON, in good answers and in those that are read the tolerant way."""
    twice = b'{"choices": [], "choices": [{"message": {"content": "a", "content": "b"}}]}'
    assert read_completion(twice).text == "b"
    assert read_completion(twice.replace(b'"b', b'"b\\ud83d')).text == "b\ufffd"


def test_every_cut_of_an_answer_is_a_truncation() -> None:
    """Fault 21: a body without a length that is cut anywhere, also within a character, is not taken for whole."""
    body = json.dumps(completion('né "🙂" \n'), ensure_ascii=False).encode()
    for at in range(len(body)):
        with pytest.raises(TruncatedError):
            read_completion(body[:at])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (rb'"a\ud83d"', "a\ufffd"), (rb'"\udc00b"', "\ufffdb"), (rb'"\ud83d\ude42"', "🙂"), (b'"\xffa\xe2\x82"', None),
    ],
    ids=["lone-high", "lone-low", "pair", "invalid-utf-8"],
)  # fmt: skip
def test_text_is_always_valid_unicode(content: bytes, expected: str | None) -> None:
    """Fault 90: what could not be written again is replaced at the boundary."""
    answer = read_completion(b'{"choices": [{"message": {"content": ' + content + b"}}]}")
    answer.text.encode()
    assert answer.text == (expected or "\ufffda\ufffd")


@pytest.mark.parametrize(
    "payload",
    [
        completion(None, finish_reason="content_filter"),
        completion("", finish_reason="content_filter"),
        choice(message={"content": None, "refusal": "I cannot."}, finish_reason="stop"),
    ],
    ids=["null", "empty", "refusal"],
)
async def test_filtered_answer_is_no_answer(service: Any, payload: Any) -> None:
    """Fault 28: empty content is never reported as good."""
    error = await service.fails(json_answer(payload))
    assert type(error) is ContentFilterError
    assert (error.status, error.provider, error.model) == (200, "openai", "test-model")


@pytest.mark.parametrize("reason", ["error", "network_error"])
async def test_answer_that_gave_up_is_a_failure(service: Any, reason: str) -> None:
    """Routers say by the finish reason that the model behind them failed."""
    assert type(await service.fails(json_answer(completion("half", finish_reason=reason)))) is ServerError


HEAD = http_head({"Content-Type": "application/json", "Content-Length": "500"})
CHUNKED = http_head({"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
ENDLESS = http_head({"Content-Type": "application/json", "Connection": "close"})
HALF = b'{"choices": [{"message": {"content": "Y'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param([HEAD, HALF, HalfClose()], TruncatedError, id="20-length-short"),
        pytest.param([CHUNKED, b"27\r\n" + HALF + b"\r\n", HalfClose()], TruncatedError, id="20-chunked-cut"),
        pytest.param([HEAD, HALF, Reset()], TruncatedError, id="20-reset"),
        pytest.param([ENDLESS, HALF, HalfClose()], TruncatedError, id="21-close-delimited-cut"),
        pytest.param([ENDLESS, HalfClose()], TruncatedError, id="21-empty"),
        pytest.param([HalfClose()], ConnectError, id="11-closed-without-answer"),
        pytest.param([Reset()], ConnectError, id="11-reset-without-answer"),
        pytest.param([b"HTTP/9 what\r\n\r\n"], ProtocolError, id="22-status-line"),
        pytest.param([CHUNKED + b"zz\r\n{}\r\n"], ProtocolError, id="22-chunk-size"),
        pytest.param([CHUNKED, b"zz\r\n{}\r\n"], ProtocolError, id="22-chunk-size-later"),
        pytest.param(
            [http_head({"Content-Length": "2", "content-length": "3"}) + b"{} "], ProtocolError, id="22-two-lengths"
        ),
        pytest.param([http_head({"X-Long": "x" * 100_000}) + b"{}"], ProtocolError, id="22-long-header"),
        pytest.param(http_answer(b"corrupt", headers={"Content-Encoding": "gzip"}), ProtocolError, id="23-gzip"),
        pytest.param(http_answer(b"<html>", content_type="text/html"), ProtocolError, id="25-html"),
        pytest.param(http_answer(b"", status=307, headers={"Location": "/x"}), ProtocolError, id="24-redirect"),
    ],
)  # fmt: skip
async def test_broken_answers(service: Any, script: list[Step], expected: type[ConnectorError]) -> None:
    """Faults 16, 20 and 22: all that the transport can do is one of our errors, after exactly one request."""
    error = await service.fails(script)
    assert type(error) is expected, error
    assert (error.provider, error.model, error.request_sent) == ("openai", "test-model", True)
    assert len(service.upstream.requests) == 1


async def test_redirect_is_not_followed(service: Any) -> None:
    """Fault 24: keys and prompt are not carried to another host."""
    async with ScriptedUpstream(json_answer(completion("Yes."))) as other:
        error = await service.fails(http_answer(b"", status=307, headers={"Location": f"{other.url}/chat/completions"}))
        assert other.connections == []
    assert "base_url" in str(error)
    assert error.status == 307


async def test_answer_over_the_cap(service: Any) -> None:
    """Fault 55: what claims to be too large is not read."""
    head = http_head({"Content-Type": "application/json", "Content-Length": str(2**40)})
    assert type(await service.fails([head, Silence()])) is ResponseTooLargeError


async def test_interim_answers_are_skipped(service: Any) -> None:
    """Fault 36: the final status counts."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    answer = await service.send([interim, *json_answer(completion("Yes."))])
    assert answer.text == "Yes."


async def test_early_refusal_while_the_body_is_on_its_way(connect: Any) -> None:
    """Fault 35: an answer before the end of a large request is read."""
    prompt = Prompt(messages=(Message("user", "x" * 20_000_000),))
    answer = http_answer(b'{"error": "too large"}', status=413, headers={"Connection": "close"})
    async with ScriptedUpstream([*answer, Silence()], early=True) as upstream, connect(upstream) as openai:
        with pytest.raises(ConnectorError, match="413"):
            await openai.send_prompt(prompt, CallOptions())


@pytest.mark.parametrize("script", [[Silence()], [HEAD, Silence()], [HEAD, HALF, Silence()]], ids=["15a", "15b", "15c"])
async def test_stalled_answer_times_out(service: Any, script: list[Step]) -> None:
    """Fault 15: silence before the head, after it and within the body ends in the total limit."""
    error = await service.fails(script, total_timeout_s=0.05)
    assert type(error) is UpstreamTimeoutError
    assert "0.05 s (total_timeout_s)" in str(error)
    assert error.code == "timeout_total"


async def test_upload_to_a_service_that_does_not_read_times_out(connect: Any) -> None:
    """Fault 13: the limit also holds while the request is being sent."""
    prompt = Prompt(messages=(Message("user", "x" * 20_000_000),))
    async with ScriptedUpstream([b""], deaf=True) as upstream, connect(upstream, total_timeout_s=0.1) as openai:
        with pytest.raises(UpstreamTimeoutError):
            await openai.send_prompt(prompt, CallOptions())


async def test_pool_wait_is_limited(connect: Any, prompt: Prompt) -> None:
    """Fault 17: a call that gets no connection sends nothing, and says so."""
    async with (
        ScriptedUpstream([Silence()]) as upstream,
        connect(upstream, connections=1, connect_timeout_s=0.05) as openai,
    ):
        first = asyncio.create_task(openai.send_prompt(prompt, CallOptions()))
        await asyncio.sleep(0)
        with pytest.raises(PoolBusyError) as caught:
            await openai.send_prompt(prompt, CallOptions())
        first.cancel()
    assert (caught.value.request_sent, caught.value.code) == (False, "pool_busy")


async def test_refused_connection(service: Any) -> None:
    """Fault 37: nothing was sent, and the message names host and port."""
    error = await service.fails([], base_url="http://127.0.0.1:1/v1")
    assert (type(error), error.code, error.request_sent) == (ConnectError, "refused", False)
    assert "127.0.0.1:1" in str(error)


async def test_failed_tls(service: Any) -> None:
    """Fault 37: a service that does not speak TLS is told apart."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await service.fails([], base_url=f"https://127.0.0.1:{port}/v1")
    assert (type(error), error.code, error.request_sent) == (ConnectError, "tls", False)


async def test_stale_connection_is_not_retried(connect: Any, prompt: Prompt) -> None:
    """Fault 11: a kept connection that the service closes costs an error and no second request."""
    answer = json_answer(completion("Yes."))
    async with ScriptedUpstream(answer, [HalfClose()], answer) as upstream, connect(upstream) as openai:
        await openai.send_prompt(prompt, CallOptions())
        with pytest.raises(DisconnectedError) as caught:
            await openai.send_prompt(prompt, CallOptions())
        assert len(upstream.requests) == 2
        assert caught.value.code == "disconnected"
        assert (await openai.send_prompt(prompt, CallOptions())).text == "Yes."


async def test_cancelled_call_closes_its_connection(connect: Any, prompt: Prompt) -> None:
    """Nobody generates for a caller who has left."""
    gate = Gate()
    async with ScriptedUpstream([gate]) as upstream, connect(upstream) as openai:
        call = asyncio.create_task(openai.send_prompt(prompt, CallOptions()))
        await gate.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)


async def test_failures_leave_no_connection_behind(connect: Any, prompt: Prompt) -> None:
    """Fault 18: after failures of every kind the pool serves as before."""
    good = json_answer(completion("Yes."))
    bad: list[list[Step]] = [
        [HEAD, HALF, Reset()],
        [HalfClose()],
        http_answer(b"{}", status=500),
        http_answer(b"no"),
        stream_answer([b"x"]),
    ]
    async with ScriptedUpstream(*(bad * 4), good) as upstream, connect(upstream, connections=1) as openai:
        for _ in range(len(bad) * 4):
            with pytest.raises(ConnectorError):
                await openai.send_prompt(prompt, CallOptions())
        assert (await openai.send_prompt(prompt, CallOptions())).text == "Yes."
        assert len(upstream.requests) == len(bad) * 4 + 1
