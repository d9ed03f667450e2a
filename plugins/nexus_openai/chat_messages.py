"""Messages and tools as chat completions write them. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from mimetypes import guess_extension
from typing import Any

from nexus_core import FilePart, ImagePart, InvalidRequestError, Message, TextPart, ToolCall, ToolDefinition

_ROLES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
_NO_ARGUMENTS = {"type": "object", "properties": {}}


def unsendable(message: str) -> InvalidRequestError:
    """Return the error of a request that cannot be written, before anything is sent."""
    return InvalidRequestError(message, code="unsendable", request_sent=False)


def write_message(message: Message) -> dict[str, Any]:
    """Return a message; raises InvalidRequestError for a part that chat completions do not take."""
    content = message.content if isinstance(message.content, str) else write_parts(message)
    written: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        written["content"] = content or None  # an empty text beside calls is refused by some
        written["tool_calls"] = [write_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        written["tool_call_id"] = message.tool_call_id
    return written


def write_parts(message: Message) -> str | list[dict[str, Any]]:
    """Return the content of a message: texts alone as one text, which every service takes."""
    if all(isinstance(part, TextPart) for part in message.content):
        return message.text
    return [_write_part(part) for part in message.content if not isinstance(part, str)]


def _write_part(part: TextPart | ImagePart | FilePart) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        image = {"url": part.url or data_url(part)}
        return {"type": "image_url", "image_url": image if part.detail == "auto" else {**image, "detail": part.detail}}
    if isinstance(part, FilePart):
        if part.url:
            raise unsendable("chat completions take no file by its address: give its bytes (`data`)")
        name = part.filename or f"file{guess_extension(part.media_type) or ''}"
        return {"type": "file", "file": {"filename": name, "file_data": data_url(part)}}
    return {"type": "text", "text": part.text}


def data_url(part: ImagePart | FilePart) -> str:
    """Return the bytes of a part as a `data:` URL; raises InvalidRequestError where their type is not said."""
    if not part.media_type:
        raise unsendable(f"the bytes of a {type(part).__name__} need their `media_type`, such as image/png")
    return f"data:{part.media_type};base64,{b64encode(part.data).decode()}"


def write_call(call: ToolCall) -> dict[str, Any]:
    """Return a call that a model asked for, as its message holds it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def write_tools(tools: Sequence[ToolDefinition]) -> list[dict[str, Any]]:
    """Return what a model may ask to be called."""
    return [{"type": "function", "function": write_function(tool)} for tool in tools]


def write_function(tool: ToolDefinition) -> dict[str, Any]:
    """Return a tool; one that takes nothing says so in a schema, since some services require one."""
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parameters": tool.parameters or _NO_ARGUMENTS}


def write_choice(choice: str, tools: Sequence[ToolDefinition]) -> str | dict[str, Any]:
    """Return which tool must be called; raises InvalidRequestError for the name of one that is not there."""
    if choice in ("auto", "none", "required"):
        return choice
    if all(tool.name != choice for tool in tools):
        raise unsendable("`tool_choice` is `auto`, `none`, `required` or the name of one of the `tools`")
    return {"type": "function", "function": {"name": choice}}


def as_text(messages: Sequence[Message]) -> str:
    """Return the messages as one text, for models that continue a text instead of answering messages.

    A single message stands as it is. Of several, each begins with `System: `, `User: `, `Assistant: ` or `Tool: `, a
    blank line comes between them, and `Assistant:` at the end asks for the answer, unless the last message is its
    beginning. Raises InvalidRequestError for an image or a file.
    """
    texts = [_text_of(message) for message in messages]
    if len(messages) == 1:
        return texts[0]
    said = [f"{_ROLES[message.role]}: {text}" for message, text in zip(messages, texts, strict=True)]
    return "\n\n".join(said if messages[-1].role == "assistant" else [*said, "Assistant:"])


def _text_of(message: Message) -> str:
    if not isinstance(message.content, str) and not all(isinstance(part, TextPart) for part in message.content):
        raise unsendable("the endpoint completions takes texts only, no images and no files")
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return "\n".join([text for text in (message.text, *calls) if text]) if calls else message.text
