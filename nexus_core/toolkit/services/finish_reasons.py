"""The words by which services say why an answer ended, mapped to the classes of the contract. Pure.

Gateways hand on the words of whatever stands behind them, in any case, with any sign between their parts, as names of
an enumeration (`FinishReason.STOP`), and sometimes with a reason after a colon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nexus_core.contract.errors import ConnectorError, OverloadedError, ProtocolError, ServerError, TruncatedError
from nexus_core.contract.values import FinishReason

_NOT_YET = frozenset({"", "null", "none", "undefined", "finish_reason_unspecified"})
"""What says that there is no reason yet."""
_WORDS: Mapping[FinishReason, frozenset[str]] = {
    "stop": frozenset(
        {
            "stop", "stopped", "stop_sequence", "stop_token", "stop_word", "eos", "eos_token", "eos_token_found", "eot",
            "eot_token", "end", "end_turn", "end_of_turn", "end_of_text", "complete", "completed", "done", "finish",
            "finished", "stop_sequence_found", "stop_str", "stop_string", "im_end", "eot_id", "eos_id", "endoftext",
        }
    ),
    "length": frozenset(
        {
            "length", "max_tokens", "max_output_tokens", "max_output", "max_new_tokens", "max_completion_tokens",
            "max_length", "model_length", "length_capped", "token_limit", "limit", "time_limit", "error_limit",
            "context_length", "context_length_exceeded", "context_window_exceeded", "model_context_window_exceeded",
        }
    ),
    "content_filter": frozenset(
        {
            "content_filter", "content_filtered", "content_policy", "content_policy_violation", "guardrail",
            "guardrail_intervened", "guardrails", "refusal", "refused", "sensitive", "safety", "recitation",
            "blocklist", "blocked", "prohibited_content", "spii", "model_armor", "moderation", "image_safety",
            "image_prohibited_content", "image_recitation", "error_toxic",
        }
    ),
    "tool_calls": frozenset({"tool_calls", "tool_call", "tool_use", "function_call", "function_calls"}),
}  # fmt: skip
_REASONS: Mapping[str, FinishReason] = {word: reason for reason, words in _WORDS.items() for word in words}
_FAILED: Mapping[str, type[ConnectorError]] = {
    "error": ServerError,
    "failed": ServerError,
    "internal_error": ServerError,
    "network_error": ServerError,
    "server_error": ServerError,
    "insufficient_system_resource": OverloadedError,
    "abort": TruncatedError,
    "aborted": TruncatedError,
    "cancelled": TruncatedError,
    "canceled": TruncatedError,
    "user_cancel": TruncatedError,
    "interrupted": TruncatedError,
    "not_finished": TruncatedError,
    "repetition": TruncatedError,
    "timeout": TruncatedError,
    "function_call_filter": ProtocolError,
    "malformed_function_call": ProtocolError,
    "malformed_model_output": ProtocolError,
    "malformed_response": ProtocolError,
    "malformed_tool_call": ProtocolError,
    "malformed_tool_use": ProtocolError,
    "missing_thought_signature": ProtocolError,
    "too_many_tool_calls": ProtocolError,
    "unexpected_tool_call": ProtocolError,
}
"""Words that say that the answer was not finished."""
_PLAIN: Mapping[str, str] = {word.replace("_", ""): word for word in (*_REASONS, *_FAILED)}
_GRAVITY: Mapping[FinishReason, int] = {"stop": 0, "tool_calls": 2, "length": 3, "content_filter": 4}


def read_finish_reason(said: Any) -> str:
    """Return the word in a `finish_reason`, empty where it tells none; raises ProtocolError for what is no text."""
    if type(said) is dict:  # SGLang: {"type": "stop", "matched": 2}
        said = said.get("type") or said.get("reason")
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
    whole = re.sub(r"^(?:finish|stop)_?reason[._]", "", word.strip().lower())
    for said in (whole, whole.partition(":")[0]):
        known = _PLAIN.get(re.sub(r"[\s_\-<|>]", "", said), "")
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
