"""Results of batches: one JSON object for each record, the same to the byte whoever computed it, and when.

Ids of runs and all times are left out; where they are asked for they stand under `timings`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import orjson
from attrs import evolve, frozen

from nexus_core.contract.answers import Answer, AttemptFinished, sum_costs
from nexus_core.contract.errors import ConnectorError, NoAnswerError
from nexus_core.contract.values import Value
from nexus_core.engine.json_shapes import attempt_json, tool_calls_json

RecordState = Literal["pending", "done", "failed"]

_OF_TIME = frozenset({"queuedMs", "waitedMs", "durationMs", "firstByteMs", "firstContentMs"})
_OF_A_RUN = frozenset({"callId", "bytesReceived", "events"}) | _OF_TIME


@frozen(kw_only=True, eq=False)
class RecordResult(Value):
    """What became of one record, as its journal keeps it."""

    state: RecordState
    result: str
    """JSON, without the id."""
    timings: str
    kind: str | None = None
    """Of a failure: the kind of the error."""
    is_sole: bool = True
    """Of a failure: whoever was asked failed in the same way."""
    was_sent: bool = True
    """Some request has left."""


def result_of(answer: Answer) -> RecordResult:
    """Return the result of a record that was answered."""
    cited = {item.number for item in answer.cited_items}
    usage = answer.usage
    cost, unpriced = sum_costs(answer.attempts)
    result = {
        "outcome": "ok",
        "answer": answer.text,
        **({"value": answer.value, "repaired": answer.repaired} if answer.has_value else {}),
        **({"toolCalls": tool_calls_json(answer.tool_calls)} if answer.tool_calls else {}),
        "finishReason": answer.finish_reason,
        "model": answer.model,
        "modelId": answer.model_id,
        "sources": [
            {
                "number": packed.number,
                "id": packed.item.id,
                "title": packed.item.title,
                "source": packed.item.source,
                "cited": packed.number in cited,
            }
            for packed in answer.prompt.items
        ],
        "usage": {
            "promptTokens": usage.prompt_tokens,
            "completionTokens": usage.completion_tokens,
            "totalTokens": usage.total_tokens,
            "usageSource": usage.source,
            "cost": cost,
            "unpricedAttempts": unpriced,
        },
        "attempts": _without(attempts := [attempt_json(row) for row in answer.attempts], _OF_A_RUN),
        "error": None,
    }
    times = _only(attempts, _OF_TIME)
    timings = {"runId": answer.id, "durationMs": round(answer.duration_s * 1000), "attempts": times}
    return RecordResult(state="done", result=_written(result), timings=_written(timings))


def failure_of(error: BaseException) -> RecordResult:
    """Return the result of a record whose run failed."""
    attempts: tuple[AttemptFinished, ...] = getattr(error, "attempts", ())
    last = error.errors[-1] if isinstance(error, NoAnswerError) else error
    kind = last.kind if isinstance(last, ConnectorError) else _kind(error)
    errors = error.errors if isinstance(error, NoAnswerError) else (error,)
    kinds = {getattr(each, "kind", "") for each in errors} if isinstance(error, NoAnswerError) else {kind}
    result = failure(kind, str(error), attempts, is_sole=kinds == {kind})
    # In a replay no row was sent, and yet the service had its say.
    was_sent = any(isinstance(each, ConnectorError) and each.request_sent for each in errors)
    return evolve(result, was_sent=result.was_sent or was_sent)


def failure(
    kind: str, message: str, attempts: tuple[AttemptFinished, ...] = (), *, is_sole: bool = True
) -> RecordResult:
    """Return the result of a record that has no answer."""
    result = {
        "outcome": "failed",
        "answer": None,
        "finishReason": None,
        "model": None,
        "modelId": None,
        "sources": [],
        "usage": None,
        "attempts": _without(rows := [attempt_json(row) for row in attempts], _OF_A_RUN),
        "error": {"kind": kind, "message": message},
    }
    written, times = _written(result), _written({"attempts": _only(rows, _OF_TIME)})
    was_sent = any(row.request_sent for row in attempts)
    return RecordResult(state="failed", result=written, timings=times, kind=kind, is_sole=is_sole, was_sent=was_sent)


def _without(rows: list[dict[str, Any]], names: frozenset[str]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def _only(rows: list[dict[str, Any]], names: frozenset[str]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name in names} for row in rows]


def _kind(error: BaseException) -> str:
    """Return a word for an error that is none of a service, as `SourceError` is `source`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()
    return words.removesuffix("_error")


def _written(data: dict[str, Any]) -> str:
    try:
        return orjson.dumps(data).decode()
    except TypeError:  # half of a surrogate pair, which is no text of any encoding
        return json.dumps(data, ensure_ascii=True, separators=(",", ":"))
