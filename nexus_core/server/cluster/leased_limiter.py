"""Limits of a key at one server of several: requests are admitted from the part of its budget that this one holds.

No request waits for a write of its own as long as that part lasts. Where it does not, those that come at the same time
ask for more together. With the database lost, half of the limits hold at each server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from weakref import WeakSet

from attrs import define

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.contract.errors import NexusError
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.calls.rate_limiter import NEARLY, Admission, Capacity, TokenBucket
from nexus_core.server.access.key_limits import KeyLimiter, halved
from nexus_core.server.cluster.key_budget import LEASE_S, Exchange, KeyBudget, Share
from nexus_core.server.cluster.store_link import StoreLink
from nexus_core.store.access.server_agreements import change_budget, read_budget
from nexus_core.store.database.sql import ServerConnection

_RENEW_S = LEASE_S / 3
_ASK_S = 2.0
"""So long a request waits for the database."""
_REFUSED_S = 0.25
"""After a refusal the database is not asked again for so long at most."""
_GIVEN_BACK_S = 0.5
"""So long a request waits for a place that another server may hold without need."""
_PAUSE_S = 0.05
_TRIES = 20


@define(eq=False)
class _Demand:
    tokens: float
    met: asyncio.Future[float]
    is_promised: bool = False


class LeasedLimiter:
    """The limits of one key for this server."""

    def __init__(
        self, limits: RateLimitPolicy, clock: Clock, name: str, server: str, link: StoreLink, alone: KeyLimiter
    ) -> None:
        """Take the limits; `alone`, with half of them, is what holds while the database is lost."""
        self._limits = limits
        self._clock = clock
        self._name = name
        self._server = server
        self._link = link
        self._alone = alone
        self._alone_slots = halved(limits).concurrency or inf
        self._admitted_alone: set[Admission] = set()
        now = clock.now()
        self._common = {
            of: TokenBucket(limit, now)
            for of, limit in (("requests", limits.requests_per_minute), ("tokens", limits.tokens_per_minute))
            if limit is not None
        }
        """What is left in common, as far as this server knows."""
        self._part = dict.fromkeys(("requests", "tokens"), 0.0)
        """What this server holds."""
        self._used = dict.fromkeys(("requests", "tokens"), 0.0)
        """Since the last look."""
        self._used_before = dict(self._used)
        """Between the two looks before."""
        self._slots, self._inside, self._peak = 0, 0, 0
        self._promised = 0
        """Demands that were met, for requests that have not gone on yet."""
        self._is_scarce = False
        self._demands: list[_Demand] = []
        self._refused: tuple[float, float] = (-inf, 0.0)
        """Until when the database is not asked again, and until when nothing is left."""
        self._exchanging: asyncio.Task[None] | None = None
        self._exchanged_at = -inf

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing that others may want."""
        holds = self._slots or self._inside or self._exchanging or self._admitted_alone
        return not holds and all(abs(part) < NEARLY for part in self._part.values())

    # For requests

    async def prepare(self, tokens: int) -> None:
        """Take more of the budget where a request of so many tokens could not be admitted from what is held."""
        ends = self._clock.now() + _GIVEN_BACK_S
        while not self._link.is_lost and not self._has(tokens):
            now = self._clock.now()
            if now < self._refused[0]:
                return
            try:
                wait = await self._ask(tokens if self._counts_tokens else 0.0)
            except TimeoutError:
                return
            now = self._clock.now()
            if not wait or (wait == inf and now < ends and self._inside < self._most):
                if wait:  # others may hold a place that they do not use
                    await asyncio.sleep(_PAUSE_S)
                continue
            self._refused = (now + min(wait, _REFUSED_S), now + wait)
            return

    async def _ask(self, tokens: float) -> float:
        """Take what a request needs with the next exchange; returns 0, or the seconds until it could be there."""
        demand = _Demand(tokens, asyncio.get_running_loop().create_future())
        self._demands.append(demand)
        self._begin()
        try:
            async with asyncio.timeout(_ASK_S):
                return await demand.met
        finally:
            self._promised -= demand.is_promised

    def try_enter(self, tokens: int) -> Admission | float:
        """Admit a request, or return the seconds until it could be; infinite where none can tell."""
        if self._link.is_lost:
            return self._try_alone(tokens)
        if self._inside >= self._slots:
            return inf if self._inside >= self._most or self._slots_are_taken else self._wait_s()
        if not self._has(tokens):
            return self._wait_s()
        self._take("requests", 1.0)
        if self._counts_tokens:
            self._take("tokens", tokens)
        self._inside += 1
        self._peak = max(self._peak, self._inside)
        return Admission(tokens)

    def reserve(self, admission: Admission, tokens: int) -> float:
        """Reserve other tokens than before, or return the seconds until that could be.

        What is missing of this server's part is owed where there is enough in common.
        """
        if admission in self._admitted_alone:
            return self._alone.reserve(admission, tokens)
        if not self._counts_tokens or not admission.inside:
            return 0.0
        common, more = self._common["tokens"], tokens - admission.tokens
        wait = common.wait_s(more - self._part["tokens"], self._clock.now()) if more > self._part["tokens"] else 0.0
        if not wait:
            self._take("tokens", more)
            admission.tokens = tokens
            if self._part["tokens"] < 0:
                common.take(-self._part["tokens"])
                self._begin()
        return wait

    def leave(self, admission: Admission, used_tokens: int | None, *, was_refused: bool = False) -> None:
        """Give a place back."""
        if admission in self._admitted_alone:
            self._admitted_alone.discard(admission)
            self._alone.leave(admission, used_tokens, was_refused=was_refused)
            return
        if not admission.inside:
            return
        admission.inside = False
        self._inside -= 1
        if self._counts_tokens and used_tokens is not None:
            self._part["tokens"] += admission.tokens - used_tokens
        if was_refused and "requests" in self._common:
            self._part["requests"] += 1
        if self._is_scarce and not self._link.is_lost:
            self._begin()

    def rooms(self) -> tuple[Capacity, ...]:
        """Return what is left of the limits per minute, as far as this server knows."""
        if self._link.is_lost:
            return self._alone.rooms()
        now, found = self._clock.now(), []
        limits = {"requests": self._limits.requests_per_minute, "tokens": self._limits.tokens_per_minute}
        for of, bucket in self._common.items():
            left = bucket.level(now) + self._part[of]
            found.append(Capacity(of=of, limit=limits[of] or 0, left=left, full_in_s=bucket.full_in_s(now)))
        return tuple(found)

    # For each look of the link

    async def look(self) -> None:
        """Give back what is not used, and hold on to what is."""
        is_due = self._clock.now() - self._exchanged_at >= _RENEW_S
        has_spare = self._slots > self._peak or any(abs(self._part[of] - self._keep(of)) >= 1 for of in self._common)
        runs_short = any(self._used[of] > self._part[of] for of in self._common)
        if (is_due and not self.is_idle) or has_spare or runs_short:
            self._begin()
            if self._exchanging is not None:
                await asyncio.shield(self._exchanging)
        self._peak = self._inside
        self._used_before, self._used = self._used, dict.fromkeys(self._used, 0.0)

    async def give_up(self) -> None:
        """Give back all that no request holds."""
        self._peak, self._is_scarce = 0, True
        self._used = self._used_before = dict.fromkeys(self._used, 0.0)
        if not self.is_idle and not self._link.is_lost:
            self._begin()
            if self._exchanging is not None:
                await self._exchanging

    @property
    def _most(self) -> float:
        return inf if self._limits.concurrency is None else self._limits.concurrency

    @property
    def _counts_tokens(self) -> bool:
        return "tokens" in self._common

    @property
    def _slots_are_taken(self) -> bool:
        return self._refused[1] == inf

    def _has(self, tokens: float) -> bool:
        needs = {"requests": 1.0, "tokens": float(tokens)}
        has_part = all(self._part[of] + NEARLY >= needs[of] or not needs[of] for of in self._common)
        return self._inside < self._slots and has_part

    def _take(self, of: str, amount: float) -> None:
        if of in self._common:
            self._part[of] -= amount
            self._used[of] += amount

    def _keep(self, of: str) -> float:
        """Return how much of a part is not given back: as much as is used within a second."""
        return min(max(0.0, self._part[of]), max(self._used[of], self._used_before[of]))

    def _wait_s(self) -> float:
        return max(0.1, min(self._refused[1] - self._clock.now(), 60.0))

    def _try_alone(self, tokens: int) -> Admission | float:
        if self._inside + len(self._admitted_alone) >= self._alone_slots:
            return inf
        found = self._alone.try_enter(tokens if self._counts_tokens else 0)
        if isinstance(found, Admission):
            self._admitted_alone.add(found)
        return found

    def _begin(self) -> None:
        if self._exchanging is None:
            self._exchanging = asyncio.get_running_loop().create_task(self._exchange())

    async def _exchange(self) -> None:
        try:
            while True:
                demands, self._demands = self._demands, []
                await self._exchange_once(demands)
                if not self._demands:
                    break
        finally:
            self._exchanging = None

    async def _exchange_once(self, demands: list[_Demand]) -> None:
        # What was just taken for requests that have not gone on yet is theirs.
        is_waited_for = bool(demands or self._promised)
        back = {of: min(0.0, part) if is_waited_for else part - self._keep(of) for of, part in self._part.items()}
        for of, amount in back.items():  # at once, so that nobody here spends what is given back
            self._part[of] -= amount
        if not is_waited_for or self._is_scarce:
            self._slots = max(self._inside + self._promised, 0 if self._is_scarce else self._peak)
        spare = {of: max(0.0, self._used[of] - self._part[of]) for of in self._common}
        asked = Exchange(
            requests=back.get("requests", 0.0), tokens=back.get("tokens", 0.0), slots=self._slots,
            demands=[demand.tokens for demand in demands],
            spare_requests=spare.get("requests", 0.0), spare_tokens=spare.get("tokens", 0.0),
        )  # fmt: skip
        try:
            share = await self._link.run(_exchanged, self._limits, self._name, self._server, asked)
        except NexusError:  # what was given back may be there or not: it is not spent here
            self._answer(demands, [1.0] * len(demands))
            return
        self._note(share)
        self._answer(demands, share.waits)

    def _note(self, share: Share) -> None:
        now = self._clock.now()
        self._exchanged_at = now
        self._slots, self._is_scarce = max(share.slots, self._inside), share.is_scarce
        self._refused = (-inf, 0.0)
        for of, got, left in zip(("requests", "tokens"), (share.requests, share.tokens), share.left, strict=True):
            if of in self._common:
                self._part[of] += got
                self._common[of].restore(left, now)

    def _answer(self, demands: Sequence[_Demand], waits: Sequence[float]) -> None:
        for demand, wait in zip(demands, waits, strict=True):
            if not demand.met.done():
                demand.is_promised = not wait
                self._promised += demand.is_promised
                demand.met.set_result(wait)


class LeasedLimits:
    """The limits of all keys for this server."""

    def __init__(self, link: StoreLink, server: str) -> None:
        self._link = link
        self._server = server
        self._limiters: WeakSet[LeasedLimiter] = WeakSet()

    def limiter(self, limits: RateLimitPolicy, clock: Clock, name: str, alone: KeyLimiter) -> LeasedLimiter:
        """Return the limits of a key; `alone`, with half of them, is what holds while the database is lost."""
        made = LeasedLimiter(limits, clock, name, self._server, self._link, alone)
        self._limiters.add(made)
        return made

    async def look(self) -> None:
        """Give back what is not used, and hold on to what is."""
        for limiter in tuple(self._limiters):
            await limiter.look()

    async def close(self) -> None:
        """Give back all."""
        for limiter in tuple(self._limiters):
            await limiter.give_up()


def _exchanged(connection: ServerConnection, limits: RateLimitPolicy, name: str, server: str, asked: Exchange) -> Share:
    """Exchange with the budget in the store; where another server has changed it meanwhile, with what it is then."""
    for _ in range(_TRIES):
        number, state = read_budget(connection, name)
        now = connection.clock()
        budget = KeyBudget(limits, state, now)
        share = budget.exchange(server, asked)
        if change_budget(connection, name, number, budget.state(), now):
            return share
    raise NexusError(f"the budget {name!r} changes too often")
