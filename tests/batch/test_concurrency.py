"""How many records run at once, against simulated services: growth, halving, and quotas of two kinds."""

from __future__ import annotations

import asyncio
import heapq
from random import Random
from typing import Any

import pytest
from attrs import define, field

from nexus_core import Quota, QuotaLimit
from nexus_core.batch.concurrency import AdaptiveConcurrency
from nexus_core.toolkit import read_quota
from tests.engine.calls.conftest import SimulatedLoop


@define
class Limited:
    """A service that lets so many requests in per minute, as a bucket or as a window, and says what is left."""

    kind: str
    loop: Any
    per_minute: int = 200
    latency_s: float = 0.2
    way_s: float = 0.0
    """The longest way to it, and back: what has a shorter one overtakes others."""
    chance: Random = field(factory=lambda: Random(1))
    left: float = 200.0
    at: float = field(init=False)
    accepted: list[float] = field(factory=list)
    refused: list[float] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.at = self.loop.time()

    async def ask(self) -> tuple[bool, Quota]:
        """Answer after a while; what counts is when it came."""
        await asyncio.sleep(self.chance.uniform(0.0, self.way_s))
        now = self.loop.time()
        if self.kind == "bucket":
            self.left = min(self.per_minute, self.left + (now - self.at) * self.per_minute / 60)
            self.at = now
        elif now - self.at >= 60:
            self.left, self.at = float(self.per_minute), now
        is_in = self.left >= 1
        self.left -= is_in
        (self.accepted if is_in else self.refused).append(now)
        used = self.per_minute - self.left
        reset_s = used * 60 / self.per_minute if self.kind == "bucket" else 60 - (now - self.at)
        quota = Quota(requests=QuotaLimit(limit=self.per_minute, remaining=int(self.left), reset_s=reset_s))
        await asyncio.sleep(self.latency_s + self.chance.uniform(0.0, self.way_s))
        return is_in, quota


async def work(concurrency: AdaptiveConcurrency, service: Limited, seconds: float, loop: Any) -> None:
    """Ask as often as there are places, for a time."""
    running = set()

    async def one() -> None:
        number = concurrency.begin_request()
        is_in, quota = await service.ask()
        concurrency.end_request(number, ok=is_in, refused=not is_in, tokens=None, quota=quota)
        concurrency.leave()

    loop.call_later(seconds, concurrency.close)
    while await concurrency.enter():
        running.add(asyncio.ensure_future(one()))
    await asyncio.gather(*running)


@pytest.mark.parametrize("kind", ["bucket", "window"])
def test_a_quota_is_used_and_not_exceeded(kind: str) -> None:
    """Of 200 requests a minute at least 95 % over five minutes; refused is next to nothing."""
    loop = SimulatedLoop()
    service = Limited(kind, loop)
    loop.run_until_complete(work(AdaptiveConcurrency(64, loop.time), service, 300, loop))
    loop.close()
    allowed = 200 * (5 + (kind == "bucket"))
    assert len(service.accepted) >= 0.95 * allowed
    assert len(service.refused) <= 0.01 * len(service.accepted)


@pytest.mark.parametrize("way_s", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("kind", ["bucket", "window"])
def test_a_quota_is_not_exceeded_where_requests_overtake_each_other(kind: str, way_s: float) -> None:
    """As those of several workers do, and their answers: one tells nothing of earlier requests that come after it."""
    loop = SimulatedLoop()
    service = Limited(kind, loop, way_s=way_s)
    loop.run_until_complete(work(AdaptiveConcurrency(64, loop.time), service, 300, loop))
    loop.close()
    assert len(service.accepted) >= 0.95 * 200 * (5 + (kind == "bucket"))
    assert service.refused == []


def test_records_that_begin_together_do_not_exceed_a_quota() -> None:
    """When a window begins, more of them could run at once than it lets in."""
    loop = SimulatedLoop()
    service = Limited("window", loop, latency_s=5.0)
    loop.run_until_complete(work(AdaptiveConcurrency(256, loop.time), service, 300, loop))
    loop.close()
    assert service.refused == []
    assert len(service.accepted) >= 800


def test_it_grows_while_answers_are_fast_and_halves_when_refused() -> None:
    """Doubling at first, by one for each round after the first refusal, and never above its bound."""
    times = [0.0]
    concurrency = AdaptiveConcurrency(64, lambda: times[0])
    limits = []
    for _ in range(8):
        numbers = [concurrency.begin_request() for _ in range(concurrency.limit)]
        concurrency.in_flight = concurrency.limit
        times[0] += 0.1
        for number in numbers:
            concurrency.end_request(number, ok=True, refused=False, tokens=None, quota=None)
        limits.append(concurrency.limit)
    assert limits[:4] == [8, 16, 32, 64]
    assert limits[-1] == 64
    numbers = [concurrency.begin_request() for _ in range(64)]
    times[0] += 0.1
    for number in numbers:  # all of one round count once
        concurrency.end_request(number, ok=False, refused=True, tokens=None, quota=None)
    assert concurrency.limit == 32


def test_it_grows_no_more_where_answers_get_slow() -> None:
    """A service that answers one after the other takes twice as long for twice as many."""
    times, finished = [0.0], [0.0]
    concurrency = AdaptiveConcurrency(1_000, lambda: times[0])
    under_way: list[tuple[float, int]] = []
    for _ in range(3_000):
        while len(under_way) < concurrency.limit:
            finished[0] = max(finished[0], times[0]) + 0.01
            heapq.heappush(under_way, (finished[0] + 0.1, concurrency.begin_request()))
        concurrency.in_flight = len(under_way)
        times[0], number = heapq.heappop(under_way)
        concurrency.end_request(number, ok=True, refused=False, tokens=None, quota=None)
    assert 10 <= concurrency.limit <= 60


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (("200", "150", "15s"), (200, 150, 15.0)),
        (("200", "150", "6m0s"), (200, 150, 360.0)),
        (("200", "150", "20ms"), (200, 150, 0.02)),
        (("200", "150", "1m2.5s"), (200, 150, 62.5)),
        (("200", "150", "12"), (200, 150, 12.0)),
        (("200", "300", "12"), (200, 200, 12.0)),
        (("200, 200;w=60", "150", "12"), (200, 150, 12.0)),
        (("200", "150", "2000-01-01T00:00:00Z"), (200, 150, 0.0)),
        (("200", "150", "soon"), None),
        (("200", "-1", "12"), None),
        (("200", "150", "nan"), None),
        (("0", "0", "12"), None),
        (("9" * 5000, "1", "12"), None),
        (("²", "1", "12"), None),
    ],
)
def test_headers_of_quotas_are_read_or_passed_over(
    headers: tuple[str, str, str], expected: tuple[int, int, float] | None
) -> None:
    """In the spellings that services use; what makes no sense tells nothing and harms nothing."""
    limit, remaining, reset = headers
    for form in ("x-ratelimit-{}-requests", "x-ratelimit-{}", "ratelimit-{}"):
        told = {form.format("limit"): limit, form.format("remaining"): remaining, form.format("reset"): reset}
        quota = read_quota(told)
        found = quota and quota.requests
        assert (found and (found.limit, found.remaining, found.reset_s)) == expected
