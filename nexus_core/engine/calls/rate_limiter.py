"""What a target is asked at most: concurrent requests, requests and tokens per minute; and the queue of those who wait.

Admission is one step without an await: either all limits have room and all are charged, or none is. One limiter is used
by one thread at a time; its callers may run in different event loops, since each waits on a future of its own loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import Never

from attrs import frozen

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.contract.errors import LimitError
from nexus_core.engine.calls.deadline import Clock
from nexus_core.toolkit.suggest import counted

BURST_S = 10.0
"""So many seconds' worth may be taken at once."""
NEARLY = 1e-6
"""Tokens that rounding may miss."""
SHORTEST_TIMER_S = 0.001
LOST_AFTER_S = 1.0
"""A waiter that has not left so long after its time belongs to an event loop that no longer runs."""


class Admission:
    """A place inside the limits, to be given back with `leave`."""

    __slots__ = ("inside", "tokens")

    def __init__(self, tokens: float) -> None:
        self.tokens = tokens
        self.inside = True


@frozen(kw_only=True)
class Capacity:
    """What is left of a limit per minute."""

    of: str
    """`requests` or `tokens`."""
    limit: int
    left: float
    """So much may be taken now; below 0 it is a debt."""
    full_in_s: float
    """Until as much as ever may be taken."""


class TokenBucket:
    """A token bucket that fills all the time: `limit / 60` per second, up to ten seconds' worth.

    What is larger than the bucket is let through when the bucket is full, and leaves a debt: it comes late rather than
    never, and what follows waits until the debt is paid.
    """

    __slots__ = ("_at", "_burst", "_level", "_limit", "_rate")

    def __init__(self, limit: float, now: float) -> None:
        self._limit = limit
        self._rate = limit / 60
        self._burst = max(1.0, self._rate * BURST_S)
        self._level = self._burst
        self._at = now

    def level(self, now: float) -> float:
        """Return what may be taken now; below 0 it is a debt."""
        if now > self._at:
            self._level = min(self._burst, self._level + self._rate * (now - self._at))
            self._at = now
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until so much may be taken, 0 where it may be now."""
        missing = self._needs(amount) - self.level(now)
        return missing / self._rate if missing > NEARLY else 0.0

    def wait_behind_s(self, amount: float, before: float, now: float) -> float:
        """Return the wait where so much is taken `before`, or comes back where that is negative."""
        return max(0.0, (before + self._needs(amount) - self.level(now)) / self._rate)

    def full_in_s(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return (self._burst - self.level(now)) / self._rate

    def take(self, amount: float) -> None:
        """Take so much, whether it is there or not."""
        self._level -= amount

    def put_right(self, taken: float, used: float, now: float) -> None:
        """Replace what was taken by what was used; a debt from this ends at one minute's worth."""
        level, spare = self.level(now), taken - used
        if spare >= 0:
            self._level = min(self._burst, level + spare)
        else:
            self._level = max(level + spare, min(level, -self._limit))

    @property
    def state(self) -> tuple[float, float]:
        """What there is to remember: the level, and when it was that."""
        return self._level, self._at

    def restore(self, level: float, at: float) -> None:
        """Go on from a state."""
        self._level, self._at = level, at

    def _needs(self, amount: float) -> float:
        return min(amount, self._burst)


class RateLimiter:
    """The limits of one target, and the queue in front of them: first in, first out, bounded in length and time."""

    def __init__(self, limits: RateLimitPolicy, clock: Clock, name: str = "") -> None:
        now = clock.now()
        self._limits = limits
        self._clock = clock
        self._name = name
        self._slots = inf if limits.concurrency is None else limits.concurrency
        self._requests = None if limits.requests_per_minute is None else TokenBucket(limits.requests_per_minute, now)
        self._tokens = None if limits.tokens_per_minute is None else TokenBucket(limits.tokens_per_minute, now)
        self._inside = 0
        self._reserved = 0.0
        self._queue: deque[_Waiter] = deque()

    @property
    def inside(self) -> int:
        """How many admissions have not been given back."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many wait in the queue."""
        return len(self._queue)

    def try_enter(self, tokens: int) -> Admission | float:
        """Admit a request of so many tokens now, or return the seconds until it could be; infinite where none can tell.

        Nobody is let past those who wait in the queue.
        """
        now = self._clock.now()
        if self._queue:
            self._drop_lost(now)
        if self._queue:
            wait = self._estimate_s(tokens, now)
            return inf if self._inside >= self._slots else max(wait, SHORTEST_TIMER_S)
        return self._admit(tokens, now)

    async def enter(self, tokens: int, timeout_s: float) -> Admission:
        """Admit a request, after a wait in the queue of at most `queue_wait` and `timeout_s`.

        Raises LimitError where the queue is full, the time is up, or it is known from the start that it will be.
        Cancelled, it leaves nothing behind. To be awaited directly: what wraps it in a task may lose the admission.
        """
        found = self.try_enter(tokens)
        if isinstance(found, Admission):
            return found
        now = self._clock.now()
        left = min(timeout_s, self._limits.queue_wait_s)
        if len(self._queue) >= self._limits.queue:
            self._refuse(f"all {self._limits.queue} places of its queue are taken", tokens, now)
        if not left > 0 or self._estimate_s(tokens, now, hopeful=True) > left:
            self._refuse(
                f"it lets no request of {counted(tokens, 'token')} out within {max(left, 0):.3g} s", tokens, now
            )
        waiter = _Waiter(tokens, now + left)
        self._queue.append(waiter)
        try:
            return await self._turn(waiter)
        finally:
            self._dequeue(waiter)

    def reserve(self, admission: Admission, tokens: int) -> float:
        """Reserve so many tokens instead of those that were, or return the seconds until that could be done."""
        if self._tokens is None or not admission.inside:
            return 0.0
        now = self._clock.now()
        self._tokens.put_right(admission.tokens, 0, now)
        wait = self._tokens.wait_s(tokens, now)
        if not wait:
            self._reserved += tokens - admission.tokens
            admission.tokens = tokens
        self._tokens.take(admission.tokens)
        return wait

    def leave(self, admission: Admission, used_tokens: int | None, *, was_refused: bool = False) -> None:
        """Give a place back, and put what was reserved right by what was used; `None` where that is not known.

        A request that was refused after all does not count as one. A second time does nothing.
        """
        if not admission.inside:
            return
        admission.inside = False
        self._inside -= 1
        self._reserved -= admission.tokens
        if self._tokens is not None and used_tokens is not None:
            self._tokens.put_right(admission.tokens, used_tokens, self._clock.now())
        if self._requests is not None and was_refused:
            self._requests.put_right(1, 0, self._clock.now())
        if self._queue:
            self._wake_first()

    def rooms(self) -> tuple[Capacity, ...]:
        """Return what is left of the limits per minute, of those that there are."""
        now, limits, found = self._clock.now(), self._limits, []
        if self._requests is not None and limits.requests_per_minute is not None:
            found.append(_room("requests", limits.requests_per_minute, self._requests, now))
        if self._tokens is not None and limits.tokens_per_minute is not None:
            found.append(_room("tokens", limits.tokens_per_minute, self._tokens, now))
        return tuple(found)

    @property
    def state(self) -> tuple[float, ...]:
        """What there is to remember of those inside, for another limiter of the same limits to go on from."""
        requests = self._requests.state if self._requests is not None else (0.0, 0.0)
        tokens = self._tokens.state if self._tokens is not None else (0.0, 0.0)
        return (*requests, *tokens, float(self._inside), self._reserved)

    def restore(self, state: tuple[float, ...]) -> None:
        """Go on from a state; those who wait here stay."""
        if self._requests is not None:
            self._requests.restore(*state[:2])
        if self._tokens is not None:
            self._tokens.restore(*state[2:4])
        self._inside, self._reserved = int(state[4]), state[5]

    def _admit(self, tokens: float, now: float) -> Admission | float:
        if self._inside >= self._slots:
            return inf
        wait = self._requests.wait_s(1, now) if self._requests is not None else 0.0
        if self._tokens is not None:
            wait = max(wait, self._tokens.wait_s(tokens, now))
        if wait > 0:
            return wait
        # From here on nothing can refuse, so there is nothing to refund.
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(tokens)
        self._inside += 1
        self._reserved += tokens
        return Admission(tokens)

    def _estimate_s(self, tokens: float, now: float, *, hopeful: bool = False) -> float:
        """Return how long the minute's limits keep a request at the end of the queue.

        To be hopeful is to count on it that all tokens that are reserved come back unused.
        """
        wait = 0.0
        if self._requests is not None:
            wait = self._requests.wait_behind_s(1, len(self._queue), now)
        if self._tokens is not None:
            before = -self._reserved if hopeful else sum(waiter.tokens for waiter in self._queue)
            wait = max(wait, self._tokens.wait_behind_s(tokens, before, now))
        return wait

    async def _turn(self, waiter: _Waiter) -> Admission:
        """Wait until the waiter is the first of the queue and the limits have room for it."""
        while True:
            now = self._clock.now()
            wait = waiter.ends - now
            if self._queue and self._queue[0] is waiter:
                found = self._admit(waiter.tokens, now)
                if isinstance(found, Admission):
                    return found
                wait = min(wait, found)
            if now >= waiter.ends:
                self._refuse("its queue did not get to this request in time", waiter.tokens, now)
            await waiter.sleep(max(wait, SHORTEST_TIMER_S))

    def _dequeue(self, waiter: _Waiter) -> None:
        first = bool(self._queue) and self._queue[0] is waiter
        if waiter in self._queue:
            self._queue.remove(waiter)
        if first and self._queue:
            self._wake_first()

    def _wake_first(self) -> None:
        while self._queue and not self._queue[0].wake():
            self._queue.popleft()

    def _drop_lost(self, now: float) -> None:
        while self._queue and now > self._queue[0].ends + LOST_AFTER_S:
            self._queue.popleft()
            self._wake_first()

    def _refuse(self, reason: str, tokens: float, now: float) -> Never:
        of = f" of {self._name!r}" if self._name else ""
        wait = self._estimate_s(tokens, now)
        raise LimitError(
            f"the `limits`{of} hold the request back: {reason} ({_written(self._limits)}); raise them, or `queue_wait`",
            model=self._name,
            request_sent=False,
            retry_after_s=wait if wait > 0 and self._inside < self._slots else None,
        )


class _Waiter:
    """One who waits in the queue."""

    __slots__ = ("_future", "ends", "tokens")

    def __init__(self, tokens: float, ends: float) -> None:
        self.tokens = tokens
        self.ends = ends
        self._future: asyncio.Future[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Wait to be woken, for so long at most."""
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        timer = loop.call_later(seconds, _set, self._future)
        try:
            await self._future
        finally:
            timer.cancel()

    def wake(self) -> bool:
        """Let the waiter look again; False where its event loop is closed, so that it never will."""
        if self._future is None:
            return True
        loop = self._future.get_loop()
        if loop.is_closed():
            return False
        loop.call_soon_threadsafe(_set, self._future)  # perhaps not the loop that runs now
        return True


def _room(of: str, limit: int, bucket: TokenBucket, now: float) -> Capacity:
    return Capacity(of=of, limit=limit, left=bucket.level(now), full_in_s=bucket.full_in_s(now))


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _written(limits: RateLimitPolicy) -> str:
    """Return the limits that are set, as they stand in a file."""
    names = ("concurrency", "requests_per_minute", "tokens_per_minute")
    return ", ".join(f"{name}: {value}" for name in names if (value := getattr(limits, name)) is not None)
