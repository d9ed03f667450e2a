"""Places for runs: how many, who waits for how long, and whose turn it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core.server.access.request_origin import is_local
from nexus_core.server.access.run_slots import RunSlots
from nexus_core.server.errors import Failure
from nexus_core.server.settings import ServerLimits

BODY = {"query": "Is it so?", "contextId": "own", "pipeline": "own"}


@pytest.mark.slow
async def test_runs_beyond_the_queue_are_refused_before_their_body_is_read(start: Any, fakes: Any) -> None:
    """At once, with the time to wait; those who wait too long as well (fault 91)."""
    running = await start(limits=ServerLimits(running=2, waiting=1, wait_s=0.2))
    fakes.connectors["own"].replies = [[float("inf")]]
    held = [asyncio.create_task(running.call("POST", "/api/queries", json=BODY)) for _ in range(3)]
    places = running.server.gate.places
    for _ in range(500):
        if (places.running, places.waiting) == (2, 1):
            break
        await asyncio.sleep(0.005)
    async with running.session.post(running.origin + "/api/queries", data=b"no JSON at all") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    done, _ = await asyncio.wait(held, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result()[1]["code"] for task in done] == ["overloaded"]
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_places_are_given_in_turn_to_keys() -> None:
    """Who asks much does not keep the others waiting; of one key it is first come, first served."""
    places, order = RunSlots(ServerLimits(running=1)), list[str]()

    async def run(key: str, name: str) -> None:
        async with places.slot(key):
            order.append(name)
            await asyncio.sleep(0)

    names = ["a0", "a1", "a2", "a3", "b1", "c1", "b2"]
    await asyncio.gather(*(asyncio.create_task(run(name[0], name)) for name in names))
    assert order == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]
    assert (places.running, places.waiting) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=30), st.integers(1, 4))
def test_places_come_back_whoever_leaves_when(plan: list[tuple[int, int]], size: int) -> None:
    """Never more than there are, and all of them at the end, wherever a run is cancelled (fault 80)."""

    async def main() -> None:
        places, inside = RunSlots(ServerLimits(running=size, waiting=10, wait_s=5.0)), [0]

        async def run(steps: int) -> None:
            async with places.slot():
                inside[0] += 1
                assert inside[0] <= size
                try:
                    for _ in range(steps):
                        await asyncio.sleep(0)
                finally:
                    inside[0] -= 1

        tasks = []
        for steps, cancel_after in plan:
            tasks.append(asyncio.create_task(run(steps)))
            await asyncio.sleep(0)
            if cancel_after < len(tasks):
                tasks[cancel_after].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, Failure | asyncio.CancelledError) for each in found)
        assert (places.running, places.waiting) == (0, 0)
        assert await places.drained(0.0)

    asyncio.run(main())


@pytest.mark.parametrize("status", ["running", "waiting"])
async def test_a_cut_ends_all(status: str) -> None:
    """Those that run and those that wait, with the same word."""
    places = RunSlots(ServerLimits(running=1 if status == "waiting" else 2, wait_s=30.0))

    async def run() -> None:
        async with places.slot():
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(run()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not await places.drained(0.01)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(each, "code", each) for each in found] == ["server_shutting_down"] * 2
    assert (places.running, places.waiting) == (0, 0)


@given(st.text(max_size=40))
def test_no_odd_host_is_ours(host: str) -> None:
    """Only names and addresses of this machine, with a port or without (faults 196, 201)."""
    if is_local(host):
        name = host.rsplit(":", 1)[0].strip("[]").lower()
        assert name.endswith("localhost") or name.startswith("127.") or ":" in host
