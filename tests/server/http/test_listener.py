"""Accepting connections where files are few: no more than there are files for, and no flood in the log."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import sleep

import pytest
from aiohttp import web

from nexus_core.server.http.connections import ConnectionCounter, acceptor
from nexus_core.server.http.listener import ConnectionSlots, Listener, ThrottledLog, bind
from nexus_core.server.settings import ServerLimits

if sys.platform == "win32":
    pytest.skip("limits of a process", allow_module_level=True)

import resource

ASKED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
PIPELINE = "name: says\nmodels: {main: {use: extractive}}\nsteps: [generate: main]\n"


class Watched(ConnectionSlots):
    """Slots that know how many were taken whenever one came back."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.seen: list[int] = []

    def give_back(self) -> None:
        """Count one less."""
        self.seen.append(self.taken)
        super().give_back()


@pytest.fixture
def limit() -> Iterator[tuple[int, int]]:
    """Let the process of the tests have its limits again."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def listening(most: int, slots: ConnectionSlots) -> AsyncIterator[int]:
    """Listen with so many connections that may be open; yield the port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text="here")

    server = web.Server(answer)
    make = acceptor(server, ServerLimits(), ConnectionCounter(ServerLimits(), most=most))
    listener = Listener(await bind("127.0.0.1", 0, shared=False), make, slots)
    try:
        yield listener.port
    finally:
        await listener.close()
        await server.shutdown(1.0)


async def asked(port: int) -> tuple[bytes, asyncio.StreamWriter]:
    """Ask over a new connection; returns the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASKED)
    return (await asyncio.wait_for(reader.readline(), 20)).split(b" ")[1], writer


@pytest.mark.slow
async def test_a_listener_never_has_more_sockets_open_than_slots() -> None:
    """Not even those that are refused: they wait until one of them is gone."""
    slots = Watched(7)
    async with listening(5, slots) as port:
        found = await asyncio.gather(*(asked(port) for _ in range(60)))
    assert sorted(status for status, _ in found) == [b"200"] * 5 + [b"503"] * 55
    assert max(slots.seen) <= 7
    for _, writer in found:
        writer.close()


async def test_slots_come_back_when_connections_end() -> None:
    """Those of served and of refused ones alike, however often."""
    slots = ConnectionSlots(3)
    async with listening(1, slots) as port:
        for _ in range(10):
            found = [await asked(port), await asked(port)]
            assert sorted(status for status, _ in found) == [b"200", b"503"]
            for _, writer in found:
                writer.close()
            async with asyncio.timeout(20):
                while slots.taken > 1:  # noqa: ASYNC110 - nothing tells of it; one waits for the next connection
                    await asyncio.sleep(0.005)


@pytest.mark.slow
async def test_a_listener_goes_on_when_there_are_files_again(
    limit: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Where the system has none for a connection it is one line without traceback, and the connection waits."""
    slots = ConnectionSlots(10)
    async with listening(5, slots) as port:
        with socket.socket() as client:
            client.setblocking(False)
            with socket.socket() as probe:
                next_free = probe.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, limit[1]))
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            async with asyncio.timeout(20):
                while not caplog.records:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.005)
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            await asyncio.get_running_loop().sock_sendall(client, ASKED)
            async with asyncio.timeout(20):
                assert b" 200 " in await asyncio.get_running_loop().sock_recv(client, 1000)
    (record,) = caplog.records
    assert "1 times no connection could be accepted (Too many open files)" in record.getMessage()
    assert record.exc_info is None


def test_a_notice_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The first at once, the others counted."""
    times = iter([0.0, 1.0, 59.9, 60.0, 60.1, 500.0])
    notice = ThrottledLog(logging.getLogger("test"), "%d refused, of %s", clock=lambda: next(times))
    for _ in range(6):
        notice.note("16")
    assert [each.getMessage() for each in caplog.records] == [
        "1 refused, of 16",
        "3 refused, of 16",
        "2 refused, of 16",
    ]


@contextmanager
def served(folder: Path, port: int) -> Iterator[Path]:
    """Run `nexus serve` with a limit of 64 files; yield the file of what it writes."""
    (folder / "says.yaml").write_text(PIPELINE)
    log = folder / "log"
    command = [sys.executable, "-m", "nexus_core.cli.main", "serve", "says.yaml", f"--port={port}"]
    with log.open("wb") as told:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command],
            cwd=folder,
            env={**os.environ, "NEXUS_STORE": str(folder / "store")},
            stderr=told,
        )
    try:
        while b"listening on" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            sleep(0.05)
        yield log
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
async def test_a_server_with_few_files_serves_on_and_writes_little(tmp_path: Path) -> None:
    """Where 120 connections meet a limit of 64 files: 65 MB of tracebacks in 20 s once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with served(tmp_path, port) as log:
        found = await asyncio.gather(*(asked(port) for _ in range(120)))
        statuses = [status for status, _ in found]
        assert statuses.count(b"200") >= 10
        assert set(statuses) == {b"200", b"503"}
        for _, writer in found:
            writer.close()
        status = b""
        async with asyncio.timeout(20):
            while status != b"200":
                status, writer = await asked(port)
                writer.close()
    written = log.read_text()
    assert "Traceback" not in written
    assert written.count("connections refused") == 1
    assert len(written) < 50_000
