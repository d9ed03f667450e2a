"""The protocol of OpenAI's chat completions, as OpenAI and the servers that speak it are known to write it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nexus_core.contract import errors
from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.values import FinishReason, ToolCall, Usage
from nexus_core.testing import answers
from nexus_core.testing.dialect import Refusal, Sent, Stream
from nexus_core.testing.upstream import DONE, ReceivedRequest, delta, error_body, event, usage_chunk

_OWN = frozenset({"model", "messages", "stream", "stream_options"})
_RENAMED = {"max_completion_tokens": "max_tokens"}


class OpenAIDialect:
    """Speaks as OpenAI does, and as vLLM, Ollama, llama.cpp, OpenRouter and Azure do where they differ."""

    content_type = "text/event-stream"
    usage = Usage(prompt_tokens=7, completion_tokens=3)

    def answer(self, text: str, *, finish_reason: FinishReason = "stop") -> bytes:
        """Return a chat completion."""
        return _json(answers.completion(text, finish_reason=finish_reason))

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        """Return role, texts, finish reason, usage and `[DONE]`, an event each."""
        parts = [delta("", role="assistant"), *map(delta, texts), delta(finish_reason=finish_reason)]
        pieces = [event(part) for part in (*parts, usage_chunk())]
        return Stream((*pieces, DONE), needed=len(parts))

    def ask_tool(self, call: ToolCall) -> tuple[bytes, Stream]:
        """Return a call whole, and in parts: its name, and its arguments in two halves."""
        function = {"name": call.name, "arguments": call.arguments}
        asked = {"id": call.id, "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [asked]}
        whole = answers.completion(None, choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
        halves = call.arguments[:7], call.arguments[7:]
        begun = {"index": 0, **asked, "function": {**function, "arguments": ""}}
        parts = [begun, *({"index": 0, "function": {"arguments": half}} for half in halves)]
        deltas = [
            delta(choices=[{"index": 0, "delta": {"tool_calls": [part]}, "finish_reason": None}]) for part in parts
        ]
        pieces = [*map(event, deltas), event(delta(finish_reason="tool_calls"))]
        return _json(whole), Stream((*pieces, event(usage_chunk()), DONE), needed=len(pieces))

    def refusals(self, message: str) -> Mapping[type[ConnectorError], Sequence[Refusal]]:
        """Return the errors that are known of OpenAI and its kin, each in its shapes."""
        return {
            errors.RateLimitError: (
                _refusal(429, message, "rate_limit_exceeded", "requests"),
                Refusal(429, _json({"error": message})),
                Refusal(429),
            ),
            errors.QuotaError: (
                _refusal(429, message, "insufficient_quota", "insufficient_quota"),
                _refusal(429, message, "credit_balance_exhausted"),
                Refusal(402, _json({"error": {"message": message, "code": 402}})),
            ),
            errors.AuthError: (
                _refusal(401, message, "invalid_api_key", "invalid_request_error"),
                Refusal(403, b"<html>Forbidden</html>", "text/html"),
            ),
            errors.ModelNotFoundError: (
                _refusal(404, message, "model_not_found", "invalid_request_error"),
                Refusal(404, _json({"detail": "Not Found"})),
            ),
            errors.InvalidRequestError: (
                _refusal(400, message, "invalid_value", "invalid_request_error"),
                Refusal(422, _json({"detail": [{"loc": ["body"], "msg": message}]})),
            ),
            errors.ContextLengthError: (
                _refusal(400, message, "context_length_exceeded", "invalid_request_error"),
                _refusal(400, f"This model's maximum context length is 8 tokens. {message}", None, "BadRequestError"),
                _refusal(400, "the request exceeds the available context size", None, "exceed_context_size_error"),
            ),
            errors.ContentFilterError: (
                _refusal(400, message, "content_filter"),
                Refusal(200, _json(answers.completion(None, finish_reason="content_filter"))),
            ),
            errors.ConflictError: (_refusal(409, message),),
            errors.NotReadyError: (_refusal(408, message), Refusal(425)),
            errors.OverloadedError: (
                Refusal(503, b"<html>Busy</html>", "text/html"),
                _refusal(503, message, "server_is_overloaded"),
                Refusal(529),
            ),
            errors.ServerError: (_refusal(500, message, None, "server_error"), Refusal(502), Refusal(504, b"upstream")),
        }

    def stream_errors(self, message: str) -> Mapping[type[ConnectorError], Sequence[bytes]]:
        """Return an error object as OpenAI, OpenRouter and vLLM put it into a stream."""
        return {
            errors.ServerError: (
                event(error_body(message, type="server_error")),
                b"event: error\n" + event({"message": message}),
                event({"object": "error", "message": message, "code": 500}),
            ),
            errors.RateLimitError: (event(error_body(message, code="rate_limit_exceeded")),),
            errors.OverloadedError: (event(error_body(message, code=503)),),
        }

    def quirks(self, texts: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        """Return the same answer as other servers write it."""
        plain = [delta("", role="assistant"), *map(delta, texts), delta(finish_reason="stop")]
        events = [event(part) for part in plain]
        good = [*events, DONE]
        return {
            "no [DONE]": events,
            "CRLF": _with_newlines(good, b"\r\n"),
            "CR": _with_newlines(good, b"\r"),
            "byte order mark": [b"\xef\xbb\xbf", *good],
            "no space after the colon": [piece.replace(b"data: ", b"data:", 1) for piece in good],
            "comments": _between(good, b": OPENROUTER PROCESSING\n\n"),
            "comments as data": _between(good, b"data: : keepalive\n\n"),
            "empty data": _between(good, b"data:\n\n"),
            "events without data": _between(good, b"event: ping\n\nretry: 3000\n\nid: 7\n\n"),
            "unknown objects": _between(good, event({"type": "ping"})),
            "events of several lines": [_in_lines(part) for part in plain] + [DONE],
            "named events": [b"event: message\n" + piece for piece in good],
            "letters as they are": [_raw(part) for part in plain] + [DONE],
            "all in one piece": [b"".join(good)],
            "data after [DONE]": [*good, event(delta("void"))],
            "filter results first": [event(delta(choices=[], prompt_filter_results=[{}])), *good],
            "choices: null": _between(good, event(delta(choices=None))),
            "delta: null": [*_between(events, event(delta(choices=[{"index": 0, "delta": None}]))), DONE],
            "error: null": [event({**part, "error": None}) for part in plain] + [DONE],
            "usage with each event": [event({**part, "usage": _usage(n)}) for n, part in enumerate(plain)] + [DONE],
            "finish reason with the last text": [
                *events[:-2],
                event(delta(texts[-1], finish_reason="stop")),
                DONE,
            ],
            "finish reason with every text": [*(event(delta(text, finish_reason="stop")) for text in texts), DONE],
            "null as a text until the finish reason": [
                *(event(delta(text, finish_reason="null")) for text in texts),
                *events[-1:],
                DONE,
            ],
            "null content in the first event": [event(delta(choices=[_role_alone()])), *good[1:]],
        }

    def read_request(self, request: ReceivedRequest) -> Sent:
        """Return messages and options of the body."""
        body = request.json()
        return Sent(
            messages=tuple((message["role"], message["content"]) for message in body["messages"]),
            options={_RENAMED.get(name, name): value for name, value in body.items() if name not in _OWN},
        )


def _refusal(status: int, message: str, code: str | None = None, type: str | None = None) -> Refusal:
    return Refusal(status, _json(error_body(message, code=code, type=type)))


def _json(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}


def _role_alone() -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}


def _between(pieces: Iterable[bytes], noise: bytes) -> list[bytes]:
    return [noise, *(both for piece in pieces for both in (piece, noise))]


def _with_newlines(pieces: Iterable[bytes], newline: bytes) -> list[bytes]:
    return [piece.replace(b"\n", newline) for piece in pieces]


def _in_lines(payload: Any) -> bytes:
    lines = json.dumps(payload, indent=1).encode().split(b"\n")
    return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


def _raw(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"
