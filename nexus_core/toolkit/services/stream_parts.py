"""What a stream has said so far: the state that the reader of each protocol keeps, and the checks at its end. Pure."""

from __future__ import annotations

from typing import Any, Protocol

from nexus_core.contract.errors import ContentFilterError, ProtocolError, TruncatedError
from nexus_core.contract.values import Chunk, Completion, Transfer, Usage
from nexus_core.toolkit.services.error_bodies import holds_error, is_only_error
from nexus_core.toolkit.services.finish_reasons import classify_finish_reason
from nexus_core.toolkit.services.tool_call_parts import ToolCallParts
from nexus_core.toolkit.suggest import counted


class InBandError(Exception):
    """An answer that is an error although its status is 200; `payload` is what it says, for `read_error_body`."""

    def __init__(self, payload: Any) -> None:
        self.payload = payload
        super().__init__("the answer is an error")


def no_answer(payload: Any, what: str = "message") -> InBandError | ProtocolError:
    """Return the error for a body that holds no answer: what the service says, where it is an error."""
    if holds_error(payload) or is_only_error(payload):
        return InBandError(payload)
    return ProtocolError(f"the answer holds no {what}", code="shape")


class StreamReader(Protocol):
    """Reads the events of one stream; `StreamParts` is one for protocols without surprises."""

    done: bool
    """The service has said that nothing follows."""
    fresh: bool
    """Set by every event that held content or an end; whoever watches the progress takes it back."""
    doubtful: bool
    """A finish reason came before, and then again with content: only the end of the data confirms it."""
    retracted: bool
    """Some of the answer came after a finish reason."""
    finish_reason: str | None
    """The service's word for the end, once it has said it."""

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what an event adds to the answer, often nothing; raises InBandError, or a ConnectorError."""

    def finish(self) -> Chunk:
        """Return the last chunk; raises TruncatedError if the stream did not say why it ended."""


class StreamParts:
    """The state of a stream whose events are text, reasoning, tool calls, usage and one end; subclasses define `take`.

    `take` gives what it reads to `say`, sets `finish_reason`, `usage` and `model` when it meets them, and `done` where
    the protocol has an event for the end.
    """

    def __init__(self) -> None:
        self.done = False
        self.fresh = False
        self.doubtful = False
        self.retracted = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.model = ""
        self.events = 0
        self.calls = ToolCallParts()
        self._spoke = False
        self._called = False

    def say(self, text: str = "", *, reasoning: str = "", calls: list[dict[str, Any]] | None = None) -> Chunk | None:
        """Return a chunk of what came, `None` for nothing; `calls` are parts as `ToolCallParts` takes them."""
        deltas = self.calls.take(calls) if calls else ()
        if not (text or reasoning or deltas):
            return None
        self.fresh = True
        self.events += 1
        self._spoke = self._spoke or bool(text)
        self._called = self._called or bool(deltas)
        return Chunk(text, reasoning=reasoning, tool_calls=deltas)

    def end(self, word: str) -> None:
        """Note the service's word for the end."""
        self.finish_reason, self.fresh = word, True

    def finish(self) -> Chunk:
        """Return the last chunk; raises TruncatedError without a finish reason, and for what was filtered whole."""
        if not self.finish_reason:
            raise TruncatedError(
                f"the stream came to its end without a finish reason, after {counted(self.events, 'event')}",
                code="truncated",
            )
        reason, unknown = classify_finish_reason(self.finish_reason)
        deltas = self.calls.finish(reason) if self._called else ()
        if reason == "content_filter" and not self._spoke:
            raise ContentFilterError("the service filtered the whole answer", code="content_filter")
        if self._called and reason == "stop":
            reason = "tool_calls"
        return Chunk("", reason, self.usage, self.model, tool_calls=deltas, native_finish_reason=unknown)


def completion_of(
    word: str,
    *,
    text: str = "",
    reasoning: str = "",
    calls: list[dict[str, Any]] | None = None,
    usage: Usage | None = None,
    model: str = "",
    transfer: Transfer | None = None,
) -> Completion:
    """Return a whole answer from what a protocol says of it; `word` is the service's finish reason.

    Raises the ConnectorErrors of the word, of a call that is cut, and of an answer that was filtered whole.
    """
    parts = StreamParts()
    parts.say(text, reasoning=reasoning, calls=calls)
    parts.end(word)
    last = parts.finish()
    return Completion(
        text=text,
        finish_reason=last.finish_reason or "stop",
        usage=usage or Usage(),
        model=model,
        reasoning=reasoning,
        tool_calls=parts.calls.calls(),
        transfer=transfer,
        native_finish_reason=last.native_finish_reason,
    )
