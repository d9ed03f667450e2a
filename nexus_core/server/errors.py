"""What goes wrong, as HTTP tells it: a status, a code that programs read, and a message without secrets.

Two readers, two texts. Any client reads a sentence of this module, or one that the server wrote about the request. The
words of an error that was caught (of a plugin, the system, a model's service) are for the operator: in the log under
the request's id, and in the answer where the client is the operator. What is not listed here is hidden.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from nexus_core.contract import errors as known
from nexus_core.engine.plugin_guard import place_of


@frozen
class Failure(Exception):
    """The answer to a request that cannot be served."""

    status: int
    code: str
    message: str
    """What any client may read: never the text of an error that was caught."""
    headers: Mapping[str, str] = field(factory=dict)
    details: Mapping[str, object] = field(factory=dict)
    """What the query API tells beside these."""
    param: str | None = None
    """What of a body is wrong, such as `messages[3].content`; told in OpenAI's shape."""
    words: str = field(default="", kw_only=True)
    """What the log and an operator read in the place of the message: here the text of an error may stand."""
    noted: str = field(default="", kw_only=True)
    """What the log alone has to say: where files are."""

    def __str__(self) -> str:
        return self.words or self.noted or self.message


RUN_FAILED = "run_failed"
_PIPELINE = "the pipeline failed; the log of the server has more under the request's id"
_BUSY = "the server has too much to do: try again in a moment"
_TIME = "the time for this request was used up"
_NO_ANSWER = "the model's service gave no answer"
_TOLD: tuple[tuple[type[known.NexusError], int, str, str], ...] = (
    (
        known.PromptTooLongError, 400, "context_length_exceeded",
        "the question, and what must be sent with it, is longer than the model takes: shorten it",
    ),
    (
        known.ContextLengthError, 400, "context_length_exceeded",
        "the prompt is longer than the model takes: shorten the question or what comes before it",
    ),
    (known.ContentFilterError, 400, "content_filter", "the model's service refuses the content"),
    (known.InvalidRequestError, 400, "invalid_request", "the model's service refuses the request as it is"),
    (
        known.ToolNameTakenError, 400, "invalid_request",
        "a tool of the request has the name of a tool of the pipeline: give it another name",
    ),
    (known.UsageError, 400, "invalid_request", "the request names or holds something that is not taken here"),
    (known.DeadlineError, 504, "timeout", _TIME),
    (known.StepTimeoutError, 504, "timeout", _TIME),
    (known.UpstreamTimeoutError, 504, "upstream_timeout", "the model's service was too slow"),
    (known.LimitError, 503, "overloaded", _BUSY),
    (known.PoolBusyError, 503, "overloaded", _BUSY),
    (known.RateLimitError, 503, "upstream_rate_limit", "the model's service takes no more requests for now"),
    (known.OverloadedError, 503, "upstream_overloaded", "the model's service is too busy: try again in a moment"),
    (known.NoAnswerError, 502, "no_answer", "no model gave an answer"),
    (known.TruncatedError, 502, "upstream_truncated", "the answer of the model's service broke off: ask again"),
    (known.EmptyAnswerError, 502, "empty_answer", "the model's service gave an answer without text: ask again"),
    (known.ConnectorError, 502, "upstream_failed", _NO_ANSWER),
    (known.StoreBusyError, 503, "store_busy", "another process keeps the store: try again in a moment"),
    (known.StoreUnavailableError, 503, "store_unavailable", "the database cannot be reached: try again in a moment"),
    (known.StoreFullError, 507, "store_full", "the store is full, and nothing was written"),
    (known.StoreError, 503, "store_failed", "the store cannot be used; the log of the server has more"),
    (known.RunError, 500, RUN_FAILED, _PIPELINE),
)  # fmt: skip
"""Status, code and what any client is told, from the most special class on: the first that fits holds."""
_MISMATCH = "schema_mismatch"
_TOLD_BY_KIND: Mapping[str, tuple[int, str]] = {
    _MISMATCH: (502, "the answer of the model does not match the schema that was asked for: ask again"),
}
"""Status and what any client is told, by the kind of an error: these go before the classes."""
_INVALID_REQUEST, _INTERNAL_ERROR = -32600, -32603
"""Codes of JSON-RPC."""
INTERNAL = "internal_error"
"""The code of what nobody foresaw."""
_PARAMS = {"model_not_found": "model", "context_length_exceeded": "messages"}
"""What of a body is wrong, by codes that leave no doubt."""
_AGAIN = frozenset({503})


def failure_of(error: BaseException) -> Failure:
    """Return what a client is told of an error; of what is no error of ours it is told nothing but that."""
    if isinstance(error, Failure):
        return error
    reason = _reason_of(error)
    code = getattr(reason, "kind", "")
    if code in _TOLD_BY_KIND:
        status, told = _TOLD_BY_KIND[code]
        return Failure(status, code, told, words=str(error))
    for kind, status, code, told in _TOLD:
        if isinstance(reason, kind):
            headers = {"Retry-After": _seconds(error)} if status in _AGAIN else {}
            if isinstance(error, known.StoreError):
                return Failure(status, code, told, headers, noted=str(error))
            return Failure(status, code, told, headers, words=str(error))
    return Failure(500, INTERNAL, "an error inside the server; its log has more under the request's id")


def cancelled_within(error: BaseException) -> Failure:
    """Return what a client is told that waits for a run which neither it nor the server has cancelled."""
    said = (
        f"something within the run cancelled the task of its caller{place_of(error)}: perhaps a time limit that a "
        "plugin began and never ended; a plugin may cancel only tasks that it has created"
    )
    return Failure(500, RUN_FAILED, _PIPELINE, words=said)


def _reason_of(error: BaseException) -> BaseException:
    """Return what to tell an error by: of no answer its reason, where every model was empty or the last mismatched."""
    said = error.errors if isinstance(error, known.NoAnswerError) else ()
    if said and (
        getattr(said[-1], "kind", "") == _MISMATCH or all(isinstance(each, known.EmptyAnswerError) for each in said)
    ):
        return said[-1]
    return error


def _seconds(error: BaseException) -> str:
    wait_s = getattr(error, "retry_after_s", None) or 1.0
    return str(max(1, min(3600, -int(-wait_s // 1))))


def shape(failure: Failure, request_id: str, *, openai: bool, to_operator: bool) -> dict[str, object]:
    """Return a failure as one of the two APIs tells it: the only way from an error to the body of an answer.

    Whoever is no operator reads the message, never the words.
    """
    message = words_of(failure, to_operator=to_operator)
    if openai:
        return _openai_shape(failure, message, request_id)
    return {
        "error": message,
        "statusCode": failure.status,
        "code": failure.code,
        "requestId": request_id,
        **failure.details,
    }


def words_of(failure: Failure, *, to_operator: bool) -> str:
    """Return what whoever asks reads of a failure."""
    return failure.words if to_operator and failure.words else failure.message


def json_rpc_shape(failure: Failure, request_id: str, *, to_operator: bool) -> dict[str, object]:
    """Return a failure as an error of JSON-RPC that answers to no message: the request was refused as a whole."""
    error = {
        "code": _INVALID_REQUEST if failure.status < 500 else _INTERNAL_ERROR,
        "message": words_of(failure, to_operator=to_operator),
        "data": {"code": failure.code, "statusCode": failure.status, "requestId": request_id},
    }
    return {"jsonrpc": "2.0", "id": None, "error": error}


def _openai_shape(failure: Failure, message: str, request_id: str) -> dict[str, object]:
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(failure.status, "invalid_request_error" if failure.status < 500 else "server_error")
    return {
        "error": {
            "message": message,
            "type": kind,
            "param": failure.param or _PARAMS.get(failure.code),
            "code": failure.code,
            "request_id": request_id,
        }
    }
