"""What is known of each target from one call to the next: its breaker, its budget of retries, its limits."""

from __future__ import annotations

import logging
from math import isfinite
from random import Random
from typing import TYPE_CHECKING

from attrs import define, field

from nexus_core.config.policies import RetryPolicy
from nexus_core.contract.errors import (
    AuthError,
    ConnectorError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
)
from nexus_core.engine.calls.circuit_breaker import CircuitBreaker
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.calls.retry_budget import RetryBudget
from nexus_core.engine.models import Model

if TYPE_CHECKING:
    from nexus_core.engine.calls.rate_limiter import RateLimiter

_log = logging.getLogger(__name__)

MOST_TOLD = 20
"""Unknown words of one service that are warned of, each once."""
_SAME_AGAIN = (AuthError, ModelNotFoundError, QuotaError, RateLimitError)
"""What a target was left alone for is what those are told who come meanwhile."""


@define(eq=False, repr=False)
class Target:
    """A model as attempts see it; one object for all calls of a pipeline."""

    model: Model
    retry: RetryPolicy
    breaker: CircuitBreaker
    limiter: RateLimiter | None
    budget: RetryBudget = field(factory=RetryBudget)
    refusal: ConnectorError | None = None
    """Why it was last left alone on purpose."""
    _told: set[str] = field(factory=set)

    def is_news(self, word: str) -> bool:
        """Tell whether this word of the service has not been warned of before; after some of them none is."""
        if word in self._told or len(self._told) >= MOST_TOLD:
            return False
        self._told.add(word)
        return True

    def park(self, error: ConnectorError, now: float) -> None:
        """Send nothing for a while to a target whose key, model or account is wrong, and say so once."""
        policy = self.model.breaker
        if policy is None:
            return
        if self.breaker.state(now) != "parked":
            _log.error("model %r is left alone for %g s: %s", self.model.name, policy.park_s, error)
        self.refusal = error
        self.breaker.park(now, policy.park_s)

    def gate(self, error: ConnectorError, now: float, seconds: float) -> None:
        """Send nothing for as long as the service asks."""
        self.refusal = error
        self.breaker.gate(now, seconds)

    def closed_off(self, now: float, wait_s: float) -> ConnectorError:
        """Return the error of a call for which nothing can be sent to this target now."""
        kind: type[ConnectorError] = OverloadedError
        reason = "it failed too often"
        if self.refusal is not None and self.breaker.state(now) == "parked":
            kind = next((cls for cls in _SAME_AGAIN if isinstance(self.refusal, cls)), OverloadedError)
            reason = str(self.refusal)
        known = isfinite(wait_s)
        when = f"for {wait_s:.3g} s more" if known else "while a request to it shows whether it serves again"
        return kind(
            f"nothing is sent to {self.model.name!r} {when}: {reason}",
            provider=self.model.info.provider,
            model=self.model.info.id,
            request_sent=False,
            retry_after_s=wait_s if known else None,
        )


class Targets:
    """The targets of a pipeline by the name of their model, each made when it is first called."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._targets: dict[str, Target] = {}

    def of(self, model: Model) -> Target:
        """Return the target of a model."""
        target = self._targets.get(model.name)
        if target is None:
            target = self._targets[model.name] = self._build(model)
        return target

    def state(self, model: Model) -> str:
        """Return `closed`, `open`, `half_open` or `parked`."""
        return self.of(model).breaker.state(self._clock.now())

    def _build(self, model: Model) -> Target:
        limits, limiter = model.limits, None
        if limits is not None and any((limits.concurrency, limits.requests_per_minute, limits.tokens_per_minute)):
            from nexus_core.engine.calls.rate_limiter import RateLimiter  # for those who set one

            limiter = RateLimiter(limits, self._clock, model.name)
        return Target(
            model, model.retry or RetryPolicy(attempts=1), CircuitBreaker(model.breaker, self._random), limiter
        )
