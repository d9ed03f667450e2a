"""Usage: each vendor's counts in its place, contradictions, and that what is no count costs nothing but itself."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Usage
from nexus_core.toolkit import find_usage, merge_usage, read_usage
from nexus_core.toolkit.services.usage import UNREADABLE


def counts(usage: Usage | None) -> tuple[Any, ...]:
    """Return prompt, completion, thought and cached tokens."""
    assert usage is not None
    return (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens, usage.cached_tokens)


CHAT = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
VENDORS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "openai": (
        {**CHAT, "prompt_tokens_details": {"cached_tokens": 16}, "completion_tokens_details": {"reasoning_tokens": 3}},
        (20, 5, 3, 16),
    ),
    "responses": (
        {
            "input_tokens": 20, "output_tokens": 5, "total_tokens": 25, "input_tokens_details": {"cached_tokens": 16},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
        (20, 5, 3, 16),
    ),
    "anthropic": (
        {"input_tokens": 4, "output_tokens": 5, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 6},
        (20, 5, None, 10),
    ),
    "anthropic-as-openai": (
        {**CHAT, "cache_read_input_tokens": 16, "cache_creation_input_tokens": 0},
        (20, 5, None, 16),
    ),
    "anthropic-left-out": (
        {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 25, "cache_read_input_tokens": 16},
        (20, 5, None, 16),
    ),
    "anthropic-nulls": (
        {"input_tokens": 4, "output_tokens": 5, "cache_read_input_tokens": None, "service_tier": "standard"},
        (4, 5, None, None),
    ),
    "gemini": (
        {
            "promptTokenCount": 20, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "cachedContentTokenCount": 16,
            "totalTokenCount": 32,
        },
        (20, 12, 7, 16),
    ),
    "gemini-all-thought": ({"promptTokenCount": 20, "thoughtsTokenCount": 7, "totalTokenCount": 27}, (20, 7, 7, None)),
    "gemini-tools": (
        {
            "promptTokenCount": 20, "toolUsePromptTokenCount": 4, "candidatesTokenCount": 5, "totalTokenCount": 29,
        },
        (24, 5, None, None),
    ),
    "ollama": ({"prompt_eval_count": 20, "eval_count": 5, "eval_duration": 99}, (20, 5, None, None)),
    "bedrock": (
        {
            "inputTokens": 4, "outputTokens": 5, "totalTokens": 25, "cacheReadInputTokens": 10,
            "cacheWriteInputTokens": 6,
        },
        (20, 5, None, 10),
    ),
    "cohere": (
        {"billed_units": {"input_tokens": 3, "output_tokens": 5}, "tokens": {"input_tokens": 20, "output_tokens": 5}},
        (20, 5, None, None),
    ),
    "kimi": ({**CHAT, "cached_tokens": 16}, (20, 5, None, 16)),
    "deepseek": ({**CHAT, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 4}, (20, 5, None, 16)),
    "reasoning-at-the-top": ({**CHAT, "reasoning_tokens": 3}, (20, 5, 3, None)),
    "xai": (
        {
            "prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 409,
            "completion_tokens_details": {"reasoning_tokens": 300},
        },
        (100, 309, 300, None),
    ),
    "xai-without-total": (
        {"prompt_tokens": 100, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 300}},
        (100, 309, 300, None),
    ),
    "floats": ({"prompt_tokens": 20.0, "completion_tokens": 5.0, "total_tokens": 25.0}, (20, 5, None, None)),
    "list": ([CHAT], (20, 5, None, None)),
    "total-alone": ({"total_tokens": 25}, (None, None, None, None)),
    "without-completion": ({"prompt_tokens": 20, "total_tokens": 25}, (20, 5, None, None)),
    "empty": ({}, (None, None, None, None)),
    "empty-list": ([], (None, None, None, None)),
    "llama.cpp": ({"cache_n": 16, "prompt_n": 4, "predicted_n": 5, "predicted_ms": 1.5}, (20, 5, None, 16)),
}  # fmt: skip


@pytest.mark.parametrize(("usage", "expected"), VENDORS.values(), ids=VENDORS)
def test_usage_of_each_vendor_is_read(usage: Any, expected: tuple[Any, ...]) -> None:
    """Cached tokens are a part of the prompt, thought ones of the completion, whoever counts them apart."""
    found = read_usage(usage)
    assert counts(found) == expected
    assert found is not None
    assert found.source == "provider"


@pytest.mark.parametrize("reasoning", [None, 100], ids=["untold", "another"])
def test_gap_to_the_total_belongs_to_the_completion(reasoning: int | None) -> None:
    """A gap that nothing explains is marked: Gemini's chat completions tell thoughts by the total alone."""
    told = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}
    found = read_usage(told if reasoning is None else {**told, "reasoning_tokens": reasoning})
    assert counts(found) == (20, 603, reasoning or 405, None)
    assert found is not None
    assert found.source == "estimated"


NO_COUNTS = ["20", "", True, False, -1, 1.5, float("nan"), float("inf"), [20], {"n": 20}, 10**30]
NAMES = [("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"), ("inputTokens", "outputTokens"),
         ("promptTokenCount", "candidatesTokenCount"), ("prompt_eval_count", "eval_count")]  # fmt: skip


@pytest.mark.parametrize("place", [0, 1], ids=["prompt", "completion"])
@pytest.mark.parametrize(("names", "value"), list(product(NAMES, NO_COUNTS)), ids=repr)
def test_what_is_no_count_makes_the_usage_unknown(names: tuple[str, str], value: Any, place: int) -> None:
    """Never an error of the answer, and never half of a usage."""
    assert read_usage({names[place]: value, names[1 - place]: 5}) is UNREADABLE
    assert read_usage({**dict.fromkeys(names, 5), "cached_tokens": value, "total_tokens": value}) is not UNREADABLE


@pytest.mark.parametrize("usage", ["12", 3, True, 1.5, [CHAT, CHAT]], ids=repr)
def test_what_is_no_object_is_unreadable(usage: Any) -> None:
    """Whoever estimates it knows that it was told wrongly."""
    assert read_usage(usage) is UNREADABLE
    assert (UNREADABLE.source, UNREADABLE.prompt_tokens) == ("estimated", None)


PLACES: dict[str, Any] = {
    "top": {"usage": CHAT},
    "choice": {"choices": [{"index": 0, "delta": {}, "usage": CHAT}]},
    "delta": {"choices": [{"index": 0, "delta": {"usage": CHAT}}]},
    "groq": {"choices": [], "x_groq": {"id": "r", "usage": CHAT}},
    "gemini": {"usageMetadata": CHAT},
    "anthropic-start": {"type": "message_start", "message": {"usage": CHAT}},
    "responses": {"type": "response.completed", "response": {"usage": CHAT}},
    "bedrock": {"metadata": {"usage": CHAT}},
    "invocation-metrics": {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 20, "outputTokenCount": 5}},
    "ollama": {"model": "m", "done": True, "prompt_eval_count": 20, "eval_count": 5},
    "cohere-1": {"meta": {"billed_units": {"input_tokens": 20, "output_tokens": 5}}},
    "beside-an-empty-one": {"usage": {}, "x_vendor": {"usage": CHAT}},
}


@pytest.mark.parametrize("payload", PLACES.values(), ids=PLACES)
def test_usage_is_found_in_each_place(payload: Any) -> None:
    """Also beside an empty one."""
    assert counts(read_usage(find_usage(payload)))[:2] == (20, 5)


@pytest.mark.parametrize(
    "payload", [{}, {"choices": []}, {"choices": [None]}, {"choices": 3}, {"usage": None}], ids=repr
)
def test_no_usage_is_none(payload: Any) -> None:
    """Whatever else is odd."""
    assert read_usage(find_usage(payload)) is None


FIRST = Usage(prompt_tokens=7, completion_tokens=1)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (None, FIRST), (UNREADABLE, FIRST), (Usage(), FIRST), (Usage(prompt_tokens=0, completion_tokens=0), FIRST),
        (Usage(completion_tokens=3), Usage(prompt_tokens=7, completion_tokens=3)),
        (Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=0),
         Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=0)),
    ],
    ids=["nothing", "unreadable", "empty", "zeros", "half", "more"],
)  # fmt: skip
def test_later_usage_adds_what_it_tells(later: Usage | None, expected: Usage) -> None:
    """Services count up, and some end with zeros or nothing."""
    assert merge_usage(FIRST, later) == expected
    assert merge_usage(None, later) is later


numbers: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)
every_name = st.sampled_from(
    [
        *(name for pair in NAMES for name in pair), "total_tokens", "totalTokenCount", "cached_tokens",
        "reasoning_tokens", "thoughtsTokenCount", "cache_read_input_tokens", "cacheReadInputTokens", "tokens",
        "prompt_tokens_details", "completion_tokens_details", "service_tier",
    ]
)  # fmt: skip


@given(st.dictionaries(every_name, numbers | st.dictionaries(every_name, numbers, max_size=2), max_size=8))
@settings(max_examples=300, deadline=None)
def test_usage_is_read_whatever_it_holds(usage: dict[str, Any]) -> None:
    """Counts are whole numbers of at least 0, or unknown; nothing is ever raised."""
    found = read_usage(usage)
    assert all(count is None or (type(count) is int and count >= 0) for count in counts(found))
