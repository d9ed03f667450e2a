"""Searches, pages and counts hold what a viewer may see and a filter lets through, and read no row of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexus_core import Item, Store, UsageError, Viewer
from nexus_core.toolkit import parse_filter

HR = Viewer(groups=frozenset({"group:hr"}))
NOBODY = Viewer()


def items(count: int = 60) -> list[Item]:
    """Every third item is for hr alone, every second is tagged, and each has a year."""
    return [
        Item(
            id=f"i{n}", title=f"Leave {n}", text=f"Leave of {n} days is granted each year.",
            tags=("even",) if n % 2 == 0 else ("odd", "rare") if n == 1 else ("odd",),
            metadata={"year": 2000 + n}, readers=("group:hr",) if n % 3 == 0 else (),
        )
        for n in range(count)
    ]  # fmt: skip


async def found(store: Store, viewer: Viewer | None, query: str = "leave", **where: object) -> set[str]:
    ranking = await store.search("c", query, limit=100, viewer=viewer, where=parse_filter(where))
    return {candidate.item.id for candidate in ranking.top(100)}


async def test_a_viewer_finds_what_they_may_see(tmp_path: Path) -> None:
    """Without grants all, of the others what is granted to one of their groups; also what has come since."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items(30))
        assert len(await found(store, NOBODY)) == 20
        await store.add("c", items())
        assert len(await found(store, None)) == len(await found(store, HR)) == 60
        assert await found(store, NOBODY) == {f"i{n}" for n in range(60) if n % 3}
        assert (await store.context("c", viewer=NOBODY)).items == 40
        page = await store.items("c", limit=100, viewer=NOBODY)
        assert {item.id for _, item in page} == {f"i{n}" for n in range(60) if n % 3}
        assert await store.get("c", ["i3", "i4"], viewer=NOBODY) == (items()[4],)
        assert await found(store, Viewer(tags=frozenset({"rare"}))) == {"i1"}


async def test_filters_hold_together_with_grants(tmp_path: Path) -> None:
    """A range and a tag, for who may see a part; an item that changes is found as it is."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items())
        told: dict[str, Any] = {"year": {"gte": 2003, "lt": 2010}, "tags": "odd"}
        assert await found(store, None, **told) == {"i3", "i5", "i7", "i9"}
        assert await found(store, NOBODY, **told) == {"i5", "i7"}
        await store.tag("c", ["i5"], remove=["odd"])
        await store.remove("c", ["i7"])
        assert await found(store, NOBODY, **told) == set()
        assert (await store.context("c", viewer=NOBODY)).items == 39


async def test_a_context_that_is_not_granted_is_not_there(tmp_path: Path) -> None:
    """Neither by its name nor in the list, nor among the names that a mistake is told with."""
    async with Store(tmp_path) as store:
        await store.create("payroll", readers=["group:hr"])
        await store.create("payrole")
        assert [each.name for each in await store.contexts(viewer=NOBODY)] == ["payrole"]
        with pytest.raises(UsageError, match="there is no context 'payroll'") as error:
            await store.search("payroll", "x", viewer=NOBODY)
        assert "'payroll'" not in str(error.value).replace("there is no context 'payroll'", "")
        assert (await store.context("payroll", viewer=HR)).readers == ("group:hr",)
        await store.grant("payroll", [])
        assert (await store.context("payroll", viewer=NOBODY)).readers == ()
        bound = Viewer(contexts=frozenset({"payrole"}))
        assert [each.name for each in await store.contexts(viewer=bound)] == ["payrole"]


async def test_grants_go_with_an_export(tmp_path: Path) -> None:
    """What is taken into another store is seen by nobody else there."""
    async with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two:
        await one.create("c", readers=["group:hr"])
        await one.add("c", items(6))
        await one.export("c", tmp_path / "c.jsonl")
        await two.import_(tmp_path / "c.jsonl")
        assert (await two.context("c")).readers == ("group:hr",)
        assert [item.readers for _, item in await two.items("c")] == [item.readers for item in items(6)]


async def test_contexts_are_counted_without_reading_their_items(tmp_path: Path) -> None:
    """What a viewer may see of each, as it changes; in the index of grants, and with tags once for each state."""
    async with Store(tmp_path) as store:
        await store.create("c")
        open_items = [Item(id=f"o{n}", text="x", tags=("t",) if n % 2 else ()) for n in range(6)]
        await store.add("c", [*open_items, Item(id="s", text="x", readers=("group:hr",))])
        for viewer, count in (
            (None, 7),
            (Viewer(), 6),
            (Viewer(groups=frozenset({"group:hr"})), 7),
            (Viewer(tags=frozenset({"t"})), 3),
        ):
            assert [each.items for each in await store.contexts(viewer=viewer)] == [count]
        await store.remove("c", ["o1"])
        assert (await store.context("c", viewer=Viewer(tags=frozenset({"t"})))).items == 2
        assert (await store.context("c", viewer=Viewer())).items == 5
