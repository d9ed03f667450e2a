"""Answers and the events of streams, from bytes. Pure.

What comes is never trusted: whatever is not as promised becomes a `ProtocolError`, and text is always valid Unicode.
Of a key that stands twice in an object the last value counts, as in every usual JSON reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from nexus_core import (
    Chunk,
    Completion,
    ContentFilterError,
    FinishReason,
    ProtocolError,
    ToolCall,
    Transfer,
    TruncatedError,
    Usage,
)
from nexus_core.toolkit import (
    InBandError,
    ThinkingStream,
    ToolCallParts,
    classify_finish_reason,
    finish_gravity,
    holds_error,
    is_only_error,
    read_finish_reason,
    read_json,
    read_usage,
    split_thinking,
)

_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Where services put what a model thinks; those that give it two names give the same text twice."""
_UNREAD: Any = object()


def read_completion(data: bytes, transfer: Transfer | None = None, *, thinks: bool = False) -> Completion:
    """Return the whole answer; raises InBandError, or a ConnectorError where it is none.

    `thinks` says that the model's text begins with its reasoning, see `nexus_core.toolkit.split_thinking`.
    """
    payload = read_json(data)
    if not isinstance(payload, dict):
        raise ProtocolError("the answer is no JSON object", code="shape")
    choices: Any = payload.get("choices")
    if holds_error(payload) or (not choices and is_only_error(payload)):
        raise InBandError(payload)
    try:
        choice = choices[0]
        message = choice.get("message")
        content = choice["text"] if message is None else message.get("content")
        reason, unknown = classify_finish_reason(read_finish_reason(choice.get("finish_reason")) or "stop")
        more = message is not None and (len(message) > 2 or "role" not in message)  # than role and content
        calls = _calls(message, reason) if more else ()
        refused = more and bool(message.get("refusal"))
        told = _thought(message) if more else ""
        thought, text = split_thinking(_text(content), thinks=thinks and not told, cut=reason == "length")
        if not text and (refused or reason == "content_filter"):
            raise _filtered(refused)
        return Completion(
            text=text,
            finish_reason=reason,
            native_finish_reason=unknown,
            usage=read_usage(payload.get("usage"), payload.get("service_tier")) or Usage(),
            model=_name(payload.get("model")),
            reasoning=told + thought,
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
    """Return the reasoning in a message or delta: a text, an object that holds one, or a list of such parts."""
    for name in _THOUGHTS:
        found = message.get(name)
        if found and (thought := _text_in(found)):
            return thought
    return ""


def _text_in(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("text") or value.get("content")
    elif isinstance(value, list):
        value = "".join([_text_in(part) for part in value if not isinstance(part, list)])
    return value if isinstance(value, str) else ""


def _text(content: Any) -> str:
    if content is None:
        return ""  # tool calls, or an answer that is all reasoning
    if not isinstance(content, str):
        raise ProtocolError("the content of the answer is no text", code="shape")
    return content


class StreamReading:
    """What a stream has said so far."""

    __slots__ = (
        "_calls", "_plain", "_refused", "_spoke", "_tell_of_tag", "_thinking", "_unconfirmed", "done", "doubtful",
        "events", "finish_reason", "fresh", "model", "retracted", "stray_tag", "usage",
    )  # fmt: skip

    def __init__(
        self, *, thinks: bool = False, unconfirmed: bool = False, tell_of_tag: Callable[[], None] | None = None
    ) -> None:
        self._unconfirmed = unconfirmed
        self._tell_of_tag = tell_of_tag
        self.done = False
        """`[DONE]` has come: nothing after it counts."""
        self.finish_reason: str | None = None
        """The service's word for the end, the worst since the last of the answer: what follows takes it back."""
        self.retracted = False
        """Some of the answer came after a finish reason."""
        self.doubtful = False
        """The service has said so before, and again with content: only the end of the data confirms the reason."""
        self.usage: Usage | None = None
        """The last that came: services that tell it with every event count up."""
        self.model = ""
        self.events = 0
        """How many events held a choice."""
        self.fresh = False
        """Set by every event that held content or an end, for whoever watches the progress."""
        self.stray_tag = False
        """The text held the end of a think block whose beginning never came."""
        self._thinking: ThinkingStream | None = ThinkingStream(thinks=thinks)
        """While text may be reasoning."""
        self._plain = False
        """Text has begun: more of it is text, unless a tag may be in it."""
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
            if name == b"error" or (event.get("error") and holds_error(event)):
                raise InBandError(event)
            usage = event.get("usage")
            if usage is not None:
                self.usage = read_usage(usage, event.get("service_tier"))
            choices = event.get("choices")
            if choices:
                return self._read_choice(choices[0] if len(choices) == 1 else _first(choices), event)
            if holds_error(event) or is_only_error(event):
                raise InBandError(event)
        except (TypeError, AttributeError, LookupError):
            raise ProtocolError("an event of the stream is not as promised", code="shape") from None
        return None

    def _read_choice(self, choice: Any, event: Any) -> Chunk | None:
        if choice.get("index"):
            return None  # of several choices, which only `extra` can ask for, the first is the answer
        self.events += 1
        if not self.model:
            self.model = _name(event.get("model"))
        reason, delta = choice.get("finish_reason"), choice.get("delta")
        if self._plain and reason is None and delta is not None and len(delta) == 1 and self.finish_reason is None:
            text = delta.get("content")  # nearly every event there is
            if type(text) is str and text and "<" not in text and text[-1] != "`":
                self.fresh = True
                return Chunk(text)
        if ("error" in choice or (delta and "error" in delta)) and holds_error(event):
            raise InBandError(event)
        before, self.fresh = self.fresh, False
        chunk = self._read_part(choice, delta, event)
        more = self.fresh
        self.fresh = more or before
        if more and self.finish_reason:  # what came before more of the answer was no reason
            self.finish_reason, self.retracted = None, True
        if reason and (word := read_finish_reason(reason)):  # some services say "" or "null" until the end
            self.fresh = self.fresh or not self.finish_reason
            self.doubtful = self.retracted and more
            # What has been cut does not become whole by a `stop` after it: with nothing between, the worst word counts.
            if not self.finish_reason or finish_gravity(word) >= finish_gravity(self.finish_reason):
                self.finish_reason = word
        return chunk

    def _read_part(self, choice: Any, delta: Any, event: Any) -> Chunk | None:
        """Return what a choice adds, and set `fresh` where it holds some of the answer."""
        message = choice.get("message")  # some services send it in place of a delta, or beside an empty one
        if message is not None and self._spoke and event.get("object") == "chat.completion":
            message = None if delta is not None else {}  # all of the answer again, after its parts
        if message is not None:
            delta = {**message, **{name: value for name, value in delta.items() if value}} if delta else message
        return self._said(choice.get("text")) if delta is None else self._read_delta(delta)

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
        self.fresh = True
        chunk = self._parted(text or "", thought) or Chunk()
        if not entries:
            return chunk if chunk.text or chunk.reasoning else None
        if self._calls is None:
            self._calls = ToolCallParts()
        return Chunk(chunk.text, reasoning=chunk.reasoning, tool_calls=self._calls.take(entries))

    def _said(self, text: Any) -> Chunk | None:
        if not text:
            return None
        if type(text) is not str:
            raise ProtocolError("the content of an event is no text", code="shape")
        self.fresh = True
        return self._parted(text)

    def _parted(self, text: str, told: str = "") -> Chunk | None:
        """Return a chunk of text, what of it is reasoning apart, and of the reasoning in a field of its own."""
        thinking, released, thought = self._thinking, "", ""
        if thinking is not None:
            if told:
                _, released = thinking.reasoned_elsewhere()
            if text and not thinking.passes:
                thought, text = thinking.take(text)
            if thinking.passes:
                self.stray_tag, self._thinking = thinking.stray, None
            self._plain = thinking.passes or thinking.watches
        text, thought = released + text, told + thought
        self._spoke = self._spoke or bool(text)
        return Chunk(text, reasoning=thought) if text or thought else None

    def finish(self) -> Chunk:
        """Return the last chunk; raises TruncatedError if the stream did not say why it ended.

        With `unconfirmed`, `[DONE]` after some answer is enough.
        """
        word, thinking, thought, text = self.finish_reason, self._thinking, "", ""
        if not word and self._unconfirmed and self.done:
            word = "tool_calls" if self._calls else "stop"
        if not word:
            raise self._truncated()
        reason, unknown = classify_finish_reason(word)
        if thinking is not None:
            thought, text = thinking.finish(cut=reason == "length")
            self._spoke = self._spoke or bool(text)
        if not self.finish_reason and not (self._spoke or self._calls):
            raise self._truncated()
        calls = self._calls.finish(reason) if self._calls else ()
        if not self._spoke and (self._refused or reason == "content_filter"):
            raise _filtered(self._refused)
        if self.stray_tag and self._tell_of_tag is not None:
            self._tell_of_tag()
        return Chunk(text, reason, self.usage, self.model, thought, calls, native_finish_reason=unknown)

    def _truncated(self) -> TruncatedError:
        at = "[DONE]" if self.done else "the end of the data"
        return TruncatedError(
            f"the stream came to {at} without a finish reason, after {self.events} events", code="truncated"
        )


def _first(choices: list[Any]) -> Any:
    """Return the choice with index 0, wherever it stands."""
    return next((choice for choice in choices if not choice.get("index")), choices[0])


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
    if holds_error(payload) or (found is None and is_only_error(payload)):
        raise InBandError(payload)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ProtocolError(f"the answer holds no list {name!r} of objects", code="shape")
    ordered = {entry.get("index", place): entry for place, entry in enumerate(found) if _is_place(entry, place)}
    if len(found) != count or sorted(ordered) != list(range(count)):
        raise ProtocolError(f"of {count} texts the answer has {len(found)} {name}, or not one of each", code="shape")
    return [ordered[place] for place in range(count)]


def _is_place(entry: Mapping[str, Any], place: int) -> bool:
    return type(entry.get("index", place)) is int
