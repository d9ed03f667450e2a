"""The bytes of answers: of HTTP, and of the protocol of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from nexus_core.testing.script import HalfClose, Step


def http_answer(
    body: bytes, *, status: int = 200, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> list[Step]:
    """Return the script of a whole answer with a `Content-Length`."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    return [http_head(fields, status=status) + body]


def json_answer(payload: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Step]:
    """Return the script of an answer in JSON."""
    return http_answer(json.dumps(payload).encode(), status=status, headers=headers)


def stream_answer(pieces: Iterable[Step], *, content_type: str = "text/event-stream", ends: bool = True) -> list[Step]:
    """Return the script of a chunked answer: each piece of bytes is one HTTP chunk, other steps stay where they are.

    With `ends=False` the final chunk is missing, so that the body never comes to its end.
    """
    head = http_head({"Content-Type": content_type, "Transfer-Encoding": "chunked"})
    steps: list[Step] = [head, *(http_chunk(piece) if isinstance(piece, bytes) else piece for piece in pieces)]
    return [*steps, b"0\r\n\r\n"] if ends else steps


def close_answer(
    pieces: Iterable[Step], *, content_type: str = "application/json", version: str = "1.0", status: int = 200
) -> list[Step]:
    """Return the script of an answer without a length, as HTTP/1.0 has it: its body ends where the connection does."""
    head = http_head({"Content-Type": content_type, "Connection": "close"}, status=status, version=version)
    return [head, *pieces, HalfClose()]


def informational(status: int = 103, headers: Mapping[str, str] | None = None) -> bytes:
    """Return an interim answer (100, 102, 103), to stand in a script before the answer itself."""
    return http_head(headers or {}, status=status)


def http_head(headers: Mapping[str, str], *, status: int = 200, version: str = "1.1") -> bytes:
    """Return a status line and headers."""
    lines = [f"HTTP/{version} {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def http_chunk(data: bytes) -> bytes:
    """Return `data` as one chunk of the chunked encoding; nothing for no data, since that would be the end."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


DONE = b"data: [DONE]\n\n"
"""The event that ends a stream of the OpenAI protocol."""


def event(payload: Any, *, newline: bytes = b"\n") -> bytes:
    """Return a server-sent event with `payload` in JSON."""
    return b"data: " + json.dumps(payload).encode() + 2 * newline


def completion(text: str | None, *, finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    """Return a chat completion; `fields` replace or add to its own."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        **fields,
    }


def delta(
    text: str | None = None, *, finish_reason: str | None = None, role: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Return one chunk of a streamed chat completion; `fields` replace or add to its own."""
    parts = {"role": role, "content": text}
    choice = {"index": 0, "delta": {k: v for k, v in parts.items() if v is not None}, "finish_reason": finish_reason}
    start = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted-1"}
    return {**start, "choices": [choice], **fields}


def usage_chunk(prompt_tokens: int = 7, completion_tokens: int = 3) -> dict[str, Any]:
    """Return the chunk without choices that carries the usage of a stream."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return delta(choices=[], usage={**counts, "total_tokens": prompt_tokens + completion_tokens})


def chat_events(*texts: str, finish_reason: str = "stop") -> list[bytes]:
    """Return the events of a whole, well-formed stream as OpenAI sends it."""
    payloads = [delta("", role="assistant"), *map(delta, texts), delta(finish_reason=finish_reason), usage_chunk()]
    return [*map(event, payloads), DONE]


def error_body(message: str, *, code: str | int | None = None, type: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    return {"error": {"message": message, "type": type, "param": None, "code": code}}
