"""The connector `anthropic` keeps the contract of connectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from nexus_anthropic.connector import Anthropic

from nexus_core import Secret, Usage
from nexus_core.contract import errors
from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.values import FinishReason, ToolCall
from nexus_core.testing import ConnectorContract, Refusal, Sent, Stream
from nexus_core.testing.upstream import ReceivedRequest

pytestmark = pytest.mark.slow

REASONS: Mapping[FinishReason, str] = {
    "stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use",
}  # fmt: skip
OWN = frozenset({"model", "messages", "system", "stream"})
RENAMED = {"stop_sequences": "stop"}


def event(type: str, **fields: Any) -> bytes:
    """Return an event of a stream."""
    return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n".encode()


def refusal(status: int, kind: str, message: str) -> Refusal:
    return Refusal(status, json.dumps(said(kind, message)).encode())


def said(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


class AnthropicDialect:
    """Speaks as Anthropic does."""

    content_type = "text/event-stream"
    usage = Usage(prompt_tokens=7, completion_tokens=3)

    def answer(self, text: str, *, finish_reason: FinishReason = "stop") -> bytes:
        content = [{"type": "text", "text": text}] if text else []
        return json.dumps(self._message(content, REASONS[finish_reason], output_tokens=3)).encode()

    def _message(self, content: list[Any], reason: str | None, *, output_tokens: int) -> dict[str, Any]:
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content,
            "stop_reason": reason, "stop_sequence": None,
            "usage": {"input_tokens": 7, "output_tokens": output_tokens},
        }  # fmt: skip

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        deltas = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in texts]
        pieces = [
            event("message_start", message=self._message([], None, output_tokens=1)),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *deltas,
            event("content_block_stop", index=0),
            event("message_delta", delta={"stop_reason": REASONS[finish_reason]}, usage={"output_tokens": 3}),
        ]
        return Stream((*pieces, event("message_stop")), needed=len(pieces))

    def ask_tool(self, call: ToolCall) -> tuple[bytes, Stream]:
        asked = {"type": "tool_use", "id": call.id, "name": call.name}
        content = [{**asked, "input": json.loads(call.arguments)}]
        whole = json.dumps(self._message(content, "tool_use", output_tokens=3)).encode()
        halves = (call.arguments[:7], call.arguments[7:])
        parts = [{"type": "input_json_delta", "partial_json": half} for half in ("", *halves)]
        pieces = [
            event("message_start", message=self._message([], None, output_tokens=1)),
            event("content_block_start", index=0, content_block={**asked, "input": {}}),
            *(event("content_block_delta", index=0, delta=part) for part in parts),
            event("content_block_stop", index=0),
            event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 3}),
        ]
        return whole, Stream((*pieces, event("message_stop")), needed=len(pieces))

    def refusals(self, message: str) -> Mapping[type[ConnectorError], Sequence[Refusal]]:
        return {
            errors.RateLimitError: (refusal(429, "rate_limit_error", message),),
            errors.QuotaError: (
                refusal(402, "billing_error", message),
                refusal(400, "invalid_request_error", f"Your credit balance is too low to access the API. {message}"),
            ),
            errors.AuthError: (
                refusal(401, "authentication_error", message),
                refusal(403, "permission_error", message),
            ),
            errors.ModelNotFoundError: (refusal(404, "not_found_error", message),),
            errors.InvalidRequestError: (refusal(400, "invalid_request_error", message),),
            errors.ContextLengthError: (
                refusal(400, "invalid_request_error", f"prompt is too long: 9 tokens > 8 maximum {message}"),
            ),
            errors.ContentFilterError: (
                Refusal(200, json.dumps(self._message([], "refusal", output_tokens=0)).encode()),
            ),
            errors.ConflictError: (refusal(409, "invalid_request_error", message),),
            errors.NotReadyError: (Refusal(408),),
            errors.OverloadedError: (refusal(529, "overloaded_error", message),),
            errors.ServerError: (
                refusal(500, "api_error", message),
                Refusal(502, b"<html>bad gateway</html>", "text/html"),
            ),
        }

    def stream_errors(self, message: str) -> Mapping[type[ConnectorError], Sequence[bytes]]:
        return {
            errors.OverloadedError: (
                b"event: error\ndata: " + json.dumps(said("overloaded_error", message)).encode() + b"\n\n",
            ),
            errors.ServerError: (event(**said("api_error", message)),),
        }

    def quirks(self, texts: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        good = list(self.stream(texts).pieces)
        ping = event("ping")
        return {
            "pings": [piece for both in ((one, ping) for one in good) for piece in both],
            "no message_stop": good[:-1],
            "CRLF": [piece.replace(b"\n", b"\r\n") for piece in good],
            "no names": [piece.partition(b"\n")[2] for piece in good],
            "a signature before": [
                good[0],
                event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}),
                *good[1:],
            ],
            "unknown events": [event("content_block_note", index=0, note="new"), *good],
            "all in one piece": [b"".join(good)],
        }

    def read_request(self, request: ReceivedRequest) -> Sent:
        body = request.json()
        system = [("system", body["system"])] if "system" in body else []
        return Sent(
            messages=(*system, *((said["role"], said["content"][0]["text"]) for said in body["messages"])),
            options={RENAMED.get(name, name): value for name, value in body.items() if name not in OWN},
        )


class TestAnthropic(ConnectorContract):
    """The service speaks the Messages API."""

    dialect = AnthropicDialect()
    absent: ClassVar[Mapping[str, str]] = {
        "frequency_penalty": "the API has no such option",
        "presence_penalty": "the API has no such option",
    }

    def make(self, url: str) -> Anthropic:
        return Anthropic(model="claude-sonnet-4-5", base_url=url.removesuffix("/v1"), api_key=Secret(self.canary))
