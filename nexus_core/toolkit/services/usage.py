"""Token counts of answers, wherever a vendor puts them and whatever it calls them. Pure.

One reader for all: OpenAI (chat and responses), Anthropic, Gemini, Ollama, Bedrock, Cohere, DeepSeek, Kimi, xAI,
llama.cpp. Usage costs nothing more than itself: what is no count makes it unknown, and is never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve

from nexus_core.contract.values import Usage

UNREADABLE = Usage(source="estimated")
"""What the service told holds no counts: somebody has to estimate them, and to say so."""

_USUAL_TIERS = frozenset({"", "auto", "default", "standard", "on_demand"})
"""Words of `service_tier` for what a service does by itself, at its usual prices."""
_MOST = 2**53
"""Tokens: more of them are no count."""
_APART = ("inputTokens", "inputTokenCount", "prompt_n")
"""Names of prompts without what was cached: Bedrock, and the timings of llama.cpp."""
_PROMPT = ("prompt_tokens", "input_tokens", *_APART, "promptTokenCount", "prompt_token_count", "prompt_eval_count")
_COMPLETION = (
    "completion_tokens", "output_tokens", "outputTokens", "outputTokenCount", "predicted_n", "candidatesTokenCount",
    "candidates_token_count", "eval_count",
)  # fmt: skip
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount", "total_token_count")
_DETAILS = ("prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "output_tokens_details")
_OPENAI = frozenset({"prompt_tokens", "completion_tokens", "total_tokens", *_DETAILS[::2]})
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cachedContentTokenCount", "cached_content_token_count")
"""A part of the prompt."""
_CACHE_READ = ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount", "cache_n")
_CACHE_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount")
_REASONING = ("reasoning_tokens", "thinking_tokens")
_THOUGHTS = ("thoughtsTokenCount", "thoughts_token_count")
"""Beside the completion: Gemini."""
_TOOL_PROMPT = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")
_PLACES = ("usage", "usageMetadata", "usage_metadata", "token_usage", "amazon-bedrock-invocationMetrics", "timings")
"""Names of the object that holds the counts."""
_AROUND = ("meta", "metadata", "message", "delta", "response", "output", "data")
"""Names of objects that may hold it."""


class _NoCount(Exception):
    """A number of tokens is none."""


def find_usage(payload: Mapping[str, Any]) -> Any:
    """Return what an answer or an event tells of its usage, wherever that stands; `None` where it tells nothing."""
    for place in _places(payload):
        for name in _PLACES:
            if place.get(name):
                return place[name]
    if "prompt_eval_count" in payload or "eval_count" in payload:
        return payload  # Ollama
    meta = payload.get("meta")
    return meta if isinstance(meta, dict) and ("tokens" in meta or "billed_units" in meta) else None


def _places(payload: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    yield payload
    for place in (first, payload):
        if isinstance(place, dict):
            yield place
            for name, value in place.items():
                if isinstance(value, dict) and (name in _AROUND or name.startswith("x_")):
                    yield value


def read_usage(usage: Any, tier: Any = None) -> Usage | None:
    """Return the counts, `None` where the service tells none, and UNREADABLE for what is no count.

    `tier` is the service's word for how it served the request. Cached tokens are a part of the prompt, and thought
    ones of the completion, also where the vendor counts them apart. Where the total is still larger, the gap belongs to
    the completion: exactly, if so many tokens were thought, else `source` is `estimated`.
    """
    if usage is None:
        return None
    if type(usage) is list and len(usage) <= 1:
        usage = usage[0] if usage else {}
    if type(usage) is not dict:
        return UNREADABLE
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    unusual = tier if type(tier) is str and tier not in _USUAL_TIERS else ""
    if (
        type(prompt) is int
        and type(completion) is int
        and 0 <= prompt + completion < _MOST
        and min(prompt, completion) >= 0
        and usage.keys() <= _OPENAI
    ):
        total = usage.get("total_tokens")
        if total == prompt + completion or (total is None and len(usage) == 2):  # nearly always
            return _within(usage, prompt, completion, unusual)
    try:
        return _read(usage, unusual or _tier_in(usage))
    except _NoCount:
        return UNREADABLE


def _within(usage: dict[str, Any], prompt: int, completion: int, tier: str) -> Usage:
    """Return counts as OpenAI tells them: all details are within."""
    if len(usage) <= 3:
        return Usage(prompt_tokens=prompt, completion_tokens=completion, tier=tier)
    of_prompt, of_completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        reasoning_tokens=_as_count(of_completion.get("reasoning_tokens")) if type(of_completion) is dict else None,
        cached_tokens=_as_count(of_prompt.get("cached_tokens")) if type(of_prompt) is dict else None,
        tier=tier,
    )


def merge_usage(before: Usage | None, later: Usage | None) -> Usage | None:
    """Return what is known after two reports of one answer: services count up, and some end with zeros or nothing."""
    if before is None or later is None or later is UNREADABLE or before is UNREADABLE:
        known = [usage for usage in (later, before) if usage is not None and usage is not UNREADABLE]
        return known[0] if known else later or before
    merged = {}
    for name in ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"):
        new, old = getattr(later, name), getattr(before, name)
        merged[name] = new or (new if old is None else old)
    source = later.source if later.prompt_tokens or later.completion_tokens else before.source
    return evolve(later, **merged, source=source, tier=later.tier or before.tier)


def _read(usage: dict[str, Any], tier: str) -> Usage:
    for name in ("tokens", "billed_units"):  # Cohere
        if isinstance(usage.get(name), dict):
            usage = {**usage, **usage[name]}
            break
    told = [value for name in _DETAILS if isinstance(value := usage.get(name), dict)]
    prompt, completion = _count_of(usage, _PROMPT), _count_of(usage, _COMPLETION)
    total, thoughts = _detail(usage, _TOTAL), _detail(usage, _THOUGHTS)
    reasoning = _detail(usage, _REASONING, told) if thoughts is None else thoughts
    if thoughts and (completion is not None or prompt is not None):
        completion = (completion or 0) + thoughts
    if prompt is not None:
        prompt += _detail(usage, _TOOL_PROMPT) or 0
    cached = _detail(usage, _CACHED, told)
    read, written = _detail(usage, _CACHE_READ, told), _detail(usage, _CACHE_WRITTEN, told)
    if prompt is not None and _leaves_out(usage, prompt, completion, total, cached, (read or 0) + (written or 0)):
        prompt += (read or cached or 0) + (written or 0)
    cached = read if cached is None else cached
    gap, known = _gap(prompt, completion, total, reasoning)
    if gap is None:
        return Usage(
            prompt_tokens=prompt, completion_tokens=completion, reasoning_tokens=reasoning, cached_tokens=cached,
            tier=tier,
        )  # fmt: skip
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=(completion or 0) + gap,
        reasoning_tokens=gap if reasoning is None and not known else reasoning,
        cached_tokens=cached,
        source="provider" if known else "estimated",
        tier=tier,
    )


def _leaves_out(
    usage: dict[str, Any], prompt: int, completion: int | None, total: int | None, cached: int | None, apart: int
) -> bool:
    """Tell whether the cached tokens are no part of the prompt yet; `apart` is how many the vendor counts by itself."""
    if (cached or 0) > prompt or apart > prompt:
        return True
    if not apart or cached is not None:
        return False
    said = prompt + (completion or 0)
    if total is not None and any(name in usage for name in ("prompt_tokens", "input_tokens")):
        return total >= said + apart
    return "prompt_tokens" not in usage  # Anthropic, Bedrock


def _gap(
    prompt: int | None, completion: int | None, total: int | None, reasoning: int | None
) -> tuple[int | None, bool]:
    """Return what the completion lacks, `None` if nothing, and whether that is sure."""
    if total is None:
        left_out = reasoning if reasoning and completion is not None and reasoning > completion else None
        return left_out, True
    if prompt is None or total < prompt + (completion or 0):
        return None, True
    gap = total - prompt - (completion or 0)
    if completion is None:
        return gap, True
    return gap or None, gap == reasoning


def _count_of(usage: dict[str, Any], names: Sequence[str]) -> int | None:
    value = next((value for name in names if (value := usage.get(name)) is not None), None)
    count = _as_count(value)
    if count is None and value is not None:
        raise _NoCount
    return count


def _detail(usage: dict[str, Any], names: Sequence[str], groups: Sequence[dict[str, Any]] = ()) -> int | None:
    # Details cost not even the usage: what is odd about them is unknown.
    counts = (_as_count(place.get(name)) for place in (*groups, usage) for name in names)
    return next((count for count in counts if count is not None), None)


def _as_count(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _MOST else None


def _tier_in(usage: dict[str, Any]) -> str:
    tier = usage.get("service_tier")
    return tier if type(tier) is str and tier not in _USUAL_TIERS else ""
