"""Connections: how many may be open, in all and of one address, and that nothing is kept of those that left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given, strategies as st

from nexus_core.server.access.request_origin import HERE, origin_of
from nexus_core.server.http.connections import ConnectionCounter, acceptor
from nexus_core.server.settings import ServerLimits

ASKED = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        pytest.param("127.0.0.1", HERE, id="loopback"),
        pytest.param("::1", HERE, id="loopback-6"),
        pytest.param("::ffff:127.0.0.1", HERE, id="loopback-mapped"),
        pytest.param("203.0.113.9", "203.0.113.9", id="other"),
        pytest.param("::ffff:203.0.113.9", "203.0.113.9", id="other-mapped"),
        pytest.param("2001:db8:1:2:3::4", "2001:db8:1:2::/64", id="network-6"),
        pytest.param("2001:db8:1:2:ffff::5", "2001:db8:1:2::/64", id="same-network-6"),
        pytest.param("fe80::1%eth0", "fe80::/64", id="link-6"),
        pytest.param("1270.0.0.1", "1270.0.0.1", id="no-address"),
    ],
)
def test_an_address_counts_as_what_one_client_may_have(address: str, origin: str) -> None:
    """One address, or one network of IPv6; this machine's own are all the same."""
    assert origin_of(address) == origin


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=80))
def test_a_crowd_holds_no_more_than_it_may_and_forgets_who_left(plan: list[tuple[int, bool]]) -> None:
    """Whoever comes and goes in whichever order; address 0 is this machine (fault 93)."""
    crowd = ConnectionCounter(ServerLimits(connections=6, connections_per_address=2))
    inside: list[str] = []
    for number, comes in plan:
        address = f"203.0.113.{number}" if number else "127.0.0.1"
        if comes:
            of_one = inside.count(origin_of(address))
            may_enter = len(inside) < 6 and (not number or of_one < 2)
            found = crowd.enter(address)
            assert (found is not None) is may_enter
            if found is not None:
                inside.append(found)
        elif inside:
            crowd.leave(inside.pop(number % len(inside)))
        assert crowd.open == len(inside)
        assert sum(crowd.by_origin.values()) == len([each for each in inside if each != HERE])
    for each in inside:
        crowd.leave(each)
    assert (crowd.open, crowd.by_origin) == (0, {})


def test_a_crowd_may_tell_no_address_apart() -> None:
    """As where all come through one proxy on another machine."""
    crowd = ConnectionCounter(ServerLimits(connections=5, connections_per_address=0))
    assert [crowd.enter("203.0.113.9") for _ in range(6)] == [HERE] * 5 + [None]


@asynccontextmanager
async def listening(crowd: ConnectionCounter) -> AsyncIterator[int]:
    """Listen with connections that are counted so; yield the port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text="here")

    server = web.Server(answer)
    found = await asyncio.get_running_loop().create_server(acceptor(server, ServerLimits(), crowd), "127.0.0.1", 0)
    async with found:
        yield found.sockets[0].getsockname()[1]
        await server.shutdown(1.0)


async def test_connections_of_one_address_are_capped() -> None:
    """One more is told so and closed, another address is served, and who leaves makes room (fault 93)."""
    crowd = ConnectionCounter(ServerLimits(connections_per_address=2), origin=lambda address: address)
    async with listening(crowd) as port:

        async def asked(address: str) -> tuple[bytes, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            writer.write(ASKED)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 503 " in head:
                assert json.loads(await reader.read())["code"] == "overloaded"
            return head.split(b" ")[1], writer

        first = [await asked("127.0.0.2") for _ in range(3)]
        other = await asked("127.0.0.3")
        assert [status for status, _ in (*first, other)] == [b"200", b"200", b"503", b"200"]
        assert crowd.by_origin == {"127.0.0.2": 2, "127.0.0.3": 1}
        first[0][1].close()
        async with asyncio.timeout(10):
            while crowd.open > 2:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)
        again = await asked("127.0.0.2")
        assert again[0] == b"200"
        for _, writer in (*first, other, again):
            writer.close()


async def test_connections_that_come_at_once_are_counted_one_by_one() -> None:
    """However many the system hands over in one piece."""
    async with listening(ConnectionCounter(ServerLimits(connections=5))) as port:
        opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(20)))
        for _, writer in opened:
            writer.write(ASKED)
        heads = [await reader.readline() for reader, _ in opened]
        assert sorted(head.split(b" ")[1] for head in heads) == [b"200"] * 5 + [b"503"] * 15
        for _, writer in opened:
            writer.close()
