"""A model service for benchmarks: answers made beforehand, so that nearly all the time measured is the client's.

    python tests/bench/stub.py PORT [CHUNKS [PACE_MS [watched]]]

Serves every path. A body that asks for a stream gets CHUNKS events (200 by default): all at once, or one each PACE_MS;
where it says "at length", each of them has 128 KB of text. PORT 0 takes a free port; the line `ready PORT` on standard
output says that it listens. A watched one answers the words `requests` (how many with each `X-Client-Request-Id`),
`connections` (how many are open) and `cut` (when connections were lost in the middle of a stream, by its `seed`, in
seconds of the machine's clock) on standard input, and ends with it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from time import monotonic
from typing import Any

from asked import answer

WORD = " passage"
LENGTHY = WORD * 2**14
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


def stream_events(chunks: int, word: str = WORD) -> list[bytes]:
    """Return the events of a streamed answer, each as a chunk of HTTP's chunked encoding."""
    payloads: list[dict[str, Any]] = [_event({"role": "assistant", "content": ""}, None)]
    payloads += [_event({"content": word}, None) for _ in range(chunks)]
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


class Watch:
    """What a watched service has seen."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: Counter[str] = Counter()
        self.cut: dict[int, float] = {}

    def note(self, request: bytes) -> int:
        """Take down a request, and return its seed."""
        head, _, body = request.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
        self.requests[fields.get("X-Client-Request-Id", "")] += 1
        return int(json.loads(body).get("seed", -1))

    async def tell(self, word: str) -> object:
        """Answer a word."""
        return {"requests": self.requests, "cut": self.cut, "connections": self.connections}[word]


class StubProtocol(asyncio.Protocol):
    """Reads requests only as far as it must: where they end, and whether they ask for a stream."""

    def __init__(
        self, whole: bytes, events: list[bytes], pace_s: float, lengthy: list[bytes], watch: Watch | None = None
    ) -> None:
        self._whole = whole
        self._lengthy = lengthy
        self._watch = watch
        self._seed = -1
        self._events = events
        self._burst = stream_head() + b"".join(events) + b"0\r\n\r\n"
        self._pace_s = pace_s
        self._buffer = b""
        self._streams: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._watch is not None:
            self._watch.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._request_end()) and len(self._buffer) >= end:
            body, self._buffer = self._buffer[:end], self._buffer[end:]
            if self._watch is not None:
                self._seed = self._watch.note(body)
            self._answer(b'"stream":true' in body or b'"stream": true' in body, b"at length" in body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the streams that are under way."""
        for stream in self._streams:
            stream.cancel()
        if self._watch is not None:
            self._watch.connections -= 1
            if self._streams:
                self._watch.cut[self._seed] = monotonic()

    def _request_end(self) -> int:
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return 0
        at = self._buffer[:head].lower().find(b"content-length:")
        length = int(self._buffer[at + 15 : head].split(b"\r\n", 1)[0]) if at >= 0 else 0
        return head + 4 + length

    def _answer(self, streamed: bool, at_length: bool) -> None:
        if not streamed:
            self._transport.write(self._whole)
        elif not self._pace_s:
            self._transport.write(self._burst)
        else:
            task = asyncio.ensure_future(self._play(self._lengthy if at_length else self._events))
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)

    async def _play(self, events: list[bytes]) -> None:
        self._transport.write(stream_head())
        loop = asyncio.get_running_loop()
        due = loop.time()
        for event in events:
            due += self._pace_s
            await asyncio.sleep(due - loop.time())  # a late event makes none of those behind it late
            self._transport.write(event)
        self._transport.write(b"0\r\n\r\n")


async def serve(port: int, chunks: int = 200, pace_s: float = 0.0, watch: Watch | None = None) -> None:
    """Serve until cancelled; a watched one as long as there is standard input."""
    whole, events, lengthy = json_answer(), stream_events(chunks), stream_events(chunks, LENGTHY)

    def accept() -> StubProtocol:
        return StubProtocol(whole, events, pace_s, lengthy, watch)

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", port, backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await (server.serve_forever() if watch is None else answer(watch.tell))


if __name__ == "__main__":
    port, chunks, pace_ms, *watched = [*sys.argv[1:], *("0", "200", "0")[len(sys.argv) - 1 :]]
    asyncio.run(serve(int(port), int(chunks), float(pace_ms) / 1000, Watch() if watched else None))
