"""Indexes of a server that others write to: up to the rows before anybody searches, notified or polled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg
import pytest

from nexus_core import Item, Store
from nexus_core.server.cluster import index_upkeep, store_link
from nexus_core.store import contexts
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.search.index_updates import IndexState
from nexus_core.store.snapshots import index_snapshots
from tests.store.contract.test_postgres import ITEMS

pytestmark = pytest.mark.slow

MORE = [Item(id=f"m{number}", text=f"more rope {number}") for number in range(50)]


def with_cache(url: str, folder: Path) -> str:
    """Return the URL of a store whose server keeps its indexes in a folder."""
    return f"{url}{'&' if '?' in url else '?'}cache={folder}"


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def is_current(store: Store) -> bool:
    """Tell whether the index of the context `harbour` has all its items, without a search."""

    def look(connection: SqlConnection) -> bool:
        return IndexState(connection, contexts.find(connection, "harbour")).is_current

    return await store.read(look)


@pytest.fixture
async def pooler(postgres: str) -> AsyncIterator[str]:
    """Yield the URL of a relay that passes on all but notifications, as a pooler of transactions does."""
    parts, tasks, open_writers = urlsplit(postgres), set[asyncio.Task[None]](), list[asyncio.StreamWriter]()
    folder = parse_qs(parts.query).get("host", [""])[0]

    async def pass_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async def pass_filtered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
            if head[:1] != b"A":
                writer.write(head + body)
                await writer.drain()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(cast(asyncio.Task[None], asyncio.current_task()))
        open_writers.append(writer)
        if folder:
            above = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{parts.port or 5432}")
        else:
            above = await asyncio.open_connection(parts.hostname, parts.port or 5432)
        open_writers.append(above[1])
        ways = [asyncio.create_task(pass_all(reader, above[1])), asyncio.create_task(pass_filtered(above[0], writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (writer, above[1]):
                each.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    place = f"{parts.username or 'postgres'}@127.0.0.1:{port}"
    yield urlunsplit(parts._replace(netloc=place, query="sslmode=disable&gssencmode=disable"))
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for each in open_writers:
        each.transport.abort()
    for each in open_writers:
        with suppress(OSError):
            await each.wait_closed()


async def two_stores(start: Any, reading: str, writing: str, tmp_path: Path) -> tuple[Any, Store]:
    """Start a server that has an index of the context `harbour`, and open a store of its own that writes to it."""
    other = Store(with_cache(writing, tmp_path / "other"))
    await other.__aenter__()
    await other.create("harbour")
    await other.add("harbour", ITEMS)
    running = await start(store=Store(with_cache(reading, tmp_path / "one")))
    await running.store.search("harbour", "rope")
    return running, other


async def write_and_wait(store: Store, other: Store) -> None:
    """Add to and remove from one, and wait until the index of the other has it."""
    await other.add("harbour", MORE)
    await other.remove("harbour", ["n3"])
    assert (await other.context("harbour")).items == 69
    await until(lambda: is_current(store))
    assert len((await store.search("harbour", "rope", limit=100)).items) == 69


async def figure(running: Any) -> str:
    """Return what the server says of notifications."""
    async with running.session.get(running.origin + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return str(next(line.split()[1] for line in lines if line.startswith("nexus_store_listening ")))


async def test_an_index_is_brought_up_by_a_notification(
    start: Any, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces, and with nobody who searches or polls."""
    monkeypatch.setattr(store_link, "LOOK_S", 1e6)
    monkeypatch.setattr(index_upkeep, "PIECE", 1)  # a page at a time
    running, other = await two_stores(start, postgres, postgres, tmp_path)
    upkeep = running.server.cluster.indexes

    async def listens() -> bool:
        return bool(upkeep.is_listening)

    await until(listens)
    assert await figure(running) == "1.0"
    await write_and_wait(running.store, other)
    await other.__aexit__(None, None, None)


async def test_a_server_publishes_a_snapshot_by_itself(
    start: Any, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an index that it has, where originals have a place."""
    monkeypatch.setenv("NEXUS_OBJECTS", str(tmp_path / "objects"))
    monkeypatch.setattr(index_snapshots, "SMALLEST", len(ITEMS))
    monkeypatch.setattr(index_upkeep, "PUBLISHED_S", 0.0)
    _, other = await two_stores(start, postgres, postgres, tmp_path)

    async def is_published() -> bool:
        return bool(glob(str(tmp_path / "objects" / "*" / "snapshot-*")))

    await until(is_published)
    await other.__aexit__(None, None, None)


async def test_changes_are_polled_where_no_notification_arrives(
    pooler: str,
    start: Any,
    postgres: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the log says so once, however often it is tried again."""
    monkeypatch.setattr(index_upkeep, "ARRIVES_S", 0.3)
    monkeypatch.setattr(index_upkeep, "_FIRST_PAUSE_S", 0.01)
    with caplog.at_level(logging.WARNING):
        running, other = await two_stores(start, pooler, postgres, tmp_path)
        await write_and_wait(running.store, other)
        await running.server.cluster.indexes._listen()
        await running.server.cluster.indexes._listen()
        assert await figure(running) == "0.0"
        await other.__aexit__(None, None, None)
    assert [record.message for record in caplog.records].count(index_upkeep._POLLS % "none within 0.3 s") == 1


async def test_a_lost_listener_comes_back(start: Any, postgres: str, postgres_server: str, tmp_path: Path) -> None:
    """What was written meanwhile is polled, or seen when it is back."""
    running, other = await two_stores(start, postgres, postgres, tmp_path)
    upkeep = running.server.cluster.indexes

    async def listens() -> bool:
        return bool(upkeep.is_listening)

    await until(listens)
    lost = upkeep._listener
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s",
            (lost._connection.info.backend_pid,),
        ).fetchall()
    assert ended == [(True,)]

    async def has_lost() -> bool:
        return upkeep._listener is not lost

    await until(has_lost)
    await write_and_wait(running.store, other)
    await until(listens)
    await other.__aexit__(None, None, None)
