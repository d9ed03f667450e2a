"""The wire of OpenAI's Responses API: what a client may send, read into a chat, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from nexus_core.contract.answers import Answer
from nexus_core.contract.values import ToolCall, Usage
from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import JSON_OBJECT, RESPONSE_FORMAT, array, closed, or_null, text
from nexus_core.server.openai.citations import Citation
from nexus_core.server.openai.messages import CONTENT, MOST_MESSAGES, PART_CHARACTERS
from nexus_core.server.openai.parameters import IGNORED_OF_RESPONSES, REFUSED_IN_RESPONSES, sent_schema
from nexus_core.server.openai.tools import TOOL_CHOICE, TOOLS

OPTION_NAMES = {"temperature": "temperature", "top_p": "top_p", "max_output_tokens": "max_tokens"}
"""Our names for theirs."""
_SKIPPED = frozenset({"reasoning"})
"""Items that clients send back with answers, and that say nothing to a model."""

_ITEM = {
    "title": "ResponseInputItem",
    "type": "object",
    "properties": {"type": {"type": "string"}, "role": {"type": "string"}, "content": CONTENT},
}
_REQUIRED = ("model", "input")
_PARAMETERS = {
    "model": text(1200, minLength=1),
    "input": {
        "anyOf": [text(PART_CHARACTERS, minLength=1), array(_ITEM, minItems=1, maxItems=MOST_MESSAGES)],
    },
    "instructions": text(PART_CHARACTERS),
    "stream": {"type": "boolean"},
    "background": {"type": "boolean"},
    "stream_options": closed({"include_obfuscation": {"type": "boolean"}}, name="ResponseStreamOptions"),
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "max_output_tokens": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "tools": TOOLS,
    "tool_choice": TOOL_CHOICE,
    "text": closed({"format": or_null(RESPONSE_FORMAT), "verbosity": {}}, name="ResponseTextOptions"),
}
REQUEST = closed(_PARAMETERS | {name: {} for name in IGNORED_OF_RESPONSES}, required=_REQUIRED)
"""What `POST /v1/responses` takes, once what asks for nothing is left out."""
REQUEST_BODY = sent_schema(
    _PARAMETERS,
    _REQUIRED,
    IGNORED_OF_RESPONSES,
    REFUSED_IN_RESPONSES,
    name="ResponseRequest",
    example={"model": "nexus/chat/handbook", "input": "How many days of leave are there?"},
)
"""The same as clients may send it."""
_TEXT: Mapping[str, Any] = {"type": "string"}
_OUTPUT_TEXT = {
    "title": "OutputText",
    "type": "object",
    "properties": {"type": {"enum": ["output_text", "summary_text"]}, "text": _TEXT, "annotations": array(JSON_OBJECT)},
    "required": ["type", "text"],
}
_OUTPUT = {
    "title": "ResponseOutputItem",
    "type": "object",
    "properties": {
        "type": {"enum": ["message", "reasoning", "function_call"]},
        "id": _TEXT,
        "status": _TEXT,
        "role": {"const": "assistant"},
        "content": array(_OUTPUT_TEXT),
        "summary": array(_OUTPUT_TEXT),
        "call_id": _TEXT,
        "name": _TEXT,
        "arguments": _TEXT,
    },
    "required": ["type", "id"],
}
"""A message has a role and content, what was thought a summary, and a call of a function the last three."""
_TOKENS: Mapping[str, Any] = {"type": "integer"}
_USAGE = {
    "title": "ResponseUsage",
    "type": "object",
    "properties": dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), _TOKENS),
    "required": ["input_tokens", "output_tokens", "total_tokens"],
}
RESPONSE = {
    "title": "OpenAIResponse",
    "type": "object",
    "properties": {
        "id": _TEXT,
        "object": {"const": "response"},
        "created_at": {"type": "integer"},
        "status": {"enum": ["completed", "incomplete", "failed", "in_progress", "cancelled"]},
        "model": _TEXT,
        "output": array(_OUTPUT),
        "usage": or_null(_USAGE),
    },
    "required": ["id", "object", "created_at", "status", "model", "output", "usage"],
}


def messages_of(body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the input of a request as messages of a chat, each with its place; raises Failure for other items."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    if body.get("instructions"):
        found.append(("instructions", {"role": "system", "content": body["instructions"]}))
    given = body["input"]
    if isinstance(given, str):
        return [*found, ("input", {"role": "user", "content": given})]
    for place, item in enumerate(given):
        where, kind = f"input[{place}]", item.get("type", "message")
        if kind not in _SKIPPED:
            found.append((where, _message(where, kind, item)))
    return found


def _message(where: str, kind: str, item: Mapping[str, Any]) -> Mapping[str, Any]:
    if kind == "message":
        if "role" not in item:
            raise Failure(400, "invalid_request", f"{where}.role is missing", param=f"{where}.role")
        return item
    if kind == "function_call":
        function = {name: item.get(name) for name in ("name", "arguments")}
        return {"role": "assistant", "tool_calls": [{"id": item.get("call_id"), "function": function}]}
    if kind == "function_call_output":
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
    said = f"{where} is of the type {kind[:40]!r}: messages are served, calls of functions, and what is thought"
    raise Failure(400, "unsupported_parameter", said, param=f"{where}.type")


class ResponseJson:
    """Writes the object of one response, with what the request said of it."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._created = int(time())

    def whole(self, answer: Answer, output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the response of an answer."""
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish_reason)
        told = self.of(answer.id, answer.model_id, "incomplete" if reason else "completed", output)
        if reason:
            told["incomplete_details"] = {"reason": reason}
        else:
            told["completed_at"] = int(time())
        return {**told, "usage": response_usage(answer.usage)}

    def of(self, run_id: str, model: str, status: str, output: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return a response in some state."""
        body = self._body
        return {
            "id": f"resp_{run_id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": bool(body.get("background")),
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "metadata": body.get("metadata") or {},
            "model": model,
            "output": [*output],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": bool(body.get("background")),
            "temperature": body.get("temperature"),
            "text": {"format": (body.get("text") or {}).get("format") or {"type": "text"}},
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p"),
            "truncation": "disabled",
            "usage": None,
        }


def response_usage(usage: Usage) -> dict[str, Any] | None:
    """Return token counts, or `None` where they are not known; the details of the API have no word for unknown."""
    if usage.total_tokens is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


def annotations_of(citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """Return citations as annotations of a text: of a page on the web, or of a file with the server's address of it."""
    return [_annotation(each) for each in citations]


def _annotation(citation: Citation) -> dict[str, Any]:
    if citation.is_on_the_web:
        return {
            "type": "url_citation",
            "url": citation.url,
            "title": citation.title,
            "start_index": citation.start,
            "end_index": citation.end,
        }
    item = citation.item
    told = {
        "type": "file_citation",
        "file_id": item.id,
        "filename": item.source or item.title or item.id,
        "index": citation.start,
    }
    return {**told, "url": citation.url} if citation.url else told


def message_item(run_id: str, parts: Sequence[Mapping[str, Any]], status: str = "completed") -> dict[str, Any]:
    """Return a message of the assistant."""
    return {"id": f"msg_{run_id}", "type": "message", "status": status, "role": "assistant", "content": [*parts]}


def text_part(text: str, annotations: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a text of a message."""
    return {"type": "output_text", "text": text, "annotations": [*annotations], "logprobs": []}


def reasoning_item(run_id: str, number: int, texts: Sequence[str]) -> dict[str, Any]:
    """Return what was thought."""
    summary = [{"type": "summary_text", "text": each} for each in texts]
    return {"id": f"rs_{run_id}_{number}", "type": "reasoning", "summary": summary}


def call_item(run_id: str, number: int, call: ToolCall, status: str = "completed") -> dict[str, Any]:
    """Return a call of a tool."""
    named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
    return {"id": f"fc_{run_id}_{number}", "type": "function_call", "status": status, **named}
