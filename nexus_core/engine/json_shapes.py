"""Answers, explanations and items as JSON data: the one shape that the command line and the HTTP API share."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from nexus_core.contract.answers import Answer, AttemptFinished, ToolFinished, sum_costs
from nexus_core.contract.models import ModelPrices
from nexus_core.contract.prompts import Prompt, TraceEntry
from nexus_core.contract.values import FilePart, ImagePart, Item, Message, TextPart, ToolCall
from nexus_core.toolkit.documents.citation_place import place_of

if TYPE_CHECKING:
    from nexus_core.engine.explain import ExplainedTarget, Explanation


def item_json(item: Item) -> dict[str, Any]:
    """Return an item as JSON data."""
    return {
        "id": item.id,
        "title": item.title,
        "text": item.text,
        "kind": item.kind,
        "tags": list(item.tags),
        "source": item.source,
        "metadata": dict(item.metadata),
        **({"readers": list(item.readers)} if item.readers else {}),
    }


def media_json(part: ImagePart | FilePart) -> dict[str, Any]:
    """Return an image or a file as JSON data: its address, or of its bytes the number and a digest."""
    found: dict[str, Any] = {"type": "image" if isinstance(part, ImagePart) else "file", "mediaType": part.media_type}
    if isinstance(part, ImagePart):
        found["detail"] = part.detail
    elif part.filename:
        found["filename"] = part.filename
    if part.url:
        return found | {"url": part.url}
    return found | {"bytes": len(part.data), "sha256": sha256(part.data).hexdigest()}


def message_json(message: Message) -> dict[str, Any]:
    """Return a message of a prompt as JSON data; what is more than text stands beside it."""
    found: dict[str, Any] = {"role": message.role, "content": message.text}
    if not isinstance(message.content, str):
        found["attachments"] = [media_json(part) for part in message.content if not isinstance(part, TextPart)]
    if message.tool_calls:
        found["toolCalls"] = tool_calls_json(message.tool_calls)
    if message.tool_call_id:
        found["toolCallId"] = message.tool_call_id
    return found


def tool_calls_json(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Return the calls of tools that a model asks for as JSON data."""
    return [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls]


def answer_json(answer: Answer, digits: int | None = None) -> dict[str, Any]:
    """Return an answer as JSON data; counts that are unknown are null, and so is a cost: that of all its attempts.

    Scores have so many `digits`, here and in what follows.
    """
    cost, unpriced = sum_costs(answer.attempts)
    return {
        "id": answer.id,
        "query": answer.query,
        "response": answer.text,
        **({"value": answer.value, "repaired": answer.repaired} if answer.has_value else {}),
        **({"toolCalls": tool_calls_json(answer.tool_calls)} if answer.tool_calls else {}),
        "contextId": answer.context_id,
        "modelId": answer.model_id,
        "conversationId": answer.conversation_id,
        "metadata": {
            "promptTokens": answer.usage.prompt_tokens,
            "completionTokens": answer.usage.completion_tokens,
            "totalTokens": answer.usage.total_tokens,
            "usageSource": answer.usage.source,
            "cost": cost,
            "unpricedAttempts": unpriced,
            **({"nativeFinishReason": answer.native_finish_reason} if answer.native_finish_reason else {}),
            "responseTimeMs": round(answer.duration_s * 1000),
            "contextItems": [
                {"id": packed.item.id, "title": packed.item.title, "relevance": _rounded(packed.score, digits)}
                for packed in answer.prompt.items
            ],
        },
        "attempts": [attempt_json(row) for row in answer.attempts],
        **({"tools": [tool_json(row, digits) for row in answer.tools]} if answer.tools else {}),
    }


TRACE_ENTRIES = 200
"""The most entries of a trace that are told, best first: a run may have a million candidates."""


def packing_json(prompt: Prompt, digits: int | None = None) -> dict[str, Any]:
    """Return what fills a prompt's window, and what became of its best candidates, as JSON data."""
    return {
        "searched": str(prompt.searched) or None,
        "window": prompt.window,
        "reserved": prompt.reserved,
        "promptTokens": prompt.tokens_at_most if prompt.prompt_tokens is None else prompt.prompt_tokens,
        "promptTokensAreExact": prompt.prompt_tokens is not None,
        "contextTokens": prompt.context_tokens,
        "history": {"kept": prompt.history_kept, "dropped": prompt.history_dropped},
        "candidates": len(prompt.trace),
        "trace": [_trace_json(entry, digits) for entry in prompt.trace[:TRACE_ENTRIES]],
    }


def passages_json(prompt: Prompt, digits: int | None = None) -> list[dict[str, Any]]:
    """Return the items of a prompt as they stand in it, as JSON data: what its citations refer to."""
    return [
        {
            "number": packed.number,
            "id": packed.item.id,
            "title": packed.item.title,
            "source": packed.item.source,
            "place": place_of(packed.item, packed.text),
            "relevance": _rounded(packed.score, digits),
            "whole": packed.whole,
            "text": packed.text,
        }
        for packed in prompt.items
    ]


def attempt_json(row: AttemptFinished) -> dict[str, Any]:
    """Return a row of the ledger as JSON data; what is unknown is null."""
    return {
        "callId": row.call_id,
        "number": row.number,
        "model": row.model,
        "modelId": row.model_id,
        "purpose": row.purpose,
        "outcome": row.outcome,
        "status": row.status,
        "code": row.code,
        "error": row.error,
        "requestSent": row.request_sent,
        "fromCache": row.from_cache,
        "queuedMs": _ms(row.queued_s),
        "waitedMs": _ms(row.waited_s),
        "durationMs": _ms(row.duration_s),
        "firstByteMs": _ms(row.first_byte_s),
        "firstContentMs": _ms(row.first_content_s),
        "promptTokens": row.prompt_tokens,
        "completionTokens": row.completion_tokens,
        "reasoningTokens": row.reasoning_tokens,
        "cachedTokens": row.cached_tokens,
        "usageSource": row.usage_source,
        "cost": row.cost,
        "bytesReceived": row.bytes_received,
        "events": row.events,
    }


def tool_json(row: ToolFinished, digits: int | None = None) -> dict[str, Any]:
    """Return a call of a tool as JSON data: what was asked, what came of it, and what was packed of that."""
    return {
        "callId": row.call_id,
        "round": row.round,
        "number": row.number,
        "name": row.name,
        "outcome": row.outcome,
        "durationMs": _ms(row.duration_s),
        "items": row.items,
        "tokens": row.tokens,
        "wasCut": row.was_cut,
        "arguments": row.arguments,
        "result": row.result,
        "trace": [_trace_json(entry, digits) for entry in row.trace[:TRACE_ENTRIES]],
    }


def prices_json(prices: ModelPrices | None) -> dict[str, Any] | None:
    """Return prices as JSON data, in US dollars per million tokens; unknown ones are null."""
    if prices is None:
        return None
    found = {name: getattr(prices, name) for name in ("input", "cached", "output", "reasoning")}
    return {**found, "longFrom": prices.long_from, "long": prices_json(prices.long)}


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON data."""
    prompt = explanation.prompt
    return {
        "pipeline": explanation.pipeline,
        "query": explanation.query,
        "searched": explanation.searched,
        "model": explanation.model.name,
        "modelId": explanation.model.info.id,
        "window": prompt.window,
        "promptTokens": prompt.tokens_at_most,
        "contextTokens": prompt.context_tokens,
        "reservedTokens": prompt.reserved,
        "countsAreExact": explanation.exact,
        "parts": {part.name: part.tokens for part in explanation.parts},
        "partsAtMost": [part.name for part in explanation.parts if part.at_most],
        "messages": [message_json(message) for message in prompt.messages],
        "items": [
            {"number": packed.number, "id": packed.item.id, "title": packed.item.title, "whole": packed.whole}
            for packed in prompt.items
        ],
        "history": {"kept": prompt.history_kept, "dropped": prompt.history_dropped},
        "trace": [_trace_json(entry) for entry in prompt.trace],
        "chain": [_target_json(target) for target in explanation.targets],
        "notes": list(explanation.notes),
    }


def _rounded(score: float, digits: int | None) -> float:
    return score if digits is None else round(score, digits)


def _trace_json(entry: TraceEntry, digits: int | None = None) -> dict[str, Any]:
    return {
        "id": entry.item_id,
        "title": entry.title,
        "decision": entry.decision,
        "reason": entry.reason,
        "score": _rounded(entry.score, digits),
        "scores": {name: _rounded(score, digits) for name, score in entry.scores.items()},
        "tokens": entry.tokens,
        "alike": entry.alike,
    }


def _target_json(target: ExplainedTarget) -> dict[str, Any]:
    return {
        "model": target.model.name,
        "modelId": target.model.info.id,
        "provider": target.model.info.provider,
        "window": target.model.info.window,
        "reservedTokens": target.reserved,
        "promptTokens": target.prompt.tokens_at_most if target.prompt else None,
        "promptCost": target.prompt_cost,
        "items": len(target.prompt.items) if target.prompt else 0,
        "problem": target.problem or None,
    }
