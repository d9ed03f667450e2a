"""Messages as they are sent: what templates know nothing of is put in its place, before anything is counted.

Attachments go to the last message of the user, before its text, as the services advise. The history keeps its parts
and tool calls, of which a template sees the texts only. There is one system message, at the front, and where a model
needs it no two neighbours of one role.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TypeGuard

from attrs import evolve

from nexus_core.contract.errors import NotConfiguredError, TemplateError, UsageError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.values import CallOptions, FilePart, ImagePart, Message, Part, TextPart
from nexus_core.toolkit.suggest import listed

_ROLES_AT_FIRST = frozenset({"system", "user", "assistant"})
_ROLES_LATER = frozenset({"user", "assistant"})
_BETWEEN = "\n\n"
"""Between what two messages say that are joined."""


def with_whole_history(messages: tuple[Message, ...], history: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages with the history as it was, where a template has put in its texts one after the other."""
    shown, length = [(message.role, message.text) for message in history], len(history)
    for start in range(len(messages) - length + 1):
        if [(message.role, message.content) for message in messages[start : start + length]] == shown:
            return (*messages[:start], *history, *messages[start + length :])
    return messages


def with_attachments(messages: tuple[Message, ...], attachments: Sequence[Part], name: str) -> tuple[Message, ...]:
    """Return messages with the attachments in the user's last one; raises TemplateError where there is none."""
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if message.role == "user":
            holding = evolve(message, content=(*attachments, *_parts(message.content)))
            return (*messages[:place], holding, *messages[place + 1 :])
    raise TemplateError(f"template {name!r} returned no message of the user, which attachments belong to")


def are_usual(messages: object) -> TypeGuard[tuple[Message, ...]]:
    """Tell, as fast as can be, whether these are messages of text in an order that all but a few models take."""
    if type(messages) is not tuple:
        return False
    roles = _ROLES_AT_FIRST
    for message in messages:
        if (
            type(message) is not Message
            or message.role not in roles
            or type(message.content) is not str
            or message.tool_calls
        ):
            return False
        roles = _ROLES_LATER
    return True


def arrange_messages(messages: tuple[Message, ...], info: ModelInfo) -> tuple[Message, ...]:
    """Return messages in the order that every service takes; those that are in it already are returned as they are.

    Raises NotConfiguredError where the model does not take what they hold, TemplateError for a result of no call.
    """
    if not are_usual(messages):
        messages = _arranged(messages, info)
    return _joined_neighbours(messages) if info.joins_roles else messages


def check_tools(info: ModelInfo, options: CallOptions) -> None:
    """Raise NotConfiguredError where tools are offered to a model that takes none."""
    if options.tools and "tools" not in info.capabilities:
        raise _lacks(info, "tools")


def check_attachments(attachments: Sequence[Part], chain: Mapping[str, ModelInfo]) -> None:
    """Raise UsageError where these are no images and files, or none of the models of a chain takes them."""
    wrong = next((part for part in attachments if not isinstance(part, ImagePart | FilePart)), None)
    if wrong is not None:
        raise UsageError(f"attachments are made of ImagePart and FilePart, not of {type(wrong).__name__}")
    missing = [_lacking(info, attachments) for info in chain.values()]
    if all(missing):
        raise UsageError(
            f"no model that would answer takes these attachments: {listed(list(chain))} would need the capability "
            f"{listed(sorted(set(missing)))} (`nexus models --json` shows capabilities)"
        )


def _lacking(info: ModelInfo, parts: Iterable[Part]) -> str:
    """Return the capability that a model lacks for some parts, `""` where it takes them all."""
    for part in parts:
        if isinstance(part, ImagePart) and "vision" not in info.capabilities:
            return "vision"
        if isinstance(part, FilePart) and ("files" not in info.capabilities or info.file_tokens_at_most is None):
            return "files"
    return ""


def _arranged(messages: tuple[Message, ...], info: ModelInfo) -> tuple[Message, ...]:
    for message in messages:
        if not isinstance(message.content, str) and (missing := _lacking(info, message.content)):
            raise _lacks(info, missing)
        if message.role == "tool" and not message.tool_call_id:
            raise TemplateError("a message with the role `tool` has no `tool_call_id`: it names the call it answers")
        if (message.role == "tool" or message.tool_calls) and "tools" not in info.capabilities:
            raise _lacks(info, "tools")
    return tuple(map(_with_plain_text, _with_system_first(messages)))


_TAKES_NO = {"vision": "images", "files": "files", "tools": "tools"}


def _lacks(info: ModelInfo, capability: str) -> NotConfiguredError:
    return NotConfiguredError(
        f"the model {info.id!r} takes no {_TAKES_NO[capability]}: ask one with the capability `{capability}`, or name "
        "one as its `fallback` (`nexus models --json` shows capabilities)",
        provider=info.provider,
        model=info.id,
    )


def _with_system_first(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    said = [message for message in messages if message.role == "system"]
    if not said or (len(said) == 1 and said[0] is messages[0]):
        return messages
    return (reduce(_joined, said), *(message for message in messages if message.role != "system"))


def _joined_neighbours(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role != "tool":  # a result belongs to one call
            found[-1] = _joined(found[-1], message)
        else:
            found.append(message)
    return messages if len(found) == len(messages) else tuple(found)


def _joined(first: Message, second: Message) -> Message:
    content: str | tuple[Part, ...]
    if isinstance(first.content, str) and isinstance(second.content, str):
        content = _BETWEEN.join([text for text in (first.content, second.content) if text])
    else:
        content = (*_parts(first.content), *_parts(second.content))
    return evolve(first, content=content, tool_calls=(*first.tool_calls, *second.tool_calls))


def _with_plain_text(message: Message) -> Message:
    """Return a message of nothing but texts as one text: connectors that know no parts take it."""
    if isinstance(message.content, str) or not all(isinstance(part, TextPart) for part in message.content):
        return message
    return evolve(message, content=message.text)


def _parts(content: str | tuple[Part, ...]) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),) if content else ()
    return content
