"""The wire of OpenAI's API for chats: what a client may send, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import JSONEncoder
from typing import Any

from nexus_core.contract.answers import Answer
from nexus_core.contract.values import Usage
from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import closed, or_null, text
from nexus_core.server.openai.messages import MESSAGES

OPTION_NAMES = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "stop": "stop",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "extra.seed",
    "response_format": "extra.response_format",
}
"""Our names for theirs; of two that mean the same, the later holds."""
IGNORED = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "parallel_tool_calls", "reasoning_effort", "verbosity",
)  # fmt: skip
"""Parameters that many clients send, and that change nothing here."""
REFUSED: Mapping[str, Sequence[Any]] = {
    "tools": [[]], "tool_choice": ["none", "auto"], "functions": [[]], "function_call": ["none", "auto"],
    "logprobs": [False], "top_logprobs": [0], "logit_bias": [{}], "modalities": [["text"]], "audio": [],
    "prediction": [], "web_search_options": [],
}  # fmt: skip
"""Parameters that would change the answer and are not served, with the values that ask for nothing."""

_REQUIRED = ("model", "messages")
_PARAMETERS = {
    "model": text(1200, minLength=1),
    "messages": MESSAGES,
    "stream": {"type": "boolean"},
    "stream_options": closed({"include_usage": {"type": "boolean"}, "include_obfuscation": {"type": "boolean"}}),
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "max_completion_tokens": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "stop": {"anyOf": [text(200), {"type": "array", "items": text(200), "maxItems": 8}]},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "seed": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "response_format": {"type": "object"},
    "n": {"type": "integer", "minimum": 1, "maximum": 1},
}
CHAT = closed(_PARAMETERS | {name: {} for name in IGNORED}, required=_REQUIRED)
"""What `POST /v1/chat/completions` takes, once what asks for nothing is left out."""
CHAT_BODY = closed(
    {name: each if name in _REQUIRED else or_null(each) for name, each in _PARAMETERS.items()}
    | {name: {} for name in IGNORED}
    | {name: {"enum": [*values, None]} for name, values in REFUSED.items()},
    required=_REQUIRED,
)
"""The same as clients may send it."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_USAGE = or_null(closed({name: {"type": "integer"} for name in _COUNTS}, required=_COUNTS))
_CHOICE = closed(
    {
        "index": {"type": "integer"},
        "message": closed({"role": {"const": "assistant"}, "content": {"type": "string"}, "refusal": {"type": "null"}}),
        "logprobs": {"type": "null"},
        "finish_reason": {"type": "string"},
    }
)
COMPLETION = closed(
    {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {"type": "array", "items": _CHOICE},
        "usage": _USAGE,
    },
    required=("id", "object", "created", "model", "choices"),
)
_in_ascii = JSONEncoder(ensure_ascii=True).encode  # some clients take U+2028 for the end of a line
DONE = b"data: [DONE]\n\n"


def parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a body says, without what asks for nothing; raises Failure for what is asked for and not served."""
    given = {name: value for name, value in body.items() if value is not None}
    for name, empty in REFUSED.items():
        if name in given:
            value = given.pop(name)
            if not any(type(each) is type(value) and each == value for each in empty):
                raise Failure(400, "unsupported_parameter", f"{name} is not served: leave it out", param=name)
    return given


def usage_json(usage: Usage) -> dict[str, int | None] | None:
    """Return token counts, or `None` where they are not known."""
    if usage.total_tokens is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def completion_json(answer: Answer, created: int) -> dict[str, Any]:
    """Return a whole answer."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": created,
        "model": answer.model_id,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
        "usage": usage_json(answer.usage),
    }


class ChatChunks:
    """Writes the events of one stream; what they share is written once."""

    def __init__(self, run_id: str, model: str, created: int, *, with_usage: bool) -> None:
        shared = {"id": f"chatcmpl-{run_id}", "object": "chat.completion.chunk", "created": created, "model": model}
        self._start = "data: " + _in_ascii(shared)[:-1]
        self._head = self._start + ', "choices": [{"index": 0, "delta": {"content": '
        self._tail = '}, "finish_reason": null}]' + (', "usage": null' if with_usage else "") + "}\n\n"

    def role(self) -> bytes:
        """Return the first event: who speaks."""
        return (self._head + '"", "role": "assistant"' + self._tail).encode()

    def text(self, text: str) -> bytes:
        """Return an event with some more text."""
        return (self._head + _in_ascii(text) + self._tail).encode()

    def end(self, reason: str) -> bytes:
        """Return the event that tells why the answer ends."""
        return (self._head.removesuffix('"content": ') + self._tail.replace("null", _in_ascii(reason), 1)).encode()

    def usage(self, usage: Usage) -> bytes:
        """Return the event with the token counts."""
        return (f'{self._start}, "choices": [], "usage": {_in_ascii(usage_json(usage))}}}\n\n').encode()
