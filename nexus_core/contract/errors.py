"""Every error the project raises, one class per different reaction of the caller.

NexusError
├── ConfigError               a pipeline file (or its options) is wrong; carries every problem found
├── PluginError               a plugin is unknown, broken, or its name is claimed twice
├── UsageError                the caller asked for something that is not there (a model, an input)
│   └── ToolNameTakenError    a tool of the caller has the name of one of the pipeline
├── StoreError                contexts at rest cannot be read or written; the subclass tells why
│   ├── StoreBusyError        another process keeps the store for too long; the same may be tried again
│   ├── StoreFullError        no space is left; the write changed nothing
│   ├── StoreUnavailableError the database of the store cannot be reached; the same may be tried again
│   └── StoreDamagedError     the files are damaged, foreign, or of a newer version
└── RunError                  a run could not be finished
    ├── SourceError           a source could not yield its items
    ├── RankerError           a ranker failed or broke its contract
    ├── TemplateError         a template or expression could not be rendered
    ├── ToolError             a tool could not do what it was called for; the model reads why
    ├── ToolRoundsError       the model still calls tools when it has to answer
    ├── RequestCapError       all requests were made that a pipeline allows
    ├── PromptTooLongError    what must be in the prompt does not fit the model's window
    ├── StepTimeoutError      a step took longer than its `timeout`
    ├── NoAnswerError         every model of a chain failed; carries what each of them said
    ├── DeadlineError         the time for a whole call is used up
    └── ConnectorError        a model service did not answer; the subclass tells why
        ├── NotConfiguredError      nothing was sent: a key or an address is missing
        ├── PoolBusyError           nothing was sent: all connections of this process are in use
        ├── LimitError              nothing was sent: a limit of the pipeline was reached
        ├── ConnectError            no connection: refused, DNS, TLS
        │   └── DisconnectedError       a connection that served before was closed before any answer
        ├── UpstreamTimeoutError    the service was too slow
        │   └── StalledError            the answer began and then nothing more came
        ├── RateLimitError          too many requests for now
        ├── QuotaError              the account is used up; waiting does not help
        ├── AuthError               the key is wrong or may not do this
        ├── ModelNotFoundError      the service does not know the model or the address
        ├── InvalidRequestError     the service refuses the request as it is
        │   └── UnsupportedRequestError this target does not take it; another one may
        ├── ContextLengthError      the prompt is longer than the service takes
        ├── ContentFilterError      the service refuses the content
        ├── ConflictError           the request collides with another one
        ├── NotReadyError           the service asks to send the same again
        ├── OverloadedError         the service is up and too busy
        ├── ServerError             the service failed
        ├── ProtocolError           the answer is not what the protocol promises
        ├── EmptyAnswerError        the answer is whole and says nothing
        ├── SchemaMismatchError     the answer is whole and not what its JSON Schema asks for
        ├── TruncatedError          the answer ended before it was complete
        │   └── ToolCallIncompleteError a tool call ends in the middle of its arguments
        └── ResponseTooLargeError   the answer is larger than the cap

Messages say what, where and what to do. They never hold a key, a prompt or a completion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nexus_core.contract.answers import Answer, AttemptFinished
    from nexus_core.contract.values import Transfer


@frozen
class Problem:
    """One mistake: a stable code (see the table in docs/reference/pipelines.md), a place, and what to do."""

    code: str
    message: str
    file: str = ""
    line: int = 1
    """From 1."""
    column: int = 1
    """From 1, in characters."""
    severity: str = "error"
    """`error` keeps the pipeline from loading, `warning` does not."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.code} {self.message}"


class NexusError(Exception):
    """Any error of this project."""


class ConfigError(NexusError):
    """A pipeline cannot be built; `problems` holds all that was found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PluginError(NexusError):
    """A plugin cannot be used: unknown, broken at import, or its name is claimed twice."""


class UsageError(NexusError):
    """The caller named something that does not exist here, such as a model or an input."""


class ToolNameTakenError(UsageError):
    """The caller offers a tool with the name of one of the pipeline: nobody could tell whose call it is."""


class StoreError(NexusError):
    """Contexts at rest cannot be read or written."""

    answer: Answer | None = None
    """The whole answer of a run whose turn could not be kept in its conversation."""


class StoreBusyError(StoreError):
    """Another process keeps the store for too long; the same may be tried again."""


class StoreFullError(StoreError):
    """No space is left where the store is; the write that failed changed nothing, those before it stand."""


class StoreUnavailableError(StoreError):
    """The database of a store cannot be reached for now; what it has acknowledged is kept."""


class StoreDamagedError(StoreError):
    """The files of a store are damaged, are no store, or were written by a newer version."""


class RunError(NexusError):
    """A run could not be finished."""

    attempts: tuple[AttemptFinished, ...] = ()
    """The rows of the run's ledger, set where the run ends."""


class SourceError(RunError):
    """A source could not yield its items."""


class RankerError(RunError):
    """A ranker failed, or returned something that is not one score per item."""


class TemplateError(RunError):
    """A template or an expression could not be rendered."""


class ToolError(RunError):
    """A tool could not do what it was called for; the message is told to the model, which may call again."""


class ToolRoundsError(RunError):
    """The model calls a tool in the last of its rounds, in which there are none: there is no answer."""


class RequestCapError(RunError):
    """No more requests: all were made that a pipeline allows, or the next could cost more; it says which cap it is."""


class StepTimeoutError(RunError):
    """A step took longer than its declared `timeout`."""


class PromptTooLongError(RunError):
    """What must be in the prompt (instructions, query, pinned items) does not fit; `over` says by how many tokens."""

    def __init__(self, message: str, *, over: int) -> None:
        self.over = over
        super().__init__(message)


class NoAnswerError(RunError):
    """Every model of a chain failed; `errors` holds what each said, in the order they were tried."""

    def __init__(self, message: str, errors: Sequence[RunError]) -> None:
        self.errors = tuple(errors)
        super().__init__(message)


class DeadlineError(RunError):
    """The time for a whole call is used up: waits, retries and fallbacks included."""


class ConnectorError(RunError):
    """A model service did not give a whole answer.

    `kind` is a stable word for logs and metrics. The class alone decides what the engine does about it: raise the class
    that fits. A subclass of your own is handled like its parent.
    """

    kind: ClassVar[str] = "connector"

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str = "",
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        request_sent: bool = True,
        transfer: Transfer | None = None,
    ) -> None:
        self.provider = provider
        self.model = model
        self.status = status
        """The status of HTTP."""
        self.code = code
        """The service's own word for the error, or the timer that ran out."""
        self.retry_after_s = retry_after_s
        """The wait that the service asks for, as it says it: perhaps days."""
        self.should_retry = should_retry
        """What the service says of sending the same again; it may only forbid what the class allows."""
        self.request_sent = request_sent
        """False when nothing reached the service, so that no attempt is accounted."""
        self.transfer = transfer
        super().__init__(message)


class NotConfiguredError(ConnectorError):
    """Nothing was sent: the connector lacks a key or an address."""

    kind = "not_configured"

    def __init__(self, message: str, *, provider: str = "", model: str = "") -> None:
        super().__init__(message, provider=provider, model=model, request_sent=False)


class PoolBusyError(ConnectorError):
    """All connections that this process may have are in use; nothing was sent, and the service has no part in it."""

    kind = "pool_busy"


class LimitError(ConnectorError):
    """A limit of the pipeline (requests, tokens, concurrency, queue) lets no request out in time; nothing was sent."""

    kind = "limit"


class ConnectError(ConnectorError):
    """No connection could be made: refused, unknown host, failed TLS."""

    kind = "connect"


class DisconnectedError(ConnectError):
    """A connection that served before was closed before any byte of the answer: a fresh one serves at once."""

    kind = "disconnected"


class UpstreamTimeoutError(ConnectorError):
    """The service was too slow to begin, or to end; the message names the timer that ran out."""

    kind = "timeout"


class StalledError(UpstreamTimeoutError):
    """The answer began and then nothing more came."""

    kind = "stalled"


class RateLimitError(ConnectorError):
    """The service takes no more requests for now."""

    kind = "rate_limit"


class QuotaError(ConnectorError):
    """The account is used up: waiting does not help, another target may."""

    kind = "quota"


class AuthError(ConnectorError):
    """The key is wrong or is not allowed to do this."""

    kind = "auth"


class ModelNotFoundError(ConnectorError):
    """The service does not know the model, the deployment or the path, or does not do this at all."""

    kind = "config"


class InvalidRequestError(ConnectorError):
    """The service refuses the request as it is; it would refuse it again."""

    kind = "invalid_request"


class UnsupportedRequestError(InvalidRequestError):
    """This target does not take the request: an option, its size, or a state of its own; another target may."""

    kind = "unsupported"


class ContextLengthError(ConnectorError):
    """The prompt is longer than the service takes; a target with a larger window may answer."""

    kind = "context_length"


class ContentFilterError(ConnectorError):
    """The service refuses the content of the prompt or of its own answer."""

    kind = "content_filter"


class ConflictError(ConnectorError):
    """The request collides with another one (status 409); once more may do."""

    kind = "conflict"


class NotReadyError(ConnectorError):
    """The service asks to send the same again (status 408 or 425)."""

    kind = "not_ready"


class OverloadedError(ConnectorError):
    """The service is up and too busy."""

    kind = "overloaded"


class ServerError(ConnectorError):
    """The service failed on its side."""

    kind = "server_error"


class ProtocolError(ConnectorError):
    """The answer is not what the protocol promises."""

    kind = "protocol"


class EmptyAnswerError(ConnectorError):
    """The answer came to its end without any text or tool call; the engine raises it, whatever the connector."""

    kind = "empty_answer"


class SchemaMismatchError(ConnectorError):
    """The answer came to its end and is not what its JSON Schema asks for; the engine raises it for any connector."""

    kind = "schema_mismatch"

    pointer: str = ""
    """The place in the answer, as JSON Pointer (RFC 6901); `""` is all of it."""
    expected: str = ""
    """What the schema asks for there."""


class TruncatedError(ConnectorError):
    """The answer ended before it said that it was complete."""

    kind = "truncated"


class ToolCallIncompleteError(TruncatedError):
    """A tool call ends in the middle of its arguments: it must never be run."""

    kind = "tool_call_incomplete"


class ResponseTooLargeError(ConnectorError):
    """The answer is larger than the connector's cap."""

    kind = "response_too_large"


def describe_error(error: BaseException) -> str:
    """Return the kind of a foreign error and what it says, which is foreign code and may fail, too."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: (what it says cannot be shown)"
