"""JSON Schemas of what the query API answers, where the shape is made elsewhere than by its route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus_core.server.http.json_schema import COUNT, FAILURE, JSON_OBJECT, MOMENT, TEXT, array, closed, or_null

_MAYBE = or_null(COUNT)
_TEXT_OR_NULL = or_null(TEXT)
_NUMBER = {"type": "number"}


def _whole(name: str, properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    """Return the named schema of an object with these properties, all of them but the optional ones being there."""
    return closed(properties, required=tuple(each for each in properties if each not in optional), name=name)


PASSAGE = _whole(
    "ContextPassage",
    {
        "id": TEXT, "title": TEXT, "relevance": _NUMBER, "number": COUNT, "source": TEXT, "place": TEXT,
        "whole": {"type": "boolean"}, "text": TEXT,
    },
    "number", "source", "place", "whole", "text",
)  # fmt: skip
_METADATA = _whole(
    "AnswerMetadata",
    {
        "promptTokens": _MAYBE, "completionTokens": _MAYBE, "totalTokens": _MAYBE, "usageSource": TEXT,
        "cost": or_null(_NUMBER), "unpricedAttempts": COUNT,
        "nativeFinishReason": TEXT, "responseTimeMs": COUNT, "contextItems": array(PASSAGE),
    },
    "nativeFinishReason",
)  # fmt: skip
_TOOL = _whole(
    "ToolRun",
    {
        "callId": TEXT, "round": COUNT, "number": COUNT, "name": TEXT,
        "outcome": {
            "enum": ["ok", "failed", "error", "timeout", "invalid", "unknown", "refused", "not_approved", "cancelled"]
        },
        "durationMs": _NUMBER, "items": COUNT, "tokens": COUNT, "wasCut": {"type": "boolean"},
        "arguments": _TEXT_OR_NULL, "result": _TEXT_OR_NULL, "trace": array(JSON_OBJECT),
    },
    "arguments", "result", "trace",
)  # fmt: skip
_READ_DOCUMENT = _whole(
    "ReadDocument", {"name": TEXT, "items": COUNT, "sent": COUNT, "whole": COUNT, "remarks": array(TEXT)}
)
ANSWER = _whole(
    "Answer",
    {
        "id": TEXT, "query": TEXT, "response": TEXT, "value": {}, "repaired": {"type": "boolean"},
        "toolCalls": array(JSON_OBJECT), "contextId": _TEXT_OR_NULL, "modelId": TEXT,
        "conversationId": _TEXT_OR_NULL, "metadata": _METADATA, "packing": JSON_OBJECT,
        "attempts": array(JSON_OBJECT), "tools": array(_TOOL), "documents": array(_READ_DOCUMENT),
    },
    "documents", "metadata", "packing", "attempts", "value", "repaired", "toolCalls", "tools",
)  # fmt: skip
"""What `POST {prefix}/queries` answers; metadata, packing and attempts where they are asked for, value and repaired
where the answer is held to a JSON Schema, calls of the caller's tools where the model asks for some, and of the
pipeline's where it called any, with arguments, result and trace where the trace is asked for. Of each of the documents
that were asked about: how many items were read, how many of those stood in the prompt, how many of these whole, and
what was left out."""
_USAGE = _whole("TokenUsage", {"promptTokens": _MAYBE, "completionTokens": _MAYBE, "usageSource": TEXT})
RUN = _whole(
    "Run",
    {
        "id": TEXT, "state": {"enum": ["running", "completed", "failed", "cancelled", "interrupted"]},
        "pipeline": TEXT, "modelId": TEXT, "background": {"type": "boolean"}, "created": MOMENT,
        "ended": or_null(MOMENT), "expires": or_null(MOMENT), "events": COUNT, "usage": _USAGE,
        "answer": or_null(ANSWER), "error": or_null(FAILURE),
    }
)  # fmt: skip
"""A run, as `GET {prefix}/runs/{runId}` tells it."""
_PRICE_FIELDS = {"input": _NUMBER, "cached": _NUMBER, "output": _NUMBER, "reasoning": _NUMBER, "longFrom": _MAYBE}
_PRICES = or_null(_whole("ModelPrices", {**_PRICE_FIELDS, "long": or_null(JSON_OBJECT)}))
_MODEL = _whole(
    "Model",
    {
        "id": TEXT, "name": TEXT, "pipeline": TEXT, "provider": TEXT, "window": COUNT, "maxInput": _MAYBE,
        "maxOutput": _MAYBE, "capabilities": array(TEXT), "version": TEXT, "description": TEXT, "prices": _PRICES,
        "default": {"type": "boolean"},
    }
)  # fmt: skip
MODELS = _whole("ModelList", {"models": array(_MODEL)})
_SECONDS = or_null(_NUMBER)
_MONTH = or_null(
    _whole("ModelUsageOfMonth", {"since": TEXT, "requests": COUNT, "cost": or_null(_NUMBER), "unpriced": COUNT})
)
_FIGURES = _whole(
    "ModelUsage",
    {
        "pipeline": TEXT, "name": TEXT, "requests": COUNT, "failures": COUNT,
        "outcomes": {"type": "object", "additionalProperties": COUNT}, "promptTokens": COUNT,
        "completionTokens": COUNT, "unreported": COUNT, "estimated": COUNT, "cost": or_null(_NUMBER),
        "unpriced": COUNT, "meanS": _SECONDS, "p50S": _SECONDS,
        "p95S": _SECONDS, "successRate": _SECONDS, "month": _MONTH,
    }
)  # fmt: skip
USAGE = _whole("ModelUsageList", {"usage": array(_FIGURES)})
CHOSEN = _whole("DefaultModel", {"pipeline": TEXT, "default": TEXT})
_PIPELINE = _whole(
    "PipelineInfo",
    {
        "name": TEXT, "description": TEXT, "takesContext": {"type": "boolean"}, "default": {"type": "boolean"},
        "inputs": array(TEXT),
    }
)  # fmt: skip
PIPELINES = _whole("PipelineList", {"pipelines": array(_PIPELINE)})
STATUS = _whole("ServerStatus", {"status": TEXT})
