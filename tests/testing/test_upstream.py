"""The scripted upstream plays exactly what it is told and notes exactly what it got."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from nexus_core.testing.upstream import (
    DONE,
    Gate,
    HalfClose,
    Pause,
    Repeat,
    Reset,
    ScriptedUpstream,
    Silence,
    Step,
    chat_events,
    close_answer,
    completion,
    error_body,
    event,
    http_answer,
    informational,
    json_answer,
    stream_answer,
)

REQUEST = b"POST /v1/chat?x=1 HTTP/1.1\r\nHost: here\r\nX-Two: b\r\nContent-Length: 7\r\n\r\n[1,2,3]"


async def dial(upstream: ScriptedUpstream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(upstream.origin.rpartition(":")[2]))


async def ask(upstream: ScriptedUpstream, request: bytes = REQUEST) -> bytes:
    """Send a request and return all that comes until the upstream closes."""
    reader, writer = await dial(upstream)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_upstream_plays_the_bytes_of_a_script() -> None:
    """What the script holds is what the client gets, byte for byte."""
    async with ScriptedUpstream([b"any", b"", Pause(0.001), b"\x00\xff bytes"], keep_open=False) as upstream:
        assert await ask(upstream) == b"any\x00\xff bytes"


async def test_upstream_records_requests() -> None:
    """Method, target, headers and body are kept."""
    async with ScriptedUpstream([b"x", HalfClose()]) as upstream:
        await ask(upstream)
        request = upstream.requests[0]
    assert (request.method, request.target, request.headers["x-two"]) == ("POST", "/v1/chat?x=1", "b")
    assert request.json() == [1, 2, 3]


async def test_upstream_gives_the_last_script_to_all_further_requests() -> None:
    """Scripts are used in order, the last one again and again."""
    async with ScriptedUpstream([b"one"], [b"two"], keep_open=False) as upstream:
        assert [await ask(upstream) for _ in range(3)] == [b"one", b"two", b"two"]
        assert len(upstream.connections) == 3


async def test_upstream_serves_several_requests_on_one_connection() -> None:
    """A connection stays open after a script, and pipelined requests are answered in order."""
    async with ScriptedUpstream([b"one;"], [b"two", HalfClose()]) as upstream:
        assert await ask(upstream, REQUEST * 2) == b"one;two"
        assert len(upstream.connections) == 1


async def test_gate_holds_the_script_until_it_is_opened() -> None:
    """A test knows when the script has come to a gate, and decides when it goes on."""
    gate = Gate()
    async with ScriptedUpstream([b"before", gate, b"after"], keep_open=False) as upstream:
        reader, writer = await dial(upstream)
        writer.write(REQUEST)
        await gate.reached.wait()
        assert await reader.readexactly(6) == b"before"
        gate.open()
        assert await reader.read() == b"after"
        writer.close()


@pytest.mark.parametrize("step", [Silence(), Gate()], ids=["silence", "gate"])
async def test_upstream_notices_that_the_client_goes_away(step: Step) -> None:
    """However the script waits, a client that leaves ends it."""
    async with ScriptedUpstream([b"x", step]) as upstream:
        reader, writer = await dial(upstream)
        writer.write(REQUEST)
        await reader.readexactly(1)
        writer.close()
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)


async def test_reset_is_an_error_for_the_client() -> None:
    """RST is not an orderly end."""
    async with ScriptedUpstream([b"x", Reset()]) as upstream:
        reader, writer = await dial(upstream)
        writer.write(REQUEST)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(2)
        writer.close()


async def test_deaf_upstream_reads_nothing() -> None:
    """A deaf upstream takes the connection and no request."""
    async with ScriptedUpstream([b"x"], deaf=True) as upstream:
        reader, writer = await dial(upstream)
        writer.write(REQUEST)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        assert upstream.requests == []
        writer.close()


async def test_early_upstream_answers_before_the_body() -> None:
    """An answer may come while the request is still on its way."""
    head, _, _ = REQUEST.partition(b"[")
    async with ScriptedUpstream([b"x", HalfClose()], early=True) as upstream:
        assert await ask(upstream, head) == b"x"
        assert upstream.requests[0].body == b""


def parts(script: Any) -> tuple[str, bytes]:
    head, _, body = b"".join(script).partition(b"\r\n\r\n")
    return head.decode(), body


def test_answers_are_valid_http() -> None:
    """The builders make a status line, headers and a body of the length they say."""
    head, body = parts(json_answer(completion("Yes.")))
    assert head.startswith("HTTP/1.1 200 ")
    assert f"Content-Length: {len(body)}" in head
    assert json.loads(body)["choices"][0]["message"]["content"] == "Yes."
    head, body = parts(http_answer(b"no", status=503, content_type="text/plain", headers={"Retry-After": "3"}))
    assert "503" in head.splitlines()[0]
    assert "Retry-After: 3" in head


def test_stream_answer_chunks_each_event() -> None:
    """Each event is a chunk, and the final chunk is left out on request."""
    head, body = parts(stream_answer([event({"a": 1}), DONE]))
    assert "text/event-stream" in head
    assert body == b'10\r\ndata: {"a": 1}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n'
    assert not parts(stream_answer([DONE], ends=False))[1].endswith(b"0\r\n\r\n")


def test_chat_events_are_a_whole_stream() -> None:
    """Role, texts, finish reason, usage and the end, in this order."""
    events = chat_events("a", "b")
    payloads = [json.loads(data[6:]) for data in events[:-1]]
    assert payloads[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [payload["choices"][0]["delta"]["content"] for payload in payloads[1:3]] == ["a", "b"]
    assert payloads[3]["choices"][0]["finish_reason"] == "stop"
    assert payloads[4]["choices"] == []
    assert events[-1] == DONE
    assert error_body("no", code="c")["error"]["code"] == "c"


async def test_upstream_tells_which_connections_are_open() -> None:
    """A client that keeps its connection is named, and one that has closed it is not."""
    async with ScriptedUpstream([b"x", Silence()]) as upstream:
        _, kept = await dial(upstream)
        kept.write(REQUEST)
        reader, closed = await dial(upstream)
        closed.write(REQUEST)
        await reader.readexactly(1)
        closed.close()
        assert await upstream.connections[1].closed_within(5)
        assert upstream.open_connections == [upstream.connections[0]]
        assert await upstream.left_open(0.01) == ["connection 0 is still open after 1 request"]
        kept.close()
        assert await upstream.left_open(5) == []


async def test_upstream_reads_chunked_requests() -> None:
    """A client that knows no length may send its body in chunks."""
    chunked = b"POST /v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2;x=y\r\n2]\r\n0\r\nA: b\r\n\r\n"
    async with ScriptedUpstream([b"x", HalfClose()]) as upstream:
        assert await ask(upstream, chunked) == b"x"
        assert upstream.requests[0].json() == [1, 2]


async def test_upstream_counts_requests_that_are_not_whole() -> None:
    """A request counts from its head on, also one whose body never comes."""
    async with ScriptedUpstream([b"x"]) as upstream:
        _, writer = await dial(upstream)
        writer.write(REQUEST[:-3])
        await asyncio.sleep(0.02)
        writer.close()
        assert await upstream.left_open(5) == []
        assert (upstream.started, upstream.requests) == (1, [])


async def test_upstream_closes_a_kept_connection_at_the_next_request() -> None:
    """As servers do with connections that were idle for too long: no byte of an answer comes."""
    async with ScriptedUpstream([b"one"], close_before=1) as upstream:
        assert await ask(upstream, REQUEST * 2) == b"one"
        assert len(upstream.requests) == 2


async def test_upstream_repeats_bytes_until_the_client_has_enough() -> None:
    """An endless answer ends when the client leaves; one that is counted ends by itself."""
    async with ScriptedUpstream([Repeat(b"ab", 3), HalfClose()]) as upstream:
        assert await ask(upstream) == b"ababab"
    async with ScriptedUpstream([Repeat(b"x" * 4096)]) as upstream:
        reader, writer = await dial(upstream)
        writer.write(REQUEST)
        await reader.readexactly(10_000)
        writer.close()
        assert await upstream.left_open(5) == []


def test_older_and_interim_answers_are_valid_http() -> None:
    """An answer without a length, and one that comes before the answer."""
    head, *rest = close_answer([b"a", b"b"])
    assert isinstance(head, bytes)
    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Length" not in head
    assert rest == [b"a", b"b", HalfClose()]
    assert informational(103, {"Link": "x"}) == b"HTTP/1.1 103 Scripted\r\nLink: x\r\n\r\n"
