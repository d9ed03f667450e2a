"""The wire of OpenAI's API for chats: what a client may send, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import JSONEncoder
from time import time
from typing import Any

from aiohttp import web

from nexus_core.contract.events import Delta
from nexus_core.contract.values import ToolCall, ToolCallDelta, Usage
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import failure_body
from nexus_core.server.http.json_schema import RESPONSE_FORMAT, array, closed, or_null, text
from nexus_core.server.http.sse import event
from nexus_core.server.openai.citations import Citation, CitedAnswer
from nexus_core.server.openai.messages import MESSAGES
from nexus_core.server.openai.parameters import IGNORED_OF_CHATS, REFUSED_IN_CHATS, sent_schema
from nexus_core.server.openai.tools import TOOL_CHOICE, TOOLS

OPTION_NAMES = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "stop": "stop",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "extra.seed",
}
"""Our names for theirs; of two that mean the same, the later holds."""
_REQUIRED = ("model", "messages")
_PARAMETERS = {
    "model": text(1200, minLength=1),
    "messages": MESSAGES,
    "stream": {"type": "boolean"},
    "stream_options": closed(
        {"include_usage": {"type": "boolean"}, "include_obfuscation": {"type": "boolean"}}, name="ChatStreamOptions"
    ),
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "max_completion_tokens": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "stop": {"anyOf": [text(200), {"type": "array", "items": text(200), "maxItems": 8}]},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "seed": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "response_format": RESPONSE_FORMAT,
    "tools": TOOLS,
    "tool_choice": TOOL_CHOICE,
    "n": {"type": "integer", "minimum": 1, "maximum": 1},
}
CHAT = closed(_PARAMETERS | {name: {} for name in IGNORED_OF_CHATS}, required=_REQUIRED)
"""What `POST /v1/chat/completions` takes, once what asks for nothing is left out."""
CHAT_BODY = sent_schema(
    _PARAMETERS,
    _REQUIRED,
    IGNORED_OF_CHATS,
    REFUSED_IN_CHATS,
    name="ChatCompletionRequest",
    example={
        "model": "nexus/chat/handbook",
        "messages": [{"role": "user", "content": "How many days of leave are there?"}],
    },
)
"""The same as clients may send it."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_INTEGER = {"type": "integer"}
_DETAILS = {
    "prompt_tokens_details": closed({"cached_tokens": _INTEGER}, name="PromptTokensDetails"),
    "completion_tokens_details": closed({"reasoning_tokens": _INTEGER}, name="CompletionTokensDetails"),
}
_USAGE = or_null(closed(dict.fromkeys(_COUNTS, _INTEGER) | _DETAILS, required=_COUNTS, name="ChatCompletionUsage"))
_TEXT = {"type": "string"}
_CITED = closed({"url": _TEXT, "title": _TEXT, "start_index": _INTEGER, "end_index": _INTEGER}, name="UrlCitation")
_NOTE = closed({"type": {"const": "url_citation"}, "url_citation": _CITED}, name="ChatAnnotation")
_CALLED = closed({"name": _TEXT, "arguments": _TEXT}, required=("name", "arguments"), name="CalledFunction")
_CALL = closed({"id": _TEXT, "type": {"const": "function"}, "function": _CALLED}, name="ChatToolCall")
_SAID = closed(
    {
        "role": {"const": "assistant"},
        "content": or_null(_TEXT),
        "refusal": {"type": "null"},
        "reasoning_content": _TEXT,
        "annotations": array(_NOTE),
        "tool_calls": array(_CALL),
    },
    required=("role", "content"),
    name="ChatCompletionMessage",
)
_CHOICE = closed(
    {
        "index": _INTEGER,
        "message": _SAID,
        "logprobs": {"type": "null"},
        "finish_reason": _TEXT,
    },
    name="ChatChoice",
)
COMPLETION = closed(
    {
        "id": _TEXT,
        "object": {"const": "chat.completion"},
        "created": _INTEGER,
        "model": _TEXT,
        "choices": array(_CHOICE),
        "usage": _USAGE,
    },
    required=("id", "object", "created", "model", "choices"),
    name="ChatCompletion",
)

_in_ascii = JSONEncoder(ensure_ascii=True).encode  # some clients take U+2028 for the end of a line
DONE = b"data: [DONE]\n\n"


def usage_json(usage: Usage) -> dict[str, Any] | None:
    """Return token counts, or `None` where they are not known; details that are unknown are left out."""
    if usage.total_tokens is None:
        return None
    told: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return told


def completion_json(told: CitedAnswer, created: int, *, with_reasoning: bool) -> dict[str, Any]:
    """Return a whole answer."""
    answer = told.answer
    message: dict[str, Any] = {"role": "assistant", "content": told.text, "refusal": None}
    if with_reasoning and answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message |= {"content": told.text or None, "tool_calls": [_call_json(call) for call in answer.tool_calls]}
    message["annotations"] = url_citations(told.citations)
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": created,
        "model": answer.model_id,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
        "usage": usage_json(answer.usage),
    }


def url_citations(citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """Return the citations that have an address, as annotations of a message."""
    return [
        {
            "type": "url_citation",
            "url_citation": {"url": each.url, "title": each.title, "start_index": each.start, "end_index": each.end},
        }
        for each in citations
        if each.url
    ]


def _call_json(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_delta(part: ToolCallDelta) -> dict[str, Any]:
    """Return a part of a tool call; what names the call stands in its first part alone."""
    function = {"name": part.name, "arguments": part.arguments} if part.name else {"arguments": part.arguments}
    first = {"id": part.id, "type": "function"} if part.id else {}
    return {"index": part.index, **first, "function": function}


class ChatChunks:
    """Writes the events of one stream; what they share is written once."""

    def __init__(self, *, with_usage: bool, with_reasoning: bool) -> None:
        self._with_usage = with_usage
        self._with_reasoning = with_reasoning
        self._start = self._head = self._tail = ""

    def begin(self, run_id: str, model: str) -> bytes:
        """Return the first event: who speaks."""
        name, created = f"chatcmpl-{run_id}", int(time())
        shared = {"id": name, "object": "chat.completion.chunk", "created": created, "model": model}
        self._start = "data: " + _in_ascii(shared)[:-1]
        self._head = self._start + ', "choices": [{"index": 0, "delta": {"content": '
        self._tail = '}, "finish_reason": null}]' + (', "usage": null' if self._with_usage else "") + "}\n\n"
        return (self._head + '"", "role": "assistant"' + self._tail).encode()

    def delta(self, delta: Delta) -> bytes:
        """Return the events with more text, tool calls and thoughts, as far as they are wanted."""
        if not delta.reasoning and not delta.tool_calls:
            return self.text(delta.text)
        data = b""
        if delta.reasoning and self._with_reasoning:
            data += self._fields({"reasoning_content": delta.reasoning})
        if delta.text:
            data += self.text(delta.text)
        if delta.tool_calls:
            data += self._fields({"tool_calls": [_call_delta(part) for part in delta.tool_calls]})
        return data

    def is_told(self, delta: Delta) -> bool:
        """Tell whether there is anything in a delta that clients are told."""
        return bool(delta.text or delta.tool_calls or (delta.reasoning and self._with_reasoning))

    def text(self, text: str) -> bytes:
        """Return an event with some more text."""
        return (self._head + _in_ascii(text) + self._tail).encode()

    def end(self, told: CitedAnswer) -> bytes:
        """Return the events of the sources, of why the answer ends and of its token counts, and the end."""
        data = self.text(told.sources) if told.sources else b""
        annotations = url_citations(told.citations)
        if annotations:
            data += self._fields({"annotations": annotations})
        reason = _in_ascii(told.answer.finish_reason)
        data += (self._head.removesuffix('"content": ') + self._tail.replace("null", reason, 1)).encode()
        if self._with_usage:
            usage = _in_ascii(usage_json(told.answer.usage))
            data += f'{self._start}, "choices": [], "usage": {usage}}}\n\n'.encode()
        return data + DONE

    def failed(self, request: web.Request, failure: Failure) -> bytes:
        """Return the event that ends a stream that has failed; [DONE] does not follow."""
        return event(failure_body(request, failure, openai=True))

    def _fields(self, fields: Mapping[str, Any]) -> bytes:
        return (self._head.removesuffix('{"content": ') + _in_ascii(fields)[:-1] + self._tail).encode()
