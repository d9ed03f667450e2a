"""What one key may ask of this process: requests and tokens per minute, and how many at once."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from math import ceil, inf
from types import TracebackType

from attrs import define

from nexus_core.contract.events import AttemptFinished
from nexus_core.engine.attempts.clock import Clock
from nexus_core.engine.attempts.limits import Admission, Limiter
from nexus_core.server.errors import Failure
from nexus_core.server.identity import Identity

ANSWER_TOKENS = 1_000
"""What an answer is taken for until it is there."""
_BYTES_PER_TOKEN = 4


@define(eq=False)
class Entry:
    """A request of a key that was let in, and what it has used so far."""

    key_id: str
    limiter: Limiter
    admission: Admission
    counts_tokens: bool
    used: int | None = None
    """Tokens; `None` as long as nothing is known, then what was reserved stays taken."""

    def __enter__(self) -> Entry:
        ENTRY.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ENTRY.set(None)
        # Without an await before it: whoever is cancelled gives the place back all the same.
        self.limiter.leave(self.admission, self.used)

    def spend(self, attempts: Iterable[AttemptFinished]) -> None:
        """Count the tokens of attempts."""
        for row in attempts:
            self.used = (self.used or 0) + (row.prompt_tokens or 0) + (row.completion_tokens or 0)


ENTRY: ContextVar[Entry | None] = ContextVar("nexus_entry", default=None)
"""The entry that the code that runs belongs to; `None` where there are no limits."""


class Admissions:
    """The limits of all keys, each with what is left of them."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._limiters: dict[str, Limiter] = {}

    def enter(self, who: Identity, size: int | None, *, runs: bool) -> Entry | None:
        """Let a request of a known size in, all limits at once or none; raises Failure with the time to wait."""
        limits = who.limits
        if limits is None:
            return None
        limiter = self._limiters.get(who.key_id)
        if limiter is None:
            limiter = self._limiters[who.key_id] = Limiter(limits, self._clock, who.key_id)
        counts = runs and limits.tokens_per_minute is not None
        found = limiter.try_enter((size or 0) // _BYTES_PER_TOKEN + ANSWER_TOKENS if counts else 0)
        if isinstance(found, Admission):
            return Entry(who.key_id, limiter, found, counts, None if counts else 0)
        if found == inf:
            raise Failure(
                429,
                "concurrency_exceeded",
                f"this key may have {limits.concurrency} requests at once: wait for one of them",
                {"Retry-After": "1"},
            )
        wait = max(1, ceil(found))
        raise Failure(
            429, "rate_limit_exceeded", f"the limits of this key are used up for {wait} s", {"Retry-After": str(wait)}
        )
