"""Messages of chats, as clients of OpenAI's API send them, read into a question and what was said before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from nexus_core.contract.values import Message, Role
from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import array, text

MOST_MESSAGES = 1_000
PART_CHARACTERS = 512 * 1024
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""The kinds of parts that are text, with the field that holds it: clients send those of both of OpenAI's APIs."""
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""The kinds of parts that a model thought and did not say: clients send them back with its answers."""

_PART = {
    "type": "object",
    "properties": {"type": {"type": "string"}, "text": text(PART_CHARACTERS), "refusal": text(PART_CHARACTERS)},
}
CONTENT = {"anyOf": [text(PART_CHARACTERS), array({"anyOf": [_PART, text(PART_CHARACTERS)]}), {"type": "null"}]}
_MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "content": CONTENT},
    "required": ["role"],
}
"""Clients send back messages as they got them, with fields of their own services: those are ignored."""
MESSAGES = array(_MESSAGE, minItems=1, maxItems=MOST_MESSAGES)


@frozen(kw_only=True)
class ChatRequest:
    """What the messages of a request say."""

    query: str
    """What the user says last."""
    system: str
    """All that the client says as `system` or `developer`."""
    history: tuple[Message, ...]


def read_messages(messages: Sequence[Mapping[str, Any]], name: str = "messages") -> ChatRequest:
    """Return what messages say; raises Failure where they are no question. `name` is what the body calls them."""
    read = [_read_message(f"{name}[{place}]", message) for place, message in enumerate(messages)]
    system = "\n\n".join(content for role, content in read if role == "system" and content)
    talk = join_neighbours(Message(role, content) for role, content in read if role != "system" and content.strip())
    if not talk or talk[-1].role != "user":
        said = f"{name}: the last one must be the user's and hold text: the question"
        raise Failure(400, "invalid_request", said, param=name)
    return ChatRequest(query=talk[-1].text, system=system, history=tuple(talk[:-1]))


def join_neighbours(messages: Iterable[Message]) -> list[Message]:
    """Return messages of which no two of one role follow each other: many models take turns alone."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role:
            message = Message(message.role, f"{found.pop().text}\n\n{message.text}")
        found.append(message)
    return found


def _read_message(where: str, message: Mapping[str, Any]) -> tuple[Role, str]:
    role = message["role"]
    role = "system" if role == "developer" else role
    if role not in ("system", "user", "assistant"):
        said = f"{where}: role {role[:40]!r} is not served: a pipeline calls no tools"
        raise Failure(400, "unsupported_parameter", said, param=f"{where}.role")
    for name in ("tool_calls", "function_call"):
        if message.get(name):
            said = f"{where}: calls of tools are not served"
            raise Failure(400, "unsupported_parameter", said, param=f"{where}.{name}")
    content = message.get("content")
    if not content and role == "assistant":
        content = message.get("refusal")  # what OpenAI's services say in its place
    return role, read_content(f"{where}.content", content if isinstance(content, str | list) else "", role)


def read_content(where: str, content: str | Sequence[Any], role: Role) -> str:
    """Return the text of a content, of several parts each in a line of its own; raises Failure for what is no text."""
    if isinstance(content, str):
        return content
    parts = [_read_part(f"{where}[{place}]", part, role) for place, part in enumerate(content)]
    return "\n".join([part for part in parts if part is not None])


def _read_part(where: str, part: Mapping[str, Any] | str, role: Role) -> str | None:
    if isinstance(part, str):
        return part
    kind = part.get("type")
    if role == "assistant" and kind in _THOUGHTS:
        return None
    text = part.get(_TEXTS.get(kind, "")) if isinstance(kind, str) else None
    if not isinstance(text, str):
        raise Failure(400, "unsupported_parameter", f"{where} is no text: nothing else is served", param=where)
    return text
