"""What is done about a failed attempt: one row per class of error; a class without a row goes by its parent's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from nexus_core.contract import errors

AS_OFTEN_AS_ALLOWED = 1_000_000

Onward = Literal["yes", "no", "larger", "if_auth", "if_filtered"]
"""Whether the next target may answer: yes, no, only one with a larger window, or where the pipeline says so
(`fallback_on_auth`, `fallback_on_content_filter`)."""


class FailureReaction(NamedTuple):
    """A row of the table."""

    retries: int
    """How often the same target is asked again at most; the pipeline's own limit stands over it."""
    onward: Onward
    breaker: bool
    """Whether the failure counts against the target's breaker."""
    parks: bool = False
    """Nothing is sent to the target for a while: it fails until somebody changes something."""
    at_once: bool = False
    """The first retry waits for nothing."""
    next_first: bool = False
    """It took so long that another target, where one is left, is asked before the same one again."""


_OFTEN, _ONCE, _NEVER = AS_OFTEN_AS_ALLOWED, 1, 0

REACTIONS: Mapping[type[errors.ConnectorError], FailureReaction] = {
    errors.ConnectorError: FailureReaction(_NEVER, "yes", breaker=True),
    errors.NotConfiguredError: FailureReaction(_NEVER, "yes", breaker=False),
    errors.PoolBusyError: FailureReaction(_NEVER, "yes", breaker=False),
    errors.LimitError: FailureReaction(_NEVER, "yes", breaker=False),
    errors.ConnectError: FailureReaction(_OFTEN, "yes", breaker=True),
    errors.DisconnectedError: FailureReaction(_OFTEN, "yes", breaker=False, at_once=True),
    errors.UpstreamTimeoutError: FailureReaction(_OFTEN, "yes", breaker=True, next_first=True),
    errors.StalledError: FailureReaction(_ONCE, "yes", breaker=True),
    errors.RateLimitError: FailureReaction(_OFTEN, "yes", breaker=False),
    errors.QuotaError: FailureReaction(_NEVER, "yes", breaker=False, parks=True),
    errors.AuthError: FailureReaction(_NEVER, "if_auth", breaker=False, parks=True),
    errors.ModelNotFoundError: FailureReaction(_NEVER, "if_auth", breaker=False, parks=True),
    errors.InvalidRequestError: FailureReaction(_NEVER, "no", breaker=False),
    errors.UnsupportedRequestError: FailureReaction(_NEVER, "yes", breaker=False),
    errors.ContextLengthError: FailureReaction(_NEVER, "larger", breaker=False),
    errors.ContentFilterError: FailureReaction(_NEVER, "if_filtered", breaker=False),
    errors.ConflictError: FailureReaction(_ONCE, "yes", breaker=False),
    errors.NotReadyError: FailureReaction(_OFTEN, "yes", breaker=False),
    errors.OverloadedError: FailureReaction(_OFTEN, "yes", breaker=True),
    errors.ServerError: FailureReaction(_OFTEN, "yes", breaker=True),
    errors.ProtocolError: FailureReaction(_ONCE, "yes", breaker=True),
    errors.EmptyAnswerError: FailureReaction(_ONCE, "yes", breaker=False),
    errors.SchemaMismatchError: FailureReaction(_ONCE, "yes", breaker=False, at_once=True),
    errors.TruncatedError: FailureReaction(_ONCE, "yes", breaker=True),
    errors.ToolCallIncompleteError: FailureReaction(_ONCE, "yes", breaker=False),
    errors.ResponseTooLargeError: FailureReaction(_NEVER, "no", breaker=False),
}


def reaction(error: type[errors.ConnectorError]) -> FailureReaction:
    """Return what is done about an error of this class."""
    return next(REACTIONS[cls] for cls in error.__mro__ if cls in REACTIONS)
