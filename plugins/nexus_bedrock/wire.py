"""The Converse API, as bytes: requests, whole answers and the events of streams. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from nexus_bedrock.connector import Bedrock
from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    FilePart,
    ImagePart,
    InvalidRequestError,
    Message,
    Prompt,
    ProtocolError,
    TextPart,
    ToolDefinition,
    Transfer,
)
from nexus_core.toolkit import (
    EventStreamDecoder,
    InBandError,
    SizeLimits,
    StreamDecoder,
    StreamParts,
    StreamReader,
    WireFormat,
    completion_of,
    merge_extra,
    read_json,
    read_usage,
    write_json,
)

_OPTIONS = {"temperature": "temperature", "top_p": "topP", "max_tokens": "maxTokens", "stop": "stopSequences"}
_OWN = frozenset({"messages", "system"})
_CHOICES = {"auto": "auto", "required": "any"}
_FORMATS = {
    "application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/plain": "txt", "text/markdown": "md",
    "application/msword": "doc", "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}  # fmt: skip


class ConverseWire(WireFormat):
    """Requests to `/model/.../converse` and `/converse-stream`, and their answers."""

    json_in_streams = False

    def __init__(self, connector: Bedrock) -> None:
        self._path = f"/model/{quote(connector.model, safe='')}"
        self._cache = connector.prompt_cache
        self._unsupported = connector.model_info.unsupported
        self._holds_schema = "schema" in connector.model_info.capabilities
        self._effort = connector.row.own.get("effort", "")

    def path(self, *, streamed: bool) -> str:
        """Return the path of the endpoint."""
        return f"{self._path}/converse-stream" if streamed else f"{self._path}/converse"

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        """Return the body of a request."""
        system: list[dict[str, Any]] = [
            {"text": message.text} for message in prompt.messages if message.role == "system" and message.text
        ]
        body: dict[str, Any] = {
            "messages": [_message(message) for message in prompt.messages if message.role != "system"]
        }
        if system:
            body["system"] = [*system, {"cachePoint": {"type": "default"}}] if self._cache else system
        config = {
            parameter: value
            for name, parameter in _OPTIONS.items()
            if name not in self._unsupported and (value := getattr(options, name)) is not None
        }
        if config:
            body["inferenceConfig"] = config
        if options.tools and options.tool_choice != "none":
            body["toolConfig"] = _tools(options)
        if options.response_schema is not None and self._holds_schema:
            schema = {"schema": orjson.dumps(options.response_schema).decode(), "name": "answer"}
            body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        if more := self._thought(options.reasoning_effort):
            body["additionalModelRequestFields"] = more
        return write_json(merge_extra(body, options.extra, _OWN))

    def _thought(self, effort: str | None) -> dict[str, Any]:
        """Return how the maker of the model says how long it may think."""
        if effort in (None, "none"):
            return {}
        match self._effort:
            case "adaptive":
                return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
            case "reasoning_effort":
                return {"reasoning_effort": effort}
            case "nova":
                return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
        return {}

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        payload = read_json(data)
        try:
            blocks = payload["output"]["message"]["content"]
            text, thoughts, calls = "", "", []
            for index, block in enumerate(blocks):
                text += _text(block.get("text"))
                thoughts += _text(((block.get("reasoningContent") or {}).get("reasoningText") or {}).get("text"))
                if tool := block.get("toolUse"):
                    calls.append(_call(index, tool, tool.get("input") or {}))
        except (TypeError, AttributeError, LookupError):
            blocks = None
        if blocks is None:
            if isinstance(payload, dict) and "message" in payload and "output" not in payload:
                raise InBandError(payload)
            raise ProtocolError("the answer holds no message", code="shape")
        return completion_of(
            _text(payload.get("stopReason")) or "end_turn",
            text=text,
            reasoning=thoughts,
            calls=calls,
            usage=read_usage(payload.get("usage")),
            transfer=transfer,
        )

    def reading(self) -> StreamReader:
        """Return a reader of one stream."""
        return ConverseEvents()

    def decoder(self, sizes: SizeLimits) -> StreamDecoder:
        """Return the decoder of AWS event streams."""
        return EventStreamDecoder(event_cap=sizes.line)


class ConverseEvents(StreamParts):
    """Reads the events of one stream, each with its name."""

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what an event adds to the answer."""
        event = read_json(data) if data else {}
        if name.startswith(b"error:"):
            said = event if isinstance(event, dict) else {"message": event}
            raise InBandError({"message": said.get("message", ""), "code": name.partition(b":")[2].decode()})
        try:
            match name:
                case b"contentBlockDelta":
                    delta = event["delta"]
                    thought = _text((delta.get("reasoningContent") or {}).get("text"))
                    arguments = _text((delta.get("toolUse") or {}).get("input"))
                    part = {"index": event.get("contentBlockIndex"), "function": {"arguments": arguments}}
                    return self.say(_text(delta.get("text")), reasoning=thought, calls=[part] if arguments else None)
                case b"contentBlockStart" if tool := event["start"].get("toolUse"):
                    return self.say(calls=[_call(event.get("contentBlockIndex"), tool, None)])
                case b"messageStop":
                    self.end(_text(event.get("stopReason")) or "end_turn")
                case b"metadata":
                    self.usage = read_usage(event.get("usage"))
                    self.done = bool(self.finish_reason)
        except (TypeError, AttributeError, LookupError):
            raise ProtocolError("an event of the stream is not as promised", code="shape") from None
        return None


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        result = {"toolUseId": message.tool_call_id, "content": [{"text": message.text}]}
        return {"role": "user", "content": [{"toolResult": result}]}
    content = message.content
    parts: list[dict[str, Any]] = (
        [{"text": content}] if isinstance(content, str) else [_part(part, n) for n, part in enumerate(content)]
    )
    if message.tool_calls:
        parts = [part for part in parts if part.get("text") != ""]
    for call in message.tool_calls:
        asked = {"toolUseId": call.id, "name": call.name, "input": read_json(call.arguments.encode())}
        parts.append({"toolUse": asked})
    return {"role": message.role, "content": parts}


def _part(part: TextPart | ImagePart | FilePart, number: int) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if not part.data:
        raise InvalidRequestError(
            "Bedrock takes images and files as bytes, not by address", code="unsendable", request_sent=False
        )
    source = {"bytes": b64encode(part.data).decode()}
    if isinstance(part, ImagePart):
        return {"image": {"format": part.media_type.rpartition("/")[2], "source": source}}
    # Names of documents may reach the model, and only letters, digits and a few signs are allowed.
    kind = _FORMATS.get(part.media_type, "txt")
    return {"document": {"format": kind, "name": f"document-{number + 1}", "source": source}}


def _tools(options: CallOptions) -> dict[str, Any]:
    config: dict[str, Any] = {"tools": [{"toolSpec": _tool(tool)} for tool in options.tools or ()]}
    if options.tool_choice is not None:
        kind = _CHOICES.get(options.tool_choice)
        config["toolChoice"] = {kind: {}} if kind else {"tool": {"name": options.tool_choice}}
    return config


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    schema = {"json": tool.parameters or {"type": "object", "properties": {}}}
    return {"name": tool.name, "inputSchema": schema} | ({"description": tool.description} if tool.description else {})


def _call(index: Any, tool: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    """Return a call as `ToolCallParts` takes it."""
    return {"index": index, "id": tool.get("toolUseId"), "function": {"name": tool.get("name"), "arguments": arguments}}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def make_wire(connector: Bedrock) -> ConverseWire:
    """Return how the service of a connector speaks."""
    return ConverseWire(connector)
