"""The fault proxy: each kind of fault does what it says, at run time, on either way, and again with the same seed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nexus_core.testing import FaultProxy, ScriptedUpstream
from nexus_core.testing.proxy import (
    Bandwidth,
    Down,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)
from nexus_core.testing.upstream import HalfClose, Reset, Step

REQUEST = b"GET /v1 HTTP/1.1\r\nHost: here\r\n\r\n"
BODY = bytes(range(256)) * 20


@asynccontextmanager
async def proxied(
    *toxics: Toxic, steps: tuple[Step, ...] = (BODY, HalfClose()), seed: int = 0
) -> AsyncIterator[FaultProxy]:
    async with ScriptedUpstream(steps) as upstream, FaultProxy(upstream.port, *toxics, seed=seed) as proxy:
        yield proxy


async def ask(proxy: FaultProxy) -> bytes:
    """Send a request and return all that comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.origin.rpartition(":")[2]))
    try:
        writer.write(REQUEST)
        return await reader.read()
    finally:
        writer.close()


async def pieces(proxy: FaultProxy) -> list[int]:
    """Return the sizes in which an answer comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.origin.rpartition(":")[2]))
    writer.write(REQUEST)
    sizes = []
    while data := await reader.read(2**16):
        sizes.append(len(data))
    writer.close()
    return sizes


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(
    "toxic",
    [None, Latency(0.01, jitter_s=0.01), Bandwidth(1e6), Slicer(100, variation=50), SlowClose(0.01), LimitData(10**6)],
    ids=lambda toxic: type(toxic).__name__,
)
async def test_bytes_pass_unchanged(toxic: Toxic | None) -> None:
    """Faults of time and size change no byte and no order."""
    async with proxied(*([toxic] if toxic else [])) as proxy:
        assert await ask(proxy) == BODY
        assert proxy.connections == 1


@pytest.mark.parametrize(
    ("toxic", "least_s"),
    [
        (Latency(0.1), 0.1),
        (Latency(0.1, upstream=True), 0.1),
        (SlowClose(0.1), 0.1),
        (Bandwidth(len(BODY) * 10), 0.1),
        (Slicer(len(BODY) // 4, pause_s=0.03), 0.09),
    ],
    ids=["latency", "latency-upstream", "slow close", "bandwidth", "slicer"],
)
async def test_slow_faults_take_their_time(toxic: Toxic, least_s: float) -> None:
    """What slows down takes at least as long as it says."""
    async with proxied(toxic) as proxy:
        begun = now()
        assert await ask(proxy) == BODY
        assert now() - begun > 0.9 * least_s


async def test_slicer_cuts_into_small_pieces() -> None:
    """The client sees pieces of about the size."""
    async with proxied(Slicer(512, variation=100, pause_s=0.005)) as proxy:
        sizes = await pieces(proxy)
    assert sum(sizes) == len(BODY)
    assert len(sizes) > 4
    assert max(sizes) < 2048


async def test_limit_data_cuts_at_the_byte() -> None:
    """So many bytes come, and then the end."""
    async with proxied(LimitData(777)) as proxy:
        assert await ask(proxy) == BODY[:777]


@pytest.mark.parametrize("upstream", [False, True], ids=["to the client", "to the upstream"])
async def test_reset_peer_resets(upstream: bool) -> None:
    """The client gets RST, whichever way the fault acts on."""
    async with proxied(ResetPeer(upstream=upstream)) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(proxy)


async def test_reset_of_the_upstream_is_passed_on() -> None:
    """What the upstream does is what the client gets."""
    async with proxied(steps=(b"x", Reset())) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(proxy)


async def test_timeout_closes_after_its_time_and_never_with_zero() -> None:
    """Nothing passes; the connection ends when it says, or not at all."""
    async with proxied(Timeout(0.05)) as proxy:
        assert await ask(proxy) == b""
    async with proxied(Timeout()) as proxy:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(proxy), 0.1)


async def test_down_refuses_and_drops_until_it_is_up_again() -> None:
    """A service that is not running, and then is, at the same address."""
    async with proxied() as proxy:
        assert await ask(proxy) == BODY
        proxy.add(Down())
        with pytest.raises(ConnectionRefusedError):
            await ask(proxy)
        proxy.remove(Down())
        assert await ask(proxy) == BODY


async def test_down_drops_connections_that_are_open() -> None:
    """Whoever waits for an answer learns it."""
    async with proxied(Timeout()) as proxy:
        waiting = asyncio.ensure_future(ask(proxy))
        await asyncio.sleep(0.05)
        proxy.add(Down())
        outcome = await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), 5)
    assert isinstance(outcome[0], ConnectionError) or outcome[0] == b""


async def test_faults_come_and_go_on_an_open_connection() -> None:
    """A fault acts from when it is added to when it is removed."""
    limit = LimitData(10)
    async with proxied() as proxy:
        assert await ask(proxy) == BODY
        proxy.add(limit)
        assert proxy.toxics == (limit,)
        assert await ask(proxy) == BODY[:10]
        proxy.remove(limit)
        assert await ask(proxy) == BODY
        with pytest.raises(ValueError, match="not in list"):
            proxy.remove(limit)


@pytest.mark.slow
async def test_chance_comes_from_the_seed() -> None:
    """The same seed cuts alike, another one otherwise."""

    async def cut(seed: int) -> list[int]:
        async with proxied(Slicer(600, variation=300, pause_s=0.01), seed=seed) as proxy:
            return await pieces(proxy)

    assert await cut(1) == await cut(1)
    assert await cut(1) != await cut(2)


async def test_nobody_behind_the_proxy_is_a_reset() -> None:
    """An upstream that is gone ends the connection."""
    async with ScriptedUpstream([b"x"]) as upstream:
        port = upstream.port
    async with FaultProxy(port) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(proxy)
