"""What one key may ask of a server: requests and tokens per minute, and how many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, inf
from types import TracebackType
from typing import Protocol, TypeVar

from attrs import define, evolve

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.contract.answers import AttemptFinished, Event
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.calls.rate_limiter import Admission, Capacity, RateLimiter
from nexus_core.server.access.identity import Identity
from nexus_core.server.access.spend_counter import SpendCounter
from nexus_core.server.errors import Failure
from nexus_core.server.workers.shared_counters import CounterStore, State
from nexus_core.toolkit.suggest import counted

ANSWER_TOKENS = 1_000
"""What an answer is taken for until it is there, where a request names no most."""
_BYTES_PER_TOKEN = 4
MakeRoom = Callable[[str | None], bool]
"""Ends a run that nobody reads, of a key or of any; returns whether there was one."""
_T = TypeVar("_T")


class KeyLimiter(Protocol):
    """The limits of one key: `Limiter`, or one that several processes share."""

    def try_enter(self, tokens: int) -> Admission | float:
        """Admit a request, or return the seconds until it could be; infinite where none can tell."""

    def reserve(self, admission: Admission, tokens: int) -> float:
        """Reserve other tokens than before, or return the seconds until that could be."""

    def leave(self, admission: Admission, used_tokens: int | None, *, was_refused: bool = False) -> None:
        """Give a place back."""

    def rooms(self) -> tuple[Capacity, ...]:
        """Return what is left of the limits per minute."""


class LeasedKeyLimiter(KeyLimiter, Protocol):
    """The limits of one key that several servers go by: what a request needs is fetched before it is admitted."""

    async def prepare(self, tokens: int) -> None:
        """Fetch what a request of so many tokens needs, where it is not at hand."""


class LimiterSource(Protocol):
    """Makes the limits of keys that several servers go by."""

    def limiter(self, limits: RateLimitPolicy, clock: Clock, name: str, alone: KeyLimiter) -> LeasedKeyLimiter:
        """Return those of a key; `alone` holds while the servers cannot agree."""


class SharedLimiter:
    """The limits of one key for all workers of a server: each step begins with what they remember together.

    A worker that is killed leaves its places taken; the others end with it, and what they shared.
    """

    def __init__(self, limiter: RateLimiter, memory: CounterStore, name: str) -> None:
        self._limiter = limiter
        self._memory = memory
        self._name = name

    def try_enter(self, tokens: int) -> Admission | float:
        """Admit a request, or return the seconds until it could be; infinite where none can tell."""
        return self._together(lambda: self._limiter.try_enter(tokens))

    def reserve(self, admission: Admission, tokens: int) -> float:
        """Reserve other tokens than before, or return the seconds until that could be."""
        return self._together(lambda: self._limiter.reserve(admission, tokens))

    def leave(self, admission: Admission, used_tokens: int | None, *, was_refused: bool = False) -> None:
        """Give a place back."""
        self._together(lambda: self._limiter.leave(admission, used_tokens, was_refused=was_refused))

    def rooms(self) -> tuple[Capacity, ...]:
        """Return what was left of the limits per minute after the last step."""
        return self._limiter.rooms()

    def _together(self, step: Callable[[], _T]) -> _T:
        def change(state: State | None) -> tuple[State, _T]:
            if state is not None:
                self._limiter.restore(state)
            found = step()
            return self._limiter.state, found

        return self._memory.change(self._name, change)


@define(eq=False)
class AdmittedRequest:
    """A request of a key that was let in, and what it has used so far."""

    key_id: str
    limiter: KeyLimiter
    admission: Admission
    counts_tokens: bool
    told: Mapping[str, str]
    """What headers tell of the limits."""
    who: Identity
    spend: SpendCounter | None = None
    """Counts what is used for those who ask."""
    prompt_tokens: int = 0
    """What its prompt was taken for."""
    used: int = 0
    """Tokens of the attempts so far."""
    has_run: bool = False
    is_handed_over: bool = False
    """Whether the place is a run's, which may outlive the request."""

    def __enter__(self) -> AdmittedRequest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Without an await before it: whoever is cancelled gives the place back all the same.
        if not self.is_handed_over:
            self.release(error)

    def hand_over(self) -> AdmittedRequest:
        """Keep the place beyond the request: who takes it over releases it."""
        self.is_handed_over = True
        return self

    def release(self, error: BaseException | None = None) -> None:
        """Give the place back, and put right what was reserved; a second time does nothing."""
        was_refused = not self.has_run and isinstance(error, Failure) and error.status in (429, 503)
        self.limiter.leave(self.admission, self.used, was_refused=was_refused)

    def release_early(self) -> None:
        """Give the place back before it is known what was used: what was reserved counts as that."""
        self.limiter.leave(self.admission, None)

    def expect(self, answer_tokens: int) -> None:
        """Reserve for an answer of so many tokens at most; raises Failure with the time to wait."""
        if self.counts_tokens:
            wait = self.limiter.reserve(self.admission, self.prompt_tokens + answer_tokens)
            if wait:
                raise _too_many(wait, _headers(self.limiter.rooms()))

    def begin(self) -> Callable[[Event], None] | None:
        """Note that a run begins, and return what wants to hear of its events."""
        self.has_run = True
        return self._hear if self.counts_tokens or self.spend is not None else None

    def _hear(self, event: Event) -> None:
        """Count the tokens of an attempt, also of one whose reader has left."""
        if isinstance(event, AttemptFinished):
            if self.spend is not None:
                self.spend.note(self.who, event)
            self.used += (event.prompt_tokens or 0) + (event.completion_tokens or 0)


class KeyAdmissions:
    """The limits of all keys, each with what is left of them; in `shared`, where several processes go by them."""

    def __init__(
        self,
        clock: Clock | None = None,
        shared: CounterStore | None = None,
        spend: SpendCounter | None = None,
        leases: LimiterSource | None = None,
    ) -> None:
        """Take what holds; with `leases` several servers go by the limits of a key together."""
        self._clock = clock or Clock()
        self._shared = shared
        self._spend = spend
        self._leases = leases
        self._leased: dict[str, LeasedKeyLimiter] = {}
        self._limiters: dict[str, KeyLimiter] = {}
        self._policies: dict[str, RateLimitPolicy] = {}
        """By what limits each of them goes."""
        self.make_room: MakeRoom = lambda key_id: False

    async def prepare(self, who: Identity, size: int, *, runs: bool) -> None:
        """Fetch what a request needs from what several servers share, if it is not at hand."""
        if who.limits is None or self._leases is None:
            return
        self._limiter(who.key_id, who.limits)
        counts = runs and who.limits.tokens_per_minute is not None
        await self._leased[who.key_id].prepare(size // _BYTES_PER_TOKEN + ANSWER_TOKENS if counts else 0)

    def _limiter(self, key_id: str, limits: RateLimitPolicy) -> KeyLimiter:
        """Return the limits of a key as they are now."""
        known = self._limiters.get(key_id)
        if known is not None and self._policies[key_id] == limits:
            return known
        limiter = self._own(key_id, limits)
        if self._leases is not None:
            alone = self._own(key_id, halved(limits))
            limiter = self._leased[key_id] = self._leases.limiter(limits, self._clock, _name(key_id, limits), alone)
        self._limiters[key_id], self._policies[key_id] = limiter, limits
        return limiter

    def _own(self, key_id: str, limits: RateLimitPolicy) -> KeyLimiter:
        """Return the limits of a key for this machine."""
        own = RateLimiter(limits, self._clock, key_id)
        return own if self._shared is None else SharedLimiter(own, self._shared, _name(key_id, limits))

    def enter(self, who: Identity, size: int, *, runs: bool) -> AdmittedRequest | None:
        """Let a request of a known size in, all limits at once or none; raises Failure with the time to wait."""
        limits = who.limits
        if limits is None:
            return None
        limiter = self._limiter(who.key_id, limits)
        counts = runs and limits.tokens_per_minute is not None
        prompt = size // _BYTES_PER_TOKEN
        found = limiter.try_enter(prompt + ANSWER_TOKENS if counts else 0)
        if found == inf and self.make_room(who.key_id):
            found = limiter.try_enter(prompt + ANSWER_TOKENS if counts else 0)
        told = _headers(limiter.rooms())
        if isinstance(found, Admission):
            return AdmittedRequest(who.key_id, limiter, found, counts, told, who, self._spend, prompt)
        if found == inf:
            raise Failure(
                429,
                "concurrency_exceeded",
                f"this key may have {counted(limits.concurrency or 0, 'request')} at once: wait for one of them",
                {"Retry-After": "1", **told},
            )
        raise _too_many(found, told)


def halved(limits: RateLimitPolicy) -> RateLimitPolicy:
    """Return half of some limits, which is what a server alone admits while nobody can say what the others do."""

    def half(limit: int | None) -> int | None:
        return None if limit is None else max(1, limit // 2)

    return evolve(
        limits,
        requests_per_minute=half(limits.requests_per_minute),
        tokens_per_minute=half(limits.tokens_per_minute),
        concurrency=half(limits.concurrency),
    )


def _name(key_id: str, limits: RateLimitPolicy) -> str:
    """Return how what is left of limits is called: other limits are another state."""
    return f"{key_id} {limits.requests_per_minute} {limits.tokens_per_minute} {limits.concurrency}"


def _too_many(seconds: float, told: Mapping[str, str]) -> Failure:
    wait = max(1, ceil(seconds))
    return Failure(
        429,
        "rate_limit_exceeded",
        f"the limits of this key are used up for {wait} s",
        {"Retry-After": str(wait), **told},
    )


def _headers(rooms: tuple[Capacity, ...]) -> dict[str, str]:
    """Return what OpenAI's headers of rate limits say; `remaining` may be taken at once, `reset` is when it is full."""
    told = {}
    for room in rooms:
        told[f"x-ratelimit-limit-{room.of}"] = str(room.limit)
        told[f"x-ratelimit-remaining-{room.of}"] = str(max(0, int(room.left)))
        told[f"x-ratelimit-reset-{room.of}"] = _written(room.full_in_s)
    return told


def _written(seconds: float) -> str:
    """Return a time as these headers have it: `120ms`, `7s`, `1m30s`."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
