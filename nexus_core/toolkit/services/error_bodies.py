"""From the body of an error to the class of the failure: `code`, then `type`, then wording, then HTTP status.

Bodies differ: `error` is an object or a string, `code` a word or a number, FastAPI says `detail`, vLLM said
`{"object": "error"}`. One tolerant reader takes them all. Wordings are used for one class only, context length, since
several servers give it no code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from nexus_core.contract.errors import (
    AuthError,
    ConflictError,
    ConnectorError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from nexus_core.toolkit.http.errors import error_of_status


@frozen(kw_only=True)
class ErrorBody:
    """What the body of an error says."""

    codes: tuple[str, ...] = ()
    """Its codes and types, the most specific first."""
    message: str = ""
    status: int | None = None
    """An HTTP status that stands in the body, as routers write it."""
    words: tuple[str, ...] = ()
    """All that may be a code, also what has blanks or is a number, in lower case."""


ERRORS_BY_KIND: Mapping[str, type[ConnectorError]] = {
    error.kind: error
    for error in (
        RateLimitError, QuotaError, AuthError, ModelNotFoundError, InvalidRequestError, ContextLengthError,
        ContentFilterError, ConflictError, NotReadyError, OverloadedError, ServerError,
    )
}  # fmt: skip
"""What a pipeline may say that a code means (`error_classes`)."""

_CODES: Mapping[type[ConnectorError], tuple[str, ...]] = {
    QuotaError: (
        "insufficient_quota", "credit_balance_exhausted", "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance",
        "insufficient_credits",
    ),
    RateLimitError: ("rate_limit_exceeded", "rate_limit_error", "ratelimitreached", "too_many_requests"),
    AuthError: (
        "invalid_api_key", "missing_api_key", "incorrect_api_key", "authentication_error", "authenticationerror",
        "invalid_authentication", "permission_denied", "permissiondenied", "permission_error", "unauthorized",
        "access_denied", "account_deactivated", "invalid_organization", "mismatched_organization",
        "unsupported_country_region_territory",
    ),
    ModelNotFoundError: (
        "model_not_found", "deploymentnotfound", "deployment_not_found", "unknown_model", "not_found_error",
        "notfounderror", "not_found", "model_not_available",
    ),
    ContextLengthError: (
        "context_length_exceeded", "exceed_context_size_error", "context_window_exceeded", "string_above_max_length",
    ),
    ContentFilterError: (
        "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked",
        "invalid_prompt", "data_inspection_failed",
    ),
    OverloadedError: (
        "server_is_overloaded", "server_overloaded", "overloaded_error", "overloaded", "engine_overloaded",
        "engine_overloaded_error", "slow_down", "unavailable_error", "service_unavailable",
    ),
}  # fmt: skip
_CLASS_OF = {code: error for error, codes in _CODES.items() for code in codes}

# Types that stand in errors of every class: they decide only where there is no status, inside a stream.
_VAGUE: Mapping[str, type[ConnectorError]] = {
    "invalid_request_error": InvalidRequestError,
    "badrequesterror": InvalidRequestError,
    "bad_request": InvalidRequestError,
    "invalid_value": InvalidRequestError,
    "unsupported_parameter": InvalidRequestError,
}

_TOO_LONG = re.compile(
    # OpenAI, Azure, OpenRouter, vLLM: "maximum context length is N"; SGLang: "the model's maximum context length"
    r"maximum context length"
    # SGLang: "longer than the model's context length"; vLLM: "longer than the maximum model length"
    r"|longer than the (?:model'?s context|maximum model) length"
    # vLLM: "the model's context length is only N"; LM Studio: "loaded with context length of only N"
    r"|context length (?:is|of) only"
    # llama.cpp: "exceeds the available context size"; Ollama: "exceeds the context length"
    r"|exceeds? (?:the )?(?:available |maximum |max )?context (?:size|length|window)"
    # LM Studio: "greater than the context length"
    r"|greater than the context length"
    # OpenAI, GPT-5: "Input tokens exceed the configured limit"
    r"|input tokens exceed the configured limit",
    re.IGNORECASE,
)
_WORDED = frozenset({200, 400, 413, 422, 500})

HINTS: Mapping[type[ConnectorError], str] = {
    AuthError: "check api_key and what it may do",
    QuotaError: "the account's credit or limit is used up",
    ModelNotFoundError: "check model and base_url",
    ContextLengthError: "lower the budget of the prompt step, or correct the window of the model",
}


def read_error_body(payload: Any) -> ErrorBody:
    """Return what an error body says, whatever its shape; never raises."""
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if isinstance(payload, str):
        return ErrorBody(message=payload)
    if not isinstance(payload, dict):
        return ErrorBody()
    error = payload.get("error") or payload.get("detail") or payload
    if _filtered(payload):
        return ErrorBody(codes=("content_filter",), message="the content was filtered")
    if isinstance(error, list):  # FastAPI: one entry per mistake, with the input, which is not to be shown
        error = {"message": "; ".join(str(entry.get("msg", "")) for entry in error if isinstance(entry, dict))}
    if not isinstance(error, dict):
        message = _first_text(error, payload.get("message"))
        return ErrorBody(message=message, codes=_codes(payload), words=_words(error, *_said(payload)))
    message = _first_text(error.get("message"), error.get("msg"), payload.get("message"))
    status = _status(error.get("code"), error.get("status"))
    return ErrorBody(codes=_codes(error), message=message, status=status, words=_words(*_said(error)))


def classify_error(body: ErrorBody, status: int, own: Mapping[str, str] | None = None) -> type[ConnectorError]:
    """Return the class of a failure; `status` is 200 for an error inside a stream or a good answer.

    `own` has the kinds that a pipeline gives to codes of its service, in lower case; it goes before all else.
    """
    if own:
        for word in body.words:
            if word in own:
                return ERRORS_BY_KIND[own[word]]
    codes = [code.lower() for code in body.codes]
    for code in codes:
        if code in _CLASS_OF:
            return _CLASS_OF[code]
    if status in _WORDED and _TOO_LONG.search(body.message):
        return ContextLengthError
    said = status if status >= 300 else body.status
    if said is not None:
        return error_of_status(said)
    return next((_VAGUE[code] for code in codes if code in _VAGUE), ServerError)


def describe_refusal(
    error: type[ConnectorError], status: int, code: str, message: str, hints: Mapping[type[ConnectorError], str] = HINTS
) -> str:
    """Return the message of a failure; `code` and `message` are what the service said, made safe.

    `hints` says what to do about it, by class.
    """
    where = "in its answer" if status < 300 else f"with status {status}"
    named = f" ({code})" if code else ""
    said = f": {message}" if message else ""
    hint = f"; {hints[error]}" if error in hints else ""
    return f"the service refused {where}{named}{said}{hint}"


def _filtered(payload: dict[str, Any]) -> bool:
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and first.get("finish_reason") == "content_filter"


def _codes(error: dict[str, Any]) -> tuple[str, ...]:
    words = (text for text in _said(error) if isinstance(text, str) and re.fullmatch(r"[A-Za-z][\w.\-]{1,63}", text))
    return tuple(dict.fromkeys(words))


def _said(error: dict[str, Any]) -> tuple[Any, ...]:
    """Return what stands where codes stand, the most specific first."""
    inner = error.get("innererror") or error.get("inner_error")
    return (inner.get("code") if isinstance(inner, dict) else None, error.get("code"), error.get("type"))


def _words(*values: Any) -> tuple[str, ...]:
    return tuple(str(value).strip().lower() for value in values if type(value) in (str, int) and value != "")


def _status(*values: Any) -> int | None:
    for value in values:
        if isinstance(value, str) and re.fullmatch(r"[1-5]\d\d", value, re.ASCII):
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")
