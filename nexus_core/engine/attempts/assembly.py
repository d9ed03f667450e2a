"""The parts of a streamed answer, put together."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nexus_core.contract.errors import ToolCallIncompleteError, TruncatedError
from nexus_core.contract.values import Chunk, Completion, FinishReason, ToolCall, ToolCallDelta, Usage
from nexus_core.engine.models import Model


class Assembly:
    """What a stream has said so far."""

    __slots__ = ("_calls", "finish_reason", "model", "native_finish_reason", "reasoning", "text", "usage")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.native_finish_reason = ""
        self.model = ""
        self._calls: dict[int, list[ToolCallDelta]] = {}

    @property
    def has_tool_calls(self) -> bool:
        """Whether any part of a tool call has come."""
        return bool(self._calls)

    def take(self, chunk: Chunk) -> None:
        """Add what is in a chunk beside its text, which is added to `text` by whoever reads the stream."""
        if chunk.reasoning:
            self.reasoning.append(chunk.reasoning)
        for delta in chunk.tool_calls:
            self._calls.setdefault(delta.index, []).append(delta)
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
            self.native_finish_reason = chunk.native_finish_reason
        if chunk.model:
            self.model = chunk.model

    def said(self) -> Sequence[str]:
        """Return all that the model wrote, tool calls included."""
        calls = (part for parts in self._calls.values() for delta in parts for part in (delta.name, delta.arguments))
        return [*self.reasoning, *self.text, *calls]

    def whole(self, model: Model) -> Completion:
        """Return the whole answer; raises TruncatedError where the stream did not say that it was."""
        if self.finish_reason is None:
            raise TruncatedError(
                f"the stream of {model.name!r} ended without a finish reason: the answer may be incomplete",
                provider=model.info.provider,
                model=model.info.id,
                code="truncated",
            )
        return Completion(
            text="".join(self.text),
            finish_reason=self.finish_reason,
            usage=self.usage or Usage(),
            model=self.model,
            reasoning="".join(self.reasoning),
            tool_calls=tuple(_joined(index, self._calls[index]) for index in sorted(self._calls)),
            native_finish_reason=self.native_finish_reason,
        )


def _joined(index: int, parts: Sequence[ToolCallDelta]) -> ToolCall:
    return ToolCall(
        id=next((part.id for part in parts if part.id), f"call_{index}"),
        name=next((part.name for part in parts if part.name), ""),
        arguments="".join([part.arguments for part in parts]),
    )


def check_tool_calls(completion: Completion, model: Model) -> None:
    """Raise ToolCallIncompleteError where a tool call ends in the middle of its arguments.

    No arguments at all are those of a tool that takes none, unless the answer was cut at its maximum length.
    """
    for call in completion.tool_calls:
        arguments = call.arguments.strip()
        if not (_is_json(arguments) if arguments else completion.finish_reason != "length"):
            raise ToolCallIncompleteError(
                f"a tool call of {model.name!r} ends in the middle of its arguments: raise max_tokens if it was cut",
                provider=model.info.provider,
                model=model.info.id,
                code=completion.finish_reason,
            )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
