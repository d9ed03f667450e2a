"""Budget of a key for all servers of a store: each takes a part of it, and gives back what it does not use.

What a server holds was taken from the buckets before, so that all together never spend more than the limits. Places for
requests at once are held until a time: those of a server that was killed come back by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf

from attrs import frozen

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.engine.calls.rate_limiter import NEARLY, TokenBucket

LEASE_S = 10.0
"""So long a server holds places without a word; they come back after it."""
_MOST_SPARE = 0.25
"""Of what is left of a bucket a server takes so much at most beyond what it needs now."""


@frozen(kw_only=True)
class Exchange:
    """What a server gives back and asks for."""

    requests: float = 0.0
    """Given back; below 0 it is a debt."""
    tokens: float = 0.0
    """Given back; below 0 it is a debt."""
    slots: int = 0
    """Places that it goes on to hold."""
    demands: Sequence[float] = ()
    """The tokens of each request that waits."""
    spare_requests: float = 0.0
    """What it would like beyond these, as it needed lately."""
    spare_tokens: float = 0.0


@frozen(kw_only=True)
class Share:
    """What a server has got."""

    requests: float
    tokens: float
    slots: int
    """Places that it holds now, in all."""
    waits: tuple[float, ...]
    """Of each demand: 0 where it was met, else the seconds until it could be; infinite where no place is free."""
    is_scarce: bool
    """Whether others may wait for a place that is held and not used."""
    left: tuple[float, float]
    """What is left in common of requests and tokens."""


class KeyBudget:
    """The state of one key's limits, read from a row and written back."""

    def __init__(self, limits: RateLimitPolicy, state: str | None, now: float) -> None:
        told = json.loads(state) if state is not None else {}
        self._now = now
        self._most = inf if limits.concurrency is None else limits.concurrency
        self._requests = _bucket(limits.requests_per_minute, told.get("requests"), now)
        self._tokens = _bucket(limits.tokens_per_minute, told.get("tokens"), now)
        held: dict[str, tuple[int, float]] = told.get("held", {})
        self._held = {server: (slots, ends) for server, (slots, ends) in held.items() if ends > now}

    def state(self) -> str:
        """Return what is to be kept."""
        buckets = {"requests": self._requests, "tokens": self._tokens}
        return json.dumps(
            {name: bucket.state for name, bucket in buckets.items() if bucket is not None} | {"held": self._held}
        )

    def exchange(self, server: str, asked: Exchange) -> Share:
        """Take back and give."""
        for bucket, back in ((self._requests, asked.requests), (self._tokens, asked.tokens)):
            if bucket is not None:
                bucket.put_right(back, 0.0, self._now)
        slots, requests, tokens, waits = asked.slots, 0.0, 0.0, []
        others = sum(held for name, (held, _) in self._held.items() if name != server)
        for demand in asked.demands:
            wait = inf if others + slots >= self._most else self._wait_s(demand)
            waits.append(wait)
            if not wait:
                slots += 1
                requests += _take(self._requests, 1.0)
                tokens += _take(self._tokens, demand)
        requests += self._take_spare(self._requests, asked.spare_requests, whole=True)
        tokens += self._take_spare(self._tokens, asked.spare_tokens)
        self._held.pop(server, None)
        if slots:
            self._held[server] = (slots, self._now + LEASE_S)
        servers = max(1, len(self._held))
        return Share(
            requests=requests,
            tokens=tokens,
            slots=slots,
            waits=tuple(waits),
            is_scarce=self._most - others - slots < servers,
            left=(self._level(self._requests), self._level(self._tokens)),
        )

    def _wait_s(self, tokens: float) -> float:
        wait = 0.0 if self._requests is None else self._requests.wait_s(1.0, self._now)
        return wait if self._tokens is None else max(wait, self._tokens.wait_s(tokens, self._now))

    def _take_spare(self, bucket: TokenBucket | None, wanted: float, *, whole: bool = False) -> float:
        spare = min(wanted, max(0.0, self._level(bucket)) * _MOST_SPARE)
        return _take(bucket, float(int(spare + NEARLY)) if whole else spare)

    def _level(self, bucket: TokenBucket | None) -> float:
        return 0.0 if bucket is None else bucket.level(self._now)


def _bucket(limit: int | None, state: Sequence[float] | None, now: float) -> TokenBucket | None:
    if limit is None:
        return None
    bucket = TokenBucket(limit, now)
    if state is not None:
        bucket.restore(state[0], state[1])
    return bucket


def _take(bucket: TokenBucket | None, amount: float) -> float:
    if bucket is None:
        return 0.0
    bucket.take(amount)
    return amount
