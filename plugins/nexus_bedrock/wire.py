"""The Converse API, as bytes: requests, whole answers and the events of streams. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nexus_bedrock.connector import Bedrock
from nexus_core import CallOptions, Chunk, Completion, FilePart, ImagePart, Message, Prompt, TextPart, Transfer
from nexus_core.toolkit import (
    EventStreamDecoder,
    InBandError,
    SizeLimits,
    StreamDecoder,
    StreamParts,
    StreamReader,
    WireFormat,
    close_schema,
    completion_of,
    forces_tool,
    join_neighbours,
    merge_extra,
    no_answer,
    object_within,
    options_by_name,
    read_arguments,
    read_json,
    read_text,
    read_usage,
    unsendable,
    write_json,
)

_OPTIONS = {"temperature": "temperature", "top_p": "topP", "max_tokens": "maxTokens", "stop": "stopSequences"}
_OWN = frozenset({"messages", "system"})
_CHOICES = {"auto": "auto", "none": "auto", "required": "any"}
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
            {"text": message.text} for message in prompt.messages if message.role == "system" and message.text.strip()
        ]
        body: dict[str, Any] = {"messages": _messages(prompt)}
        if system:
            body["system"] = [*system, {"cachePoint": {"type": "default"}}] if self._cache else system
        config = options_by_name(options, _OPTIONS, self._unsupported, one_sampler="anthropic." in self._path)
        if more := self._thought(prompt, options, config):
            body["additionalModelRequestFields"] = more
        if config:
            body["inferenceConfig"] = config
        # Where tools were called before, the service wants to know them even if none may be called now.
        if options.tools and (options.tool_choice != "none" or any(one.tool_calls for one in prompt.messages)):
            body["toolConfig"] = _tools(options)
        if options.response_schema is not None and self._holds_schema:
            schema = close_schema(options.response_schema)
            asked = {"jsonSchema": {"schema": write_json(schema).decode(), "name": "answer"}}
            body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": asked}}
        return write_json(merge_extra(body, options.extra, _OWN))

    def _thought(self, prompt: Prompt, options: CallOptions, config: dict[str, Any]) -> dict[str, Any]:
        """Return how the maker of the model says how long it may think; takes from `config` what goes not with it."""
        effort = "low" if options.reasoning_effort == "minimal" else options.reasoning_effort
        if effort in (None, "none"):
            return {}
        if self._effort == "reasoning_effort":
            return {"reasoning_effort": effort}
        if self._effort == "nova":  # at a high effort it takes no options beside it
            effort = ("medium" if config else "high") if effort in ("high", "xhigh") else effort
            return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
        if self._effort != "adaptive":
            return {}
        fields: dict[str, Any] = {"output_config": {"effort": effort}}
        if not forces_tool(options) and prompt.messages[-1].role != "assistant":
            fields["thinking"] = {"type": "adaptive"}
            config.pop("temperature", None)
            config.pop("topP", None)
        return fields

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        payload = read_json(data)
        text, thoughts, calls = "", "", []
        blocks = object_within(payload, "output", "message").get("content")
        if not isinstance(blocks, list):
            raise no_answer(payload)
        for index, block in enumerate(map(object_within, blocks)):
            text += read_text(block.get("text"))
            thoughts += read_text(object_within(block, "reasoningContent", "reasoningText").get("text"))
            if tool := object_within(block, "toolUse"):
                calls.append(_call(index, tool, tool.get("input") or {}))
        word, usage = read_text(payload.get("stopReason")) or "end_turn", read_usage(payload.get("usage"))
        return completion_of(word, text=text, reasoning=thoughts, calls=calls, usage=usage, transfer=transfer)

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
        event = read_json(data or b"{}")
        if name.startswith(b"error:"):
            said = object_within(event).get("message", "")
            raise InBandError({"message": said, "code": name.partition(b":")[2].decode()})
        match name:
            case b"contentBlockDelta":
                delta, calls = object_within(event, "delta"), []
                if len(delta) == 1 and type(text := delta.get("text")) is str:  # nearly every event there is
                    return self.say(text)
                thought = read_text(object_within(delta, "reasoningContent").get("text"))
                if arguments := read_text(object_within(delta, "toolUse").get("input")):
                    calls = [{"index": event.get("contentBlockIndex"), "function": {"arguments": arguments}}]
                return self.say(read_text(delta.get("text")), reasoning=thought, calls=calls)
            case b"contentBlockStart" if tool := object_within(event, "start", "toolUse"):
                return self.say(calls=[_call(event.get("contentBlockIndex"), tool, None)])
            case b"messageStop":
                self.end(read_text(object_within(event).get("stopReason")) or "end_turn")
            case b"metadata":
                self.usage = read_usage(object_within(event).get("usage"))
                self.done = bool(self.finish_reason)
        return None


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the conversation: roles alternate, results of tools stand at the front, and documents have own names."""
    said = [_message(message) for message in prompt.messages if message.role != "system"]
    messages = join_neighbours(said, "content")
    blocks = [block for message in messages for block in message["content"]]
    for number, block in enumerate(block for block in blocks if "document" in block):
        # Names may reach the model, and only letters, digits and a few signs are allowed.
        block["document"]["name"] = f"document-{number + 1}"
    for message in messages:
        message["content"].sort(key=lambda block: "toolResult" not in block)
    return messages


def _message(message: Message) -> dict[str, Any]:
    parts = (TextPart(message.content),) if isinstance(message.content, str) else message.content
    content = [_part(part) for part in parts if not isinstance(part, TextPart) or part.text.strip()]
    if message.role == "tool":
        return {"role": "user", "content": [{"toolResult": {"toolUseId": message.tool_call_id, "content": content}}]}
    for call in message.tool_calls:
        asked = {"toolUseId": call.id, "name": call.name, "input": read_arguments(call.arguments)}
        content.append({"toolUse": asked})
    return {"role": message.role, "content": content}


def _part(part: TextPart | ImagePart | FilePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if not part.data:
        raise unsendable("Bedrock takes images and files as bytes, not by address")
    source = {"bytes": b64encode(part.data).decode()}
    if isinstance(part, ImagePart):
        return {"image": {"format": part.media_type.rpartition("/")[2], "source": source}}
    return {"document": {"format": _FORMATS.get(part.media_type, "txt"), "source": source}}


def _tools(options: CallOptions) -> dict[str, Any]:
    tools = []
    for tool in options.tools or ():
        schema = {"json": {"type": "object", **(tool.parameters or {"properties": {}})}}
        described = {"description": tool.description} if tool.description else {}
        tools.append({"toolSpec": {"name": tool.name, "inputSchema": schema, **described}})
    if options.tool_choice is None:
        return {"tools": tools}
    kind = _CHOICES.get(options.tool_choice)
    return {"tools": tools, "toolChoice": {kind: {}} if kind else {"tool": {"name": options.tool_choice}}}


def _call(index: Any, tool: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    """Return a call as `ToolCallParts` takes it."""
    return {"index": index, "id": tool.get("toolUseId"), "function": {"name": tool.get("name"), "arguments": arguments}}


def make_wire(connector: Bedrock) -> ConverseWire:
    """Return how the service of a connector speaks."""
    return ConverseWire(connector)
