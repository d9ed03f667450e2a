"""What a pipeline may say about attempts, with the defaults of the project; figures are in seconds and counts."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from nexus_core.contract.values import Value

OnStreamFailure = Literal["fail", "restart", "continue"]


@frozen(kw_only=True, eq=False, repr=False)
class RetryPolicy(Value):
    """How often and after which wait one target is asked again (`retry` of a model)."""

    attempts: int = 3
    """Of one call on this target, the first one included."""
    first_wait_s: float = 0.5
    """The most that the first wait may be; it doubles with each, and what is waited is a random part of it."""
    longest_wait_s: float = 8.0
    longest_retry_after_s: float = 30.0
    """A service that asks for more is left alone for that time, and the call goes on without it."""


@frozen(kw_only=True, eq=False, repr=False)
class BreakerPolicy(Value):
    """When a target is left alone because it only fails (`breaker` of a model)."""

    failures: int = 5
    """So many in a row open it ..."""
    share: float = 0.5
    """... and so does this share of the outcomes of the window ..."""
    of_at_least: int = 10
    """... once there are so many."""
    window_s: float = 60.0
    open_s: float = 5.0
    """How long it stays open first; twice as long each time it opens again."""
    longest_open_s: float = 60.0
    park_s: float = 300.0
    """How long a target is left alone whose key, model or account is wrong."""


@frozen(kw_only=True, eq=False, repr=False)
class RateLimitPolicy(Value):
    """What a target is asked at most (`limits` of a model); `None` is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Prompt and answer; reserved before a request, put right after it."""
    concurrency: int | None = None
    queue: int = 128
    """How many calls may wait; one more fails at once."""
    queue_wait_s: float = 5.0

    @property
    def unlimited(self) -> bool:
        """Whether nothing is limited, so that nothing need be counted."""
        return self.requests_per_minute is None and self.tokens_per_minute is None and self.concurrency is None


@frozen(kw_only=True, eq=False, repr=False)
class CachePolicy(Value):
    """How long and how many answers of a model are kept (`cache` of a model)."""

    expires_s: float = 604_800.0
    """After it was kept an answer is given out for so long."""
    max_items: int = 10_000
    """Of this model, all owners together; beyond, those go first that were used least recently."""
    max_bytes: int = 268_435_456


@frozen(kw_only=True, eq=False, repr=False)
class CallPolicy(Value):
    """What holds for a whole call, however many targets it has (`calls` of a pipeline)."""

    deadline_s: float = 120.0
    """Of a call that is answered at once: queueing, attempts, waits and fallbacks included.

    The shares of its targets are parts of it, also those of a stream, which last until the first content.
    """
    stream_deadline_s: float = 600.0
    """Of a stream to its end, and of its last target."""
    attempts: int = 6
    """Upstream requests of one call at most, over all targets; of a step with tools in all its rounds.

    What its tools have other pipelines ask for is counted there, too.
    """
    requests: int | None = None
    """Upstream requests of one run at most, those of called pipelines included; `None` is no limit."""
    cost: float | None = None
    """US dollars that the requests of one run may cost at most, those of called pipelines included."""
    targets: int = 3
    """Models of a chain that one call tries at most."""
    patience_s: float = 2.0
    """Where another target is left, a longer wait than this is not made."""
    fallback_on_auth: bool = True
    fallback_on_content_filter: bool = False
    on_stream_failure: OnStreamFailure = "fail"
    """What becomes of a stream that fails after its first text."""
