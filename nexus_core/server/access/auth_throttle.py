"""Wrong keys: who shows many of them is slowed down."""

from __future__ import annotations

from nexus_core.engine.calls.deadline import Clock
from nexus_core.server.workers.shared_counters import CounterStore, State

PER_MINUTE = 20
"""Keys that are nobody's, from one address; more are told to wait."""
_MINUTE_S = 60.0


class AuthThrottle:
    """Counts the wrong keys of each address, minute by minute."""

    def __init__(self, memory: CounterStore, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock

    def note(self, origin: str) -> float:
        """Count one, and return the seconds that its sender has to wait, 0 for none."""
        now = self._clock.now()

        def one_more(state: State | None) -> tuple[State, float]:
            since, count = state[:2] if state is not None else (now, 0.0)
            if now - since >= _MINUTE_S:
                since, count = now, 0.0
            return (since, count + 1), since + _MINUTE_S - now if count >= PER_MINUTE else 0.0

        return self._memory.change(origin, one_more)
