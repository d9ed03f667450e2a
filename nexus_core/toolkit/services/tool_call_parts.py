"""Tool calls, from parts that services number, name and cut in many ways. Pure.

A part belongs to the call of its index, else of its id, else to the last one; but a part with a name begins a new call
where the one it would belong to is complete. What goes out is in order: calls count from 0, each has an id of its own,
and its arguments are one JSON text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import define, field

from nexus_core.contract.errors import ToolCallIncompleteError
from nexus_core.contract.values import FinishReason, ToolCall, ToolCallDelta
from nexus_core.toolkit.tool_calls import are_whole, is_json

_MOST_PIECES = 4096
"""Of the arguments of a call: an object takes 50 bytes, so more of them are joined."""


@define
class _Call:
    number: int
    said_id: str
    id: str
    name: str
    signature: str = ""
    pieces: list[str] = field(factory=list)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class ToolCallParts:
    """Sorts the parts of tool calls, and knows in the end whether they are complete."""

    __slots__ = ("_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def take(self, entries: Sequence[Any]) -> tuple[ToolCallDelta, ...]:
        """Return the parts of one delta; raises TypeError, AttributeError or LookupError for what is none."""
        return tuple(map(self._take, entries))

    def finish(self, reason: FinishReason | None) -> tuple[ToolCallDelta, ...]:
        """Return the arguments of calls that have none, `{}`; raises ToolCallIncompleteError where one was cut."""
        missing = []
        for call in self._calls:
            arguments = call.arguments
            if not call.name or not are_whole(arguments, reason):
                raise ToolCallIncompleteError(
                    f"tool call {call.number + 1} of the answer ends in the middle (finish reason {reason!r})"
                    + ("; allow more tokens for it (max_tokens)" if reason == "length" else ""),
                    code="tool_call_incomplete",
                )
            if not arguments:
                call.pieces.append("{}")
                missing.append(ToolCallDelta(index=call.number, arguments="{}"))
        return tuple(missing)

    def calls(self) -> tuple[ToolCall, ...]:
        """Return the calls as they stand."""
        return tuple(
            ToolCall(id=call.id, name=call.name, arguments=call.arguments, signature=call.signature)
            for call in self._calls
        )

    def _take(self, entry: Any) -> ToolCallDelta:
        function = entry.get("function") or {}
        said_id, name = _text(entry.get("id")), _text(function.get("name"))
        arguments = function.get("arguments")
        if arguments is None:
            arguments = ""
        elif type(arguments) is not str:
            arguments = orjson.dumps(arguments).decode()
        call = self._call_of(entry.get("index"), said_id, name, arguments)
        begins = call is None
        if call is None:
            call = self._begin(entry.get("index"), said_id, name)
        elif name and not call.name:
            call.name = name
        else:
            name = ""
        signature = _text(entry.get("signature"))
        call.signature = call.signature or signature
        if arguments:
            call.pieces.append(arguments)
            if len(call.pieces) > _MOST_PIECES:
                call.pieces = [call.arguments]
        return ToolCallDelta(
            index=call.number, id=call.id if begins else "", name=name, arguments=arguments, signature=signature
        )

    def _call_of(self, index: Any, said_id: str, name: str, arguments: str) -> _Call | None:
        if type(index) is int:
            call = self._by_index.get(index)
        else:
            call = next((call for call in self._calls if said_id and call.said_id == said_id), None)
            if call is None and self._calls and not (said_id and name):
                call = self._calls[-1]
        return call if call is not None and _continues(call, said_id, name, arguments) else None

    def _begin(self, index: Any, said_id: str, name: str) -> _Call:
        number = len(self._calls)
        taken = {call.id for call in self._calls}
        own_id = said_id if said_id and said_id not in taken else f"call_{number}"
        call = _Call(number, said_id, own_id, name)
        self._calls.append(call)
        if type(index) is int:
            self._by_index[index] = call
        return call


def _continues(call: _Call, said_id: str, name: str, arguments: str) -> bool:
    if not name or not call.name:
        return True
    if name != call.name:
        return False
    if not call.pieces:
        return not said_id or not call.said_id or said_id == call.said_id
    if not arguments and said_id == call.said_id:
        return True
    return not (call.pieces[-1].rstrip().endswith("}") and is_json(call.arguments))


def _text(value: Any) -> str:
    return value if type(value) is str else ""
