"""The Responses API of OpenAI, as bytes: requests, whole answers and the events of streams. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ContentFilterError,
    FilePart,
    ImagePart,
    Message,
    Prompt,
    ProtocolError,
    TextPart,
    Transfer,
    TruncatedError,
)
from nexus_core.toolkit import (
    EventDecoder,
    InBandError,
    StreamParts,
    WireFormat,
    completion_of,
    holds_error,
    is_only_error,
    merge_extra,
    read_json,
    read_usage,
    write_json,
)
from nexus_openai.model_table import ModelEntry
from nexus_openai.model_use import find_refusal
from nexus_openai.strict_schema import name_schema

_OPTIONS = {"temperature": "temperature", "top_p": "top_p", "max_tokens": "max_output_tokens"}
_OWN = frozenset({"model", "input", "instructions", "stream", "store"})
_WORDS = {"auto", "none", "required"}
_KEEP_ALIVE = frozenset({b"ping", b"heartbeat", b"keepalive", b"keep-alive"})
"""Names and data of events that say nothing."""
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled",
                   "response.done"})  # fmt: skip
_EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:(?:data|event|id|retry)\s*:|:)", re.IGNORECASE)
"""What begins like an event stream."""


class ResponsesWire(WireFormat):
    """Requests to `/responses`, and their answers; nothing is kept by the service (`store: false`)."""

    def __init__(self, model: str, entry: ModelEntry, *, strictly: bool) -> None:
        self._model = model
        self._entry = entry
        self._strictly = strictly
        self._unsupported = entry.unsupported

    def path(self, *, streamed: bool) -> str:
        """Return the path of the endpoint."""
        return "/responses"

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        """Return the body of a request."""
        if self._strictly and (refusal := find_refusal(self._model, self._entry, options, strictly=True)):
            raise refusal
        system = [message.text for message in prompt.messages if message.role == "system"]
        body: dict[str, Any] = {
            "model": self._model,
            "input": [item for message in prompt.messages if message.role != "system" for item in _items(message)],
            "store": False,
        }
        if system:
            body["instructions"] = "\n\n".join(system)
        if streamed:
            body["stream"] = True
        for name, parameter in _OPTIONS.items():
            value = getattr(options, name)
            if value is not None and name not in self._unsupported:
                body[parameter] = value
        if options.tools and "tools" not in self._unsupported:
            body |= _tools(options)
        if options.response_schema is not None and "response_schema" not in self._unsupported:
            body["text"] = {"format": {"type": "json_schema", **name_schema(options.response_schema)}}
        if options.reasoning_effort is not None and "reasoning_effort" not in self._unsupported:
            body["reasoning"] = {"effort": options.reasoning_effort, "summary": "auto"}
        return write_json(merge_extra(body, options.extra, _OWN))

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        payload = _last_response(data) if _EVENTS.match(data) else read_json(data)
        if isinstance(payload, list) and len(payload) == 1:
            payload = payload[0]
        if not isinstance(payload, dict):
            raise _odd()
        if not isinstance(payload.get("output"), list):
            raise InBandError(payload) if holds_error(payload) or is_only_error(payload) else _odd()
        output = _read_output(payload["output"])
        end = _end(payload)
        if output.refusal and not output.text:
            raise ContentFilterError("the model refused to answer", code="refusal")
        return completion_of(
            end,
            text=output.text,
            reasoning=output.reasoning,
            calls=output.calls,
            usage=read_usage(payload.get("usage"), payload.get("service_tier")),
            model=_text(payload.get("model")),
            transfer=transfer,
        )

    def reading(self) -> ResponsesReading:
        """Return a reader of one stream."""
        return ResponsesReading()


class ResponsesReading(StreamParts):
    """Reads the events of one stream, by their `type`; what only repeats what has come is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self._refused = False

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what an event adds to the answer."""
        data = data.strip()
        if data.startswith((b"[DONE]", b'"[DONE]"')):
            self.done = True
            return None
        if not data or data.startswith(b":") or name in _KEEP_ALIVE or data in _KEEP_ALIVE:
            return None
        if name == b"error" and not data.startswith((b"{", b"[")):
            raise InBandError(data.decode(errors="replace"))
        event = read_json(data)
        if isinstance(event, list) and len(event) == 1:
            event = event[0]
        if not isinstance(event, dict):
            raise _odd()
        return self._take(event.get("type") or name.decode(errors="replace"), event)

    def _take(self, kind: Any, event: dict[str, Any]) -> Chunk | None:
        match kind:
            case "response.output_text.delta":
                return self.say(_text(event.get("delta")))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self.say(reasoning=_text(event.get("delta")))
            case "response.refusal.delta":
                self._refused = self.fresh = True
            case "response.function_call_arguments.delta":
                part = {"index": event.get("output_index"), "function": {"arguments": _text(event.get("delta"))}}
                return self.say(calls=[part])
            case "response.function_call_arguments.done":  # counts where no deltas came
                part = {"index": event.get("output_index"), "function": {"arguments": _text(event.get("arguments"))}}
                return self.say(calls=[part])
            case "response.output_item.added" | "response.output_item.done" if isinstance(
                item := event.get("item"), dict
            ):
                if item.get("type") != "function_call":
                    return None
                return self.say(calls=[_call(event.get("output_index"), item)])
            case (
                "response.completed"
                | "response.incomplete"
                | "response.failed"
                | "response.cancelled"
                | ("response.done")
            ):
                return self._end(str(kind).removeprefix("response."), event.get("response"))
            case _ if kind == "error" or holds_error(event) or (not kind and is_only_error(event)):
                raise InBandError(event)
        return None

    def _end(self, status: str, response: Any) -> Chunk | None:
        """Note the end; return what the answer holds, where nothing of it has come before."""
        if not isinstance(response, dict):
            raise _odd()
        if response.get("status") is None and status != "done":
            response = {**response, "status": status}
        self.model = _text(response.get("model"))
        self.usage = read_usage(response.get("usage"), response.get("service_tier"))
        self.end(_end(response))
        self.done = True
        output = _read_output(response.get("output"))
        self._refused = self._refused or bool(output.refusal)
        if self._spoke or self._called:
            return None
        return self.say(output.text, calls=output.calls)

    def finish(self) -> Chunk:
        """Return the last chunk; raises ContentFilterError for a refusal."""
        last = super().finish()
        if self._refused and not self._spoke:
            raise ContentFilterError("the model refused to answer", code="refusal")
        return last


def _end(response: Mapping[str, Any]) -> str:
    """Return the word for the end of a response; raises InBandError for one that failed."""
    status, details = response.get("status"), response.get("incomplete_details")
    if status == "incomplete":
        return _text(details.get("reason")) or "max_output_tokens" if isinstance(details, dict) else "max_output_tokens"
    if holds_error(response) or status == "failed":
        raise InBandError(response if holds_error(response) else {"error": {"message": "the response failed"}})
    return "stop" if status in ("completed", None) else str(status)


@frozen
class _Output:
    """What the items of a response say."""

    text: str
    reasoning: str
    refusal: str
    calls: list[dict[str, Any]]


def _read_output(items: Any) -> _Output:
    """Return what the items say that are known; the others are skipped."""
    text, thoughts, refusal = "", [], ""
    calls: list[dict[str, Any]] = []
    for item in items if isinstance(items, list) else ():
        match item.get("type", "message") if isinstance(item, dict) else None:
            case "message":
                text += _joined(item.get("content"), "text")
                refusal += _joined(item.get("content"), "refusal")
            case "reasoning":
                thoughts.append(_joined(item.get("summary"), "text") or _joined(item.get("content"), "text"))
            case "function_call":
                calls.append(_call(len(calls), item))
    return _Output(text, "\n\n".join(filter(None, thoughts)), refusal, calls)


def _last_response(data: bytes) -> Any:
    """Return the response at the end of a stream that nobody asked for, or its error; raises TruncatedError."""
    decoder = EventDecoder(line_cap=len(data) + 1, event_cap=65 * (len(data) + 1), tolerant=True)
    for name, event in decoder.feed(data):
        if event.startswith(b"{"):
            payload = read_json(event)
            if isinstance(payload, dict) and isinstance(payload.get("response"), dict):
                if str(payload.get("type") or name.decode(errors="replace")) in _ENDS:
                    return payload["response"]
            elif name == b"error" or holds_error(payload) or payload.get("type") == "error":
                raise InBandError(payload)
    raise TruncatedError("the stream came to its end without a response", code="truncated")


def _items(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.text}]
    said: list[dict[str, Any]] = []
    if message.content or not message.tool_calls:
        content = message.content
        told = content if isinstance(content, str) else [_part(part, message.role) for part in content]
        said.append({"role": message.role, "content": told})
    return said + [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]


def _part(part: TextPart | ImagePart | FilePart, role: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text}
    url = f"data:{part.media_type};base64,{b64encode(part.data).decode()}" if part.data else part.url
    if isinstance(part, ImagePart):
        return {"type": "input_image", "image_url": url, "detail": part.detail}
    if part.data:
        return {"type": "input_file", "filename": part.filename or "document", "file_data": url}
    return {"type": "input_file", "file_url": url}


def _tools(options: CallOptions) -> dict[str, Any]:
    tools = [
        {"type": "function", "name": tool.name, "parameters": tool.parameters or {"type": "object", "properties": {}}}
        | ({"description": tool.description} if tool.description else {})
        | {"strict": False}
        for tool in options.tools or ()
    ]
    if options.tool_choice is None:
        return {"tools": tools}
    named = options.tool_choice not in _WORDS
    choice = {"type": "function", "name": options.tool_choice} if named else options.tool_choice
    return {"tools": tools, "tool_choice": choice}


def _call(index: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call as `ToolCallParts` takes it."""
    function = {"name": item.get("name"), "arguments": item.get("arguments") or None}
    return {"index": index, "id": item.get("call_id"), "function": function}


def _joined(parts: Any, name: str) -> str:
    if isinstance(parts, str):
        return parts if name == "text" else ""
    return "".join(_text(part.get(name)) for part in parts or () if isinstance(part, dict))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _odd() -> ProtocolError:
    return ProtocolError("the answer is no response", code="shape")
