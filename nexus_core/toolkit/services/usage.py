"""Token counts of answers, where each vendor puts them. Pure."""

from __future__ import annotations

from typing import Any

from nexus_core.contract.errors import ProtocolError
from nexus_core.contract.values import Usage

_USUAL_TIERS = frozenset({"", "auto", "default", "standard", "on_demand"})
"""Words of `service_tier` for what a service does by itself, at its usual prices."""


def read_usage(usage: Any, tier: Any = None) -> Usage | None:
    """Return the counts, `None` where the service tells none; raises ProtocolError for what is no count."""
    if usage is None:
        return None
    if not isinstance(usage, dict):
        raise ProtocolError("the usage of the answer is no object", code="usage")
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    for count in (prompt, completion):
        if count is not None and (type(count) is not int or count < 0):
            raise ProtocolError("the usage of the answer holds what is no count", code="usage")
    unusual = tier if isinstance(tier, str) and tier not in _USUAL_TIERS else ""
    if len(usage) <= 3:
        return Usage(prompt_tokens=prompt, completion_tokens=completion, tier=unusual)
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    total = usage.get("total_tokens")
    if reasoning and prompt is not None and completion is not None and total == prompt + completion + reasoning:
        completion += reasoning  # xAI counts it beside the completion, and the total says so
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        reasoning_tokens=reasoning,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        tier=unusual,
    )


def _detail(usage: dict[str, Any], group: str, name: str) -> int | None:
    # Details are worth no error: what is odd about them is unknown.
    details = usage.get(group)
    count = details.get(name) if isinstance(details, dict) else None
    return count if type(count) is int and count >= 0 else None
