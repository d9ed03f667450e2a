"""The connector `ollama` keeps the contract of connectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from nexus_ollama.connector import Ollama

from nexus_core import ConnectorError, FinishReason, Secret, ToolCall, Usage
from nexus_core.contract import errors
from nexus_core.testing import ConnectorContract, EmbedderContract
from nexus_core.testing.dialect import Refusal, Sent, Stream
from nexus_core.testing.upstream import ReceivedRequest

pytestmark = pytest.mark.slow

_OWN = frozenset({"num_ctx"})
_RENAMED = {"num_predict": "max_tokens"}


class OllamaDialect:
    """Speaks as Ollama does: one JSON object a line, errors as a text."""

    content_type = "application/x-ndjson"
    usage = Usage(prompt_tokens=7, completion_tokens=3)

    def answer(self, text: str, *, finish_reason: FinishReason = "stop") -> bytes:
        """Return a whole answer."""
        return line(text, done_reason=finish_reason).rstrip()

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        """Return the texts, a line each, and the line that ends it."""
        pieces = (*map(line, texts), line(done_reason=finish_reason))
        return Stream(pieces, needed=len(pieces))

    def ask_tool(self, call: ToolCall) -> tuple[bytes, Stream]:
        """Return the call in one line, and the line that ends it."""
        asked = [{"function": {"name": call.name, "arguments": json.loads(call.arguments)}}]
        ends = json.loads(line(done_reason="stop"))
        whole = {**ends, "message": {"role": "assistant", "content": "", "tool_calls": asked}}
        begun = {"model": "m", "message": whole["message"], "done": False}
        pieces = (json.dumps(begun).encode() + b"\n", line(done_reason="stop"))
        return json.dumps(whole).encode(), Stream(pieces, needed=2)

    def refusals(self, message: str) -> Mapping[type[ConnectorError], Sequence[Refusal]]:
        """Return the errors that are known of Ollama and of what stands before it."""
        return {
            errors.RateLimitError: (refusal(429, message),),
            errors.QuotaError: (refusal(402, message),),
            errors.AuthError: (refusal(401, "unauthorized"), refusal(403, message)),
            errors.ModelNotFoundError: (refusal(404, f"model 'm' not found, try pulling it first {message}"),),
            errors.InvalidRequestError: (refusal(400, message),),
            errors.ContextLengthError: (
                refusal(400, f"the input length exceeds the context length {message}"),
                refusal(400, json.dumps({"error": {"message": f"exceeds the available context size {message}"}})),
            ),
            errors.ConflictError: (refusal(409, message),),
            errors.NotReadyError: (refusal(408, message), Refusal(200, line(done_reason="load"))),
            errors.OverloadedError: (refusal(503, f"server busy, please try again. {message}"),),
            errors.ServerError: (refusal(500, message), Refusal(502)),
        }

    def stream_errors(self, message: str) -> Mapping[type[ConnectorError], Sequence[bytes]]:
        """Return an error as a line of a stream."""
        return {errors.ServerError: (json.dumps({"error": message}).encode() + b"\n",)}

    def quirks(self, texts: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        """Return the same answer as other versions and proxies write it."""
        good = [*map(line, texts), line(done_reason="stop")]
        return {
            "CRLF": [piece.replace(b"\n", b"\r\n") for piece in good],
            "blank lines": [part for piece in good for part in (piece, b"\n")],
            "byte order mark": [b"\xef\xbb\xbf", *good],
            "no newline at the end": [*good[:-1], good[-1].rstrip()],
            "all in one piece": [b"".join(good)],
            "no done_reason": [*good[:-1], line(done_reason=None)],
            "no message at the end": [*good[:-1], b'{"done": true, "done_reason": "stop"}\n'],
            "the last text with the end": [*good[:-2], line(texts[-1], done_reason="stop")],
            "lines after the end": [*good, line("void")],
            "null as a text": [line(None), *good],
        }

    def read_request(self, request: ReceivedRequest) -> Sent:
        """Return messages and options of the body."""
        body = request.json()
        return Sent(
            messages=tuple((message["role"], message["content"]) for message in body["messages"]),
            options={_RENAMED.get(key, key): value for key, value in body["options"].items() if key not in _OWN},
        )


def line(text: str | None = "", done_reason: str | None = "") -> bytes:
    """Return a line of a stream, with `done_reason` the last one."""
    payload: dict[str, Any] = {"model": "m", "message": {"role": "assistant", "content": text}, "done": False}
    if done_reason != "":
        payload |= {"done": True, "done_reason": done_reason, "prompt_eval_count": 7, "eval_count": 3}
    return json.dumps(payload).encode() + b"\n"


def refusal(status: int, message: str) -> Refusal:
    """Return an error."""
    return Refusal(status, json.dumps({"error": message}).encode())


class TestOllama(ConnectorContract):
    """The service speaks Ollama's own API."""

    dialect = OllamaDialect()
    absent: ClassVar[dict[str, str]] = {"content_filter": "a local model filters nothing"}

    def make(self, url: str) -> Ollama:
        return Ollama(model="test-model", base_url=url, api_key=Secret(self.canary))


class TestParts(ConnectorContract):
    """A model that sees and takes tools and schemas."""

    dialect = OllamaDialect()
    absent: ClassVar[dict[str, str]] = {
        "content_filter": "a local model filters nothing",
        "image_urls": "the service fetches nothing",
    }

    def make(self, url: str) -> Ollama:
        return Ollama(model="llama4", base_url=url, api_key=Secret(self.canary))


class TestVectors(EmbedderContract):
    """Embeddings."""

    def make(self, url: str) -> Ollama:
        return Ollama(model="bge-m3", base_url=url, api_key=Secret(self.canary))

    def answer(self, vectors: Sequence[Sequence[float]]) -> bytes:
        return json.dumps({"model": "bge-m3", "embeddings": [list(vector) for vector in vectors]}).encode()
