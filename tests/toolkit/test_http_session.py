"""The session under all connectors: which addresses it refuses, what it knows of its connections, who shares it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest

from nexus_core import ConnectError, ConnectorError, DisconnectedError, ModelNotFoundError, PoolBusyError
from nexus_core.testing.upstream import (
    Gate,
    HalfClose,
    Reset,
    ScriptedUpstream,
    Silence,
    Step,
    completion,
    http_head,
    json_answer,
)
from nexus_core.toolkit.http.bodies import Timeouts, connect_timeout, open_session, should_retry
from nexus_core.toolkit.http.errors import UpstreamErrors
from nexus_core.toolkit.http.session import is_forbidden
from nexus_core.toolkit.shared_resources import SharedResources

YES = json_answer(completion("Yes."))


async def post(session: aiohttp.ClientSession, url: str, **options: Any) -> int:
    """Return the status of one request; raises ConnectorErrors."""
    with UpstreamErrors("acme", "m", session=session):
        async with session.post(url, data=b"{}", allow_redirects=False, **options) as response:
            await response.read()
            return response.status
    raise AssertionError("unreachable")


FORBIDDEN = [
    "169.254.169.254", "169.254.1.1", "0.0.0.0", "224.0.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "::",
    "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1", "fe80::1%1",
]  # fmt: skip
ALLOWED = ["127.0.0.1", "::1", "10.0.0.5", "192.168.1.9", "172.17.0.1", "fd12::1", "::ffff:127.0.0.1", "93.184.216.34"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_some_addresses_are_never_called(address: str) -> None:
    """Faults 187 and 188: link-local, metadata, multicast and unspecified, in each of their spellings."""
    assert is_forbidden(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_private_addresses_are_called(address: str) -> None:
    """Ollama and its kin live there."""
    assert not is_forbidden(address)


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[fe80::1]", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]"])
async def test_session_refuses_forbidden_addresses(host: str) -> None:
    """Nothing is sent, and the message says what to correct; no retry would help."""
    async with open_session() as session:
        with pytest.raises(ModelNotFoundError, match="base_url") as caught:
            await post(session, f"http://{host}:9/v1")
    assert (caught.value.code, caught.value.request_sent) == ("address", False)


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1"])
async def test_odd_spellings_of_addresses_do_not_slip_through(host: str) -> None:
    """Fault 37: `http://2130706433/` and its kin are no address that is called."""
    async with open_session() as session:
        with pytest.raises(ConnectorError) as caught:
            await post(session, f"http://{host}:1/v1")
    assert not caught.value.request_sent


async def test_each_resolved_address_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 188: a name that resolves to a metadata address the second time is refused the second time."""
    answers = ["127.0.0.1", "169.254.169.254"]

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    closing = json_answer(completion("Yes."), headers={"Connection": "close"})
    async with ScriptedUpstream(closing) as upstream, open_session() as session:
        url = f"http://rebinding.test:{upstream.port}/"
        assert await post(session, url) == 200
        connector = session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        connector.clear_dns_cache()
        with pytest.raises(ModelNotFoundError):
            await post(session, url)
    assert answers == []


@pytest.mark.parametrize("end", [HalfClose(), Reset()], ids=["fin", "reset"])
async def test_stale_connection_is_told_from_a_dead_service(end: Step) -> None:
    """Fault 11: only a connection that had served before is worth an immediate retry."""
    async with ScriptedUpstream(YES, [end]) as upstream, open_session() as session:
        assert await post(session, upstream.url) == 200
        with pytest.raises(DisconnectedError):
            await post(session, upstream.url)
        assert len(upstream.connections) == 1
    async with ScriptedUpstream([end]) as upstream, open_session() as session:
        with pytest.raises(ConnectError) as caught:
            await post(session, upstream.url)
    assert type(caught.value) is ConnectError


async def test_half_a_head_is_no_stale_connection() -> None:
    """Fault 11: some bytes of an answer came, so the service has had the request."""
    half = http_head({"Content-Type": "application/json"})[:-2]
    async with ScriptedUpstream(YES, [half, HalfClose()]) as upstream, open_session() as session:
        await post(session, upstream.url)
        with pytest.raises(ConnectorError) as caught:
            await post(session, upstream.url)
    assert not isinstance(caught.value, DisconnectedError)


async def test_connection_closed_while_idle_is_not_used() -> None:
    """Fault 12: what was closed between two requests costs neither of them anything."""
    gate = Gate()
    async with ScriptedUpstream([*YES, gate, HalfClose()], YES) as upstream, open_session() as session:
        assert await post(session, upstream.url) == 200
        gate.open()
        await upstream.connections[0].closed_within(5)
        assert await post(session, upstream.url) == 200


async def test_full_pool_is_told_from_a_slow_service() -> None:
    """Fault 17: who gets no connection because all are in use has sent nothing, and the service has no part in it."""
    async with ScriptedUpstream([Silence()]) as upstream, open_session(connections=1) as session:
        first = asyncio.create_task(post(session, upstream.url))
        await asyncio.sleep(0)
        with pytest.raises(PoolBusyError, match="connections") as caught:
            await post(session, upstream.url, timeout=connect_timeout(Timeouts(connect_s=0.02)))
        first.cancel()
    assert (caught.value.request_sent, caught.value.code) == (False, "pool_busy")


async def test_slow_connection_is_no_full_pool() -> None:
    """Fault 15: a host that does not even accept."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        port = listening.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        async with open_session() as session:
            with pytest.raises(ConnectorError) as caught:
                await post(session, f"http://127.0.0.1:{port}/", timeout=connect_timeout(Timeouts(connect_s=0.05)))
        for one in fill:
            one.close()
    assert (caught.value.code, caught.value.request_sent) == ("timeout_connect", False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("false", False), (" False ", False), ("maybe", None), ("", None), (None, None)],
)
def test_should_retry(value: str | None, expected: bool | None) -> None:
    """Fault 7: what the service says of sending the same again."""
    assert should_retry({} if value is None else {"x-should-retry": value}) is expected


class Thing:
    """Counts how often it is closed."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1


async def test_shared_is_built_once_and_closed_by_the_last() -> None:
    """One thing for all that ask with one key, another for another key."""
    shared = SharedResources()
    first = shared.take("a", Thing)
    assert shared.take("a", Thing) is first
    assert shared.take("b", Thing) is not first
    await shared.release("a")
    assert (first.closed, len(shared)) == (0, 2)
    await shared.release("a")
    assert (first.closed, len(shared)) == (1, 1)
    assert shared.take("a", Thing) is not first


async def test_shared_session_survives_one_of_two_users() -> None:
    """Who leaves first takes nothing from the other."""
    shared = SharedResources()
    key = ("http", asyncio.get_running_loop())
    async with ScriptedUpstream(YES) as upstream:
        session = shared.take(key, open_session)
        assert shared.take(key, open_session) is session
        await shared.release(key)
        assert await post(session, upstream.url) == 200
        await shared.release(key)
        assert session.closed
        assert await upstream.left_open() == []
