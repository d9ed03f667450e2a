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
    """Keeps one limit of a service, of requests or of tokens.

    Requests can overtake each other, most of all those of several machines: what the answer to one tells may leave out
    earlier ones that come later. So each is counted here, too, and what is told bounds that count from both sides.
    """

    _left: float | None = None
    """As of `_at`, less what was asked for; `None` before the service has told anything."""
    _at: float = 0.0
    _newest: int = -1
    _refill: float = 0.0
    """A second; 0 for a window."""
    _most: float = 0.0
    _ends_at: float = 0.0
    _is_window: bool = False

    def begin(self, amount: float) -> None:
        """Note that so much is asked for from now on."""
        if self._left is not None:
            self._left -= amount

    def hear(self, number: int, limit: QuotaLimit, taken_since: float, uncertain: float, now: float) -> None:
        """Note what the answer to a request told.

        Requests begun after it have asked for `taken_since`; those begun before it and not answered for `uncertain`,
        which may be counted in what was told, or not.
        """
        if number < self._newest:
            return
        used = limit.limit - limit.remaining
        bucket_s = used * MINUTE_S / limit.limit if limit.limit else 0.0
        if abs(limit.reset_s - bucket_s) > max(_SLACK_S, _SHARE * bucket_s):
            self._is_window = True
        self._advance(now)
        most = limit.remaining - taken_since
        self._left = most if self._left is None else min(max(self._left, most - uncertain), most)
        self._newest, self._at, self._most = number, now, limit.limit
        self._refill = 0.0 if self._is_window else limit.limit / MINUTE_S
        self._ends_at = now + min(limit.reset_s, LONGEST_S) + _AFTER_END_S

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until so much may be asked for; 0 is at once, also where nothing is known."""
        if self._left is None:
            return 0.0
        self._advance(now)
        lacking = min(amount, self._most) - self._left
        if lacking <= 0.0:
            return 0.0
        return lacking / self._refill if self._refill else self._ends_at - now

    def _advance(self, now: float) -> None:
        """Add what has come back since the last time."""
        if self._left is None:
            return
        if self._refill:
            self._left = min(self._most, self._left + self._refill * (now - self._at))
        elif now >= self._ends_at:  # all has come back, and the next answer says how much that is
            self._left, self._ends_at = self._most, now + MINUTE_S
        self._at = now
