"""A model service for benchmarks: answers made beforehand, so that nearly all the time measured is the client's.

    python tests/bench/stub.py PORT [CHUNKS [PACE_MS]]

Serves every path. A body that asks for a stream gets CHUNKS events (200 by default): all at once, or one each PACE_MS.
PORT 0 takes a free port; the line `ready PORT` on standard output says that it listens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

WORD = " passage"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n"


def json_answer(words: int = 60) -> bytes:
    """Return a whole HTTP answer with a chat completion."""
    message = {"role": "assistant", "content": WORD * words, "refusal": None}
    body = json.dumps(
        {
            "id": "chatcmpl-stub",
            "object": "chat.completion",
            "created": 1,
            "model": "stub",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": words, "total_tokens": 100 + words},
        }
    ).encode()
    return _HEAD % (b"application/json", b"Content-Length: %d" % len(body)) + body


def stream_events(chunks: int) -> list[bytes]:
    """Return the events of a streamed answer, each as a chunk of HTTP's chunked encoding."""
    payloads: list[dict[str, Any]] = [_event({"role": "assistant", "content": ""}, None)]
    payloads += [_event({"content": WORD}, None) for _ in range(chunks)]
    payloads.append(_event({}, "stop"))
    usage = {"prompt_tokens": 100, "completion_tokens": chunks, "total_tokens": 100 + chunks}
    payloads.append({**_event({}, None), "choices": [], "usage": usage})
    events = [b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads]
    events.append(b"data: [DONE]\n\n")
    return [b"%x\r\n%s\r\n" % (len(event), event) for event in events]


def stream_head() -> bytes:
    """Return the head of a streamed answer."""
    return _HEAD % (b"text/event-stream; charset=utf-8", b"Transfer-Encoding: chunked")


def _event(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    start = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    return {**start, "system_fingerprint": "fp_stub", "choices": [choice]}


class StubProtocol(asyncio.Protocol):
    """Reads requests only as far as it must: where they end, and whether they ask for a stream."""

    def __init__(self, whole: bytes, events: list[bytes], pace_s: float) -> None:
        self._whole = whole
        self._events = events
        self._burst = stream_head() + b"".join(events) + b"0\r\n\r\n"
        self._pace_s = pace_s
        self._buffer = b""
        self._streams: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._request_end()) and len(self._buffer) >= end:
            body, self._buffer = self._buffer[:end], self._buffer[end:]
            self._answer(b'"stream":true' in body or b'"stream": true' in body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the streams that are under way."""
        for stream in self._streams:
            stream.cancel()

    def _request_end(self) -> int:
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return 0
        at = self._buffer[:head].lower().find(b"content-length:")
        length = int(self._buffer[at + 15 : head].split(b"\r\n", 1)[0]) if at >= 0 else 0
        return head + 4 + length

    def _answer(self, streamed: bool) -> None:
        if not streamed:
            self._transport.write(self._whole)
        elif not self._pace_s:
            self._transport.write(self._burst)
        else:
            task = asyncio.ensure_future(self._play())
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)

    async def _play(self) -> None:
        self._transport.write(stream_head())
        for event in self._events:
            await asyncio.sleep(self._pace_s)
            self._transport.write(event)
        self._transport.write(b"0\r\n\r\n")


async def serve(port: int, chunks: int = 200, pace_s: float = 0.0) -> None:
    """Serve until cancelled."""
    whole, events = json_answer(), stream_events(chunks)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: StubProtocol(whole, events, pace_s), "127.0.0.1", port, backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    numbers = [float(argument) for argument in sys.argv[1:]]
    asyncio.run(serve(int(numbers[0]), int((numbers[1:] or [200])[0]), (numbers[2:] or [0.0])[0] / 1000))
