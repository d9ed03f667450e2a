"""Responses as JSON data and back: whole answers, streams with their chunks, vectors, relevances, and errors.

What is not said is left out, so that a file shows what there is. A chunk that is nothing but text stands as that text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import attrs

from nexus_core.contract import errors
from nexus_core.contract.errors import ConnectorError, TruncatedError, UpstreamTimeoutError
from nexus_core.contract.values import (
    Chunk,
    Completion,
    FinishReason,
    Results,
    ToolCall,
    ToolCallDelta,
    Transfer,
    Usage,
)
from nexus_core.engine.calls.stream_accumulator import StreamAccumulator
from nexus_core.recordings.canonical_request import lines_of, mask_all

CLASSES: Mapping[str, type[ConnectorError]] = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, ConnectorError)
}
"""The classes of errors that a recording may name."""

_ERROR_FIELDS = ("provider", "model", "status", "code", "retry_after_s", "should_retry")
_CHUNK_TEXTS = ("text", "reasoning", "model", "native_finish_reason")
_WHOLE_TEXTS = ("text", "reasoning")
_LONGEST = 2**62
"""Characters of an answer: the engine has looked at its size already."""


def completion_json(completion: Completion) -> dict[str, Any]:
    """Return a whole answer as JSON data."""
    found = _answer_json(completion, ("model", "native_finish_reason"))
    found |= {name: lines_of(text) for name in _WHOLE_TEXTS if (text := getattr(completion, name)) or name == "text"}
    if completion.usage == Usage():
        del found["usage"]
    return found


def chunk_json(chunk: Chunk) -> str | dict[str, Any]:
    """Return a part of a stream as JSON data."""
    found = _answer_json(chunk, _CHUNK_TEXTS)
    return chunk.text if found.keys() <= {"text"} else found


def results_json(method: str, results: Iterable[Any]) -> dict[str, Any]:
    """Return vectors or relevances as JSON data, each number in full."""
    found: dict[str, Any]
    if method == "embed":
        found = {"vectors": [[float(number) for number in vector] for vector in results]}
    else:
        found = {"scores": [float(score) for score in results]}
    if isinstance(results, Results):
        found["usage"] = _usage_json(results.usage)
        found |= _status_json(results.transfer)
    return found


def error_json(error: ConnectorError, secrets: Sequence[str] = ()) -> dict[str, Any]:
    """Return an error as JSON data, by the class of the contract that it is handled as; no text has the secrets."""
    known = next(cls for cls in type(error).__mro__ if CLASSES.get(cls.__name__) is cls)
    found = {name: value for name in _ERROR_FIELDS if (value := getattr(error, name)) not in (None, "")}
    if error.status is None and error.transfer is not None and error.transfer.status is not None:
        found["status"] = error.transfer.status
    if not error.request_sent:
        found["request_sent"] = False
    found = {name: mask_all(value, secrets) if isinstance(value, str) else value for name, value in found.items()}
    return {"class": known.__name__, "kind": error.kind, "message": lines_of(mask_all(str(error), secrets)), **found}


def read_completion(response: Mapping[str, Any]) -> Completion:
    """Return the whole answer of a response, put together where it is a stream; raises the error that it ends with."""
    if "chunks" not in response:
        _raise_if_failed(response)
        return Completion(
            text=_text(response["text"]),
            finish_reason=_finish_reason(response["finish_reason"]),
            usage=_usage(response.get("usage")) or Usage(),
            model=_word(response, "model"),
            reasoning=_text(response.get("reasoning", "")),
            tool_calls=tuple(ToolCall(**call) for call in response.get("tool_calls", ())),
            transfer=_transfer(response),
            native_finish_reason=_word(response, "native_finish_reason"),
        )
    said, transfer = StreamAccumulator(_LONGEST), None
    for chunk in read_chunks(response):
        said.say(chunk.text)
        said.take(chunk)
        transfer = transfer or chunk.transfer
    _raise_if_failed(response)
    if said.finish_reason is None:
        raise TruncatedError("the recorded stream ended without a finish reason", code="truncated")
    return attrs.evolve(said.completion(said.finish_reason), transfer=transfer)


def read_chunks(response: Mapping[str, Any]) -> list[Chunk]:
    """Return the parts of a stream; what it ended with is for `read_error`."""
    return [_chunk(part) for part in response.get("chunks", ())]


def read_results(response: Mapping[str, Any]) -> Sequence[Any]:
    """Return vectors or relevances; raises the error that is in their place."""
    _raise_if_failed(response)
    found: list[Any]
    if "vectors" in response:
        found = [[float(number) for number in vector] for vector in response["vectors"]]
    else:
        found = [float(score) for score in response["scores"]]
    if "usage" not in response:
        return found
    return Results.from_service(found, _usage(response["usage"]), _transfer(response))


def read_error(response: Mapping[str, Any]) -> ConnectorError | None:
    """Return the error that a response ends with, of the class and kind that it had."""
    if response.get("abandoned"):
        return UpstreamTimeoutError("the recorded request was given up before its answer was whole", code="abandoned")
    if "error" not in response:
        return None
    told = response["error"]
    found = CLASSES[told["class"]]
    if told.get("kind", found.kind) != found.kind:
        found = type(found.__name__, (found,), {"kind": told["kind"]})
    error = found.__new__(found)  # some classes take fewer fields
    fields = {name: told[name] for name in (*_ERROR_FIELDS, "request_sent") if name in told}
    ConnectorError.__init__(error, _text(told["message"]), **fields)
    return error


def _raise_if_failed(response: Mapping[str, Any]) -> None:
    error = read_error(response)
    if error is not None:
        raise error


def _answer_json(answer: Completion | Chunk, texts: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: value for name in texts if (value := getattr(answer, name))}
    if answer.finish_reason is not None:
        found["finish_reason"] = answer.finish_reason
    if answer.usage is not None:
        found["usage"] = _usage_json(answer.usage)
    if answer.tool_calls:
        found["tool_calls"] = [_set_fields(call) for call in answer.tool_calls]
    return found | _status_json(answer.transfer)


def _set_fields(call: ToolCall | ToolCallDelta) -> dict[str, Any]:
    values = {part.name: getattr(call, part.name) for part in attrs.fields(type(call))}
    return {name: value for name, value in values.items() if value != "" or isinstance(call, ToolCall)}


def _usage_json(usage: Usage) -> dict[str, Any]:
    parts = attrs.fields(Usage)
    return {part.name: value for part in parts if (value := getattr(usage, part.name)) != part.default}


def _status_json(transfer: Transfer | None) -> dict[str, Any]:
    """Return the status alone: how many bytes came when is nothing that is the same again."""
    return {} if transfer is None else {"status": transfer.status}


def _chunk(part: Any) -> Chunk:
    if isinstance(part, str):
        return Chunk(part)
    reason = part.get("finish_reason")
    return Chunk(
        **{name: _word(part, name) for name in _CHUNK_TEXTS},
        finish_reason=None if reason is None else _finish_reason(reason),
        usage=_usage(part.get("usage")),
        tool_calls=tuple(ToolCallDelta(**call) for call in part.get("tool_calls", ())),
        transfer=_transfer(part),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "\n".join(value)


def _word(response: Mapping[str, Any], name: str) -> str:
    value = response.get(name, "")
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _finish_reason(value: Any) -> FinishReason:
    if value not in get_args(FinishReason):
        raise ValueError(f"the finish reason {value!r} is not known")
    return value  # type: ignore[no-any-return]  # one of them


def _usage(value: Any) -> Usage | None:
    return None if value is None else Usage(**value)


def _transfer(response: Mapping[str, Any]) -> Transfer | None:
    return Transfer(status=response["status"]) if "status" in response else None
