"""The connector `bedrock` keeps the contract of connectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from struct import pack
from typing import Any, ClassVar
from zlib import crc32

import pytest
from nexus_bedrock.connector import Bedrock

from nexus_core import Secret, Usage
from nexus_core.contract import errors
from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.values import FinishReason, ToolCall
from nexus_core.testing import ConnectorContract, Refusal, Sent, Stream
from nexus_core.testing.upstream import ReceivedRequest

pytestmark = pytest.mark.slow

REASONS: Mapping[FinishReason, str] = {
    "stop": "end_turn", "length": "max_tokens", "content_filter": "guardrail_intervened", "tool_calls": "tool_use",
}  # fmt: skip
RENAMED = {"topP": "top_p", "maxTokens": "max_tokens", "stopSequences": "stop"}
OWN = frozenset({"messages", "system", "inferenceConfig"})
COUNTS = {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}


def message(payload: Any, **headers: str) -> bytes:
    """Return a message of an AWS event stream; in names of headers `_` is written for `-`."""
    told = b"".join(
        pack(">B", len(name) + 1) + b":" + name.replace("_", "-").encode() + pack(">BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    body = json.dumps(payload).encode()
    prelude = pack(">II", 16 + len(told) + len(body), len(told))
    begun = prelude + pack(">I", crc32(prelude)) + told + body
    return begun + pack(">I", crc32(begun))


def event(kind: str, **fields: Any) -> bytes:
    return message(fields, message_type="event", event_type=kind, content_type="application/json")


def failure(kind: str, text: str) -> bytes:
    return message({"message": text}, message_type="exception", exception_type=kind)


def refusal(status: int, kind: str, text: str) -> Refusal:
    return Refusal(status, json.dumps({"message": text}).encode(), headers={"x-amzn-ErrorType": kind})


class BedrockDialect:
    """Speaks as Converse does."""

    content_type = "application/vnd.amazon.eventstream"
    usage = Usage(prompt_tokens=7, completion_tokens=3)

    def answer(self, text: str, *, finish_reason: FinishReason = "stop") -> bytes:
        said = {"role": "assistant", "content": [{"text": text}] if text else []}
        return json.dumps({"output": {"message": said}, "stopReason": REASONS[finish_reason], "usage": COUNTS}).encode()

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        pieces = [
            event("messageStart", role="assistant"),
            *(event("contentBlockDelta", contentBlockIndex=0, delta={"text": text}) for text in texts),
            event("contentBlockStop", contentBlockIndex=0),
            event("messageStop", stopReason=REASONS[finish_reason]),
        ]
        return Stream((*pieces, event("metadata", usage=COUNTS, metrics={"latencyMs": 1})), needed=len(pieces))

    def ask_tool(self, call: ToolCall) -> tuple[bytes, Stream]:
        asked = {"toolUseId": call.id, "name": call.name}
        said = {"role": "assistant", "content": [{"toolUse": {**asked, "input": json.loads(call.arguments)}}]}
        whole = json.dumps({"output": {"message": said}, "stopReason": "tool_use", "usage": COUNTS}).encode()
        halves = (call.arguments[:7], call.arguments[7:])
        pieces = [
            event("messageStart", role="assistant"),
            event("contentBlockStart", contentBlockIndex=0, start={"toolUse": asked}),
            *(event("contentBlockDelta", contentBlockIndex=0, delta={"toolUse": {"input": half}}) for half in halves),
            event("contentBlockStop", contentBlockIndex=0),
            event("messageStop", stopReason="tool_use"),
        ]
        return whole, Stream((*pieces, event("metadata", usage=COUNTS, metrics={"latencyMs": 1})), needed=len(pieces))

    def refusals(self, message: str) -> Mapping[type[ConnectorError], Sequence[Refusal]]:
        return {
            errors.RateLimitError: (refusal(429, "ThrottlingException", f"Too many requests. {message}"),),
            errors.QuotaError: (Refusal(402),),
            errors.AuthError: (refusal(403, "AccessDeniedException", message),),
            errors.ModelNotFoundError: (refusal(404, "ResourceNotFoundException", message),),
            errors.InvalidRequestError: (refusal(400, "ValidationException", message),),
            errors.ContextLengthError: (
                refusal(400, "ValidationException", f"Input is too long for requested model. {message}"),
            ),
            errors.ContentFilterError: (Refusal(200, self.answer("", finish_reason="content_filter")),),
            errors.ConflictError: (refusal(409, "ConflictException", message),),
            errors.NotReadyError: (refusal(408, "ModelTimeoutException", message),),
            errors.OverloadedError: (refusal(503, "ServiceUnavailableException", message),),
            errors.ServerError: (refusal(500, "InternalServerException", message),),
        }

    def stream_errors(self, message: str) -> Mapping[type[ConnectorError], Sequence[bytes]]:
        return {
            errors.RateLimitError: (failure("throttlingException", message),),
            errors.OverloadedError: (failure("serviceUnavailableException", message),),
            errors.ServerError: (
                failure("internalServerException", message),
                failure("modelStreamErrorException", message),
            ),
        }

    def quirks(self, texts: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        good = list(self.stream(texts).pieces)
        return {
            "no metadata": good[:-1],
            "unknown events": [event("contentBlockNote", note="new"), *good],
            "all in one piece": [b"".join(good)],
        }

    def read_request(self, request: ReceivedRequest) -> Sent:
        body = request.json()
        system = [("system", part["text"]) for part in body.get("system", ())]
        options = {**body.get("inferenceConfig", {}), **{name: body[name] for name in body if name not in OWN}}
        return Sent(
            messages=(*system, *((said["role"], said["content"][0]["text"]) for said in body["messages"])),
            options={RENAMED.get(name, name): value for name, value in options.items()},
        )


class TestBedrock(ConnectorContract):
    """The service speaks Converse."""

    dialect = BedrockDialect()
    absent: ClassVar[Mapping[str, str]] = {
        "frequency_penalty": "Converse has no such option",
        "presence_penalty": "Converse has no such option",
        "image_urls": "Converse fetches no addresses: it takes bytes, or an object of S3",
    }

    def make(self, url: str) -> Bedrock:
        return Bedrock(
            model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            base_url=url.removesuffix("/v1"),
            api_key=Secret(self.canary),
        )
