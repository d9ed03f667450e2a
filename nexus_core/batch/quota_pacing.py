"""Quota pacing: when the next request may go, by what a service tells in its headers is left of its limits.

Two kinds of limits are told apart by their figures. A token bucket fills all the time, so its `reset` is the time that
the used part takes to come back; a fixed window gives everything back at once, at an end that does not move.

Requests overtake each other, most of all those of several machines. Of answers to requests that were under way at the
same time, the one that tells of the least is believed: what is left only falls, but for what comes back over time.
Requests that are still under way may not be counted in it, so they are taken off.
"""

from __future__ import annotations

from attrs import define, field

from nexus_core.contract.values import QuotaLimit

MINUTE_S = 60.0
LONGEST_S = 600.0
"""After so long it is tried once, whatever a service has told."""
_SLACK_S = 1.0
"""Services round what they tell to seconds."""
_SHARE = 0.2
_AFTER_END_S = 0.05
"""A window of the service may end a little later than it says."""


_ON_THE_WAY_S = 1.0
"""A request is counted by the service so soon after it has begun."""


@define(eq=False)
class QuotaPacer:
    """Keeps one limit of a service, of requests or of tokens."""

    _open: dict[int, tuple[float, float]] = field(factory=dict)
    """When each request under way began, the oldest first, and how much it asks for."""
    _left: float | None = None
    """By the answer that is believed, at `_at`; `None` before there is one."""
    _at: float = 0.0
    _began: float = 0.0
    """When its request began."""
    _heard: float = 0.0
    """When it came; what begins later tells of more."""
    _silent: float = 0.0
    """Asked for by requests since then whose answer told nothing."""
    _refill: float = 0.0
    """A second; 0 for a window."""
    _most: float = 0.0
    _ends_at: float = 0.0
    _is_window: bool = False

    def begin(self, number: int, amount: float, now: float) -> None:
        """Note that a request goes out now which asks for so much."""
        self._open[number] = now, amount

    def end(self, number: int, limit: QuotaLimit | None, now: float) -> None:
        """Note what the answer to a request told, `None` for nothing."""
        began, amount = self._open.pop(number)
        if limit is None:
            self._silent += amount
            return
        used = limit.limit - limit.remaining
        bucket_s = used * MINUTE_S / limit.limit if limit.limit else 0.0
        if abs(limit.reset_s - bucket_s) > max(_SLACK_S, _SHARE * bucket_s):
            self._is_window = True
        at = min(now, began + _ON_THE_WAY_S)
        ends_at = now + min(limit.reset_s, LONGEST_S) + _AFTER_END_S
        if not self._is_newer(limit.remaining, began, at, ends_at):
            return
        if began >= self._heard:
            self._silent = 0.0
        self._left, self._most = limit.remaining, limit.limit
        self._at, self._began, self._heard, self._ends_at = at, began, now, ends_at
        self._refill = 0.0 if self._is_window else limit.limit / MINUTE_S

    def wait_s(self, amount: float, reserved: float, now: float) -> float:
        """Return the seconds until so much may be asked for; 0 is at once, also where nothing is known.

        `reserved` is what others may ask for before that.
        """
        if self._left is None:
            return 0.0
        if not self._refill and now >= self._ends_at:  # all has come back, and the next answer says how much that is
            self._left, self._at, self._began, self._heard, self._silent = self._most, now, now, now, 0.0
            self._ends_at = now + MINUTE_S
        left = min(self._most, self._left + self._refill * (now - self._at)) - self._uncounted()
        lacking = min(amount, self._most) + reserved - left
        if lacking <= 0.0:
            return 0.0
        return lacking / self._refill if self._refill else self._ends_at - now

    def _is_newer(self, left: float, began: float, at: float, ends_at: float) -> bool:
        """Tell whether an answer tells more than the one that is believed."""
        if self._left is None or began >= self._heard:
            return True
        if began < self._began - _ON_THE_WAY_S:
            return False
        if self._is_window and abs(ends_at - self._ends_at) > 2 * _SLACK_S:  # they tell of two windows
            return ends_at > self._ends_at
        return left - self._refill * (at - self._at) <= self._left

    def _uncounted(self) -> float:
        """Return what the service may not have counted in what it told."""
        amounts = 0.0
        for began, amount in reversed(self._open.values()):
            if began < self._began - _ON_THE_WAY_S:
                break
            amounts += amount
        return amounts + self._silent
