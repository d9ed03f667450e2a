"""What goes wrong, as HTTP tells it: a status, a code that programs read, and a message without secrets."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from attrs import field, frozen

from nexus_core.contract import errors as known

_log = logging.getLogger(__name__)


@frozen
class Failure(Exception):
    """The answer to a request that cannot be served."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(factory=dict)
    details: Mapping[str, object] = field(factory=dict)
    """What the query API tells beside these."""
    param: str | None = None
    """What of a body is wrong, such as `messages[3].content`; told in OpenAI's shape."""

    def __str__(self) -> str:
        return self.message


_STATUSES: tuple[tuple[type[known.NexusError], int, str], ...] = (
    (known.PromptTooLongError, 400, "context_length_exceeded"),
    (known.ContextLengthError, 400, "context_length_exceeded"),
    (known.ContentFilterError, 400, "content_filter"),
    (known.InvalidRequestError, 400, "invalid_request"),
    (known.UsageError, 400, "invalid_request"),
    (known.DeadlineError, 504, "timeout"),
    (known.StepTimeoutError, 504, "timeout"),
    (known.UpstreamTimeoutError, 504, "upstream_timeout"),
    (known.LimitError, 503, "overloaded"),
    (known.PoolBusyError, 503, "overloaded"),
    (known.RateLimitError, 503, "upstream_rate_limit"),
    (known.OverloadedError, 503, "upstream_overloaded"),
    (known.NoAnswerError, 502, "no_answer"),
    (known.TruncatedError, 502, "upstream_truncated"),
    (known.EmptyAnswerError, 502, "empty_answer"),
    (known.ConnectorError, 502, "upstream_failed"),
    (known.StoreBusyError, 503, "store_busy"),
    (known.StoreFullError, 507, "store_full"),
    (known.StoreError, 503, "store_failed"),
    (known.RunError, 500, "run_failed"),
)
"""From the most special class on: the first that fits holds."""
_FIXED = {
    "store_busy": "another process keeps the store: try again in a moment",
    "store_full": "the store is full, and nothing was written",
    "store_failed": "the store cannot be used; the log of the server has more",
}
"""What is told in the place of messages that name files of this machine."""
INTERNAL = "internal_error"
"""The code of what nobody foresaw."""
_PARAMS = {"model_not_found": "model", "context_length_exceeded": "messages"}
"""What of a body is wrong, by codes that leave no doubt."""
_AGAIN = frozenset({503})


def failure_of(error: BaseException) -> Failure:
    """Return what a client is told of an error; of what is no error of ours it is told nothing but that."""
    if isinstance(error, Failure):
        return error
    for kind, status, code in _STATUSES:
        if isinstance(_reason_of(error), kind):
            headers = {"Retry-After": _seconds(error)} if status in _AGAIN else {}
            if code in _FIXED:
                _log.warning("%s: %s", code, error)
            return Failure(status, code, _FIXED.get(code, str(error)), headers)
    return Failure(500, INTERNAL, "an error inside the server; its log has more under the request's id")


def _reason_of(error: BaseException) -> BaseException:
    """Return what to tell an error by: where every model gave an empty answer, that is what there is to tell."""
    said = error.errors if isinstance(error, known.NoAnswerError) else ()
    return said[-1] if said and all(isinstance(each, known.EmptyAnswerError) for each in said) else error


def _seconds(error: BaseException) -> str:
    wait_s = getattr(error, "retry_after_s", None) or 1.0
    return str(max(1, min(3600, -int(-wait_s // 1))))


def own_shape(failure: Failure, request_id: str) -> dict[str, object]:
    """Return a failure as the query API tells it."""
    return {
        "error": failure.message,
        "statusCode": failure.status,
        "code": failure.code,
        "requestId": request_id,
        **failure.details,
    }


def openai_shape(failure: Failure, request_id: str) -> dict[str, object]:
    """Return a failure as OpenAI's API tells it."""
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(failure.status, "invalid_request_error" if failure.status < 500 else "server_error")
    return {
        "error": {
            "message": failure.message,
            "type": kind,
            "param": failure.param or _PARAMS.get(failure.code),
            "code": failure.code,
            "request_id": request_id,
        }
    }
