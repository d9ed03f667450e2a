"""Opening and closing: what is imported, whose end was none, and what is damaged then."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreDamagedError, UsageError
from nexus_core.store.database import crash_check

DYING = """
import asyncio, os, signal, sys
from nexus_core import Item, Store
async def main():
    async with Store(sys.argv[1]) as store:
        await store.create("c")
        await store.add("c", [Item(id=str(n), text=f"item {n}") for n in range(200)])
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def marks(path: Path) -> list[str]:
    return [file.name for file in path.glob("open-*")]


def die(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DYING, path], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr


def damage(path: Path) -> None:
    """Overwrite the second page, and some more."""
    with (path / "store.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 3 * 4096)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["nexus_core", "nexus_store.plugin", "nexus_core.contract.protocols"])
def test_a_store_costs_nothing_before_it_is_needed(module: str) -> None:
    """The index and its locks come with `Store`, which a listing or a check of a pipeline does not import."""
    code = f"import sys, {module}; print([m for m in %r if m in sys.modules])"
    heavy = ("tantivy", "filelock", "fsspec", "numpy", "platformdirs")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_store_imports_file_systems_only_where_they_are_used() -> None:
    """Originals elsewhere, vectors and the folder of the user are for those who have them."""
    code = "import sys; from nexus_core import Store; Store('x'); print([m for m in %r if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code % (("fsspec", "numpy", "platformdirs"),)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


async def test_a_clean_end_leaves_no_mark(tmp_path: Path) -> None:
    """While it is open there is one for each that has it open."""
    async with Store(tmp_path), Store(tmp_path):
        assert len(marks(tmp_path)) == 2
    assert marks(tmp_path) == []


async def test_who_is_alive_is_not_taken_for_dead(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second process does not check what a first has open."""
    with caplog.at_level(logging.INFO):
        async with Store(tmp_path), Store(tmp_path) as second:
            await second.create("c")
    assert "not closed" not in caplog.text


@pytest.mark.slow
async def test_a_store_is_checked_after_a_kill(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once: then it counts as well again (fault 157)."""
    die(tmp_path)
    assert len(marks(tmp_path)) == 1
    with caplog.at_level(logging.INFO):
        async with Store(tmp_path) as store:
            assert len(await store.items("c", limit=1000)) == 200
        assert "was not closed when it was last used: it is checked" in caplog.text
        caplog.clear()
        async with Store(tmp_path):
            assert "not closed" not in caplog.text


@pytest.mark.slow
async def test_damage_that_is_found_keeps_the_store_shut(tmp_path: Path) -> None:
    """It says what to do, each time, and opens for who wants to save what is left."""
    die(tmp_path)
    damage(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match=r"put back a backup; .*salvage=True"):
            async with Store(tmp_path):
                raise AssertionError
    async with Store(tmp_path, salvage=True) as store:
        assert any("put back a backup" in problem for problem in await store.check())


@pytest.mark.slow
async def test_a_large_store_is_not_kept_shut_for_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says how to have it checked."""
    die(tmp_path)
    monkeypatch.setattr(crash_check, "LARGEST_CHECKED", 1000)
    async with Store(tmp_path):
        assert "too large to be checked now: run `nexus context check`" in caplog.text


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    """Before it is opened, and after it was closed."""
    store = Store(tmp_path)
    with pytest.raises(UsageError, match="not open"):
        await store.contexts()
    async with store:
        await store.create("c")
    for _ in range(2):
        with pytest.raises(UsageError, match="not open"):
            await store.add("c", [Item(id="a", text="a")])
