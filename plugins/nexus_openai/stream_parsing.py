"""The events of streamed answers, one after the other. Pure.

What comes is never trusted: whatever is not as promised becomes a `ProtocolError`, and text is always valid Unicode.
What differs from the standard and can still be read is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from nexus_core import Chunk, ProtocolError, ToolCall, TruncatedError, Usage
from nexus_core.toolkit import (
    InBandError,
    ThinkingStream,
    ToolCallParts,
    classify_finish_reason,
    counted,
    find_usage,
    finish_gravity,
    holds_error,
    is_only_error,
    merge_usage,
    read_finish_reason,
    read_json,
    read_usage,
)
from nexus_openai.message_parts import (
    filtered,
    is_thought,
    legacy_calls,
    name_in,
    read_content,
    read_thought,
)

_UNREAD: Any = object()
_KEEP_ALIVE = frozenset({b"ping", b"heartbeat", b"keepalive", b"keep-alive"})
"""Names and data of events that say nothing."""


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
        """What has been told so far: services that tell it with every event count up."""
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
            event = self._read_odd(name, data)
            if event is None:
                return None
        try:
            if name == b"error" or (event.get("error") and holds_error(event)):
                raise InBandError(event)
            usage = event.get("usage")
            if usage is not None:
                self._count(usage, event)
            choices = event.get("choices")
            if choices:
                return self._read_choice(choices[0] if len(choices) == 1 else _first(choices), event)
            if holds_error(event) or is_only_error(event):
                raise InBandError(event)
            if usage is None:
                self._count(find_usage(event), event)
            return None
        except (TypeError, AttributeError, LookupError):
            if type(event) is dict:
                raise ProtocolError("an event of the stream is not as promised", code="shape") from None
        return self._take_odd(name, event)

    def _read_odd(self, name: bytes, data: bytes) -> Any:
        """Return the value of what strict JSON is not, `None` where it says nothing of the answer."""
        data = data.strip()
        while data.startswith(b"data:"):  # twice before the data
            data = data[5:].strip()
        if data[:6].upper() == b"[DONE]":
            self.done = True
            return None
        if not data or data.startswith(b":") or name in _KEEP_ALIVE or data in _KEEP_ALIVE:
            return None
        return data.decode(errors="replace") if name == b"error" else read_json(data)

    def _take_odd(self, name: bytes, event: Any) -> Chunk | None:
        """Take events in a list, or one in a text, as JSON that was written as JSON once more."""
        if event and isinstance(event, list) and all(isinstance(each, dict) for each in event):
            return _joined([self.take(name, orjson.dumps(each)) for each in event])
        if isinstance(event, str) and event.strip()[:1] in ("", "[", "{"):
            return self.take(name, event.strip().encode())
        raise ProtocolError("an event of the stream is not as promised", code="shape")

    def _count(self, usage: Any, event: dict[str, Any]) -> None:
        found = read_usage(usage, event.get("service_tier"))
        self.usage = found if self.usage is None else merge_usage(self.usage, found)

    def _read_choice(self, choice: Any, event: Any) -> Chunk | None:
        index = choice.get("index")
        if index and index != "0":
            return None  # of several choices, which only `extra` can ask for, the first is the answer
        self.events += 1
        if not self.model:
            self.model = name_in(event.get("model"))
        reason, delta = choice.get("finish_reason"), choice.get("delta")
        if self._plain and reason is None and delta is not None and len(delta) == 1 and self.finish_reason is None:
            text = delta.get("content")  # nearly every event there is
            if type(text) is str and text and "<" not in text and text[-1] != "`":
                self.fresh = True
                return Chunk(text)
        if ("error" in choice or (delta and "error" in delta)) and holds_error(event):
            raise InBandError(event)
        before, self.fresh = self.fresh, False
        chunk = self._read_part(choice, _as_delta(delta), event)
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
        if (reason or not delta) and event.get("usage") is None:
            self._count(find_usage(event), event)
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
        text, thought = delta.get("content"), read_thought(delta)
        if text and type(text) is not str:
            parts = read_content(text)
            text, thought = parts.text, thought or parts.thought
            self._refuse(parts.refused and not text)
        self._refuse(not text and bool(delta.get("refusal")))
        entries = delta.get("tool_calls") or legacy_calls(delta)
        if text and not thought and "extra_content" in delta and is_thought(delta) and self._is_bare(text):
            text, thought = "", text
        if not entries and not thought:
            return self._said(text)
        self.fresh = True
        chunk = self._parted(text or "", thought) or Chunk()
        if not entries:
            return chunk if chunk.text or chunk.reasoning else None
        if self._calls is None:
            self._calls = ToolCallParts()
        calls = self._calls.take(entries)
        if not (chunk.text or chunk.reasoning or calls):
            return None
        return Chunk(chunk.text, reasoning=chunk.reasoning, tool_calls=calls)

    def _refuse(self, refused: bool) -> None:
        if refused:
            self._refused = self.fresh = True

    def _is_bare(self, text: str) -> bool:
        """Tell whether no tags say what is reasoning."""
        return "<" not in text and (self._thinking is None or not self._thinking.inside)

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
            raise filtered(refused=self._refused)
        if self.stray_tag and self._tell_of_tag is not None:
            self._tell_of_tag()
        return Chunk(text, reason, self.usage, self.model, thought, calls, native_finish_reason=unknown)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls as they stand."""
        return self._calls.calls() if self._calls else ()

    def _truncated(self) -> TruncatedError:
        at = "[DONE]" if self.done else "the end of the data"
        return TruncatedError(
            f"the stream came to {at} without a finish reason, after {counted(self.events, 'event')}", code="truncated"
        )


def _first(choices: list[Any]) -> Any:
    """Return the choice with index 0, wherever it stands."""
    return next((choice for choice in choices if choice.get("index") in (None, 0, "0")), choices[0])


def _as_delta(delta: Any) -> Any:
    """Return a delta as an object: PHP writes `[]` for one without fields."""
    return {} if delta == [] else delta


def _joined(chunks: list[Chunk | None]) -> Chunk | None:
    found = [chunk for chunk in chunks if chunk is not None]
    if len(found) <= 1:
        return found[0] if found else None
    return Chunk(
        "".join([chunk.text for chunk in found]),
        reasoning="".join([chunk.reasoning for chunk in found]),
        tool_calls=tuple(call for chunk in found for call in chunk.tool_calls),
    )
