"""Requests, as bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nexus_core import CallOptions, Message
from nexus_core.toolkit import merge_extra, write_json
from nexus_openai.connector import Continues

_OPTIONS = ("temperature", "max_tokens", "stop", "top_p", "frequency_penalty", "presence_penalty")
_RESERVED = frozenset({"model", "messages", "prompt", "stream"})
_CONTINUE = {"add_generation_prompt": False, "continue_final_message": True}
_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}


def option_names(max_tokens_parameter: str, unsupported: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Return the call options that a model takes, each with its name in the request."""
    renamed = {"max_tokens": max_tokens_parameter}
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
        body["messages"] = [{"role": message.role, "content": message.content} for message in messages]
        if continues is not None and messages[-1].role == "assistant":
            _ask_to_continue(body, continues)
    else:
        body["prompt"] = as_text(messages)
    for name, parameter in names:
        value = getattr(options, name)
        if value is not None:
            body[parameter] = value
    return write_json(merge_extra(body, options.extra, _RESERVED))


def _ask_to_continue(body: dict[str, Any], continues: Continues) -> None:
    """Say, in the way of the service, that the last message is the beginning of the answer."""
    if continues == "prefix":
        body["messages"][-1]["prefix"] = True
    elif continues == "final_message":
        body.update(_CONTINUE)


def as_text(messages: Sequence[Message]) -> str:
    """Return the messages as one text, for models that continue a text instead of answering messages.

    A single message stands as it is. Of several, each begins with `System: `, `User: ` or `Assistant: `, a blank line
    comes between them, and `Assistant:` at the end asks for the answer, unless the last message is its beginning.
    """
    if len(messages) == 1:
        return messages[0].text
    said = [f"{_ROLES[message.role]}: {message.content}" for message in messages]
    return "\n\n".join(said if messages[-1].role == "assistant" else [*said, "Assistant:"])
