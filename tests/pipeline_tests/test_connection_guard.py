"""Connections are refused while a test runs, and only then, whoever makes them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.request import urlopen

import pytest

from nexus_core.pipeline_tests.connection_guard import refuse_connections


@pytest.fixture
def listening() -> Iterator[tuple[str, int]]:
    """A port of this machine that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def send_datagram(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", address)


def connect(address: tuple[str, int]) -> None:
    with socket.socket() as client:
        client.connect(address)


def connect_in_thread(address: tuple[str, int]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(connect, address).result()


WAYS: dict[str, Callable[[tuple[str, int]], object]] = {
    "connect": connect,
    "create_connection": socket.create_connection,
    "thread": connect_in_thread,
    "datagram": send_datagram,
    "library": lambda address: urlopen(f"http://{address[0]}:{address[1]}/"),
    "name": lambda address: socket.getaddrinfo(*address),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_connection_is_refused_where_it_is_made(
    way: Callable[[tuple[str, int]], object], listening: tuple[str, int]
) -> None:
    """With its address, which is noted."""
    refused: list[str] = []
    with refuse_connections(refused), pytest.raises(OSError, match=f"makes no connections.* 127.0.0.1:{listening[1]}"):
        way(listening)
    assert refused == [f"127.0.0.1:{listening[1]}"]


def test_a_refusal_that_is_caught_is_noted_all_the_same() -> None:
    """A plugin may go on without what it wanted."""
    refused: list[str] = []
    with refuse_connections(refused), suppress(OSError):
        socket.gethostbyname("service.example")
    assert refused == ["service.example"]


def test_connections_are_made_again_afterwards(listening: tuple[str, int]) -> None:
    """The hook stays, and sleeps."""
    refused: list[str] = []
    with refuse_connections(refused):
        pass
    connect(listening)
    assert refused == []
