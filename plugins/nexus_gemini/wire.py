"""The Gemini API, as bytes: requests, whole answers and the events of streams. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from math import isfinite
from typing import Any
from urllib.parse import quote

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ConnectorError,
    ContentFilterError,
    FilePart,
    ImagePart,
    Message,
    Prompt,
    ProtocolError,
    Results,
    TextPart,
    Transfer,
    Usage,
)
from nexus_core.toolkit import (
    InBandError,
    StreamParts,
    StreamReader,
    WireFormat,
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
    schema_for_service,
    write_json,
)
from nexus_gemini.connector import Gemini

_OPTIONS = {
    "temperature": "temperature", "top_p": "topP", "max_tokens": "maxOutputTokens", "stop": "stopSequences",
    "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty",
}  # fmt: skip
_OWN = frozenset({"contents", "systemInstruction"})
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}
"""Tokens for thinking of models that are given a number of them (Google, "Thinking", as its OpenAI endpoint maps)."""
_LEVELS = {"none": "minimal", "xhigh": "high"}
_ROLES = {"assistant": "model", "tool": "user"}
_NO_SIGNATURE = "skip_thought_signature_validator"
"""Stands for the signature of a call that has lost it, which models refuse otherwise (Google, "Thought signatures")."""
_KEYWORDS = frozenset({
    "$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems",
    "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required",
})  # fmt: skip
"""What the API reference lists at `responseJsonSchema`."""


class GenerateWire(WireFormat):
    """Requests to `models/...:generateContent`, and their answers."""

    def __init__(self, connector: Gemini) -> None:
        self._model = model_path(connector)
        self._thoughts = connector.thoughts
        self._thinking = connector.row.own["thinking"]
        self._least = connector.row.own.get("least", 0)
        self._tells_system = connector.row.own.get("system", True)
        self._unsupported = connector.model_info.unsupported
        self._holds_schema = "schema" in connector.model_info.capabilities

    def path(self, *, streamed: bool) -> str:
        """Return the path of the endpoint."""
        return f"{self._model}:streamGenerateContent?alt=sse" if streamed else f"{self._model}:generateContent"

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        """Return the body of a request."""
        system = "\n\n".join(message.text for message in prompt.messages if message.role == "system")
        contents = self._contents(prompt)
        body: dict[str, Any] = {"contents": contents}
        if system and self._tells_system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        elif system:
            body["contents"] = join_neighbours([{"role": "user", "parts": [{"text": system}]}, *contents], "parts")
        if config := self._config(options):
            body["generationConfig"] = config
        if options.tools:
            declared = [
                {"name": tool.name, "description": tool.description}
                | ({"parametersJsonSchema": tool.parameters} if tool.parameters else {})
                for tool in options.tools
            ]
            body["tools"] = [{"functionDeclarations": declared}]
            if options.tool_choice is not None:
                mode = _MODES.get(options.tool_choice)
                chosen = {"mode": mode} if mode else {"mode": "ANY", "allowedFunctionNames": [options.tool_choice]}
                body["toolConfig"] = {"functionCallingConfig": chosen}
        return write_json(merge_extra(body, options.extra, _OWN))

    def _contents(self, prompt: Prompt) -> list[dict[str, Any]]:
        """Return the conversation; the results of calls stand in one message, in the order of the calls."""
        calls = [call for message in prompt.messages for call in message.tool_calls]
        names, places = {call.id: call.name for call in calls}, {call.id: place for place, call in enumerate(calls)}
        messages = list(prompt.messages)
        for first, message in enumerate(messages):
            if message.role == "tool" and messages[first - 1].role != "tool":
                results = list(takewhile(lambda after: after.role == "tool", messages[first:]))
                results.sort(key=lambda result: places.get(result.tool_call_id, len(places)))
                messages[first : first + len(results)] = results
        signs = self._thinking == "level"
        said = (_content(message, names, signs=signs) for message in messages if message.role != "system")
        return join_neighbours(said, "parts")

    def _config(self, options: CallOptions) -> dict[str, Any]:
        config = options_by_name(options, _OPTIONS, self._unsupported)
        if options.response_schema is not None and self._holds_schema:
            config |= {
                "responseMimeType": "application/json",
                "responseJsonSchema": schema_for_service(options.response_schema, _KEYWORDS),
            }
        effort = options.reasoning_effort
        thinking: dict[str, Any] = {}
        if self._thinking == "level" and effort:
            level = _LEVELS.get(effort, effort)
            thinking["thinkingLevel"] = self._least or level if level == "minimal" else level
        elif self._thinking == "budget" and effort in _BUDGETS:
            thinking["thinkingBudget"] = max(_BUDGETS[effort], self._least)
        if self._thinking != "none" and self._thoughts:
            thinking["includeThoughts"] = True
        return config | ({"thinkingConfig": thinking} if thinking else {})

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        events = ContentEvents()
        said = events.take(b"", data) or Chunk()
        last = events.finish()
        return Completion(
            text=said.text,
            finish_reason=last.finish_reason or "stop",
            usage=events.usage or Usage(),
            model=events.model,
            reasoning=said.reasoning,
            tool_calls=events.calls.calls(),
            transfer=transfer,
            native_finish_reason=last.native_finish_reason,
        )

    def reading(self) -> StreamReader:
        """Return a reader of one stream."""
        return ContentEvents()


class ContentEvents(StreamParts):
    """Reads the events of one stream, each a part of an answer; a whole answer is one event."""

    def take(self, name: bytes, data: bytes) -> Chunk | None:
        """Return what an event adds to the answer."""
        event = read_json(data)
        if not isinstance(event, dict):
            raise InBandError(event) if isinstance(event, list) else _odd("is no JSON object")
        if holds_error(event) or ("candidates" not in event and is_only_error(event)):
            raise InBandError(event)
        self.model = read_text(event.get("modelVersion")) or self.model
        self._counts = event.get("usageMetadata") or self._counts  # every event counts up: the last one is read
        candidates = event.get("candidates")
        if not candidates:
            blocked = event.get("promptFeedback")
            if isinstance(blocked, dict) and blocked.get("blockReason"):
                raise ContentFilterError(f"the prompt was blocked ({blocked['blockReason']})", code="prompt_blocked")
            return None
        if not (isinstance(candidates, list) and isinstance(candidates[0], dict)):
            raise _odd("holds candidates that are none")
        chunk = self._say(candidates[0].get("content"))
        word = read_text(candidates[0].get("finishReason"))
        if word and word != "FINISH_REASON_UNSPECIFIED":
            self.end(word)
        return chunk

    def _say(self, content: Any) -> Chunk | None:
        parts = content.get("parts") if isinstance(content, dict) else None
        text, thoughts, calls = "", "", []
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                raise _odd("holds a part that is none")
            if part.get("thought"):
                thoughts += read_text(part.get("text"))
            elif isinstance(call := part.get("functionCall"), dict):
                self._called_before += 1
                calls.append(
                    {
                        "index": self._called_before,  # every call comes whole, in a part of its own
                        "id": call.get("id"),
                        "function": {"name": call.get("name"), "arguments": call.get("args") or {}},
                        "signature": part.get("thoughtSignature"),
                    }
                )
            else:
                text += read_text(part.get("text"))
        return self.say(text, reasoning=thoughts, calls=calls)

    def finish(self) -> Chunk:
        """Return the last chunk, with the counts of the last event that told any."""
        self.usage = read_usage(self._counts)
        return super().finish()

    _called_before = 0
    _counts: Any = None


def _content(message: Message, names: dict[str, str], *, signs: bool) -> dict[str, Any]:
    """Return a message; `names` are those of the calls, by id, since a result names its tool."""
    role = _ROLES.get(message.role, message.role)
    if message.role == "tool":
        try:
            said = read_json(message.text.encode())
        except ConnectorError:
            said = message.text
        answer = {"name": names.get(message.tool_call_id, message.tool_call_id)}
        answer |= {"id": message.tool_call_id} if signs else {}
        result = {**answer, "response": said if isinstance(said, dict) else {"result": said}}
        return {"role": role, "parts": [{"functionResponse": result}]}
    content = (TextPart(message.content),) if isinstance(message.content, str) else message.content
    parts = [_part(part) for part in content if not isinstance(part, TextPart) or part.text]
    for call in message.tool_calls:
        asked: dict[str, Any] = {"name": call.name, "args": read_arguments(call.arguments)}
        asked |= {"id": call.id} if signs else {}
        signature = "" if call.signature.startswith("{") else call.signature  # that of another service
        if signs and call is message.tool_calls[0]:
            signature = signature or _NO_SIGNATURE
        parts.append({"functionCall": asked} | ({"thoughtSignature": signature} if signature else {}))
    return {"role": role, "parts": parts}


def _part(part: TextPart | ImagePart | FilePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if part.data:
        return {"inlineData": {"mimeType": part.media_type, "data": b64encode(part.data).decode()}}
    return {"fileData": {"fileUri": part.url} | ({"mimeType": part.media_type} if part.media_type else {})}


async def embed(connector: Gemini, texts: Sequence[str]) -> Results[Sequence[float]]:
    """Return one vector for each text; raises only ConnectorErrors."""
    client, path = connector.open_client(), model_path(connector)
    size = {"outputDimensionality": connector.dimensions} if connector.dimensions else {}
    requests = [
        {"model": path.rpartition(f"{connector.api_version}/")[2], "content": {"parts": [{"text": text}]}, **size}
        for text in texts
    ]
    prompt = Prompt(messages=tuple(Message("user", text) for text in texts))
    url = client.url(f"{path}:batchEmbedContents")
    return await client.ask(
        url, prompt, lambda: write_json({"requests": requests}), partial(_vectors, count=len(texts))
    )


def _vectors(data: bytes, transfer: Transfer, *, count: int) -> Results[Sequence[float]]:
    answer = read_json(data)
    entries = answer.get("embeddings") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or len(entries) != count:
        raise no_answer(answer, f"{count} vectors")
    vectors: list[Any] = [entry.get("values") if isinstance(entry, dict) else None for entry in entries]
    if not all(isinstance(vector, list) and vector and all(map(_is_number, vector)) for vector in vectors):
        raise _odd("holds a vector that is no list of finite numbers")
    return Results.from_service(vectors, None, transfer)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def model_path(connector: Gemini) -> str:
    """Return the path of the model: one without a collection is of `models`."""
    name = connector.model if "/" in connector.model else f"models/{connector.model}"
    return f"/{connector.api_version}/{quote(name)}"


def _odd(what: str) -> ProtocolError:
    return ProtocolError(f"the answer {what}", code="shape")


def make_wire(connector: Gemini) -> GenerateWire:
    """Return how the service of a connector speaks."""
    return GenerateWire(connector)
