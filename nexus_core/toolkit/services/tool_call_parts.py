"""Tool calls, from parts that services number, name and cut in many ways. Pure.

A part belongs to the call of its index, else of its id, else to the last one; but a part with a name begins a new call
where the one it would belong to is complete. Some services send `{}` before the arguments, a call twice, or a name in
parts. What goes out is in order: calls count from 0, each has an id of its own, and its arguments are one JSON text.
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
_PLACEHOLDERS = frozenset({"{}", "null"})
"""Arguments that may stand for those that are still to come."""


@define
class _Call:
    number: int
    said_id: str
    id: str
    name: str
    signature: str = ""
    pieces: list[str] = field(factory=list)
    size: int = 0
    """Of the arguments, in characters."""
    held: str = ""
    """A placeholder in place of arguments: it counts if nothing else comes."""

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class ToolCallParts:
    """Sorts the parts of tool calls, and knows in the end whether they are complete."""

    __slots__ = ("_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def take(self, entries: Sequence[Any] | dict[str, Any]) -> tuple[ToolCallDelta, ...]:
        """Return what one delta adds; raises TypeError, AttributeError or LookupError for what is no part."""
        deltas = map(self._take, [entries] if type(entries) is dict else entries)
        return tuple(delta for delta in deltas if delta.id or delta.name or delta.arguments or delta.signature)

    def finish(self, reason: FinishReason | None) -> tuple[ToolCallDelta, ...]:
        """Return the arguments of calls that have none, `{}`; raises ToolCallIncompleteError where one was cut."""
        missing = []
        for call in self._calls:
            arguments = call.arguments or call.held
            if not call.name or not are_whole(arguments, reason):
                raise ToolCallIncompleteError(
                    f"tool call {call.number + 1} of the answer ends in the middle (finish reason {reason!r})"
                    + ("; allow more tokens for it (max_tokens)" if reason == "length" else ""),
                    code="tool_call_incomplete",
                )
            if not call.pieces:
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
        function = entry.get("function") or (entry if type(entry.get("name")) is str else {})
        said_id, name = _text(entry.get("id")), _text(function.get("name"))
        index, arguments = _number(entry.get("index")), function.get("arguments")
        if arguments is None:
            arguments = ""
        elif type(arguments) is not str:
            arguments = orjson.dumps(arguments).decode()
        call, sure = self._call_of(index, said_id)
        if call is not None and not _continues(call, said_id, name, arguments, sure=sure):
            call = None
        begins = call is None
        if call is None:
            call = self._begin(index, said_id, name)
        elif call.name and (name == call.name or call.pieces):
            name = ""
        else:
            call.name += name
        signature = _text(entry.get("signature"))
        call.signature = call.signature or signature
        return ToolCallDelta(
            index=call.number,
            id=call.id if begins else "",
            name=name,
            arguments=_add(call, arguments),
            signature=signature,
        )

    def _call_of(self, index: int | None, said_id: str) -> tuple[_Call | None, bool]:
        """Return the call that a part may belong to, and whether the service says so."""
        if index is not None:
            return self._by_index.get(index), True
        call = next((call for call in self._calls if said_id and call.said_id == said_id), None)
        if call is not None:
            return call, True
        return self._calls[-1] if self._calls else None, False

    def _begin(self, index: int | None, said_id: str, name: str) -> _Call:
        number = len(self._calls)
        taken = {call.id for call in self._calls}
        own_id = said_id if said_id and said_id not in taken else f"call_{number}"
        call = _Call(number, said_id, own_id, name)
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call


def _add(call: _Call, arguments: str) -> str:
    """Return what a part adds to the arguments of its call."""
    if not call.pieces and arguments.strip() in _PLACEHOLDERS:
        call.held = arguments
        return ""
    if not arguments or _is_said(call, arguments):
        return ""
    call.pieces.append(arguments)
    call.size += len(arguments)
    if len(call.pieces) > _MOST_PIECES:
        call.pieces = [call.arguments]
    return arguments


def _is_said(call: _Call, arguments: str) -> bool:
    """Tell whether a part says again what is whole already."""
    return (
        len(arguments) == call.size
        and arguments.lstrip().startswith("{")
        and arguments == call.arguments
        and is_json(arguments)
    )


def _continues(call: _Call, said_id: str, name: str, arguments: str, *, sure: bool) -> bool:
    """Tell whether a part belongs to a call; `sure` where the service says so by index or id."""
    if not name or not call.name:
        return sure or not (said_id and name)
    same_id = not said_id or said_id == call.said_id
    if not sure:
        if said_id or name != call.name or (call.held and not call.pieces):
            return False
    elif not call.pieces:  # a name in parts, or once more
        return same_id or (name == call.name and not call.said_id)
    elif same_id and name == call.name and _is_said(call, arguments):
        return True
    if name != call.name:
        return False
    if not call.pieces or (not arguments and said_id == call.said_id):
        return True
    return not (call.pieces[-1].rstrip().endswith("}") and is_json(call.arguments))


def _number(index: Any) -> int | None:
    if type(index) is str and index.strip().isdecimal() and len(index) < 10:
        return int(index)
    if type(index) is float and index.is_integer():
        return int(index)
    return index if type(index) is int else None


def _text(value: Any) -> str:
    return value if type(value) is str else ""
