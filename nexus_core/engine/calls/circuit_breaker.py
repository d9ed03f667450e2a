"""Leaves a target alone while it only fails, and lets one probe at a time find out whether it serves again.

A pure machine: the time comes in with each call and moves only then. One breaker belongs to one target of one process;
nothing of it is stored.
"""

from __future__ import annotations

from collections import deque
from math import inf
from random import Random
from typing import Literal, NamedTuple

from nexus_core.config.policies import BreakerPolicy

LONGEST_ALONE_S = 3600.0
PROBES_TO_CLOSE = 2
SPREAD = 0.2
"""An opening lasts this share longer or shorter, so that many processes do not probe at once."""
SLOTS = 60
"""The window slides in so many steps: outcomes are counted by slot, whatever their number."""

_MOST_DOUBLINGS = 64

BreakerState = Literal["closed", "open", "half_open", "parked"]


class Permit(NamedTuple):
    """The leave to send one request; given back with its outcome."""

    probe: bool
    era: int
    """Outcomes of requests that began before the breaker last opened or closed say nothing of the target now."""


class OutcomeWindow:
    """How many requests of the last `window_s` seconds failed, exact to one sixtieth of the window."""

    __slots__ = ("_slots", "_width_s", "failed", "in_a_row", "total")

    def __init__(self, window_s: float) -> None:
        self._width_s = window_s / SLOTS
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._slots: deque[list[int]] = deque()
        self.failed = self.total = self.in_a_row = 0

    def add(self, failed: bool, now: float) -> None:
        """Count an outcome, and forget those that have left the window."""
        slot = int(now // self._width_s)
        slots = self._slots
        if not slots or slots[-1][0] < slot:
            slots.append([slot, 0, 0])
            while slots[0][0] <= slot - SLOTS:
                _, total, failures = slots.popleft()
                self.total -= total
                self.failed -= failures
        slots[-1][1] += 1
        self.total += 1
        if failed:
            slots[-1][2] += 1
            self.failed += 1
            self.in_a_row += 1
        else:
            self.in_a_row = 0


class CircuitBreaker:
    """The breaker of one target. Without a policy it never opens and is never parked; a gate still holds.

    `enter` before a request, `leave` after it in a `finally`: a probe that is never given back keeps the target shut.
    """

    __slots__ = (
        "_alone_until",
        "_era",
        "_half_open",
        "_length_s",
        "_normal",
        "_opened_at",
        "_openings",
        "_outcomes",
        "_policy",
        "_probe",
        "_random",
        "_tripped",
        "closed",
    )

    def __init__(self, policy: BreakerPolicy | None, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._outcomes = OutcomeWindow(policy.window_s if policy else 1.0)
        self.closed = True
        """Requests pass without a look at the time; False also for a while after a gate has ended."""
        self._tripped = False
        self._alone_until = -inf
        self._opened_at = 0.0
        self._length_s = 0.0
        self._openings = 0
        self._half_open = 0
        self._probe: Permit | None = None
        self._era = 0
        self._normal = Permit(False, 0)

    def enter(self, now: float, *, alone: bool = False) -> Permit | None:
        """Return the leave to send a request, or `None` where the target is to be left alone.

        `alone` says that the call has no other target: then an opening lasts no longer than the first one does.
        """
        if self.closed:
            return self._normal
        if now < self._alone_until:
            return None
        if not self._tripped:
            self.closed = True
            return self._normal
        if self._probe is not None or now < self._ends(alone):
            return None
        self._probe = Permit(True, self._era)
        return self._probe

    def leave(self, permit: Permit, ok: bool | None, now: float, *, alone: bool = False) -> None:
        """Give a permit back with the outcome; `None` is no verdict, as of a cancelled request or a rate limit."""
        if permit.probe:
            if permit is self._probe:
                self._probe = None
                self._judge_probe(ok, now, alone)
        elif ok is not None and permit.era == self._era and self._policy is not None:
            self._outcomes.add(not ok, now)
            if not ok and self._is_too_much(self._policy):
                self._open(self._policy, now, alone)

    def opens_at(self, now: float, *, alone: bool = False) -> float:
        """Return the seconds until a request would be let through: 0 is now, infinite while a probe is out."""
        if self.closed:
            return 0.0
        wait = max(0.0, self._alone_until - now)
        if not self._tripped:
            return wait
        return inf if self._probe is not None else max(wait, self._ends(alone) - now)

    def park(self, now: float, seconds: float) -> None:
        """Leave the target alone because its key, model or account is wrong; without a policy nothing is done."""
        if self._policy is not None:
            self.gate(now, seconds)

    def gate(self, now: float, seconds: float) -> None:
        """Leave the target alone because its service asks for it, for an hour at most; a longer gate stays."""
        if seconds > 0:  # not so for NaN
            self._alone_until = max(self._alone_until, now + min(seconds, LONGEST_ALONE_S))
            self.closed = False

    def state(self, now: float) -> BreakerState:
        """Return the state in a word; `parked` is left alone on purpose, whatever the breaker says."""
        if now < self._alone_until:
            return "parked"
        if not self._tripped:
            return "closed"
        return "open" if now < self._ends(False) else "half_open"

    def _ends(self, alone: bool) -> float:
        length = min(self._length_s, self._policy.open_s) if alone and self._policy else self._length_s
        return self._opened_at + length

    def _is_too_much(self, policy: BreakerPolicy) -> bool:
        found = self._outcomes
        if found.in_a_row >= policy.failures:
            return True
        return found.total >= policy.of_at_least and found.failed >= policy.share * found.total

    def _judge_probe(self, ok: bool | None, now: float, alone: bool) -> None:
        if ok is None or self._policy is None:
            return
        if not ok:
            self._open(self._policy, now, alone)
            return
        self._half_open += 1
        if self._half_open == PROBES_TO_CLOSE:
            self._close(now)

    def _open(self, policy: BreakerPolicy, now: float, alone: bool) -> None:
        self._openings += 1
        doublings = min(self._openings - 1, _MOST_DOUBLINGS)
        length = min(policy.longest_open_s, policy.open_s * 2**doublings)
        length *= self._random.uniform(1 - SPREAD, 1 + SPREAD)
        self._length_s = min(length, policy.open_s) if alone else length
        self._opened_at = now
        self._half_open = 0
        self._tripped = True
        self.closed = False
        self._turn()

    def _close(self, now: float) -> None:
        self._openings = 0
        self._tripped = False
        self.closed = now >= self._alone_until
        self._turn()

    def _turn(self) -> None:
        """Begin a new era, in which nothing of the one before counts."""
        self._outcomes.clear()
        self._era += 1
        self._normal = Permit(False, self._era)
