"""Messages of chats, as clients of OpenAI's API send them, read into a question and what was said before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import ImagePart, Message, Part, Role, TextPart
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import array, text
from nexus_core.server.openai.tools import read_calls, refuse_tools
from nexus_core.toolkit.attachments import AttachmentError, attachment_of_base64, image_of_url

MOST_MESSAGES = 1_000
PART_CHARACTERS = 512 * 1024
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""The kinds of parts that are text, with the field that holds it: clients send those of both of OpenAI's APIs."""
_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""The kinds of parts that a model thought and did not say: clients send them back with its answers."""

_MEDIA = frozenset({"image_url", "input_image", "file", "input_file"})
"""The kinds of parts that are images and files."""

_PART = {
    "title": "ContentPart",
    "type": "object",
    "properties": {"type": {"type": "string"}, "text": text(PART_CHARACTERS), "refusal": text(PART_CHARACTERS)},
}
CONTENT = {"anyOf": [text(PART_CHARACTERS), array({"anyOf": [_PART, text(PART_CHARACTERS)]}), {"type": "null"}]}
_MESSAGE = {
    "title": "ChatMessage",
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
    attachments: tuple[Part, ...] = ()
    """Images and files beside what the user says last."""
    continuation: tuple[Message, ...] = ()
    """Calls of tools that the model asked for after that, and their results."""


def number(name: str, messages: Iterable[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return messages, each with its place in the body, as `messages[3]`; `name` is what the body calls them."""
    return [(f"{name}[{place}]", message) for place, message in enumerate(messages)]


def read_messages(
    messages: Iterable[tuple[str, Mapping[str, Any]]], pipeline: Pipeline, name: str = "messages"
) -> ChatRequest:
    """Return what messages say, each with its place in the body; raises Failure where they are no question."""
    read = [_read_message(where, message, pipeline) for where, message in messages]
    system = "\n\n".join([message.text for message in read if message.role == "system" and message.text])
    talk = join_neighbours(each for each in read if each.role != "system" and (each.text.strip() or _holds_more(each)))
    asked = max((place for place, message in enumerate(talk) if message.role == "user"), default=-1)
    if asked < 0 or talk[-1].role not in ("user", "tool") or not talk[asked].text.strip():
        said = f"{name}: the last one must be the user's and hold text: the question"
        raise Failure(400, "invalid_request", said, param=name)
    _check_results(talk, name)
    history, after = tuple(talk[:asked]), tuple(talk[asked + 1 :])
    query = talk[asked]
    media = tuple([part for part in _parts(query) if not isinstance(part, TextPart)])
    return ChatRequest(query=query.text, system=system, history=history, attachments=media, continuation=after)


def _check_results(talk: Iterable[Message], name: str) -> None:
    """Raise Failure for a result that follows no call of its id: services refuse it and do not say what is wrong."""
    called: set[str] = set()
    for message in talk:
        if message.role != "tool":
            called = {call.id for call in message.tool_calls}
        elif message.tool_call_id not in called:
            answered = message.tool_call_id[:100]
            said = f"{name}: a result answers the call {answered!r}, and the message before it asks for none of that id"
            raise Failure(400, "invalid_request", said, param=name)


def _holds_more(message: Message) -> bool:
    return bool(message.tool_calls) or message.role == "tool" or not isinstance(message.content, str)


def join_neighbours(messages: Iterable[Message]) -> list[Message]:
    """Return messages of which no two of one role follow each other: many models take turns alone."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role != "tool":  # a result belongs to one call
            before = found.pop()
            content: str | tuple[Part, ...] = "\n\n".join([each for each in (before.text, message.text) if each])
            if not (isinstance(before.content, str) and isinstance(message.content, str)):
                content = (*_parts(before), *_parts(message))
            message = Message(message.role, content, (*before.tool_calls, *message.tool_calls))
        found.append(message)
    return found


def _parts(message: Message) -> tuple[Part, ...]:
    if isinstance(message.content, str):
        return (TextPart(message.content),) if message.content else ()
    return message.content


def _read_message(where: str, message: Mapping[str, Any], pipeline: Pipeline) -> Message:
    role = _ROLES.get(message["role"])
    if role is None:
        said = f"{where}: role {message['role'][:40]!r} is not served"
        raise Failure(400, "unsupported_parameter", said, param=f"{where}.role")
    if message.get("function_call"):
        said = f"{where}: function_call is not served: send it as tool_calls"
        raise Failure(400, "unsupported_parameter", said, param=f"{where}.function_call")
    content = message.get("content")
    if not content and role == "assistant":
        content = message.get("refusal")  # what OpenAI's services say in its place
    if not isinstance(content, str | list | None):
        raise Failure(400, "invalid_request", f"{where}: what it says is no text and no list of parts", param=where)
    told = content or ""
    if role == "user" and isinstance(told, list) and any(map(_is_media, told)):
        return Message(role, _read_parts(f"{where}.content", told, pipeline))
    text = read_content(f"{where}.content", told, role)
    if role == "tool":
        refuse_tools(f"{where}.role", pipeline)
        answers = message.get("tool_call_id")
        if not isinstance(answers, str) or not answers:
            said = f"{where}.tool_call_id is missing: it names the call that this answers"
            raise Failure(400, "invalid_request", said, param=f"{where}.tool_call_id")
        return Message(role, text, tool_call_id=answers)
    calls = message.get("tool_calls") if role == "assistant" else None
    if calls:
        refuse_tools(f"{where}.tool_calls", pipeline)
    return Message(role, text, read_calls(f"{where}.tool_calls", calls or ()))


def _is_media(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _MEDIA


def _read_parts(where: str, content: Sequence[Any], pipeline: Pipeline) -> tuple[Part, ...]:
    """Return a content that holds images or files; raises Failure where the pipeline's models take none."""
    found: list[Part] = []
    for place, part in enumerate(content):
        at = f"{where}[{place}]"
        if not _is_media(part):
            found.append(TextPart(_read_part(at, part, "user") or ""))
            continue
        try:
            found.extend(pipeline.check_attachments((_read_media(part),)))
        except AttachmentError as error:
            raise Failure(400, "unsupported_parameter", f"{at}: {error.why}", param=at) from error
        except UsageError as error:
            said = f"{at}: no model of this pipeline takes images or files as parts of a message"
            raise Failure(400, "unsupported_parameter", said, param=at, words=str(error)) from error
    return tuple(found)


def _read_media(part: Mapping[str, Any]) -> Part:
    """Return an image or a file, of chats or of responses; raises AttachmentError."""
    kind = part["type"]
    told = part.get(kind) if kind in ("image_url", "file") else part
    told = {"url": told} if isinstance(told, str) else told
    if not isinstance(told, Mapping):
        raise AttachmentError(f"`{kind}` is missing")
    if kind in ("image_url", "input_image"):
        url = told.get("url", told.get("image_url"))
        detail: Any = told.get("detail") or "auto"
        if not isinstance(url, str) or detail not in ("auto", "low", "high"):
            raise AttachmentError("an image is a `url` of text, and its `detail` one of auto, low and high")
        image = image_of_url(url)
        return evolve(image, detail=detail) if isinstance(image, ImagePart) else image
    data, name = told.get("file_data"), told.get("filename") or ""
    if not isinstance(data, str) or not isinstance(name, str):
        raise AttachmentError("a file is its `file_data`: ids and addresses of files are not served")
    return image_of_url(data) if data.startswith("data:") else attachment_of_base64(data, filename=name)


def read_content(where: str, content: str | Sequence[Any], role: Role) -> str:
    """Return the text of a content, of several parts each in a line of its own; raises Failure for what is no text."""
    if isinstance(content, str):
        return content
    parts = [_read_part(f"{where}[{place}]", part, role) for place, part in enumerate(content)]
    return "\n".join([part for part in parts if part is not None])


def _read_part(where: str, part: Any, role: Role) -> str | None:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if role == "assistant" and isinstance(kind, str) and kind in _THOUGHTS:
        return None
    text = part.get(_TEXTS.get(kind, "")) if isinstance(kind, str) else None
    if not isinstance(text, str):
        raise Failure(400, "unsupported_parameter", f"{where} is no text: nothing else is served", param=where)
    return text
