"""Adaptive concurrency: how many records run at once. It grows while answers stay fast and halves on a rate limit.

Additive increase, multiplicative decrease, as TCP does it: twice as many each round until the first sign of too much,
one more each round after it (Chiu and Jain 1989). Where answers take more than twice as long as the fastest have, it
grows no more. What a service tells of its quota is obeyed before it refuses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from nexus_core.batch.quota_pacing import QuotaPacer
from nexus_core.contract.values import Quota

START = 4.0
SLOW = 2.0
"""Times the fastest round: from here on more at once only wait for each other."""
_NEARLY_S, _SHORTEST_S = 1e-6, 0.001
"""Below the first it is time, and no wait is shorter than the second: clocks and sums are not exact."""
_ROUND = 32
"""Answers whose median is compared."""
_AVERAGE = 0.1
"""What the newest request counts in the mean of the tokens."""


class AdaptiveConcurrency:
    """Lets records begin: `enter` waits for a place, `leave` gives it back; requests tell how they went."""

    def __init__(self, most: int, now: Callable[[], float] = monotonic) -> None:
        self.most = most
        self.in_flight = 0
        self._now = now
        self._limit = min(START, float(most))
        self._doubling = True
        self._times: deque[float] = deque(maxlen=_ROUND)
        self._fastest: float | None = None
        self._halved_at = -1.0
        self._silent = 0
        """Records that have begun and not asked yet."""
        self._numbers = 0
        self._begun: dict[int, float] = {}
        self._requests, self._tokens = QuotaPacer(), QuotaPacer()
        self._tokens_each = 0.0
        self._changed = asyncio.Event()
        self._is_closed = False
        self._paused_until = 0.0

    @property
    def limit(self) -> int:
        """How many records may run at once, now."""
        return int(self._limit)

    async def enter(self) -> bool:
        """Take a place as soon as there is one; false where none is given any more."""
        while not self._is_closed and (wait_s := self._wait_s()) != 0:
            await self.change(wait_s)
        if self._is_closed:
            return False
        self.in_flight += 1
        self._silent += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.in_flight -= 1
        self._silent = min(self._silent, self.in_flight)  # it may have ended without any request
        self._changed.set()

    def pause(self, seconds: float) -> None:
        """Give no place for a while."""
        self._paused_until = max(self._paused_until, self._now() + seconds)

    async def change(self, longest_s: float | None = None) -> None:
        """Wait until something has changed, so that it is worth to look again."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), longest_s)

    def close(self) -> None:
        """Give no place any more."""
        self._is_closed = True
        self._changed.set()

    def begin_request(self) -> int:
        """Note that a request goes out now, and return its number."""
        self._silent = max(0, self._silent - 1)
        self._numbers += 1
        self._begun[self._numbers] = now = self._now()
        self._requests.begin(self._numbers, 1.0, now)
        self._tokens.begin(self._numbers, self._tokens_each, now)
        return self._numbers

    def end_request(self, number: int, *, ok: bool, refused: bool, tokens: int | None, quota: Quota | None) -> None:
        """Note how a request went: well, or refused since there were too many."""
        now = self._now()
        began = self._begun.pop(number)
        if tokens is not None:
            self._tokens_each += (tokens - self._tokens_each) * (_AVERAGE if self._tokens_each else 1.0)
        self._requests.end(number, None if quota is None else quota.requests, now)
        self._tokens.end(number, None if quota is None else quota.tokens, now)
        if refused:
            self._halve(began, now)
        elif ok:
            self._grow(now - began)
        self._changed.set()

    def _halve(self, began: float, now: float) -> None:
        if began < self._halved_at:  # it left before the last halving could help
            return
        self._limit = max(1.0, self._limit / 2)
        self._doubling, self._halved_at = False, now

    def _grow(self, seconds: float) -> None:
        self._times.append(seconds)
        median = sorted(self._times)[len(self._times) // 2]
        self._fastest = median if self._fastest is None else min(self._fastest, median)
        if median > SLOW * self._fastest:
            self._doubling = False
            return
        if 2 * self.in_flight >= self.limit:  # what is not used says nothing of what could be
            self._limit = min(float(self.most), self._limit + (1.0 if self._doubling else 1.0 / self._limit))

    def _wait_s(self) -> float | None:
        if self.in_flight >= self.limit:
            return None
        now = self._now()
        tokens, silent = self._tokens_each, self._silent
        quota_s = max(self._requests.wait_s(1.0, silent, now), self._tokens.wait_s(tokens, silent * tokens, now))
        wait_s = max(quota_s, self._paused_until - now)
        return max(wait_s, _SHORTEST_S) if wait_s > _NEARLY_S else 0.0
