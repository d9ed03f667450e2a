"""Whether the server lives and is ready: what is looked at for it, and how often."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from nexus_core.store.database import connection


@contextmanager
def held(running: Any) -> Iterator[None]:
    """Keep the store of a server from being written, as a process does that has hung in the middle of it."""
    with closing(sqlite3.connect(running.store.folder.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def test_a_store_that_cannot_be_written_is_not_ready(
    start: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process lives all the same, and no model is asked (fault 107)."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    running = await start()
    with held(running):
        status, told = await running.call("GET", "/readyz")
        assert (status, told["code"]) == (503, "store_failed")
        assert (await running.call("GET", "/healthz"))[0] == 200
    assert [connector.prompts for connector in fakes.connectors.values()] == [[], [], []]


async def test_readiness_is_looked_up_now_and_then(start: Any) -> None:
    """However often it is asked for: what was found holds for some seconds (fault 107)."""
    running = await start()
    assert (await running.call("GET", "/readyz"))[0] == 200
    with held(running):
        assert (await running.call("GET", "/readyz"))[0] == 200
