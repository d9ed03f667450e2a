"""The Messages API, as bytes: requests, whole answers and the events of streams. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from nexus_anthropic.connector import Anthropic
from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    FilePart,
    ImagePart,
    Message,
    Prompt,
    ProtocolError,
    TextPart,
    ToolDefinition,
    Transfer,
)
from nexus_core.toolkit import (
    InBandError,
    StreamParts,
    StreamReader,
    WireFormat,
    completion_of,
    holds_error,
    is_only_error,
    merge_extra,
    read_json,
    read_usage,
    write_json,
)

_OPTIONS = {"temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences", "max_tokens": "max_tokens"}
_OWN = frozenset({"model", "messages", "system", "stream"})
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768}
"""Tokens for thinking, of models that are given a number of them; 1,024 is the least that the service takes."""
_EFFORTS = {"minimal": "low"}


class MessagesWire(WireFormat):
    """Requests to `/v1/messages`, and their answers."""

    def __init__(self, connector: Anthropic) -> None:
        self._model = connector.model
        self._thinks = connector.thinking
        self._thinking = str(connector.row.own.get("thinking", "none"))
        self._effort = self._thinking == "adaptive" or bool(connector.row.own.get("effort"))
        self._unsupported = connector.model_info.unsupported
        self._holds_schema = "schema" in connector.model_info.capabilities
        self._cache = {"type": "ephemeral", "ttl": connector.prompt_cache} if connector.prompt_cache != "off" else None

    def path(self, *, streamed: bool) -> str:
        """Return the path of the endpoint."""
        return "/v1/messages"

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        """Return the body of a request."""
        system = [message.text for message in prompt.messages if message.role == "system"]
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [_message(message) for message in prompt.messages if message.role != "system"],
        }
        if system:
            block = {"type": "text", "text": "\n\n".join(system)}
            body["system"] = [{**block, "cache_control": self._cache}] if self._cache else block["text"]
        if streamed:
            body["stream"] = True
        for name, parameter in _OPTIONS.items():
            value = getattr(options, name)
            if value is not None and name not in self._unsupported:
                body[parameter] = value
        if options.tools:
            body["tools"] = [_tool(tool) for tool in options.tools]
            if options.tool_choice is not None:
                kind = _CHOICES.get(options.tool_choice)
                body["tool_choice"] = {"type": kind} if kind else {"type": "tool", "name": options.tool_choice}
        body |= self._thought(options)
        return write_json(merge_extra(body, options.extra, _OWN))

    def _thought(self, options: CallOptions) -> dict[str, Any]:
        """Return what says how the model thinks and what form its answer has."""
        effort = options.reasoning_effort
        config: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        thinks = self._thinks or effort not in (None, "none")
        if thinks and effort != "none" and self._thinking == "adaptive":
            fields["thinking"] = {"type": "adaptive", "display": "summarized"}
        elif thinks and effort != "none" and self._thinking == "budget":
            most = (options.max_tokens or 2048) - 1
            if most >= _BUDGETS["minimal"]:
                fields["thinking"] = {"type": "enabled", "budget_tokens": min(_BUDGETS[effort or "low"], most)}
        if self._effort and effort not in (None, "none"):
            config["effort"] = _EFFORTS.get(str(effort), effort)
        if options.response_schema is not None and self._holds_schema:
            config["format"] = {"type": "json_schema", "schema": options.response_schema}
        return fields | ({"output_config": config} if config else {})

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        payload = read_json(data)
        if not isinstance(payload, dict) or not isinstance(payload.get("content"), list):
            raise InBandError(payload) if holds_error(payload) or is_only_error(payload) else _no_message()
        text, thoughts, calls = "", "", []
        for index, block in enumerate(payload["content"]):
            if not isinstance(block, dict):
                continue
            text += _text(block.get("text"))
            thoughts += _text(block.get("thinking"))
            if block.get("type") == "tool_use":
                calls.append(_call(index, block, block.get("input") or {}))
        return completion_of(
            _text(payload.get("stop_reason")) or "end_turn",
            text=text,
            reasoning=thoughts,
            calls=calls,
            usage=read_usage(payload.get("usage")),
            model=_text(payload.get("model")),
            transfer=transfer,
        )

    def reading(self) -> StreamReader:
        """Return a reader of one stream."""
        return MessageEvents()


class MessageEvents(StreamParts):
    """Reads the events of one stream; what says nothing of the answer, such as `ping`, is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, Any] = {}

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what an event adds to the answer."""
        event = read_json(data)
        if not isinstance(event, dict):
            raise ProtocolError("an event of the stream is not as promised", code="shape")
        delta = event.get("delta")
        match event.get("type"):
            case "content_block_delta" if isinstance(delta, dict):
                arguments = _text(delta.get("partial_json"))
                calls = [{"index": event.get("index"), "function": {"arguments": arguments}}] if arguments else None
                return self.say(_text(delta.get("text")), reasoning=_text(delta.get("thinking")), calls=calls)
            case "content_block_start":
                block = event.get("content_block")
                if not isinstance(block, dict):
                    return None
                if block.get("type") == "tool_use":
                    return self.say(calls=[_call(event.get("index"), block, block.get("input") or None)])
                return self.say(_text(block.get("text")), reasoning=_text(block.get("thinking")))
            case "message_start" if isinstance(message := event.get("message"), dict):
                self.model = _text(message.get("model"))
                self._count(message.get("usage"))
            case "message_delta":
                self._count(event.get("usage"))
                if isinstance(delta, dict) and _text(delta.get("stop_reason")):
                    self.end(delta["stop_reason"])
            case "message_stop":
                self.done = True
            case _ if name == b"error" or holds_error(event) or is_only_error(event):
                raise InBandError(event)
        return None

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):  # the first event tells the prompt, the last one the completion
            self._counts |= {name: count for name, count in usage.items() if count is not None}
            self.usage = read_usage(self._counts)


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": _content(message)}
        return {"role": "user", "content": [result]}
    if not message.tool_calls:
        return {"role": message.role, "content": _content(message)}
    said = [{"type": "text", "text": message.text}] if message.text else []
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": read_json(call.arguments.encode())}
        for call in message.tool_calls
    ]
    return {"role": message.role, "content": [*said, *calls]}


def _content(message: Message) -> str | list[dict[str, Any]]:
    return message.content if isinstance(message.content, str) else [_part(part) for part in message.content]


def _part(part: TextPart | ImagePart | FilePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    source = (
        {"type": "base64", "media_type": part.media_type, "data": b64encode(part.data).decode()}
        if part.data
        else {"type": "url", "url": part.url}
    )
    return {"type": "image" if isinstance(part, ImagePart) else "document", "source": source}


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    schema = tool.parameters or {"type": "object", "properties": {}}
    return {"name": tool.name, "input_schema": schema} | ({"description": tool.description} if tool.description else {})


def _call(index: Any, block: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    """Return a call as `ToolCallParts` takes it."""
    return {"index": index, "id": block.get("id"), "function": {"name": block.get("name"), "arguments": arguments}}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _no_message() -> ProtocolError:
    return ProtocolError("the answer holds no message", code="shape")


def make_wire(connector: Anthropic) -> MessagesWire:
    """Return how the service of a connector speaks."""
    return MessagesWire(connector)
