"""Damage is found before a store is served or added to, whether or not it was closed well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core import Item, Store
from nexus_core.contract.errors import StoreDamagedError
from nexus_core.store.database.damage_sampling import refuse_damaged
from nexus_core.store.database.paths import StorePaths

SENTENCE = "The ferry to the island leaves at nine, and whoever comes late takes the next one. "


@pytest.fixture
async def folder(tmp_path: Path) -> StorePaths:
    """Return a store with 200 items, some of which take several pages, closed as it should be."""
    async with Store(tmp_path / "store") as store:
        await store.create("harbour")
        await store.add("harbour", [Item(id=str(n), text=f"{n} " + SENTENCE * (1 + n % 97)) for n in range(200)])
    return StorePaths(tmp_path / "store")


def overwrite(folder: StorePaths, page: int, data: bytes = b"\xa5" * 4096) -> None:
    """Write over a page, as a disk does that fails."""
    with folder.database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(data)


@pytest.mark.slow
async def test_a_sound_store_is_not_refused(folder: StorePaths) -> None:
    """Nor is one that is not there yet, or has no item."""
    refuse_damaged(folder)
    refuse_damaged(folder, largest=0)
    refuse_damaged(StorePaths(folder.root / "none"))
    async with Store(folder.root.parent / "empty") as store:
        refuse_damaged(store.folder)


@pytest.mark.slow
@pytest.mark.parametrize("largest", [2**27, 0], ids=["small", "large"])
@pytest.mark.parametrize("data", [b"\xa5" * 4096, bytes(4096)], ids=["garbage", "zeros"])
def test_any_damaged_page_of_the_items_is_found(folder: StorePaths, data: bytes, largest: int) -> None:
    """Each leaf, and each page of a long text, of a store whose items are all looked at."""
    whole = folder.database.read_bytes()
    size = int.from_bytes(whole[16:18], "big")
    assert size == 4096
    numbers = items_pages(whole)
    assert len(numbers) > 50
    for number in numbers[:: len(numbers) // 25]:
        overwrite(folder, number, data)
        with pytest.raises(StoreDamagedError, match="put back a backup"):
            refuse_damaged(folder, largest=largest)
        folder.database.write_bytes(whole)
    refuse_damaged(folder)


def items_pages(whole: bytes) -> list[int]:
    """Return the pages that hold text of the items."""
    return [n + 1 for n in range(len(whole) // 4096) if SENTENCE.encode() in whole[n * 4096 : (n + 1) * 4096]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["serve", "--port=0"], ["context", "add", "harbour", "more.md"]], ids=["serve", "add"]
)
def test_commands_that_write_refuse_a_damaged_store(folder: StorePaths, tmp_path: Path, command: list[str]) -> None:
    """With one line that says what to do, and the database stays as it is."""
    (tmp_path / "more.md").write_text("# More\n\nMore.\n")
    overwrite(folder, items_pages(folder.database.read_bytes())[0])
    before = folder.database.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "nexus_core.cli.main", *command],
        cwd=tmp_path,
        env={**os.environ, "NEXUS_STORE": str(folder.root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert "put back a backup" in done.stderr
    assert "Traceback" not in done.stderr
    assert folder.database.read_bytes() == before
