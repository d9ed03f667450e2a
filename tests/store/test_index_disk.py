"""The index on a full disk, and in a folder that may only be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreError

LIMITED = """
import asyncio, logging, resource, signal, sys
from nexus_core import Item, Store, StoreFullError
from nexus_core.store import index

logging.disable()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def words(number):
    return " ".join(f"word{number}x{place}" for place in range(40))

async def main(folder):
    async with Store(folder) as store:
        await store.create("big")
        await store.add("big", [Item(id="first", text="The ferry leaves at nine.")])
        # The database takes its space first, and then no file of the index may grow.
        real = index.IndexWriter.commit
        def commit(self):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
            try:
                real(self)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        index.IndexWriter.commit = commit
        try:
            await store.add("big", [Item(id=str(n), text=words(n)) for n in range(3000)])
            print("added")
        except StoreFullError as error:
            print("full:", error)
        print((await store.context("big")).items, [i.id for i in (await store.search("big", "ferry")).items])
        index.IndexWriter.commit = real
        print([i.id for i in (await store.search("big", "word2999x7")).items])
        print(await store.check())

asyncio.run(main(sys.argv[1]))
"""

READING = """
import asyncio, ctypes, os, sys
from nexus_core import Item, Store, StoreError

if os.getuid() == 0:  # give up all that root may do beyond what the owner of a file may
    none = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), none) == 0

async def main(folder):
    async with Store(folder) as store:
        print([item.id for item in (await store.search("harbour", "ferry")).items])
        try:
            await store.add("harbour", [Item(id="new", text="new")])
        except StoreError as error:
            print(error)
        print(await store.check())

asyncio.run(main(sys.argv[1]))
"""


def run(program: str, folder: Path) -> list[str]:
    """Run a program in a process of its own and return the lines it prints."""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the size of files are set as on Linux")
def test_a_full_disk_leaves_the_items_and_heals(tmp_path: Path) -> None:
    """What was written stays, the search goes on with what it has, and the rest is indexed when there is space.

    Fault 158.
    """
    told, searched, healed, checked = run(LIMITED, tmp_path / "store")
    assert told.startswith("full: no space is left for the index")
    assert searched == "3001 ['first']"
    assert healed == "['2999']"
    assert checked == "()"


@pytest.fixture
async def read_only(tmp_path: Path) -> Path:
    """Return a store that may only be read."""
    folder = tmp_path / "store"
    async with Store(folder) as store:
        await store.create("harbour")
        await store.add("harbour", [Item(id="0", text="The ferry."), Item(id="1", text="The baker.")])
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="rights are given up as on Linux")
async def test_who_may_only_read_searches(read_only: Path) -> None:
    """A store on a read-only file system, or of somebody else, is searched and checked, and refuses to be changed."""
    found, refused, checked = run(READING, read_only)
    assert found == "['0']"
    assert "may only be read" in refused
    assert checked == "()"


async def test_a_damaged_index_that_may_only_be_read_is_told(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot mend an index says who can."""
    (index,) = (read_only / "index").iterdir()
    index.chmod(0o700)
    (index / "meta.json").unlink()
    monkeypatch.setattr("nexus_core.store.folder.Folder.may_be_written", lambda self: False)
    async with Store(read_only) as store:
        with pytest.raises(StoreError, match="check --repair"):
            await store.search("harbour", "ferry")
