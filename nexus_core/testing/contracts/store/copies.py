"""The store suite on copies of whole stores, to this one and from it: all there is, resumable, over nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Item
from nexus_core.store import contexts
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.items import rows
from nexus_core.store.records import StoredDocument
from nexus_core.store.store import Store
from nexus_core.testing.contracts.store.opening import StoreSuite
from nexus_core.testing.contracts.suite import looped

ITEMS = 300
"""Of the context that `fill` makes; one of them is removed again."""
DIED = 9
"""The exit code of a process that dies while it copies."""
KILLED = f"""
import asyncio, os, sys
from nexus_core import Store

def see(done, total, table):
    if table == "items" and done >= 200:
        os._exit({DIED})

async def main():
    async with Store(sys.argv[1]) as one, Store(sys.argv[2]) as two:
        await one.copy_to(two, seen=see)

asyncio.run(main())
"""


async def fill(store: Store) -> str:
    """Give a store some of everything; returns the key of an original."""
    await store.create("c", readers=["group:hr"])
    tags = ("even", "odd")
    await store.add("c", [Item(id=f"i{n}", text=f"number {n}", tags=(tags[n % 2],)) for n in range(ITEMS)])
    await store.remove("c", ["i3"])
    key = await store.keep_original(b"x" * 100_000)
    assert key is not None
    document = StoredDocument(name="d", original=key)
    await store.write(
        lambda connection: rows.write_document(connection, contexts.find(connection, "c"), document) and None
    )
    await store.conversations.add("t", query="q", answer="a", model="m", run_id="r", owner="ann")
    await store.conversations.replace_turn(None, "t", "r", query="q", answer="b", model="m", run_id="s", owner="ann")
    await store.conversations.links.make("t", owner="ann")
    await ApiKeys(store).new("ann")
    return key


class CopyTests(StoreSuite):
    """`nexus store copy` and backups, between a folder and this store."""

    async def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, [sys.executable, *command], capture_output=True, text=True, check=False
        )

    @looped
    async def test_the_command_copies_both_ways(self, tmp_path: Path) -> None:
        """`nexus store copy` to it, and from it into another folder: the two folders hold the same.

        Fix: write keys that are given (`continue_keys` goes on after them), and `DEFER_FOREIGN_KEYS`.
        """
        one, it, other = str(tmp_path / "one"), self.url(), str(tmp_path / "other")
        async with Store(one) as store:
            await fill(store)
        for places in ((one, it), (it, other)):
            done = await self._run("-m", "nexus_core", "store", "copy", *places)
            assert done.returncode == 0, done.stdout + done.stderr
        async with Store(one) as store, Store(other) as copy:
            assert await store.differences(copy) == ()

    @looped
    async def test_a_backup_is_brought_up_to_its_store(self, tmp_path: Path) -> None:
        """What is new is added, what is gone is removed, and nothing else is written.

        Fix: give rows back with the values and types that they were written with, in the order of their keys.
        """
        async with Store(tmp_path / "folder") as one, Store(self.url()) as two:
            await fill(one)
            await one.copy_to(two, as_backup=True)
            await one.add("c", [Item(id="i9", text="changed"), Item(id="new", text="a new one")])
            await one.remove("c", ["i11"])
            assert 0 < (await one.copy_to(two, as_backup=True)).written < 40
            assert await one.differences(two) == ()
            assert (await one.copy_to(two, as_backup=True)).written == 0
            assert (await two.search("c", "changed")).items[0].id == "i9"

    @pytest.mark.parametrize("way", ["to it", "from it"])
    @looped
    async def test_a_copy_that_was_killed_goes_on(self, way: str, tmp_path: Path) -> None:
        """What was written is not written again; in the end all is there, and keys go on after those that were copied.

        Fix: commit each transaction for itself; `continue_keys` lets new keys begin after the largest.
        """
        folder, url = str(tmp_path / "folder"), self.url()
        places = (folder, url) if way == "to it" else (url, folder)
        async with Store(places[0]) as one:
            key = await fill(one)
        done = await self._run("-c", KILLED, *places)
        assert done.returncode == DIED, done.stderr
        async with Store(places[0]) as one, Store(places[1], unfinished=True) as two:
            copied = await one.copy_to(two)
            assert 0 < copied.written < copied.rows - 150
            assert await one.differences(two) == ()
            assert await two.check() == ()
            assert (await two.context("c")).readers == ("group:hr",)
            assert (await two.search("c", "number 7")).items[0].id == "i7"
            assert await two.original(key) == b"x" * 100_000
            assert [each.owner for each in await ApiKeys(two).everything()] == ["ann"]
            assert [each.run_id for each in await two.conversations.versions("t", "r", owner="ann")] == ["r", "s"]
            await two.create("another")  # from now on it is a store of its own
            await two.add("another", [Item(id="a", text="first")])
            with pytest.raises(UsageError, match="holds contexts of its own"):
                await one.copy_to(two)
