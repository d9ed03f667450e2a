"""Every error the project raises, one class per different reaction of the caller.

NexusError
├── ConfigError               a pipeline file (or its options) is wrong; carries every problem found
├── PluginError               a plugin is unknown, broken, or its name is claimed twice
├── UsageError                the caller asked for something that is not there (a model, an input)
└── RunError                  a run could not be finished
    ├── SourceError           a source could not yield its items
    ├── RankerError           a ranker failed or broke its contract
    ├── TemplateError         a template or expression could not be rendered
    ├── PromptTooLongError    what must be in the prompt does not fit the model's window
    ├── StepTimeoutError      a step took longer than its `timeout`
    ├── NoAnswerError         every model of a chain failed; carries what each of them said
    └── ConnectorError        a model service did not answer; the subclass tells why
        ├── NotConfiguredError      nothing was sent: a key or an address is missing
        ├── ConnectError            no connection: refused, DNS, TLS
        ├── UpstreamTimeoutError    the service was too slow
        ├── RateLimitError          too many requests for now
        ├── QuotaError              the account is used up; waiting does not help
        ├── AuthError               the key is wrong or may not do this
        ├── ModelNotFoundError      the service does not know the model or the address
        ├── InvalidRequestError     the service refuses the request as it is
        ├── ContextLengthError      the prompt is longer than the service takes
        ├── ContentFilterError      the service refuses the content
        ├── OverloadedError         the service is up and too busy
        ├── ServerError             the service failed
        ├── ProtocolError           the answer is not what the protocol promises
        ├── TruncatedError          the answer ended before it was complete
        └── ResponseTooLargeError   the answer is larger than the cap

Messages say what, where and what to do. They never hold a key, a prompt or a completion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nexus_core.contract.problems import Problem


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


class RunError(NexusError):
    """A run could not be finished."""


class SourceError(RunError):
    """A source could not yield its items."""


class RankerError(RunError):
    """A ranker failed, or returned something that is not one score per item."""


class TemplateError(RunError):
    """A template or an expression could not be rendered."""


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


class ConnectorError(RunError):
    """A model service did not give a whole answer.

    `kind` is a stable word for logs and metrics. `retryable` says whether another target may be tried: an error that
    lies in the request itself would only fail again.
    """

    kind: ClassVar[str] = "connector"
    retryable: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str = "",
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        request_sent: bool = True,
    ) -> None:
        self.provider = provider
        self.model = model
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.request_sent = request_sent
        """False when nothing reached the service, so that no attempt is accounted."""
        super().__init__(message)


class NotConfiguredError(ConnectorError):
    """Nothing was sent: the connector lacks a key or an address."""

    kind = "not_configured"

    def __init__(self, message: str, *, provider: str = "", model: str = "") -> None:
        super().__init__(message, provider=provider, model=model, request_sent=False)


class ConnectError(ConnectorError):
    """No connection could be made: refused, unknown host, failed TLS."""

    kind = "connect"


class UpstreamTimeoutError(ConnectorError):
    """The service was too slow; the message names the timer that ran out."""

    kind = "timeout"


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
    """The service does not know the model, the deployment or the path."""

    kind = "config"


class InvalidRequestError(ConnectorError):
    """The service refuses the request as it is; it would refuse it again."""

    kind = "invalid_request"
    retryable = False


class ContextLengthError(ConnectorError):
    """The prompt is longer than the service takes; a target with a larger window may answer."""

    kind = "context_length"


class ContentFilterError(ConnectorError):
    """The service refuses the content of the prompt or of its own answer."""

    kind = "content_filter"
    retryable = False


class OverloadedError(ConnectorError):
    """The service is up and too busy."""

    kind = "overloaded"


class ServerError(ConnectorError):
    """The service failed on its side."""

    kind = "server_error"


class ProtocolError(ConnectorError):
    """The answer is not what the protocol promises."""

    kind = "protocol"


class TruncatedError(ConnectorError):
    """The answer ended before it said that it was complete."""

    kind = "truncated"


class ResponseTooLargeError(ConnectorError):
    """The answer is larger than the connector's cap."""

    kind = "response_too_large"
    retryable = False
