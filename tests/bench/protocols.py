"""The protocols of model services, for overhead.py: what a service says, and the least that reads it by hand.

    python tests/bench/protocols.py PROTOCOL CHUNKS

serves one of them, with a stream of CHUNKS texts, and says `ready PORT` on standard output.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from struct import pack, unpack_from
from typing import Any
from zlib import crc32

from attrs import frozen
from stub import WORD, StubProtocol, json_answer, stream_events

WORDS = 60
USAGE = {"input_tokens": 100, "output_tokens": WORDS, "total_tokens": 100 + WORDS}
TEXT = WORD * WORDS


@frozen(kw_only=True)
class ServiceProtocol:
    """One protocol: a service's answers, a careful author's requests, and the least that reads the answers."""

    use: str
    """The model in the pipeline, after `base_url`."""
    base: str
    """What of the path belongs to the base URL."""
    whole_path: str
    stream_path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    whole: bytes
    events: Callable[[int], list[bytes]]
    content_type: str = "text/event-stream"
    is_end: Callable[[Any], bool]
    """Whether a whole answer, parsed, is one with its usage."""
    text_of: Callable[[Any], str]
    """The text of an event, parsed; an end says `END`."""
    framing: str = "sse"
    """`sse`, `lines` or `aws`."""


END = "\0"
CHAT = {
    "messages": [{"role": "system", "content": "Answer shortly."}, {"role": "user", "content": "{query}"}],
    "temperature": 0,
}


def _sse(*payloads: Mapping[str, Any]) -> list[bytes]:
    return [
        (f"event: {payload['type']}\n" if "type" in payload else "").encode()
        + b"data: "
        + json.dumps(payload).encode()
        + b"\n\n"
        for payload in payloads
    ]


def _aws(kind: str, payload: Mapping[str, Any]) -> bytes:
    fields = {b":event-type": kind, b":content-type": "application/json", b":message-type": "event"}
    headers = b"".join(
        bytes([len(name)]) + name + pack(">BH", 7, len(value)) + value.encode() for name, value in fields.items()
    )
    body = json.dumps(payload).encode()
    prelude = pack(">II", 16 + len(headers) + len(body), len(headers))
    begun = prelude + pack(">I", crc32(prelude)) + headers + body
    return begun + pack(">I", crc32(begun))


def messages_of_aws(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of the whole messages in `data`, and the rest: no checksum is looked at."""
    found, place = [], 0
    while len(data) - place >= 12:
        length, headers = unpack_from(">II", data, place)
        if len(data) - place < length:
            break
        found.append(data[place + 12 + headers : place + length - 4])
        place += length
    return found, data[place:]


def _anthropic(chunks: int) -> list[bytes]:
    start = {"id": "m", "type": "message", "role": "assistant", "model": "stub", "content": [], "usage": USAGE}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}
    return _sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[delta] * chunks,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": chunks}},
        {"type": "message_stop"},
    )


def _anthropic_text(event: Any) -> str:
    if event["type"] == "content_block_delta":
        return str(event["delta"]["text"])
    return END if event["type"] == "message_delta" and event["delta"]["stop_reason"] else ""


def _responses(chunks: int) -> list[bytes]:
    delta = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": WORD}
    return _sse(
        {"type": "response.created", "response": {"id": "r", "status": "in_progress"}},
        *[delta] * chunks,
        {"type": "response.completed", "response": _response()},
    )


def _response() -> dict[str, Any]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": TEXT}]}
    return {"id": "r", "object": "response", "status": "completed", "model": "stub", "output": [said], "usage": USAGE}


def _responses_text(event: Any) -> str:
    if event["type"] == "response.output_text.delta":
        return str(event["delta"])
    return END if event["type"] == "response.completed" else ""


def _gemini_part(text: str, **fields: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **fields}
    counts = {"promptTokenCount": 100, "candidatesTokenCount": WORDS, "totalTokenCount": 100 + WORDS}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "stub", "responseId": "r"}


def _gemini(chunks: int) -> list[bytes]:
    return _sse(*[_gemini_part(WORD)] * chunks, _gemini_part("", finishReason="STOP"))


def _gemini_text(event: Any) -> str:
    candidate = event["candidates"][0]
    return END if candidate.get("finishReason") else str(candidate["content"]["parts"][0]["text"])


def _ollama(chunks: int) -> list[bytes]:
    start = {"model": "stub", "created_at": "2026-01-01T00:00:00Z"}
    parts = [{**start, "message": {"role": "assistant", "content": WORD}, "done": False}] * chunks
    last = {**start, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    counts = {"prompt_eval_count": 100, "eval_count": chunks}
    return [json.dumps(part).encode() + b"\n" for part in (*parts, last | counts)]


def _ollama_text(event: Any) -> str:
    return END if event["done"] else str(event["message"]["content"])


def _bedrock(chunks: int) -> list[bytes]:
    delta = _aws("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": WORD}})
    counts = {"inputTokens": 100, "outputTokens": chunks, "totalTokens": 100 + chunks}
    return [
        _aws("messageStart", {"role": "assistant"}),
        *[delta] * chunks,
        _aws("contentBlockStop", {"contentBlockIndex": 0}),
        _aws("messageStop", {"stopReason": "end_turn"}),
        _aws("metadata", {"usage": counts}),
    ]


def _bedrock_text(event: Any) -> str:
    return END if "stopReason" in event else str(event.get("delta", {}).get("text", ""))


def _chat_text(event: Any) -> str:
    choice = event["choices"][0] if event["choices"] else {"delta": {}, "finish_reason": None}
    return END if choice["finish_reason"] else str(choice["delta"].get("content") or "")


_BEARER = {"Authorization": "Bearer sk-bench"}
_SAID = {"role": "assistant", "content": [{"type": "text", "text": TEXT}]}
_SYSTEM, _USER = "Answer shortly.", [{"role": "user", "content": "{query}"}]
PROTOCOLS: Mapping[str, ServiceProtocol] = {
    "openai": ServiceProtocol(
        use="use: openai, model: gpt-4o-mini, api_key: sk-bench", base="/v1", whole_path="/chat/completions",
        stream_path="/chat/completions", body={"model": "gpt-4o-mini", **CHAT}, headers=_BEARER,
        whole=json_answer().partition(b"\r\n\r\n")[2],
        events=lambda chunks: [chunk.partition(b"\r\n")[2][:-2] for chunk in stream_events(chunks)],
        is_end=lambda answer: answer["choices"][0]["finish_reason"] == "stop" and answer["usage"], text_of=_chat_text,
    ),
    "responses": ServiceProtocol(
        use="use: openai, endpoint: responses, model: gpt-4o-mini, api_key: sk-bench", base="/v1",
        whole_path="/responses", stream_path="/responses",
        body={"model": "gpt-4o-mini", "instructions": _SYSTEM, "input": _USER, "temperature": 0, "store": False},
        headers=_BEARER, whole=json.dumps(_response()).encode(), events=_responses,
        is_end=lambda answer: answer["status"] == "completed" and answer["usage"], text_of=_responses_text,
    ),
    "anthropic": ServiceProtocol(
        use="use: anthropic, model: claude-sonnet-4-5, api_key: sk-bench", base="", whole_path="/v1/messages",
        stream_path="/v1/messages",
        body={"model": "claude-sonnet-4-5", "system": _SYSTEM, "messages": _USER, "max_tokens": 1024, "temperature": 0},
        headers={"x-api-key": "sk-bench", "anthropic-version": "2023-06-01"},
        whole=json.dumps(
            {"type": "message", **_SAID, "model": "stub", "stop_reason": "end_turn", "usage": USAGE}
        ).encode(),
        events=_anthropic, is_end=lambda answer: answer["stop_reason"] == "end_turn" and answer["usage"],
        text_of=_anthropic_text,
    ),
    "gemini": ServiceProtocol(
        use="use: gemini, model: gemini-3.8-flash, api_key: sk-bench", base="",
        whole_path="/v1beta/models/gemini-3.8-flash:generateContent",
        stream_path="/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
        body={
            "contents": [{"role": "user", "parts": [{"text": "{query}"}]}],
            "systemInstruction": {"parts": [{"text": _SYSTEM}]}, "generationConfig": {"temperature": 0},
        },
        headers={"x-goog-api-key": "sk-bench"}, whole=json.dumps(_gemini_part(TEXT, finishReason="STOP")).encode(),
        events=_gemini, text_of=_gemini_text,
        is_end=lambda answer: answer["candidates"][0]["finishReason"] == "STOP" and answer["usageMetadata"],
    ),
    "ollama": ServiceProtocol(
        use="use: ollama, model: llama3.2", base="", whole_path="/api/chat", stream_path="/api/chat",
        body={"model": "llama3.2", "messages": CHAT["messages"], "options": {"temperature": 0}, "stream": False},
        headers={}, content_type="application/x-ndjson", framing="lines",
        whole=json.dumps(
            {"model": "stub", "message": {"role": "assistant", "content": TEXT}, "done": True, "done_reason": "stop",
             "prompt_eval_count": 100, "eval_count": WORDS}
        ).encode(),
        events=_ollama, is_end=lambda answer: answer["done"] and answer["eval_count"], text_of=_ollama_text,
    ),
    "bedrock": ServiceProtocol(
        use="use: bedrock, model: amazon.nova-lite-v1:0, api_key: sk-bench", base="",
        whole_path="/model/amazon.nova-lite-v1%3A0/converse",
        stream_path="/model/amazon.nova-lite-v1%3A0/converse-stream",
        body={
            "messages": [{"role": "user", "content": [{"text": "{query}"}]}], "system": [{"text": _SYSTEM}],
            "inferenceConfig": {"temperature": 0},
        },
        headers=_BEARER, content_type="application/vnd.amazon.eventstream", framing="aws",
        whole=json.dumps(
            {"output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}}, "stopReason": "end_turn",
             "usage": {"inputTokens": 100, "outputTokens": WORDS, "totalTokens": 100 + WORDS}}
        ).encode(),
        events=_bedrock, is_end=lambda answer: answer["stopReason"] == "end_turn" and answer["usage"],
        text_of=_bedrock_text,
    ),
}  # fmt: skip


class AnyProtocol(StubProtocol):  # type: ignore[misc]  # a script beside this one
    """Answers as the service of a protocol does."""

    def __init__(self, protocol: ServiceProtocol, chunks: int) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n"
        length = b"Content-Length: %d" % len(protocol.whole)
        super().__init__(head % (b"application/json", length) + protocol.whole, [], 0.0, [])
        pieces = protocol.events(chunks)
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        self._burst = head % (protocol.content_type.encode(), b"Transfer-Encoding: chunked") + chunked + b"0\r\n\r\n"

    def _answer(self, streamed: bool, at_length: bool) -> None:
        super()._answer(streamed or self._asks_for_stream, at_length)

    _asks_for_stream = False

    def data_received(self, data: bytes) -> None:
        """Note by the path whether a stream is asked."""
        self._asks_for_stream = b":streamGenerateContent" in data[:200] or b"/converse-stream" in data[:200]
        super().data_received(data)


async def serve(name: str, chunks: int) -> None:
    """Serve until cancelled."""
    protocol = PROTOCOLS[name]
    server = await asyncio.get_running_loop().create_server(
        lambda: AnyProtocol(protocol, chunks), "127.0.0.1", 0, backlog=1024
    )
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
