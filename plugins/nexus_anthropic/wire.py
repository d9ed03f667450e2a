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
    ToolCall,
    ToolDefinition,
    Transfer,
)
from nexus_core.toolkit import (
    InBandError,
    StreamParts,
    StreamReader,
    WireFormat,
    close_schema,
    completion_of,
    forces_tool,
    holds_error,
    is_only_error,
    join_neighbours,
    merge_extra,
    no_answer,
    options_by_name,
    read_arguments,
    read_json,
    read_text,
    read_usage,
    write_json,
)

_OPTIONS = {"temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences", "max_tokens": "max_tokens"}
_OWN = frozenset({"model", "messages", "system", "stream"})
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768}
"""Tokens for thinking, of models that are given a number of them; 1,024 is the least that the service takes."""
_EFFORTS = {"minimal": "low"}
_NOT_THINKING = frozenset({"temperature", "top_p"})
"""Options that are refused where the model thinks ("Extended thinking", section "Feature compatibility")."""
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


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
        system = [message.text for message in prompt.messages if message.role == "system" and message.text.strip()]
        thinking = self._thinking_of(prompt, options)
        body: dict[str, Any] = {"model": self._model, "messages": _messages(prompt, thinks=bool(thinking))}
        if system:
            block = {"type": "text", "text": "\n\n".join(system)}
            body["system"] = [{**block, "cache_control": self._cache}] if self._cache else block["text"]
        if streamed:
            body["stream"] = True
        refused = self._unsupported | (_NOT_THINKING if thinking else set())
        body |= options_by_name(options, _OPTIONS, refused, one_sampler=self._thinking != "none")
        if options.tools:
            body["tools"] = [_tool(tool) for tool in options.tools]
            if options.tool_choice is not None:
                kind = _CHOICES.get(options.tool_choice)
                body["tool_choice"] = {"type": kind} if kind else {"type": "tool", "name": options.tool_choice}
        if thinking:
            body["thinking"] = thinking
        if config := self._output(options):
            body["output_config"] = config
        return write_json(merge_extra(body, options.extra, _OWN))

    def _thinking_of(self, prompt: Prompt, options: CallOptions) -> dict[str, Any]:
        """Return how the model thinks, nothing where it does not or the service would refuse that it does."""
        effort = options.reasoning_effort
        if effort == "none" or not (effort or self._thinks) or self._thinking == "none":
            return {}
        if forces_tool(options):
            return {}  # a tool that must be called leaves no room for thoughts
        if prompt.messages and prompt.messages[-1].role == "assistant":
            return {}  # nor does an answer that has begun
        if self._thinking == "adaptive":
            return {"type": "adaptive", "display": "summarized"}
        last = next((message for message in reversed(prompt.messages) if message.role == "assistant"), None)
        if last is not None and last.tool_calls and not any(map(_thoughts, last.tool_calls)):
            return {}  # with a budget a turn that called tools must begin with its thoughts, and they are lost
        room = (options.max_tokens or 0) // 2  # the rest is for the answer
        budget = min(_BUDGETS.get(effort or "low", _BUDGETS["xhigh"]), room)
        return {"type": "enabled", "budget_tokens": budget} if room >= _BUDGETS["minimal"] else {}

    def _output(self, options: CallOptions) -> dict[str, Any]:
        """Return how much effort the answer is worth, and what form it has."""
        effort = options.reasoning_effort
        config: dict[str, Any] = {}
        if self._effort and effort not in (None, "none"):
            config["effort"] = _EFFORTS.get(str(effort), effort)
        if options.response_schema is not None and self._holds_schema:
            config["format"] = {"type": "json_schema", "schema": close_schema(options.response_schema)}
        return config

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        payload = read_json(data)
        if not isinstance(payload, dict) or not isinstance(payload.get("content"), list):
            raise no_answer(payload)
        text, thoughts, calls, before = "", "", [], ThoughtBlocks()
        for index, block in enumerate(payload["content"]):
            if not isinstance(block, dict):
                continue
            text += read_text(block.get("text"))
            thoughts += read_text(block.get("thinking"))
            before.begin(block)
            if block.get("type") == "tool_use":
                calls.append(_call(index, block, block.get("input") or {}, before.take()))
        return completion_of(
            read_text(payload.get("stop_reason")) or "end_turn",
            text=text,
            reasoning=thoughts,
            calls=calls,
            usage=read_usage(payload.get("usage")),
            model=read_text(payload.get("model")),
            transfer=transfer,
        )

    def reading(self) -> StreamReader:
        """Return a reader of one stream."""
        return MessageEvents()


class ThoughtBlocks:
    """The thoughts before a call of a tool, which go with it as its `signature`: the service wants them back."""

    def __init__(self) -> None:
        self._blocks: list[tuple[dict[str, Any], list[str]]] = []

    def begin(self, block: Mapping[str, Any]) -> None:
        """Take a block, or the beginning of one."""
        if block.get("type") in _THOUGHTS:
            self._blocks.append((dict(block), [read_text(block.get("thinking"))]))

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take a part of the last block."""
        if self._blocks:
            block, pieces = self._blocks[-1]
            pieces.append(read_text(delta.get("thinking")))
            if delta.get("signature"):
                block["signature"] = read_text(block.get("signature")) + read_text(delta["signature"])

    def take(self) -> str:
        """Return the blocks as JSON, empty for none."""
        blocks, self._blocks = self._blocks, []
        whole = [block | ({"thinking": "".join(said)} if "thinking" in block else {}) for block, said in blocks]
        return write_json({"blocks": whole}).decode() if whole else ""


class MessageEvents(StreamParts):
    """Reads the events of one stream; what says nothing of the answer, such as `ping`, is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, Any] = {}
        self._before = ThoughtBlocks()

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what an event adds to the answer."""
        event = read_json(data)
        if not isinstance(event, dict):
            raise ProtocolError("an event of the stream is not as promised", code="shape")
        delta = event.get("delta")
        match event.get("type"):
            case "content_block_delta" if isinstance(delta, dict):
                arguments = read_text(delta.get("partial_json"))
                self._before.add(delta)
                calls = [{"index": event.get("index"), "function": {"arguments": arguments}}] if arguments else None
                return self.say(read_text(delta.get("text")), reasoning=read_text(delta.get("thinking")), calls=calls)
            case "content_block_start":
                block = event.get("content_block")
                if not isinstance(block, dict):
                    return None
                if block.get("type") == "tool_use":
                    whole = block.get("input") or None  # mostly it comes in parts
                    return self.say(calls=[_call(event.get("index"), block, whole, self._before.take())])
                self._before.begin(block)
                return self.say(read_text(block.get("text")), reasoning=read_text(block.get("thinking")))
            case "message_start" if isinstance(message := event.get("message"), dict):
                self.model = read_text(message.get("model"))
                self._count(message.get("usage"))
            case "message_delta":
                self._count(event.get("usage"))
                if isinstance(delta, dict) and read_text(delta.get("stop_reason")):
                    self.end(delta["stop_reason"])
            case "message_stop":
                self.done = True
            case _ if holds_error(event) or ((name == b"error" or "type" not in event) and is_only_error(event)):
                raise InBandError(event)
        return None

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):  # the first event tells the prompt, the last one the completion
            self._counts |= {name: count for name, count in usage.items() if count is not None}
            self.usage = read_usage(self._counts)


def _messages(prompt: Prompt, *, thinks: bool) -> list[dict[str, Any]]:
    """Return the conversation: roles alternate, and results stand at the front of the message after their calls."""
    said = [_message(message, thinks=thinks) for message in prompt.messages if message.role != "system"]
    messages = join_neighbours(said, "content")
    for message in messages:
        message["content"].sort(key=lambda block: block["type"] != "tool_result")
    if messages and messages[-1]["role"] == "assistant" and "text" in messages[-1]["content"][-1]:
        messages[-1]["content"][-1]["text"] = messages[-1]["content"][-1]["text"].rstrip()  # else it is refused
    return messages


def _message(message: Message, *, thinks: bool) -> dict[str, Any]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": _content(message)}
        return {"role": "user", "content": [result]}
    content = _content(message)
    for call in message.tool_calls:
        thoughts = _thoughts(call) if thinks else []
        content = [*thoughts, *content] if call is message.tool_calls[0] else [*content, *thoughts]
        arguments = read_arguments(call.arguments)
        content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return {"role": message.role, "content": content}


def _thoughts(call: ToolCall) -> list[dict[str, Any]]:
    """Return the thoughts before a call, none where another service made it."""
    told = read_json(call.signature.encode()) if call.signature.startswith('{"blocks":') else {}
    return list(told.get("blocks", ()))


def _content(message: Message) -> list[dict[str, Any]]:
    """Return the parts of a message; blank texts are left out, since the service refuses them."""
    parts = (TextPart(message.content),) if isinstance(message.content, str) else message.content
    return [_part(part) for part in parts if not isinstance(part, TextPart) or part.text.strip()]


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
    schema = {"type": "object", **(tool.parameters or {"properties": {}})}
    return {"name": tool.name, "input_schema": schema} | ({"description": tool.description} if tool.description else {})


def _call(index: Any, block: Mapping[str, Any], arguments: Any, before: str) -> dict[str, Any]:
    """Return a call as `ToolCallParts` takes it."""
    function = {"name": block.get("name"), "arguments": arguments}
    return {"index": index, "id": block.get("id"), "function": function, "signature": before}


def make_wire(connector: Anthropic) -> MessagesWire:
    """Return how the service of a connector speaks."""
    return MessagesWire(connector)
