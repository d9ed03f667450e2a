"""Quota pacing: when the next request may go, by what a service tells in its headers is left of its limits.

Two kinds of limits are told apart by their figures. A token bucket fills all the time, so its `reset` is the time that
the used part takes to come back; a fixed window gives everything back at once, at an end that does not move.
"""

from __future__ import annotations

from attrs import define

from nexus_core.contract.values import QuotaLimit

MINUTE_S = 60.0
LONGEST_S = 600.0
"""After so long it is tried once, whatever a service has told."""
_SLACK_S = 1.0
"""Services round what they tell to seconds."""
_SHARE = 0.2
_AFTER_END_S = 0.05
"""A window of the service may end a little later than it says."""


@define(eq=False)
class QuotaPacer:
    """Keeps one limit of a service, of requests or of tokens."""

    _left: float | None = None
    """As of the newest request that the service has told of, what it and those before have left."""
    _told_at: float = 0.0
    _newest: int = -1
    _taken: float = 0.0
    """By requests begun after that one."""
    _refill: float = 0.0
    """A second; 0 for a window."""
    _most: float = 0.0
    _ends_at: float = 0.0
    _is_window: bool = False

    def begin(self, amount: float) -> None:
        """Note that so much is asked for from now on."""
        self._taken += amount

    def hear(self, number: int, limit: QuotaLimit, taken_since: float, now: float) -> None:
        """Note what the answer to a request told; `taken_since` was asked for by requests begun after it."""
        if number < self._newest:
            return
        used = limit.limit - limit.remaining
        bucket_s = used * MINUTE_S / limit.limit if limit.limit else 0.0
        if abs(limit.reset_s - bucket_s) > max(_SLACK_S, _SHARE * bucket_s):
            self._is_window = True
        self._newest, self._told_at = number, now
        self._left, self._taken, self._most = limit.remaining, taken_since, limit.limit
        self._refill = 0.0 if self._is_window else limit.limit / MINUTE_S
        self._ends_at = now + min(limit.reset_s, LONGEST_S) + _AFTER_END_S

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until so much may be asked for; 0 is at once, also where nothing is known."""
        if self._left is None:
            return 0.0
        if self._refill:
            level = min(self._most, self._left + self._refill * (now - self._told_at)) - self._taken
            return max(0.0, (min(amount, self._most) - level) / self._refill)
        if now >= self._ends_at:  # all has come back, and the next answer says how much that is
            self._left, self._taken, self._ends_at = self._most, 0.0, now + MINUTE_S
        return 0.0 if self._left - self._taken >= min(amount, self._most) else self._ends_at - now
