"""Ollama's own API, as bytes: requests, whole answers and the lines of streams. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from math import isfinite
from typing import Any

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    FilePart,
    ImagePart,
    InvalidRequestError,
    Message,
    NotReadyError,
    Prompt,
    ProtocolError,
    Results,
    TextPart,
    ToolDefinition,
    Transfer,
)
from nexus_core.toolkit import (
    InBandError,
    JsonLinesDecoder,
    SizeLimits,
    StreamDecoder,
    StreamParts,
    StreamReader,
    WireFormat,
    completion_of,
    find_usage,
    merge_extra,
    read_json,
    read_usage,
    write_json,
)
from nexus_ollama.connector import Ollama

_OPTIONS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "max_tokens")
_OWN = frozenset({"model", "messages", "stream", "num_ctx"})
_FIELDS = frozenset({"format", "think", "keep_alive", "tools", "logprobs", "top_logprobs", "truncate", "shift"})
"""What stands in a request itself; all else that a pipeline gives in `extra` is one of the model's `options`."""
_LEVELS = {"minimal": "low", "xhigh": "high"}


class ChatWire(WireFormat):
    """Requests to `/api/chat`, and their answers."""

    enlarging = frozenset({"logprobs", "top_logprobs"})
    json_in_streams = False

    def __init__(self, connector: Ollama) -> None:
        self._model = connector.model
        self._window = connector.model_info.window
        self._think = connector.think
        self._thinking = str(connector.row.own.get("thinking", "none"))
        self._keep_alive = _duration(connector.keep_alive)

    def path(self, *, streamed: bool) -> str:
        """Return the path of the endpoint."""
        return "/api/chat"

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        """Return the body of a request."""
        own: dict[str, Any] = {"num_ctx": prompt.window or self._window}
        for name in _OPTIONS:
            value = getattr(options, name)
            if value is not None:
                own["num_predict" if name == "max_tokens" else name] = value
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(_messages(prompt.messages)),
            "stream": streamed,
            # By default the beginning of a long prompt is cut, and of an answer that reaches the end of the window.
            "truncate": False,
            "shift": False,
        } | self._keep_alive
        if options.tools and options.tool_choice != "none":
            body["tools"] = [_tool(tool) for tool in options.tools]
        said = {"format": options.response_schema, "think": self._thought(options.reasoning_effort)}
        body |= {name: value for name, value in said.items() if value is not None}
        extra = {name: value for name, value in options.extra.items() if name not in _FIELDS}
        body["options"] = merge_extra(own, extra, _OWN)
        return write_json(body | {name: value for name, value in options.extra.items() if name in _FIELDS})

    def _thought(self, effort: str | None) -> bool | str | None:
        """Return what says how the model thinks; models that cannot refuse to be asked."""
        if self._thinking == "none" or effort is None:
            return self._think if self._thinking != "none" else None
        if self._thinking == "levels":  # these cannot be told not to think
            return "low" if effort == "none" else _LEVELS.get(effort, effort)
        return effort != "none"

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        payload = _payload(data)
        text, thoughts, calls = _said(payload)
        usage, model = read_usage(find_usage(payload)), _text(payload.get("model"))
        return completion_of(
            _end(payload), text=text, reasoning=thoughts, calls=calls, usage=usage, model=model, transfer=transfer
        )

    def reading(self) -> StreamReader:
        """Return a reader of one stream."""
        return ChatLines()

    def decoder(self, sizes: SizeLimits) -> StreamDecoder:
        """Return what cuts a stream into its lines."""
        return JsonLinesDecoder(line_cap=sizes.line)


class ChatLines(StreamParts):
    """Reads the lines of one stream."""

    _began = 0

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what a line adds to the answer."""
        if self.done:
            return None
        payload = _payload(data)
        text, thoughts, calls = _said(payload, self._began)
        self._began += len(calls)
        chunk = self.say(text, reasoning=thoughts, calls=calls or None)
        word = _end(payload)
        if word:
            self.model, self.usage, self.done = _text(payload.get("model")), read_usage(find_usage(payload)), True
            self.end(word)
        return chunk


def _payload(data: bytes) -> dict[str, Any]:
    payload = read_json(data)
    if not isinstance(payload, dict):
        raise _odd("is no object")
    if payload.get("error"):
        raise InBandError(payload)
    return payload


def _said(payload: Mapping[str, Any], began: int = 0) -> tuple[str, str, list[dict[str, Any]]]:
    """Return text, thoughts and tool calls as `ToolCallParts` takes them; each is whole, and `began` came before."""
    message = payload.get("message")
    if not isinstance(message, dict):
        if payload.get("done") is True and message is None:
            return "", "", []
        raise _odd("holds no message")
    entries = message.get("tool_calls") or []
    if not isinstance(entries, list):
        raise _odd("holds tool calls that are no list")
    return _text(message.get("content")), _text(message.get("thinking")), [*map(_call, count(began), entries)]


def _call(number: int, entry: Any) -> dict[str, Any]:
    function = entry.get("function") if isinstance(entry, dict) else None
    if not isinstance(function, dict):
        raise _odd("holds a tool call without a function")
    called = {"name": function.get("name"), "arguments": function.get("arguments") or {}}
    return {"id": entry.get("id"), "index": number, "function": called}


def _end(payload: Mapping[str, Any]) -> str:
    """Return the word for the end, empty where there is more; raises NotReadyError for what is no answer."""
    if payload.get("done") is not True:
        return ""
    word = _text(payload.get("done_reason")) or "stop"
    if word in ("load", "unload"):
        raise NotReadyError(f"the service has only {word}ed the model, and said nothing", code=word)
    return word


def _messages(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    for message in messages:
        *before, entry = _entries(message)
        if message.tool_calls:
            entry["tool_calls"] = [
                {"id": call.id, "function": {"name": call.name, "arguments": read_json(call.arguments.encode())}}
                for call in message.tool_calls
            ]
        if message.role == "tool":
            entry |= {"tool_name": names.get(message.tool_call_id, ""), "tool_call_id": message.tool_call_id}
        yield from (*before, entry)


def _entries(message: Message) -> list[dict[str, Any]]:
    """Return a message, in several where an image follows text: images go before the text, and the service joins."""
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    entries: list[dict[str, Any]] = [{"role": message.role, "images": [], "content": ""}]
    for part in message.content:
        if isinstance(part, TextPart):
            entries[-1]["content"] += "\n" * bool(entries[-1]["content"]) + part.text
        elif entries[-1]["content"]:
            entries.append({"role": message.role, "images": [_image(part)], "content": ""})
        else:
            entries[-1]["images"].append(_image(part))
    return entries


def _image(part: ImagePart | FilePart) -> str:
    if isinstance(part, ImagePart) and part.data:
        return b64encode(part.data).decode()
    what = "an image by its address: give its bytes" if isinstance(part, ImagePart) else "a file: give its text"
    raise InvalidRequestError(f"the service takes no message with {what}", code="unsendable", request_sent=False)


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    schema = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": schema}}


def _duration(text: str | None) -> dict[str, Any]:
    """Return the field for a duration: a number without a unit is one of seconds, and no text."""
    return {} if text is None else {"keep_alive": text if text[-1] in "smh" else float(text)}


async def embed(connector: Ollama, texts: Sequence[str]) -> Results[Sequence[float]]:
    """Return one vector for each text; raises only ConnectorErrors."""
    client = connector.open_client()
    body: dict[str, Any] = {
        "model": connector.model,
        "input": list(texts),
        "truncate": connector.truncate,
        "options": {"num_ctx": connector.model_info.window},
    } | _duration(connector.keep_alive)
    body |= {"dimensions": connector.dimensions} if connector.dimensions else {}
    prompt, read = Prompt(messages=tuple(Message("user", text) for text in texts)), partial(_vectors, size=len(texts))
    return await client.ask(client.url("/api/embed"), prompt, lambda: write_json(body), read)


def _vectors(data: bytes, transfer: Transfer, *, size: int) -> Results[Sequence[float]]:
    payload = _payload(data)
    vectors = payload.get("embeddings")
    if not isinstance(vectors, list) or len(vectors) != size:
        raise _odd(f"has no {size} vectors")
    for vector in vectors:
        if not (isinstance(vector, list) and vector and all(type(n) in (int, float) and isfinite(n) for n in vector)):
            raise _odd("holds a vector that is no list of finite numbers")
    return Results.from_service(vectors, read_usage(find_usage(payload)), transfer)


async def list_models(connector: Ollama) -> Sequence[str]:
    """Return the names of the models that the service has; raises only ConnectorErrors."""
    client = connector.open_client()
    return await client.ask(client.url("/api/tags"), Prompt(messages=()), None, _names)


def _names(data: bytes, transfer: Transfer) -> Sequence[str]:
    models = _payload(data).get("models")
    if not isinstance(models, list):
        raise _odd("holds no list of models")
    return tuple(_text(entry.get("name")) for entry in models if isinstance(entry, dict))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _odd(what: str) -> ProtocolError:
    return ProtocolError(f"the answer {what}", code="shape")


make_wire = ChatWire
"""How the service of a connector speaks."""
