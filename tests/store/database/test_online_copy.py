"""Long readings of a store keep nobody from writing, and see one state of it."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Item, Store, StoreBusyError
from nexus_core.store.database import online_copy

pytestmark = pytest.mark.slow

WRITER = """
import asyncio, sys
from nexus_core import Item, Store

async def main():
    async with Store(sys.argv[1]) as store:
        print("open", flush=True)
        number = 0
        while sys.stdin.read(1):
            await store.add("c", [Item(id=f"w{number}", text=f"written meanwhile {number}")])
            await store.conversations.add("talk", query="q", answer="a", model="m", run_id=f"r{number}")
            number += 1
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "s") as store:
        await store.create("c")
        await store.add("c", [Item(id=f"i{n}", text=f"number {n} " * 50) for n in range(300)])
        yield store


class Interrupted(sqlite3.Connection):
    """A source between whose steps another connection commits, which never waits."""

    other: sqlite3.Connection
    written = 0

    def backup(self, target: sqlite3.Connection, *, pages: int = -1, progress: Any = None, **more: Any) -> None:
        def between(*told: int) -> None:
            progress(*told)
            if pages > 0:
                self.other.execute("INSERT INTO settings (name, value) VALUES (?, '')", (f"during-{self.written}",))
                self.written += 1

        super().backup(target, pages=pages, progress=between, **more)


@pytest.mark.parametrize("mode", ["truncate", "wal"])
async def test_who_writes_does_not_wait_for_a_copy(store: Store, mode: str) -> None:
    """Between two steps another connection commits at once; the copy is of one state, however often it does."""
    path = store.folder.database
    with (
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other,
        closing(sqlite3.connect(path, factory=Interrupted)) as source,
        closing(sqlite3.connect("")) as target,
    ):
        other.execute(f"PRAGMA journal_mode = {mode}")
        source.other = other
        online_copy.copy(source, target, pages=5)
        assert source.written > 1
        assert target.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (kept,) = target.execute("SELECT count(*) FROM settings WHERE name LIKE 'during-%'").fetchone()
        assert kept == source.written


async def test_a_copy_waits_only_so_long_for_who_writes(store: Store) -> None:
    """It is an error then, as for every other reader."""
    path = store.folder.database
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(sqlite3.connect(path, timeout=0)) as source,
        closing(sqlite3.connect("")) as target,
    ):
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusyError, match="try again"):
            online_copy.copy(source, target)


async def test_without_room_for_a_copy_the_database_itself_is_checked(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Problems are found all the same, and the log tells why others wait."""
    monkeypatch.setattr(online_copy, "_SETTINGS", (*online_copy._SETTINGS, "max_page_count = 4"))
    with closing(sqlite3.connect(store.folder.database)) as other:
        other.execute("UPDATE contexts SET items = 7")
        other.commit()
    assert any("says 7" in problem for problem in await store.check())
    assert "full): it is looked at itself" in caplog.text


async def test_another_process_writes_while_a_store_is_checked_copied_and_exported(store: Store) -> None:
    """It meets no error, and what is found and copied is whole."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(store.folder.root),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    process.stdin.write(b"." * 40)
    for number in range(3):
        assert await store.check() == ()
        copied = store.folder.root.parent / f"copy{number}"
        await store.backup(copied)
        assert await store.export("c", io.BytesIO()) >= 300
        async with Store(copied) as copy:
            assert await copy.check() == ()
            assert len(await copy.get("c", [f"i{n}" for n in range(300)])) == 300
    process.stdin.close()
    told, problems = await process.stdout.read(), await process.stderr.read()  # type: ignore[union-attr]
    assert await process.wait() == 0, problems
    assert told.split()[-1] == b"40"
