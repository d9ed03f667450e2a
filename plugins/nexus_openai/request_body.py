"""Requests, as bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nexus_core import CallOptions, Message
from nexus_core.toolkit import merge_extra, write_json
from nexus_openai.chat_messages import as_text, write_choice, write_message, write_tools
from nexus_openai.model_use import Continues
from nexus_openai.strict_schema import write_format

_OPTIONS = (
    "temperature", "max_tokens", "stop", "top_p", "frequency_penalty", "presence_penalty", "tools", "tool_choice",
    "response_schema", "reasoning_effort",
)  # fmt: skip
_RESERVED = frozenset({"model", "messages", "prompt", "stream"})
_CONTINUE = {"add_generation_prompt": False, "continue_final_message": True}


def option_names(max_tokens_parameter: str, unsupported: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Return the call options that a model takes, each with its name in the request."""
    renamed = {"max_tokens": max_tokens_parameter, "response_schema": "response_format"}
    return tuple((name, renamed.get(name, name)) for name in _OPTIONS if name not in unsupported)


def write_request(
    start: Mapping[str, Any],
    messages: Sequence[Message],
    options: CallOptions,
    names: Sequence[tuple[str, str]],
    *,
    chat: bool,
    continues: Continues | None = None,
) -> bytes:
    """Return the body of a request: `start`, the messages, and the options that are set.

    Raises InvalidRequestError where `extra` names what is not the caller's to set, or holds what is no JSON.
    """
    body: dict[str, Any] = dict(start)
    if chat:
        body["messages"] = [write_message(message) for message in messages]
        if continues is not None and messages[-1].role == "assistant":
            _ask_to_continue(body, continues)
    else:
        body["prompt"] = as_text(messages)
    for name, parameter in names:
        value = getattr(options, name)
        if value is not None:
            body[parameter] = value
    if options.tools is not None or options.tool_choice is not None or options.response_schema is not None:
        _write_structure(body, options)
    return write_json(merge_extra(body, options.extra, _RESERVED))


def _write_structure(body: dict[str, Any], options: CallOptions) -> None:
    """Put what has a form of its own on the wire in place of the options."""
    tools = options.tools or ()
    if "tools" in body:
        body["tools"] = write_tools(tools)
    if "tool_choice" in body and tools and options.tool_choice is not None:
        body["tool_choice"] = write_choice(options.tool_choice, tools)
    if not body.get("tools"):  # an empty list, and a choice among no tools, are refused
        body.pop("tools", None)
        body.pop("tool_choice", None)
    if "response_format" in body and options.response_schema is not None:
        body["response_format"] = write_format(options.response_schema)


def _ask_to_continue(body: dict[str, Any], continues: Continues) -> None:
    """Say, in the way of the service, that the last message is the beginning of the answer."""
    if continues == "prefix":
        body["messages"][-1]["prefix"] = True
    elif continues == "final_message":
        body.update(_CONTINUE)
