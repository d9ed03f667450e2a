"""The store suite on several who use one store at a time: servers, writers, processes that die, lost connections."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from nexus_core.contract.errors import StoreUnavailableError
from nexus_core.contract.values import Item
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.store import Store
from nexus_core.testing.contracts.store.opening import ITEMS, StoreSuite, found_ids
from nexus_core.testing.contracts.store.records import DAY
from nexus_core.testing.contracts.suite import looped

_WRITERS, _ROUNDS = 3, 4
_DIED = 9
_KILLED = f"""
import asyncio, os, sys
from nexus_core import Item, Store

def half(connection):
    connection.execute("UPDATE contexts SET description = ?", ("half",))
    os._exit({_DIED})

async def main():
    async with Store(sys.argv[1]) as store:
        await store.add("harbour", [Item(id="kept", text="a lighthouse")])
        await store.write(half)

asyncio.run(main())
"""


class SharingTests(StoreSuite):
    """Several openers of one store."""

    @looped
    async def test_openers_see_what_each_other_writes(self, tmp_path: Path) -> None:
        """Each with derived files of its own: what is added, changed and removed by one is found so by the other.

        Fix: let `copies` be a file of this server alone (`open_copies`), and prune what others have deleted.
        """
        url = self.url()
        one, other = (self._elsewhere(url, tmp_path / name) for name in "ab")
        async with one, other:
            await one.create("harbour")
            await one.add("harbour", ITEMS)
            assert [*await found_ids(other, "gull")] == ["n1"]
            await other.remove("harbour", ["n3"])
            await one.tag("harbour", ["n0"], add=["wet"])
            for store in (one, other):
                assert await found_ids(store, "rope") == ["n0"]
                assert await found_ids(store, "rope", tags=["wet"]) == ["n0"]
                assert await store.check() == ()
            await one.delete("harbour")
        async with self._elsewhere(url, tmp_path / "b") as other:
            assert await other.contexts() == ()
            assert not [*other.folder.indexes.iterdir()], "the index of a context that was deleted is still there"

    @looped
    async def test_writers_at_a_time_lose_nothing(self, tmp_path: Path) -> None:
        """Of several at once each item, turn and sum is there, once, and each index holds all items.

        Fix: let one transaction write at a time over all servers (a lock that it takes first), so that keys are
        committed in their order.
        """
        url = self.url()

        async def write(store: Store, name: int) -> None:
            for number in range(_ROUNDS):
                texts = [Item(id=f"{name}-{number}-{part}", text=f"rope {name}") for part in range(3)]
                await store.add("harbour", [*texts, Item(id="same", text=f"{name} {number}")])
                await store.add_usage([DAY], keep_days=10_000)
                await store.conversations.add("t", query="q", answer="a", model="m", run_id=f"{name}.{number}")

        async def ask_again(store: Store, name: int) -> None:
            for number in range(_ROUNDS):
                await store.conversations.replace_turn(
                    None, "t", "0.0", query="q", answer="a", model="m", run_id=f"again {name}.{number}"
                )

        async with AsyncExitStack() as stack:
            stores = [self._elsewhere(url, tmp_path / str(number)) for number in range(_WRITERS)]
            for store in stores:
                await stack.enter_async_context(store)
            await stores[0].create("harbour")
            await asyncio.gather(*(write(store, number) for number, store in enumerate(stores)))
            rounds = _WRITERS * _ROUNDS
            kept = await stores[0].conversations.turns("t")
            assert [turn.number for turn in kept] == [*range(1, rounds + 1)]
            (again,) = (turn.number for turn in kept if turn.run_id == "0.0")
            await asyncio.gather(*(ask_again(store, number) for number, store in enumerate(stores)))
            for store in stores:
                assert (await store.context("harbour")).items == 3 * rounds + 1
                assert len(await found_ids(store, "rope", limit=100)) == 3 * rounds
                assert [turn.number for turn in await store.conversations.turns("t")] == [*range(1, again + 1)]
                versions = await store.conversations.versions("t", "0.0")
                assert [each.version for each in versions] == [*range(1, rounds + 2)]
                assert len({each.run_id for each in versions}) == rounds + 1
                assert (await store.usage())[0].attempts == rounds
                assert await store.check() == ()

    @looped
    async def test_a_process_that_dies_leaves_what_it_has_acknowledged(self) -> None:
        """And nothing of the transaction it was in; nobody waits for it. Opened again, the store is as it was.

        Fix: acknowledge a transaction when it is durable, and let the database undo what has no end.
        """
        url = self.url()
        async with Store(url) as store:
            await store.create("harbour")
            command = [sys.executable, "-c", _KILLED, url]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert done.returncode == _DIED, done.stderr
            assert (await store.context("harbour")).description == "", "half of a transaction is there"
            assert await found_ids(store, "lighthouse") == ["kept"]
            assert (await store.add("harbour", ITEMS)).new == 5
        async with Store(url) as store:
            assert await found_ids(store, "gull") == ["n1"]
            assert await store.check() == ()

    @looped
    async def test_a_lost_connection_is_opened_anew(self) -> None:
        """Whoever reads or writes next does not notice; what was acknowledged is there.

        Fix: open the connection anew where a statement outside of a transaction finds it lost. Absent: `loss`.
        """
        self._needs("loss")
        url = self.url()
        async with Store(url) as store:
            await store.create("harbour")
            for wanted in (2, 5):
                self.lose(url)
                await store.add("harbour", ITEMS[:wanted])
                self.lose(url)
                assert (await store.context("harbour")).items == wanted
            assert await store.check() == ()

    @looped
    async def test_a_write_whose_connection_is_lost_in_the_middle_is_made_once(self) -> None:
        """Nothing of the first attempt is there, and the second one is whole.

        Fix: raise LostTransactionError where the connection is lost before the commit. Absent: `loss`.
        """
        self._needs("loss")
        url, tries = self.url(), 0

        def write(connection: SqlConnection) -> None:
            nonlocal tries
            tries += 1
            connection.execute("UPDATE contexts SET description = description || 'x'")
            if tries == 1:
                self.lose(url)
            connection.execute("UPDATE contexts SET description = description || 'y'")

        async with Store(url) as store:
            await store.create("harbour")
            await store.write(write)
            assert ((await store.context("harbour")).description, tries) == ("xy", 2)

    @looped
    async def test_the_rest_of_a_lost_transaction_is_not_run_for_itself(self) -> None:
        """Also where somebody passes over the error: what came before it is gone.

        Fix: open no connection anew within a transaction, and look at its end whether it is still open.
        Absent: `loss`.
        """
        self._needs("loss")
        url = self.url()

        def write(connection: SqlConnection) -> None:
            self.lose(url)
            for text in ("before", "after"):
                with suppress(StoreUnavailableError):
                    connection.execute("UPDATE contexts SET description = ?", (text,))

        async with Store(url) as store:
            await store.create("harbour")
            with pytest.raises(StoreUnavailableError):
                await store.write(write)
            assert (await store.context("harbour")).description == ""
