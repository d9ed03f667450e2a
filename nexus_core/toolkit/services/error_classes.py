"""From what the body of an error says to the class of the failure, and to the message that tells of it. Pure.

What a pipeline says of a code goes first, then one request that is too large for a minute, limits of a day, codes,
wordings, and last the HTTP status. Codes are compared without case, marks and the endings `Error` and `Exception`,
since gateways spell them anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import evolve

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
    UnsupportedRequestError,
)
from nexus_core.toolkit.http.errors import error_of_status
from nexus_core.toolkit.services.error_bodies import ErrorBody
from nexus_core.toolkit.services.error_wordings import (
    classify_message,
    endpoint_needed,
    is_larger_than_a_minute,
    is_per_day,
    is_per_minute,
)

ERRORS_BY_KIND: Mapping[str, type[ConnectorError]] = {
    error.kind: error
    for error in (
        RateLimitError, QuotaError, AuthError, ModelNotFoundError, InvalidRequestError, UnsupportedRequestError,
        ContextLengthError, ContentFilterError, ConflictError, NotReadyError, OverloadedError, ServerError,
    )
}  # fmt: skip
"""What a pipeline may say that a code means (`error_classes`)."""

_CODES: Mapping[type[ConnectorError], str] = {
    QuotaError: """
        insufficient_quota credit_balance_exhausted project_spend_limit_exceeded organization_usage_limit_exceeded
        billing_hard_limit_reached billing_not_active insufficient_balance insufficient_credits billing
        exceeded_current_quota usage_limit_reached usage_limit_exceeded free_usage_limit quota_exhausted
        payment_required arrearage account_arrears overdue_payment invalid_subscription budget_exceeded exceeded_budget
        allocation_quota.free_tier_only insufficient_funds account_suspended balance_not_enough
        """,
    RateLimitError: """
        rate_limit_exceeded rate_limit rate_limit_reached rate_limited too_many_requests too_many_tokens throttling
        throttled request_limit_exceeded throttling.rate_quota throttling.burst_rate throttling.allocation_quota
        limit_requests token_quota_exceeded request_quota_exceeded concurrency_limit_exceeded request_limit
        policies.ratelimit.quota_violation policies.ratelimit.spike_arrest_violation requests_rate_limit
        user_rate_limit_exceeded qps_limit
        """,
    AuthError: """
        invalid_api_key missing_api_key incorrect_api_key authentication invalid_authentication permission_denied
        permission unauthorized unauthenticated access_denied account_deactivated invalid_organization
        mismatched_organization unsupported_country_region_territory api_key_invalid api_key_expired expired_token
        unrecognized_client invalid_token token_expired invalid_signature incomplete_signature
        missing_authentication_token forbidden invalid_client_token_id auth invalid_credentials authorization
        user_location_not_supported
        """,
    ModelNotFoundError: """
        model_not_found deployment_not_found unknown_model not_found model_not_available invalid_model
        model_decommissioned model_deprecated model_not_exist model_not_supported unsupported_model model_unavailable
        operation_not_supported resource_not_found endpoint_not_found resource_does_not_exist
        invalid_endpoint_or_model.not_found no_such_model model_not_open model_terms_required invalid_model_id
        key_model_access_denied team_model_access_denied user_model_access_denied
        """,
    ContextLengthError: """
        context_length_exceeded exceed_context_size context_window_exceeded model_context_window_exceeded
        tokens_limit_reached model_max_prompt_tokens_exceeded input_too_long prompt_too_long
        max_context_length_exceeded context_size_exceeded token_limit_exceeded input_tokens_exceeded
        """,
    ContentFilterError: """
        content_filter content_policy_violation responsible_ai_policy_violation moderation_blocked invalid_prompt
        data_inspection_failed content_filtered content_moderation prohibited_content safety sensitive_content
        guardrail_intervened guardrails_blocked content_blocked
        """,
    UnsupportedRequestError: """
        unsupported_parameter unsupported_value unknown_parameter unsupported unsupported_feature extra_forbidden
        not_supported unsupported_parameters feature_not_supported unrecognized_parameter unsupported_operation
        request_too_large request_entity_too_large payload_too_large
        """,
    OverloadedError: """
        server_is_overloaded server_overloaded overloaded engine_overloaded slow_down unavailable service_unavailable
        model_overloaded capacity_exceeded over_capacity model_not_ready loading model_loading model_is_loading
        server_busy no_capacity service_overloaded insufficient_capacity model_error_no_capacity
        """,
}  # fmt: skip


def _plain(code: str) -> str:
    """Return a code without case, marks and endings that say nothing."""
    code = re.sub(r"[^a-z0-9.]", "", code.rpartition("#")[2].lower())
    return re.sub(r"(?:error|exception)+$", "", code) or code


_CLASS_OF = {_plain(code): error for error, codes in _CODES.items() for code in codes.split()}

# Codes that stand in errors of several classes: what the message says goes before them.
_VAGUE: Mapping[str, type[ConnectorError]] = {
    "resourceexhausted": RateLimitError,
    "quotaexceeded": RateLimitError,
    "limitexceeded": RateLimitError,
    "accessdenied": AuthError,
    "forbidden": AuthError,
    "permissiondenied": AuthError,
    "notfound": ModelNotFoundError,
    "notsupported": UnsupportedRequestError,
    "unsupported": UnsupportedRequestError,
}
# Codes of requests that are refused: they decide only where there is no status, inside a stream.
_VAGUEST: Mapping[str, type[ConnectorError]] = {
    "invalidrequest": InvalidRequestError,
    "badrequest": InvalidRequestError,
    "invalidvalue": InvalidRequestError,
    "invalidargument": InvalidRequestError,
    "invalidparameter": InvalidRequestError,
    "validation": InvalidRequestError,
}

_GENERIC = frozenset({200, 400, 500, 502})
"""Statuses of gateways for whatever failed behind them: a more precise one in the body stands over them."""
_PRECISE = frozenset({401, 402, 403, 404, 408, 409, 424, 429, 498, 503, 529})

_EXCEPTION = r"(?:\w+\.)*([A-Z]\w{2,60}(?:Error|Exception))\b[\s:\-]*"
_MOST_NAMES = 6
_LONGEST_READ = 2000
"""Characters of a message that its class may follow from."""
_LONGEST_LIMIT_S = 3600.0
"""A rate limit is over sooner; what lasts longer is used up."""
_ALLOCATED = r"(?<!free )allocated quota exceeded"
"""DashScope says so of tokens a minute, with the code of a quota."""

HINTS: Mapping[type[ConnectorError], str] = {
    AuthError: "check api_key and what it may do",
    QuotaError: "the account's credit or limit is used up",
    ModelNotFoundError: "check model and base_url",
    ContextLengthError: "lower the budget of the prompt step, or correct the window of the model",
}


def classify_error(body: ErrorBody, status: int, own: Mapping[str, str] | None = None) -> type[ConnectorError]:
    """Return the class of a failure; `status` is 200 for an error inside a stream or a good answer.

    `own` has the kinds that a pipeline gives to codes of its service, in lower case; it goes before all else.
    """
    for word in body.words if own else ():
        if own is not None and word in own:
            return ERRORS_BY_KIND[own[word]]
    body = evolve(body, message=body.message[:_LONGEST_READ])
    if is_larger_than_a_minute(body.message):
        return UnsupportedRequestError
    said = _status(body, status)
    if (error := _of_limits(body, said)) is not None:
        return error
    codes = [_plain(code) for code in (*body.codes, *_exception_names(body.message))]
    error = _first(codes, _CLASS_OF, _VAGUE) or _of_message(body, said) or _first(codes, _VAGUE)
    if error is not None:
        return error
    return error_of_status(said) if said >= 300 else _first(codes, _VAGUEST) or ServerError


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
    endpoint = endpoint_needed(message) if issubclass(error, ModelNotFoundError | InvalidRequestError) else ""
    if endpoint:
        hint = f"; the model needs the endpoint {endpoint}"
    return f"the service refused {where}{named}{said.removesuffix('.') if hint else said}{hint}"


def _exception_names(message: str) -> list[str]:
    """Return the names of exceptions that a message begins with, as gateways in Python chain them."""
    names: list[str] = []
    while len(names) < _MOST_NAMES and (found := re.match(_EXCEPTION, message)):
        names.append(found[1])
        message = message[found.end() :]
    return names


def _status(body: ErrorBody, status: int) -> int:
    """Return the status that says most: a gateway's own is often 200, 400 or 502, whatever failed."""
    if body.status is not None and (status < 300 or (status in _GENERIC and body.status in _PRECISE)):
        return body.status
    return status if status >= 300 else 200


def _of_limits(body: ErrorBody, status: int) -> type[ConnectorError] | None:
    """Return the class of a limit that was reached, by its name or its period; `None` where neither is told."""
    named = " ".join(body.limits)
    if named:
        return QuotaError if is_per_day(named) else RateLimitError
    if status != 429:
        return None
    if re.search(_ALLOCATED, body.message, re.IGNORECASE):
        return RateLimitError
    # A day may be over soon: who tells when is waited for, or left alone until then.
    per_day = body.retry_after_s is None and is_per_day(body.message) and not is_per_minute(body.message)
    return QuotaError if per_day else None


def _of_message(body: ErrorBody, status: int) -> type[ConnectorError] | None:
    error = classify_message(body.message, status)
    # Google says of every limit that the quota is exceeded and billing to be checked: who tells a wait means a limit.
    if error is QuotaError and status == 429 and 0 < (body.retry_after_s or 0) < _LONGEST_LIMIT_S:
        return RateLimitError
    return error


def _first(
    codes: Iterable[str], classes: Mapping[str, type[ConnectorError]], without: Iterable[str] = ()
) -> type[ConnectorError] | None:
    return next((classes[code] for code in codes if code in classes and code not in without), None)
