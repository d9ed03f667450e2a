"""Tags of items that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexus_core import Item, Store, UsageError, vector_key
from nexus_core.store.database.sql import SqlConnection


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path) as store:
        await store.create("c")
        items = [Item(id=f"i{n}", text=f"number {n}", tags=("old",), metadata={"links": ["i0"]}) for n in range(5)]
        await store.add("c", items)
        yield store


def derived(connection: SqlConnection) -> dict[str, tuple[object, ...]]:
    rows = connection.execute(
        "SELECT id, figures.data, vector_parts.data, target, document_id FROM items"
        " JOIN figures ON figures.item_key = items.key LEFT JOIN vector_parts ON vector_parts.item_key = items.key"
        " JOIN links ON links.item_key = items.key"
    )
    return {row[0]: row[1:] for row in rows}


async def test_tags_are_added_and_removed(store: Store) -> None:
    """Only items that change count, and the index knows of it at once."""
    assert await store.tag("c", ["i1", "i2", "none"], add=["new", "new"], remove=["old"]) == 2
    assert await store.tag("c", ["i1"], add=["new"], remove=["other"]) == 0
    assert [item.tags for item in await store.get("c", ["i0", "i1"])] == [("old",), ("new",)]
    assert {item.id for item in (await store.search("c", "number", tags=["new"])).items} == {"i1", "i2"}
    assert {item.id for item in (await store.search("c", "number", tags=["old"])).items} == {"i0", "i3", "i4"}
    assert [item.id for _, item in await store.items("c", tag="new")] == ["i1", "i2"]
    assert await store.check() == ()


async def test_figures_move_along(store: Store) -> None:
    """Nothing is worked out again: token counts, vectors and links are those of before."""
    ranking = await store.search("c", "number 3")
    ranking.items[0].features.put(vector_key("m"), b"\1\2")
    await store.keep_vectors()
    before = await store.read(derived)
    await store.tag("c", ["i3", "i4"], add=["new"])
    assert await store.read(derived) == before
    (found,) = [item for item in (await store.search("c", "number 3")).items if item.id == "i3"]
    assert found.features.get(vector_key("m")) == b"\1\2"
    assert found.tags == ("new", "old")


async def test_a_changed_tag_is_a_change_for_who_adds_again(store: Store) -> None:
    """The state with its tag is unchanged; the state of before is a change back."""
    await store.tag("c", ["i1"], add=["new"])
    tagged = Item(id="i1", text="number 1", tags=("new", "old"), metadata={"links": ["i0"]})
    assert (await store.add("c", [tagged])).unchanged == 1
    assert (
        await store.add("c", [Item(id="i1", text="number 1", tags=("old",), metadata={"links": ["i0"]})])
    ).changed == 1


@pytest.mark.parametrize(
    ("add", "remove", "reason"),
    [(["a"], ["a"], "'a' is to be added and to be removed"), ([""], [], "a tag is empty"), (["\0"], [], "control")],
    ids=["both", "empty", "nul"],
)
async def test_tags_that_make_no_sense_are_refused(
    store: Store, add: list[str], remove: list[str], reason: str
) -> None:
    """And nothing has changed."""
    with pytest.raises(UsageError, match=reason):
        await store.tag("c", ["i1"], add=add, remove=remove)
    assert (await store.get("c", ["i1"]))[0].tags == ("old",)


@pytest.mark.slow
async def test_many_items_are_tagged_in_one_transaction(store: Store) -> None:
    """More than a page of them."""
    await store.add("c", [Item(id=f"m{n}", text="many") for n in range(450)])
    assert await store.tag("c", [f"m{n}" for n in range(450)], add=["many"]) == 450
    assert len(await store.items("c", tag="many", limit=1000)) == 450
    assert await store.check() == ()
