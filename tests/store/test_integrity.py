"""The check finds each kind of damage, says what to do, and makes anew what can be made anew."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreDamagedError, UsageError
from nexus_core.store import integrity

pytestmark = pytest.mark.slow


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path) as store:
        for name in ("c", "d"):
            await store.create(name)
            items = [Item(id=f"{name}{n}", text=f"number {n} is here", tags=("t",)) for n in range(30)]
            await store.add(name, [*items, Item(id="linked", text="x", metadata={"links": ["c1"]})])
        await store.conversations.add("talk", query="q", answer="a", model="m", run_id="r")
        yield store


def change(store: Store, *statements: str) -> None:
    """Change the database behind the store's back, as damage would."""
    connection = sqlite3.connect(store.folder.database)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def segments(store: Store, name: str = "1-*") -> list[Path]:
    (folder,) = store.folder.indexes.glob(name)
    live = {
        segment["segment_id"].replace("-", "") for segment in json.loads((folder / "meta.json").read_text())["segments"]
    }
    return sorted(path for path in folder.iterdir() if path.name.partition(".")[0] in live)


async def test_a_good_store_has_no_problems(store: Store) -> None:
    """As a whole, and by context; also while it is changed."""
    assert await store.check() == ()
    assert await store.check("c") == ()
    await store.remove("c", ["c1"])
    await store.add("c", [Item(id="c2", text="changed")])
    await store.tag("d", ["d3"], add=["u"])
    assert await store.check() == ()
    with pytest.raises(UsageError, match="no context 'x'"):
        await store.check("x")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        pytest.param("UPDATE contexts SET items = 7 WHERE id = 1", "'c' holds 31 items and says 7", id="count"),
        pytest.param("UPDATE contexts SET newest = 3 WHERE id = 1", "newer than it says", id="newest"),
        pytest.param("UPDATE settings SET value = '4' WHERE name = 'next_key'", "key would be given again", id="key"),
        pytest.param(
            "UPDATE figures SET data = CAST(data || 'x' AS BLOB) WHERE item_key = 3",
            "token counts .* key 3",
            id="figures",
        ),
        pytest.param("PRAGMA foreign_keys = ON; DELETE FROM items WHERE key = 3", "not there", id="ghost"),
    ],
)
async def test_what_is_derived_is_found_and_made_anew(store: Store, statement: str, problem: str) -> None:
    """Counts, keys, figures and indexes: after a repair all is well, and nothing is lost."""
    change(store, *statement.split("; "))
    found = await store.check()
    assert any(re.search(problem, each) for each in found), found
    assert all("nexus context check --repair" in each for each in found)
    assert await store.check(repair=True) == ()
    assert await store.check() == ()
    await store.add("c", [Item(id="new", text="quite new")])
    assert (await store.search("c", "quite new")).items[0].id == "new"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        pytest.param("UPDATE items SET text = 'other' WHERE id = 'c3'", "item 'c3' in 'c' is not what was", id="text"),
        pytest.param("UPDATE items SET metadata = '{' WHERE id = 'c3'", "item with key 4 in 'c' cannot", id="metadata"),
        pytest.param("UPDATE items SET metadata = '[]' WHERE id = 'c3'", "key 4 in 'c'", id="no-map"),
        pytest.param("DELETE FROM tags WHERE item_key = 4", "item 'c3' in 'c' is not what was written", id="tag"),
        pytest.param("DELETE FROM links WHERE item_key = 31", "'linked' in 'c': its links are not", id="link"),
        pytest.param("UPDATE turns SET number = 5", "conversation 'talk' has 1 turn ", id="gap"),
        pytest.param("DELETE FROM turns", "conversation 'talk' has 0 turns and says 1", id="turn"),
        pytest.param("UPDATE tags SET item_key = 999 WHERE item_key = 4", "of tags belongs to nothing", id="orphan"),
        pytest.param("DROP INDEX items_of_tags", "'items_of_tags' is missing", id="schema"),
        pytest.param(
            "CREATE TRIGGER t AFTER INSERT ON items BEGIN SELECT 1; END", "'t' is nothing of ours", id="trigger"
        ),
    ],
)
async def test_damage_of_what_is_kept_is_told_and_stays(store: Store, statement: str, problem: str) -> None:
    """It is no repair to make up what was lost."""
    change(store, statement)
    found = await store.check()
    assert any(problem in each for each in found), found
    assert any(problem in each for each in await store.check(repair=True))


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "folder"])
async def test_a_damaged_index_is_found_and_built_anew(tmp_path: Path, damage: str) -> None:
    """By the sums at the end of its files, or since they are gone."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id=f"c{n}", text=f"number {n} is here") for n in range(300)])
        files = segments(store)
    file = max(files, key=lambda path: path.stat().st_size)
    match damage:
        case "flip":
            data = bytearray(file.read_bytes())
            data[len(data) // 3] ^= 0x40
            file.write_bytes(data)
        case "cut":
            file.write_bytes(file.read_bytes()[:-20])
        case "delete":
            file.unlink()
        case "folder":
            for path in file.parent.iterdir():
                path.unlink()
            file.parent.rmdir()
    async with Store(tmp_path) as store:
        found = await store.check()
        assert len(found) >= 1
        assert all("the index of 'c'" in each for each in found), found
        assert await store.check(repair=True) == ()
        assert (await store.search("c", "number 7")).items[0].id == "c7"


async def test_what_is_kept_is_never_run(store: Store, tmp_path: Path) -> None:
    """A database from somewhere else may hold anything: it is read as JSON and figures, or not at all (fault 162)."""
    trap = f"cposix\nsystem\n(S''touch {tmp_path}/trapped''\ntR."
    change(store, f"UPDATE figures SET data = CAST('{trap}' AS BLOB) WHERE item_key = 3")
    change(store, f"UPDATE items SET metadata = '{trap}' WHERE key = 4")
    assert [item.id for item in await store.get("c", ["c2"])] == ["c2"]
    with pytest.raises(StoreDamagedError, match="metadata of item 'c3' is damaged"):
        await store.get("c", ["c3"])
    assert not (tmp_path / "trapped").exists()


async def test_many_problems_of_a_kind_are_counted(store: Store) -> None:
    """The first twenty are told one by one."""
    change(store, "UPDATE items SET text = 'other'")
    found = await store.check("c")
    assert len(found) == integrity.MOST + 1
    assert found[-1] == "... and 11 more of this kind"


async def test_a_store_in_use_checks_well(store: Store) -> None:
    """What is written during a check is no problem."""
    import asyncio

    async def write() -> None:
        for n in range(5):
            await store.add("c", [Item(id=f"w{n}", text=f"word {n}"), Item(id="c1", text=f"state {n}")])
            await store.remove("c", [f"w{n - 1}"])
            await store.tag("c", [f"w{n}"], add=["w"])

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await store.check() == ()
    await writing
    assert await store.check() == ()
