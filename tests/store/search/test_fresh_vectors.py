"""Fresh vectors: the store is told of each as it is put, in whatever thread, and holds them within bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nexus_core import FeatureKey, Item, Store, vector_key
from nexus_core.store.search import fresh_vectors
from nexus_core.store.search.fresh_vectors import FreshVectors


@pytest.fixture
def item() -> Item:
    """Return an item of row 7."""
    return Item(id="a", text="x")


@pytest.fixture
def fresh(item: Item) -> FreshVectors:
    """Return what takes notice of the item."""
    found = FreshVectors()
    found.watch(7, item)
    return found


async def test_arrival_comes_with_a_put_in_any_thread(fresh: FreshVectors, item: Item) -> None:
    """Without looking at any item: the waiter is woken."""
    waiting = asyncio.ensure_future(fresh.arrival())
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.to_thread(item.features.put, vector_key("m"), b"\1\2")
    await asyncio.wait_for(waiting, 30)
    assert fresh.take() == [(7, "m", b"\1\2")]
    assert fresh.take() == []


async def test_arrival_that_was_given_up_is_forgotten(fresh: FreshVectors, item: Item) -> None:
    """A source that is closed waits no more."""
    waiting = asyncio.ensure_future(fresh.arrival())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    item.features.put(vector_key("m"), b"\1\2")
    await fresh.arrival()


def test_what_is_no_vector_is_not_kept(fresh: FreshVectors, item: Item) -> None:
    """Other features stay with the item alone."""
    item.features.put(FeatureKey[int]("acme.lines"), 3)
    item.features.put(FeatureKey[str]("vector", "m"), "no bytes")
    assert fresh.take() == []


def test_the_oldest_are_let_go_beyond_the_bound(
    fresh: FreshVectors, item: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody writes them they do not fill the memory."""
    monkeypatch.setattr(fresh_vectors, "MOST_BYTES", 5)
    for model in "abc":
        item.features.put(vector_key(model), b"\1\2")
    assert [model for _, model, _ in fresh.take()] == ["b", "c"]


async def test_vectors_of_the_store_itself_are_not_written_again(tmp_path: Path) -> None:
    """What a search reads from the database is no news, what a ranker adds to it is."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id="a", text="ferry")])
        (await store.search("c", "ferry")).items[0].features.put(vector_key("m"), b"\1\2")
        await asyncio.wait_for(store.fresh_vectors(), 30)
        await store.keep_vectors()
    async with Store(tmp_path) as store:
        (found,) = (await store.search("c", "ferry")).items
        assert found.features.get(vector_key("m")) == b"\1\2"
        assert store._threads.opened().fresh.take() == []
