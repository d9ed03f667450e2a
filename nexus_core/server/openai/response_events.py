"""Events of the Responses API: items that begin, grow and are done, in the order in which a model says them."""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONEncoder
from typing import Any

from aiohttp import web
from attrs import define, field

from nexus_core.contract.events import Delta
from nexus_core.contract.values import ToolCall, ToolCallDelta
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import failure_body
from nexus_core.server.openai.citations import CitedAnswer
from nexus_core.server.openai.response_schema import (
    ResponseJson,
    annotations_of,
    call_item,
    message_item,
    reasoning_item,
    text_part,
)

_in_ascii = JSONEncoder(ensure_ascii=True).encode  # some clients take U+2028 for the end of a line


@define
class _Thought:
    """An item of reasoning that is open."""

    number: int
    output_index: int
    parts: list[str] = field(factory=list)


@define
class _Call:
    """A call of a tool that is open."""

    output_index: int
    id: str
    name: str
    arguments: list[str] = field(factory=list)

    def whole(self) -> ToolCall:
        """Return what has come of it."""
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.arguments))


class ResponseEvents:
    """Writes the events of one response.

    Reasoning that comes after some text is an item of its own; the message stays open until the end, where what it
    cites is known, and so do calls of tools, whose parts may come in any order.
    """

    def __init__(self, response: ResponseJson, *, with_reasoning: bool) -> None:
        self._response = response
        self._with_reasoning = with_reasoning
        self._run_id = self._model = ""
        self._number = 0
        self._done: dict[int, Mapping[str, Any]] = {}
        """The items that are done, by their index in the output."""
        self._opened = 0
        self._thoughts = 0
        self._thought: _Thought | None = None
        self._message: int | None = None
        """The index of the message."""
        self._text: list[str] = []
        self._calls: dict[int, _Call] = {}
        """By the index that the model gives them."""

    def begin(self, run_id: str, model: str) -> bytes:
        """Return the events that say that a response has begun."""
        self._run_id, self._model = run_id, model
        told = {"response": self._response.of(run_id, model, "in_progress")}
        return self._event("response.created", told) + self._event("response.in_progress", told)

    def is_told(self, delta: Delta) -> bool:
        """Tell whether there is anything in a delta that clients are told."""
        return bool(delta.text or delta.tool_calls or (delta.reasoning and self._with_reasoning))

    def delta(self, delta: Delta) -> bytes:
        """Return the events with more text, calls of tools and thoughts, as far as they are wanted."""
        data = b""
        if delta.reasoning and self._with_reasoning:
            data += self._think(delta.reasoning)
        if delta.text:
            data += self._end_thought() + self._say(delta.text)
        for part in delta.tool_calls:
            data += self._end_thought() + self._call(part)
        return data

    def end(self, told: CitedAnswer) -> bytes:
        """Return the events that end what is open, and the one with the whole response."""
        data = self._end_thought()
        if told.sources:
            data += self._say(told.sources)
        if self._message is None and not self._calls:
            data += self._begin_message()
        data += self._end_message(told) + b"".join([self._end_call(call) for call in self._calls.values()])
        response = self._response.whole(told.answer, [item for _, item in sorted(self._done.items())])
        return data + self._event(f"response.{response['status']}", {"response": response})

    def failed(self, request: web.Request, failure: Failure) -> bytes:
        """Return the events that end a response that has failed, so that no client takes it for a whole one."""
        error: Any = failure_body(request, failure, openai=True)["error"]
        flat = {name: error[name] for name in ("code", "message", "param")}
        data = self._event("error", {**flat, "error": error})
        if not self._run_id:
            return data
        response = self._response.of(self._run_id, self._model, "failed", [*self._done.values()])
        response["error"] = {"code": error["code"], "message": error["message"]}
        return data + self._event("response.failed", {"response": response})

    def cancelled(self) -> bytes:
        """Return the event that ends a response whose client has cancelled it."""
        response = self._response.of(self._run_id, self._model, "cancelled", [*self._done.values()])
        return self._event("response.cancelled", {"response": response})

    def _think(self, text: str) -> bytes:
        data = b""
        if self._thought is None:
            self._thought = _Thought(self._thoughts, self._open())
            self._thoughts += 1
            part = {"summary_index": 0, "part": {"type": "summary_text", "text": ""}}
            data += self._item("response.output_item.added", self._thought.output_index, self._thought_item([]))
            data += self._of_thought("response.reasoning_summary_part.added", part)
        self._thought.parts.append(text)
        return data + self._of_thought("response.reasoning_summary_text.delta", {"summary_index": 0, "delta": text})

    def _end_thought(self) -> bytes:
        if self._thought is None:
            return b""
        thought, text = self._thought, "".join(self._thought.parts)
        part = {"summary_index": 0, "part": {"type": "summary_text", "text": text}}
        data = self._of_thought("response.reasoning_summary_text.done", {"summary_index": 0, "text": text})
        data += self._of_thought("response.reasoning_summary_part.done", part)
        data += self._finish(thought.output_index, self._thought_item([text]))
        self._thought = None
        return data

    def _thought_item(self, texts: list[str]) -> dict[str, Any]:
        assert self._thought is not None
        return reasoning_item(self._run_id, self._thought.number, texts)

    def _of_thought(self, kind: str, told: Mapping[str, Any]) -> bytes:
        assert self._thought is not None
        where = {"item_id": self._thought_item([])["id"], "output_index": self._thought.output_index}
        return self._event(kind, {**where, **told})

    def _begin_message(self) -> bytes:
        self._message = self._open()
        data = self._item("response.output_item.added", self._message, message_item(self._run_id, (), "in_progress"))
        return data + self._of_message("response.content_part.added", {"part": text_part("")})

    def _say(self, text: str) -> bytes:
        start = self._begin_message() if self._message is None else b""
        self._text.append(text)
        return start + self._of_message("response.output_text.delta", {"delta": text, "logprobs": []})

    def _end_message(self, told: CitedAnswer) -> bytes:
        if self._message is None:
            return b""
        text, annotations = "".join(self._text), annotations_of(told.citations)
        data = b"".join(
            self._of_message("response.output_text.annotation.added", {"annotation_index": place, "annotation": each})
            for place, each in enumerate(annotations)
        )
        part = text_part(text, annotations)
        data += self._of_message("response.output_text.done", {"text": text, "logprobs": []})
        data += self._of_message("response.content_part.done", {"part": part})
        return data + self._finish(self._message, message_item(self._run_id, [part]))

    def _of_message(self, kind: str, told: Mapping[str, Any]) -> bytes:
        where = {"item_id": f"msg_{self._run_id}", "output_index": self._message, "content_index": 0}
        return self._event(kind, {**where, **told})

    def _call(self, part: ToolCallDelta) -> bytes:
        data, call = b"", self._calls.get(part.index)
        if call is None:
            call = self._calls[part.index] = _Call(self._open(), part.id, part.name)
            place = call.output_index
            item = call_item(self._run_id, place, call.whole(), "in_progress")
            data += self._item("response.output_item.added", place, item)
        elif part.name != call.name:  # one that comes again is no part
            call.name += part.name
        call.id = call.id or part.id
        if part.arguments:
            call.arguments.append(part.arguments)
            where = {"item_id": f"fc_{self._run_id}_{call.output_index}", "output_index": call.output_index}
            data += self._event("response.function_call_arguments.delta", {**where, "delta": part.arguments})
        return data

    def _end_call(self, call: _Call) -> bytes:
        place, whole = call.output_index, call.whole()
        item = call_item(self._run_id, place, whole)
        told = {"item_id": item["id"], "output_index": place, "name": whole.name, "arguments": whole.arguments}
        return self._event("response.function_call_arguments.done", told) + self._finish(place, item)

    def _open(self) -> int:
        self._opened += 1
        return self._opened - 1

    def _finish(self, place: int, item: Mapping[str, Any]) -> bytes:
        self._done[place] = item
        return self._item("response.output_item.done", place, item)

    def _item(self, kind: str, place: int, item: Mapping[str, Any]) -> bytes:
        return self._event(kind, {"output_index": place, "item": item})

    def _event(self, kind: str, told: Mapping[str, Any]) -> bytes:
        self._number += 1
        return response_event(kind, self._number - 1, told)


def response_event(kind: str, number: int, told: Mapping[str, Any]) -> bytes:
    """Return an event with its number, from 0."""
    data = _in_ascii({"type": kind, "sequence_number": number, **told})
    return f"event: {kind}\ndata: {data}\n\n".encode()
