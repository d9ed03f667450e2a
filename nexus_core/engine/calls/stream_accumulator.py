"""Stream accumulator: the parts of a streamed answer, put together, and checks of what a connector returns."""

from __future__ import annotations

import inspect
from typing import Any

from nexus_core.contract.errors import ResponseTooLargeError, ToolCallIncompleteError, TruncatedError
from nexus_core.contract.values import Chunk, Completion, FinishReason, ToolCall, ToolCallDelta, Usage
from nexus_core.engine.calls.text_buffer import OWN_BYTES, StreamMemory, TextBuffer
from nexus_core.engine.models import Model
from nexus_core.toolkit.tool_calls import are_whole

_CALL_COST = 512
"""Characters that count for a tool call beside its own, so that their number has a bound, too."""
_LOOK_EVERY = 2**15
"""Characters from one look at the memory that is held to the next."""


class _CallParts:
    """A tool call in parts: the first id, and all of its name and arguments; a name that comes again is no part."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments = TextBuffer()

    def take(self, delta: ToolCallDelta) -> None:
        self.id = self.id or delta.id
        if delta.name != self.name:
            self.name += delta.name
        if delta.arguments:
            self.arguments.append(delta.arguments)


class StreamAccumulator:
    """What a stream has said so far, up to a bound; close it where it ends."""

    __slots__ = (
        "_borrowed", "_calls", "_memory", "_most", "finish_reason", "left", "model", "native_finish_reason",
        "reasoning", "text", "usage",
    )  # fmt: skip

    def __init__(self, most: int, memory: StreamMemory | None = None) -> None:
        """Take the most characters that the answer may have, and what the streams of the pipeline share."""
        self.text = TextBuffer()
        self.reasoning = TextBuffer()
        self._most = most
        self._memory = memory or StreamMemory()
        self._borrowed = 0
        self.left = min(_LOOK_EVERY, most)
        """Characters that may come until `check_size` is asked for more; whoever reads the stream looks."""
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.native_finish_reason = ""
        self.model = ""
        self._calls: dict[int, _CallParts] = {}

    def close(self) -> None:
        """Forget what was said, and give back what was taken of the memory that streams share.

        A traceback holds the frames of a call, and so what it held, as long as somebody holds the error.
        """
        self.text.clear()
        self.reasoning.clear()
        self._calls.clear()
        self._memory.give_back(self._borrowed)
        self._borrowed = 0

    @property
    def has_tool_calls(self) -> bool:
        """Whether any part of a tool call has come."""
        return bool(self._calls)

    def say(self, text: str) -> None:
        """Add text."""
        self.text.append(text)
        self.left -= len(text)

    def take(self, chunk: Chunk) -> None:
        """Add what is in a chunk beside its text, which `say` adds."""
        if chunk.reasoning:
            self.reasoning.append(chunk.reasoning)
            self.left -= len(chunk.reasoning)
        for delta in chunk.tool_calls:
            call = self._calls.get(delta.index)
            if call is None:
                call = self._calls[delta.index] = _CallParts()
                self.left -= _CALL_COST
            call.take(delta)
            self.left -= len(delta.id) + len(delta.name) + len(delta.arguments)
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
            self.native_finish_reason = chunk.native_finish_reason
        if chunk.model:
            self.model = chunk.model

    def check_size(self, model: Model) -> None:
        """Let more come; raises ResponseTooLargeError where that is more than was asked for, or than memory is for."""
        self._most -= min(_LOOK_EVERY, self._most) - self.left
        if self._most < 0:
            raise _too_large(
                f"the stream of {model.name!r} goes on beyond all that max_output ({model.info.max_output}) allows: "
                "raise max_output on the model if it is too low",
                model,
            )
        self.left = min(_LOOK_EVERY, self._most)
        beyond = self._size() - OWN_BYTES - self._borrowed
        if beyond > 0:
            if not self._memory.take(beyond):
                raise _too_large(
                    f"the stream of {model.name!r} is very long, and so are others that run: together they are more "
                    "than is held at once; ask fewer at once",
                    model,
                )
            self._borrowed += beyond

    def _size(self) -> int:
        calls = sum(call.arguments.size() + _CALL_COST for call in self._calls.values())
        return self.text.size() + self.reasoning.size() + calls

    def said(self) -> str:
        """Return all that the model wrote, tool calls included."""
        calls = (part for call in self._calls.values() for part in (call.name, call.arguments.text()))
        return "".join([self.reasoning.text(), self.text.text(), *calls])

    def whole(self, model: Model) -> Completion:
        """Return the whole answer; raises TruncatedError where the stream did not say that it was."""
        if self.finish_reason is None:
            raise TruncatedError(
                f"the stream of {model.name!r} ended without a finish reason: the answer may be incomplete",
                provider=model.info.provider,
                model=model.info.id,
                code="truncated",
            )
        return self.completion(self.finish_reason)

    def completion(self, finish_reason: FinishReason) -> Completion:
        """Return what was said as an answer that ended so."""
        return Completion(
            text=self.text.text(),
            finish_reason=finish_reason,
            usage=self.usage or Usage(),
            model=self.model,
            reasoning=self.reasoning.text(),
            tool_calls=tuple(_joined(index, self._calls[index]) for index in sorted(self._calls)),
            native_finish_reason=self.native_finish_reason,
        )


def chunk_of(completion: Completion) -> Chunk:
    """Return a whole answer as the only chunk of a stream."""
    return Chunk(
        text=completion.text,
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        model=completion.model,
        reasoning=completion.reasoning,
        tool_calls=tuple(
            ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(completion.tool_calls)
        ),
        transfer=completion.transfer,
        native_finish_reason=completion.native_finish_reason,
    )


def _too_large(message: str, model: Model) -> ResponseTooLargeError:
    return ResponseTooLargeError(message, provider=model.info.provider, model=model.info.id, code="response_too_large")


def _joined(index: int, call: _CallParts) -> ToolCall:
    return ToolCall(id=call.id or f"call_{index}", name=call.name, arguments=call.arguments.text())


def check_tool_calls(completion: Completion, model: Model) -> None:
    """Raise ToolCallIncompleteError where a tool call ends in the middle of its arguments."""
    for call in completion.tool_calls:
        if not are_whole(call.arguments, completion.finish_reason):
            raise ToolCallIncompleteError(
                f"a tool call of {model.name!r} ends in the middle of its arguments: raise max_tokens if it was cut",
                provider=model.info.provider,
                model=model.info.id,
                code=completion.finish_reason,
            )


class ContractError(Exception):
    """A connector returned what is no part of its contract; the message says what."""


def check_returned(method: str, value: Any, wanted: type[Completion | Chunk]) -> None:
    """Raise ContractError unless a whole answer, or a part of one, is what it must be."""
    if not isinstance(value, wanted):
        if inspect.iscoroutine(value):
            value.close()  # it would warn that nobody awaits it
        verb = "returned" if wanted is Completion else "yielded"
        raise ContractError(f"{method} {verb} {_kind(value)} where a {wanted.__name__} is due")
    if not isinstance(value.text, str):
        raise ContractError(f"the text of a {wanted.__name__} is {_kind(value.text)}")
    if value.usage is not None and not isinstance(value.usage, Usage):
        raise ContractError(f"the usage of a {wanted.__name__} is {_kind(value.usage)}")


def check_stream(stream: Any) -> Any:
    """Return a stream; raises ContractError where it is none that can be closed early."""
    if not (hasattr(stream, "__aiter__") and hasattr(stream, "aclose")):
        if inspect.iscoroutine(stream):
            stream.close()
        raise ContractError(
            f"stream_response returned {_kind(stream)} and no async generator: use `yield`, and do not return a stream "
            "from an `async def`"
        )
    return stream


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
