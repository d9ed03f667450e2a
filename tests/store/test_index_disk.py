"""The index on a full disk, and in a folder that may only be read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreError
from nexus_core.store.items.prepare import ItemPreparer
from nexus_core.store.search.index_updates import IndexUpdate, IndexUpdater

pytestmark = pytest.mark.slow

LIMITED = """
import asyncio, logging, resource, signal, sys
from nexus_core import Item, Store, StoreFullError
from nexus_core.store.search import tantivy_index

logging.disable()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def words(number):
    return " ".join(f"word{number}x{place}" for place in range(40))

async def main(folder):
    async with Store(folder) as store:
        await store.create("big")
        await store.add("big", [Item(id="first", text="The ferry leaves at nine.")])
        # The database takes its space first, and then no file of the index may grow.
        real = tantivy_index.IndexWriter.commit
        def commit(self):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
            try:
                real(self)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        tantivy_index.IndexWriter.commit = commit
        try:
            await store.add("big", [Item(id=str(n), text=words(n)) for n in range(3000)])
            print("added")
        except StoreFullError as error:
            print("full:", error)
        print((await store.context("big")).items, [i.id for i in (await store.search("big", "ferry")).items])
        tantivy_index.IndexWriter.commit = real
        print([i.id for i in (await store.search("big", "word2999x7", limit=1)).items])
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


BEGUN = """
import asyncio, resource, signal, sys
from pathlib import Path
from nexus_core import Item, Store, StoreError
from nexus_core.store.search import tantivy_index

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
METHODS = ("commit", "add", "remove", "remove_newer", "close")

def limited(real):
    def work(self, *rest):
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
        try:
            return real(self, *rest)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return work

async def main(folder):
    (Path(folder) / "docs").mkdir(parents=True)
    (Path(folder) / "docs" / "a.md").write_text("# Ferries\\n\\nThe ferry leaves at nine.\\n")
    async with Store(Path(folder) / "store") as store:
        for name in METHODS:
            real = getattr(tantivy_index.IndexWriter, name)
            for adds in (True, False):
                context = f"{name}{adds}"
                await store.create(context)
                setattr(tantivy_index.IndexWriter, name, limited(real))
                try:
                    if adds:
                        await store.add(context, (Item(id=str(n), text=f"The ferry {n}") for n in range(3000)))
                    else:
                        from nexus_sources.files import Files
                        await store.ingest(context, Files(paths=(f"{folder}/docs",)), origin="docs")
                except StoreError:
                    pass
                setattr(tantivy_index.IndexWriter, name, real)
                found = (await store.search(context, "ferry")).items
                print(context, bool(found))
        print(await store.check())

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the size of files are set as on Linux")
def test_a_new_index_whose_update_is_abandoned_at_any_step_is_begun_anew(tmp_path: Path) -> None:
    """A full disk never ends in anything but an error of the store, whatever was being done (AttributeError once)."""
    *found, checked = run(BEGUN, tmp_path)
    assert len(found) == 10
    assert all(line.endswith(" True") for line in found), found
    assert checked == "()"


STEPS: dict[str, Callable[[IndexUpdate], object]] = {
    "add": lambda update: update.add([(99, ItemPreparer("english", "approximate")(Item(id="x", text="More.")))]),
    "publish": lambda update: update.publish(0),
    "commit": lambda update: update.commit(),
    "finish": lambda update: update.finish(),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("end", ["abandoned", "closed"])
async def test_an_update_that_has_ended_says_so(tmp_path: Path, step: str, end: str) -> None:
    """Each step raises an error of the store, and another update can be begun."""
    async with Store(tmp_path) as store:
        context = await store.create("harbour")
        await store.add("harbour", [Item(id="0", text="The ferry.")])

        def ended(indexing: IndexUpdater) -> str:
            update = IndexUpdate(indexing, context)
            if end == "closed":
                update.finish()
            else:
                with pytest.raises(AttributeError):
                    update.add([(98, None)])  # type: ignore[list-item]
            assert not update.is_open
            with pytest.raises(StoreError, match=end) as raised:
                STEPS[step](update)
            IndexUpdate(indexing, context).finish()
            return str(raised.value)

        assert "try again" in await store.write_indexed(ended)


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
    monkeypatch.setattr("nexus_core.store.database.paths.StorePaths.may_be_written", lambda self: False)
    async with Store(read_only) as store:
        with pytest.raises(StoreError, match="check --repair"):
            await store.search("harbour", "ferry")
