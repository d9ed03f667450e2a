"""The beginning of a database: whole or not there; what was cut to nothing is damage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core import Item
from nexus_core.contract.errors import StoreDamagedError
from nexus_core.store.database.connection import connect
from nexus_core.store.store import Store


@pytest.mark.parametrize("writes", [True, False], ids=["writer", "reader"])
@pytest.mark.parametrize("size", [0, 1, 2, 99, 512])
def test_a_database_cut_to_nothing_is_damage(tmp_path: Path, writes: bool, size: int) -> None:
    """It is left as it is, and no store is made of it; SQLite takes one byte for none."""
    path = tmp_path / "store.db"
    path.write_bytes(bytes(size))
    with pytest.raises(StoreDamagedError):
        connect(path, writes=writes)
    assert path.stat().st_size == size


def _emptied(folder: Path) -> None:
    os.truncate(folder / "store.db", 0)


def _gone(folder: Path) -> None:
    (folder / "store.db").unlink()


def _gone_with_journal(folder: Path) -> None:
    (folder / "store.db").unlink()
    for left in ("index", "objects"):
        for file in sorted((folder / left).rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
    (folder / "store.db-wal").write_bytes(b"what was written last")


@pytest.mark.parametrize("lose", [_emptied, _gone, _gone_with_journal])
async def test_a_store_that_lost_its_database_is_no_new_one(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """What lies beside it tells that there was one."""
    async with Store(tmp_path) as store:
        await store.create("handbook")
        await store.add("handbook", [Item(id="leave", text="Everybody has 28 days of leave.")])
        await store.search("handbook", "leave")  # makes its index
    lose(tmp_path)
    with pytest.raises(StoreDamagedError, match="put back a backup"):
        async with Store(tmp_path):
            raise AssertionError("it is open")


def test_a_killed_beginning_leaves_no_database(tmp_path: Path) -> None:
    """Nor does what it leaves stay, or stand in the way of the next."""
    (tmp_path / "store.db.new-0123abcd").write_bytes(b"half a database")
    connect(tmp_path / "store.db", writes=True).close()
    assert [path.name for path in tmp_path.iterdir() if "new-" in path.name] == []
