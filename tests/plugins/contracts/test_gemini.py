"""The connector `gemini` keeps the contract of connectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from nexus_gemini.connector import Gemini

from nexus_core import Secret, Usage
from nexus_core.contract import errors
from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.values import FinishReason, ToolCall
from nexus_core.testing import ConnectorContract, Refusal, Sent, Stream
from nexus_core.testing.upstream import ReceivedRequest

pytestmark = pytest.mark.slow

REASONS: Mapping[FinishReason, str] = {
    "stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP",
}  # fmt: skip
RENAMED = {
    "topP": "top_p", "maxOutputTokens": "max_tokens", "stopSequences": "stop", "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}  # fmt: skip
OWN = frozenset({"contents", "systemInstruction", "generationConfig"})
COUNTS = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}


def part(text: str = "", reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return an answer, or a part of one."""
    candidate: dict[str, Any] = {"index": 0}
    if text:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": "gemini", "responseId": "r", **fields}


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\r\n\r\n"


def error(status: int, word: str, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": word}}


def refusal(status: int, word: str, message: str) -> Refusal:
    return Refusal(status, json.dumps(error(status, word, message)).encode())


class GeminiDialect:
    """Speaks as the Gemini API does."""

    content_type = "text/event-stream"
    usage = Usage(prompt_tokens=7, completion_tokens=3)

    def answer(self, text: str, *, finish_reason: FinishReason = "stop") -> bytes:
        return json.dumps(part(text, REASONS[finish_reason], usageMetadata=COUNTS)).encode()

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        pieces = [event(part(text)) for text in texts]
        last = event(part(reason=REASONS[finish_reason], usageMetadata=COUNTS))
        return Stream((*pieces, last), needed=len(pieces) + 1)

    def ask_tool(self, call: ToolCall) -> tuple[bytes, Stream]:
        asked = {"functionCall": {"name": call.name, "args": json.loads(call.arguments)}}
        content = {"role": "model", "parts": [asked]}
        whole = {"candidates": [{"index": 0, "content": content, "finishReason": "STOP"}], "usageMetadata": COUNTS}
        begun = {"candidates": [{"index": 0, "content": content}]}
        pieces = (event(begun), event(part(reason="STOP", usageMetadata=COUNTS)))
        return json.dumps(whole).encode(), Stream(pieces, needed=len(pieces))

    def refusals(self, message: str) -> Mapping[type[ConnectorError], Sequence[Refusal]]:
        day = f"You exceeded your current quota, please check your plan and billing details. {message}"
        return {
            errors.RateLimitError: (refusal(429, "RESOURCE_EXHAUSTED", f"Resource has been exhausted. {message}"),),
            errors.QuotaError: (Refusal(402, json.dumps(error(402, "FAILED_PRECONDITION", day)).encode()),),
            errors.AuthError: (
                refusal(403, "PERMISSION_DENIED", message),
                refusal(401, "UNAUTHENTICATED", message),
                refusal(400, "INVALID_ARGUMENT", f"API key not valid. Please pass a valid API key. {message}"),
            ),
            errors.ModelNotFoundError: (refusal(404, "NOT_FOUND", message),),
            errors.InvalidRequestError: (refusal(400, "INVALID_ARGUMENT", message),),
            errors.ContextLengthError: (
                refusal(
                    400,
                    "INVALID_ARGUMENT",
                    f"The input token count (9) exceeds the maximum number of tokens allowed (8). {message}",
                ),
            ),
            errors.ContentFilterError: (
                Refusal(200, json.dumps({"promptFeedback": {"blockReason": "SAFETY"}}).encode()),
                Refusal(200, json.dumps(part(reason="PROHIBITED_CONTENT")).encode()),
            ),
            errors.ConflictError: (refusal(409, "ABORTED", message),),
            errors.NotReadyError: (Refusal(408),),
            errors.OverloadedError: (refusal(503, "UNAVAILABLE", message),),
            errors.ServerError: (refusal(500, "INTERNAL", message), refusal(504, "DEADLINE_EXCEEDED", message)),
        }

    def stream_errors(self, message: str) -> Mapping[type[ConnectorError], Sequence[bytes]]:
        return {
            errors.OverloadedError: (event(error(503, "UNAVAILABLE", message)),),
            errors.ServerError: (event(error(500, "INTERNAL", message)),),
        }

    def quirks(self, texts: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        good = list(self.stream(texts).pieces)
        return {
            "LF": [piece.replace(b"\r\n", b"\n") for piece in good],
            "finish reason with the last text": [*good[:-2], event(part(texts[-1], "STOP", usageMetadata=COUNTS))],
            "no candidates first": [event({"usageMetadata": {"promptTokenCount": 7}}), *good],
            "an empty signature at the end": [
                *good[:-1],
                event(
                    {
                        "candidates": [
                            {"content": {"parts": [{"text": "", "thoughtSignature": "c2ln"}]}, "finishReason": "STOP"}
                        ]
                    }
                ),
            ],
            "all in one piece": [b"".join(good)],
        }

    def read_request(self, request: ReceivedRequest) -> Sent:
        body = request.json()
        system = [("system", body["systemInstruction"]["parts"][0]["text"])] if "systemInstruction" in body else []
        said = [
            ("assistant" if content["role"] == "model" else content["role"], content["parts"][0]["text"])
            for content in body["contents"]
        ]
        options = {**body.get("generationConfig", {}), **{name: body[name] for name in body if name not in OWN}}
        return Sent(
            messages=(*system, *said), options={RENAMED.get(name, name): value for name, value in options.items()}
        )


class TestGemini(ConnectorContract):
    """The service speaks generateContent."""

    dialect = GeminiDialect()

    def make(self, url: str) -> Gemini:
        return Gemini(model="gemini-3.8-flash", base_url=url.removesuffix("/v1"), api_key=Secret(self.canary))
