"""One open store for all in a process who use its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreError, UsageError, open_store
from nexus_core.store.shared_store import lent
from nexus_core.toolkit.shared_resources import SharedResources


async def test_all_who_share_have_one_store_until_the_last_is_done(tmp_path: Path) -> None:
    """Opened for the first, closed after the last, and opened anew for who comes later."""
    shared = SharedResources()
    async with open_store(shared, str(tmp_path)) as one:
        async with open_store(shared, str(tmp_path)) as same, open_store(shared, str(tmp_path / "b")) as other:
            assert one is same
            assert one is not other
            await same.create("notes")
        assert [context.name for context in await one.contexts()] == ["notes"]
    with pytest.raises(UsageError, match="not open"):
        await one.contexts()
    async with open_store(shared, str(tmp_path)) as again:
        assert again is not one
        assert len(await again.contexts()) == 1
    assert len(shared) == 0


async def test_a_store_that_is_lent_is_used_and_not_closed(tmp_path: Path) -> None:
    """It belongs to who has opened it; who shares nothing with them has another one."""
    shared = SharedResources()
    async with Store(tmp_path) as store, lent(store, shared):
        async with open_store(shared, str(tmp_path)) as same, open_store(SharedResources(), str(tmp_path)) as other:
            assert same is store
            assert other is not store
        await store.create("notes")
        await store.add("notes", [Item(id="a", text="The ferry leaves at nine.")])


async def test_a_store_that_cannot_be_opened_is_nobodys(tmp_path: Path) -> None:
    """Each who asks hears why."""
    (tmp_path / "store.db").write_bytes(b"no database" * 100)
    shared = SharedResources()
    for _ in range(2):
        with pytest.raises(StoreError):
            async with open_store(shared, str(tmp_path)):
                raise AssertionError("it is open")
    assert len(shared) == 0
