"""Whole answers, from bytes. Pure.

What comes is never trusted: whatever is not as promised becomes a `ProtocolError`, and text is always valid Unicode.
Of a key that stands twice in an object the last value counts, as in every usual JSON reader. Where a stream came
although none was asked for, its events are put together.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from nexus_core import (
    Completion,
    FinishReason,
    ProtocolError,
    ToolCall,
    Transfer,
    TruncatedError,
    Usage,
)
from nexus_core.toolkit import (
    EventDecoder,
    InBandError,
    ServerSentEvent,
    ToolCallParts,
    classify_finish_reason,
    find_usage,
    holds_error,
    is_only_error,
    read_finish_reason,
    read_json,
    read_usage,
    split_thinking,
)
from nexus_openai.message_parts import (
    filtered,
    is_thought,
    legacy_calls,
    name_in,
    read_content,
    read_thought,
)
from nexus_openai.stream_parsing import StreamReading

_EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:(?:data|event|id|retry)\s*:|:|\{)", re.IGNORECASE)
"""What begins like an event stream, or like lines of JSON."""


def read_completion(data: bytes, transfer: Transfer | None = None, *, thinks: bool = False) -> Completion:
    """Return the whole answer; raises InBandError, or a ConnectorError where it is none.

    `thinks` says that the model's text begins with its reasoning, see `nexus_core.toolkit.split_thinking`.
    """
    payload = _read_payload(data)
    if isinstance(payload, _Events):
        return _read_stream(payload, transfer, thinks=thinks)
    choices: Any = payload.get("choices")
    if holds_error(payload) or (not choices and is_only_error({**payload, "usage": None})):
        raise InBandError(payload)
    try:
        return _read_choice(choices[0], payload, transfer, thinks=thinks)
    except (TypeError, AttributeError, LookupError):
        raise ProtocolError("the answer holds no choice with a message", code="shape") from None


def _read_choice(choice: Any, payload: Any, transfer: Transfer | None, *, thinks: bool) -> Completion:
    message = choice.get("message")
    if message is None:
        message = choice.get("delta")
    content = choice["text"] if message is None else message.get("content")
    reason, unknown = classify_finish_reason(read_finish_reason(choice.get("finish_reason")) or "stop")
    # Than role and content.
    more = message is not None and (len(message) > 2 or "role" not in message or "content" not in message)
    calls = _calls(message, reason) if more else ()
    refused = more and bool(message.get("refusal"))
    told = read_thought(message) if more else ""
    if type(content) is not str:
        parts = read_content(content)
        content, told, refused = parts.text, told or parts.thought, refused or parts.refused
    elif more and not told and is_thought(message) and "<" not in content:
        content, told = "", content
    thought, text = split_thinking(content, thinks=thinks and not told, cut=reason == "length")
    if not text and (refused or reason == "content_filter"):
        raise filtered(refused=refused)
    usage = payload.get("usage") or find_usage(payload)
    return Completion(
        text=text,
        finish_reason=reason,
        native_finish_reason=unknown,
        usage=read_usage(usage, payload.get("service_tier")) or Usage(),
        model=name_in(payload.get("model")),
        reasoning=told + thought,
        tool_calls=calls,
        transfer=transfer,
    )


def _calls(message: dict[str, Any], reason: FinishReason) -> tuple[ToolCall, ...]:
    entries = message.get("tool_calls") or legacy_calls(message)
    if not entries:
        return ()
    parts = ToolCallParts()
    whole = [entries] if isinstance(entries, dict) else [entry for entry in entries if entry is not None]
    parts.take([{**entry, "index": number} for number, entry in enumerate(whole)])
    parts.finish(reason)
    return parts.calls()


class _Events(list[ServerSentEvent]):
    """The events of a stream that nobody asked for."""


def _read_payload(data: bytes) -> dict[str, Any] | _Events:
    """Return the object that an answer is, or its events; raises a ConnectorError where it is neither."""
    if (whole := _object_in(data)) is not None:
        return whole
    events = _decode(data) if _EVENTS.match(data) else _Events()
    wholes = [event for _, event in events if b'"message"' in event or b'"text"' in event]
    if len(wholes) == 1 and all(event is wholes[0] or event.startswith(b"[DONE]") for _, event in events):
        return read_object(wholes[0])
    return events or read_object(data)  # a second time: whoever holds the error holds the bytes


def _object_in(data: bytes) -> dict[str, Any] | None:
    """Return the object that bytes are, `None` for other ones: nobody holds the error then, and with it the bytes."""
    try:
        return read_object(data)
    except (ProtocolError, TruncatedError):
        return None


def _decode(data: bytes) -> _Events:
    decoder = EventDecoder(line_cap=len(data) + 1, event_cap=65 * (len(data) + 1), tolerant=True)
    events = decoder.feed(data)
    left = decoder.flush() if decoder.irregular else []
    return _Events([*events, *(event for event in left if is_whole(event[1]))])


def _read_stream(events: _Events, transfer: Transfer | None, *, thinks: bool) -> Completion:
    reading, chunks = StreamReading(thinks=thinks), []
    for name, event in events:
        if not reading.done:
            chunks.append(reading.take(name, event))
    last = reading.finish()
    chunks.append(last)
    found = [chunk for chunk in chunks if chunk is not None]
    return Completion(
        text="".join([chunk.text for chunk in found]),
        finish_reason=last.finish_reason or "stop",
        native_finish_reason=last.native_finish_reason,
        usage=last.usage or Usage(),
        model=last.model,
        reasoning="".join([chunk.reasoning for chunk in found]),
        tool_calls=reading.tool_calls,
        transfer=transfer,
    )


def is_whole(data: bytes) -> bool:
    """Tell whether an event that no blank line ends is complete."""
    try:
        orjson.loads(data)
    except ValueError:
        return data.startswith(b"[DONE]")
    return True


def read_object(data: bytes) -> dict[str, Any]:
    """Return the object that an answer is, also as the only one of a list; raises a ConnectorError where it is none."""
    payload = read_json(data)
    if isinstance(payload, list) and len(payload) == 1:
        payload = payload[0]
    if not isinstance(payload, dict):
        raise ProtocolError("the answer is no JSON object", code="shape")
    return payload
