"""The words by which services say why an answer ended, mapped to the classes of the contract. Pure.

Gateways hand on the words of whatever stands behind them, in any case and sometimes with a reason after a colon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus_core.contract.errors import ConnectorError, OverloadedError, ProtocolError, ServerError, TruncatedError
from nexus_core.contract.values import FinishReason

_NOT_YET = frozenset({"", "null", "none"})
"""What says that there is no reason yet."""
_WORDS: Mapping[FinishReason, frozenset[str]] = {
    "stop": frozenset(
        {"stop", "stop_sequence", "stop_token", "eos", "eos_token", "eot", "end", "end_turn", "complete", "completed"}
    ),
    "length": frozenset(
        {
            "length", "max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit", "time_limit",
            "model_context_window_exceeded",
        }
    ),
    "content_filter": frozenset(
        {
            "content_filter", "content_filtered", "guardrail_intervened", "refusal", "sensitive", "safety",
            "recitation", "blocklist", "prohibited_content", "spii", "image_safety", "error_toxic",
        }
    ),
    "tool_calls": frozenset({"tool_calls", "tool_call", "tool_use", "function_call"}),
}  # fmt: skip
_REASONS: Mapping[str, FinishReason] = {word: reason for reason, words in _WORDS.items() for word in words}
_FAILED: Mapping[str, type[ConnectorError]] = {
    "error": ServerError,
    "network_error": ServerError,
    "insufficient_system_resource": OverloadedError,
    "abort": TruncatedError,
    "cancelled": TruncatedError,
    "canceled": TruncatedError,
    "user_cancel": TruncatedError,
    "not_finished": TruncatedError,
    "repetition": TruncatedError,
    "function_call_filter": ProtocolError,
    "malformed_function_call": ProtocolError,
    "malformed_model_output": ProtocolError,
    "malformed_tool_use": ProtocolError,
    "unexpected_tool_call": ProtocolError,
}
"""Words that say that the answer was not finished."""
_GRAVITY: Mapping[FinishReason, int] = {"stop": 0, "tool_calls": 2, "length": 3, "content_filter": 4}


def read_finish_reason(said: Any) -> str:
    """Return the word in a `finish_reason`, empty where it tells none; raises ProtocolError for what is no text."""
    if said is None:
        return ""
    if type(said) is not str:
        raise ProtocolError("the finish reason is no text", code="shape")
    return "" if said.strip().lower() in _NOT_YET else said


def classify_finish_reason(word: str) -> tuple[FinishReason, str]:
    """Return the class of a word, and the word itself where nobody knows it: then the class is `stop`.

    Raises the ConnectorError that the word means.
    """
    reason = _REASONS.get(word)
    if reason is not None:  # nearly always
        return reason, ""
    whole = word.strip().lower()
    for known in (whole, whole.partition(":")[0].strip()):
        if known in _REASONS:
            return _REASONS[known], ""
        if known in _FAILED:
            raise _FAILED[known](f"the service gave up: finish reason {known!r}", code=known)
    return "stop", word.strip()


def finish_gravity(word: str) -> int:
    """Return how much a word takes from the answer: none for `stop`, most where it says that the service gave up."""
    try:
        reason, unknown = classify_finish_reason(word)
    except ConnectorError:
        return max(_GRAVITY.values()) + 1
    return 1 if unknown else _GRAVITY[reason]
