"""Answers and the events of streams, from bytes. Pure.

What comes is never trusted: whatever is not as promised becomes a `ProtocolError`, and text is always valid Unicode.
Of a key that stands twice in an object the last value counts, as in every usual JSON reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from nexus_core import (
    Chunk,
    Completion,
    ConnectorError,
    ContentFilterError,
    FinishReason,
    OverloadedError,
    ProtocolError,
    ServerError,
    ToolCall,
    Transfer,
    TruncatedError,
    Usage,
)
from nexus_openai.calls import ToolCallParts
from nexus_openai.writing import valid_unicode

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "sensitive": "content_filter",
}
_FAILED: Mapping[str, type[ConnectorError]] = {
    "error": ServerError,
    "network_error": ServerError,
    "abort": TruncatedError,
    "insufficient_system_resource": OverloadedError,
}
"""Finish reasons by which routers and servers say that they did not finish."""


_UNREAD: Any = object()


class InBandError(Exception):
    """A body that is an error although its status is 200; `payload` is what it says."""

    def __init__(self, payload: Any) -> None:
        self.payload = payload
        super().__init__("the answer is an error")


def read_completion(data: bytes, transfer: Transfer | None = None) -> Completion:
    """Return the whole answer; raises InBandError, or a ConnectorError where it is none."""
    payload = read_json(data)
    if not isinstance(payload, dict):
        raise ProtocolError("the answer is no JSON object", code="shape")
    choices: Any = payload.get("choices")
    if is_error(payload) or (choices is None and "detail" in payload):
        raise InBandError(payload)
    try:
        choice = choices[0]
        message = choice.get("message")
        content = choice["text"] if message is None else message.get("content")
        reason = _finish(choice.get("finish_reason") or "stop")
        more = message is not None and (len(message) > 2 or "role" not in message)  # than role and content
        calls = _calls(message, reason) if more else ()
        refused = more and bool(message.get("refusal"))
        return Completion(
            text=_finished_text(content, reason, refused),
            finish_reason=reason,
            usage=read_usage(payload.get("usage")) or Usage(),
            model=_name(payload.get("model")),
            reasoning=_thought(message) if more else "",
            tool_calls=calls,
            transfer=transfer,
        )
    except (TypeError, AttributeError, LookupError):
        raise ProtocolError("the answer holds no choice with a message", code="shape") from None


def _calls(message: dict[str, Any], reason: FinishReason) -> tuple[ToolCall, ...]:
    entries = message.get("tool_calls") or _legacy_calls(message)
    if not entries:
        return ()
    parts = ToolCallParts()
    parts.take([{**entry, "index": number} for number, entry in enumerate(entries)])
    parts.finish(reason)
    return parts.calls()


def _legacy_calls(message: dict[str, Any]) -> list[Any]:
    call = message.get("function_call")
    return [{"index": 0, "function": call}] if call else []


def _thought(message: dict[str, Any]) -> str:
    """Return the reasoning in a message or delta; services that give it two names give the same text twice."""
    thought = message.get("reasoning_content") or message.get("reasoning")
    return thought if isinstance(thought, str) else ""


def _finished_text(content: Any, reason: FinishReason, refused: bool) -> str:
    if not content and (refused or reason == "content_filter"):
        raise _filtered(refused)
    if content is None:
        return ""  # tool calls, or an answer that is all reasoning
    if not isinstance(content, str):
        raise ProtocolError("the content of the answer is no text", code="shape")
    return content


class StreamReading:
    """What a stream has said so far."""

    __slots__ = ("_calls", "_refused", "_spoke", "done", "events", "finish_reason", "fresh", "model", "usage")

    def __init__(self) -> None:
        self.done = False
        """`[DONE]` has come: nothing after it counts."""
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        """The last that came: services that tell it with every event count up."""
        self.model = ""
        self.events = 0
        """How many events held a choice."""
        self.fresh = False
        """Set by every event that held content or an end, for whoever watches the progress."""
        self._spoke = False
        self._refused = False
        self._calls: ToolCallParts | None = None

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what an event adds to the answer, often nothing; raises InBandError, or a ConnectorError."""
        try:
            event = orjson.loads(data)
        except ValueError:
            event = _UNREAD
        if event is _UNREAD:  # out here, so that no error has what came in its context
            if data.startswith(b"[DONE]"):
                self.done = True
                return None
            if not data.strip() or data.startswith(b":"):
                return None
            event = data.decode(errors="replace") if name == b"error" else read_json(data)
        try:
            if name == b"error" or event.get("error"):
                raise InBandError(event)
            usage = event.get("usage")
            if usage is not None:
                self.usage = read_usage(usage)
            choices = event.get("choices")
            if choices:
                return self._read_choice(choices[0] if len(choices) == 1 else _first(choices), event)
            if event.get("object") == "error":
                raise InBandError(event)
        except (TypeError, AttributeError, LookupError):
            raise ProtocolError("an event of the stream is not as promised", code="shape") from None
        return None

    def _read_choice(self, choice: Any, event: Any) -> Chunk | None:
        if choice.get("index"):
            return None  # of several choices, which only `extra` can ask for, the first is the answer
        self.events += 1
        reason = choice.get("finish_reason")
        if reason:  # some services say "" until the end
            self.finish_reason = _finish(reason)
            self.fresh = True
        if not self.model:
            self.model = _name(event.get("model"))
        delta = choice.get("delta")
        if delta is None:
            return self._said(choice.get("text"))
        if len(delta) == 1:  # nearly every event there is
            text = delta.get("content")
            if type(text) is str and text:
                self._spoke = self.fresh = True
                return Chunk(text)
        return self._read_delta(delta)

    def _read_delta(self, delta: dict[str, Any]) -> Chunk | None:
        text = delta.get("content")
        if not text and delta.get("refusal"):
            self._refused = self.fresh = True
        thought = _thought(delta)
        entries = delta.get("tool_calls") or _legacy_calls(delta)
        if not entries and not thought:
            return self._said(text)
        if text and type(text) is not str:
            raise ProtocolError("the content of an event is no text", code="shape")
        self._spoke = self._spoke or bool(text)
        self.fresh = True
        if not entries:
            return Chunk(text or "", reasoning=thought)
        if self._calls is None:
            self._calls = ToolCallParts()
        return Chunk(text or "", reasoning=thought, tool_calls=self._calls.take(entries))

    def _said(self, text: Any) -> Chunk | None:
        if not text:
            return None
        if type(text) is not str:
            raise ProtocolError("the content of an event is no text", code="shape")
        self._spoke = self.fresh = True
        return Chunk(text)

    def finish(self, *, unconfirmed: bool = False) -> Chunk:
        """Return the last chunk; raises TruncatedError if the stream did not say why it ended.

        With `unconfirmed`, `[DONE]` after some answer is enough.
        """
        reason = self.finish_reason
        if reason is None and unconfirmed and self.done and (self._spoke or self._calls):
            reason = "tool_calls" if self._calls else "stop"
        if reason is None:
            at = "[DONE]" if self.done else "the end of the data"
            raise TruncatedError(
                f"the stream came to {at} without a finish reason, after {self.events} events", code="truncated"
            )
        calls = self._calls.finish(reason) if self._calls else ()
        if not self._spoke and (self._refused or reason == "content_filter"):
            raise _filtered(self._refused)
        return Chunk("", reason, self.usage, self.model, "", calls)


def _first(choices: list[Any]) -> Any:
    """Return the choice with index 0, wherever it stands."""
    return next((choice for choice in choices if not choice.get("index")), choices[0])


def read_usage(usage: Any) -> Usage | None:
    """Return the counts, `None` where the service tells none; raises ProtocolError for what is no count."""
    if usage is None:
        return None
    if not isinstance(usage, dict):
        raise ProtocolError("the usage of the answer is no object", code="usage")
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    for count in (prompt, completion):
        if count is not None and (type(count) is not int or count < 0):
            raise ProtocolError("the usage of the answer holds what is no count", code="usage")
    if len(usage) <= 3:
        return Usage(prompt_tokens=prompt, completion_tokens=completion)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        reasoning_tokens=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
    )


def _detail(usage: dict[str, Any], group: str, name: str) -> int | None:
    # Details are worth no error: what is odd about them is unknown.
    details = usage.get(group)
    count = details.get(name) if isinstance(details, dict) else None
    return count if type(count) is int and count >= 0 else None


def read_json(data: bytes) -> Any:
    """Return the value; invalid UTF-8 and lone surrogates become U+FFFD. Raises TruncatedError or ProtocolError."""
    try:
        return orjson.loads(data)
    except ValueError:
        text = data.decode(errors="replace")
    try:
        # The tolerant way, for the few bytes that the strict one refuses: what passes is made strict and read again.
        return orjson.loads(
            valid_unicode(json.dumps(json.loads(text, parse_constant=_refuse_constant), ensure_ascii=False))
        )
    except (ValueError, RecursionError):
        cut = _is_cut(text)
    if cut:
        raise TruncatedError("the answer ends in the middle", code="truncated")
    raise ProtocolError("the answer is no valid JSON", code="json")


def _is_cut(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError as error:
        return not text.strip() or str(error).startswith("unexpected end of data")
    return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def is_error(payload: dict[str, Any]) -> bool:
    """Tell whether a body is an error although its status is 200."""
    return bool(payload.get("error")) or payload.get("object") == "error"


def _finish(reason: Any) -> FinishReason:
    if type(reason) is not str:
        raise ProtocolError("the finish reason is no text", code="shape")
    if reason in _FAILED:
        raise _FAILED[reason](f"the service gave up: finish reason {reason!r}", code=reason)
    return _FINISH.get(reason, "stop")


def _filtered(refused: bool) -> ContentFilterError:
    if refused:
        return ContentFilterError("the model refused to answer", code="refusal")
    return ContentFilterError("the service filtered the whole answer", code="content_filter")


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def tokens_read(payload: Mapping[str, Any]) -> Usage:
    """Return the usage of an answer that is no text, `None` where it is not told: Jina only tells a total."""
    told = payload.get("usage")
    counts = told if isinstance(told, dict) else {}
    count = counts.get("prompt_tokens", counts.get("total_tokens"))
    return Usage(prompt_tokens=count if type(count) is int and count >= 0 else None)


def answer_of(data: bytes) -> dict[str, Any]:
    """Return the object that an answer is; raises a ConnectorError where it is none."""
    payload = read_json(data)
    if not isinstance(payload, dict):
        raise ProtocolError("the answer is no JSON object", code="shape")
    return payload


def entries(payload: dict[str, Any], name: str, count: int) -> list[Mapping[str, Any]]:
    """Return the entries of the list `name` of an answer, `count` of them, by their `index`, where they have one.

    Raises InBandError where the answer is an error, and a ConnectorError where an entry is missing or too many.
    """
    found = payload.get(name)
    if is_error(payload) or (found is None and "detail" in payload):
        raise InBandError(payload)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ProtocolError(f"the answer holds no list {name!r} of objects", code="shape")
    ordered = {entry.get("index", place): entry for place, entry in enumerate(found) if _is_place(entry, place)}
    if len(found) != count or sorted(ordered) != list(range(count)):
        raise ProtocolError(f"of {count} texts the answer has {len(found)} {name}, or not one of each", code="shape")
    return [ordered[place] for place in range(count)]


def _is_place(entry: Mapping[str, Any], place: int) -> bool:
    return type(entry.get("index", place)) is int
