"""The index of a context: derived data, which is checked when it is opened and built anew where it is wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from nexus_core import Item, Store
from nexus_core.store.items import removals
from nexus_core.store.search import index_updates as indexing_module
from nexus_core.store.search.index_checksums import NOTE
from nexus_core.store.search.indexes import IndexDamagedError
from nexus_core.store.search.tantivy_index import ContextIndex

pytestmark = pytest.mark.slow

TEXTS = ("The ferry leaves at nine.", "The baker opens at six.", "No ferry on Sundays.", "A lighthouse, long dark.")


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Return a store with a context of four items, closed."""
    async with Store(tmp_path / "store") as store:
        await store.create("harbour")
        await store.add("harbour", [Item(id=str(number), text=text) for number, text in enumerate(TEXTS)])
    return tmp_path / "store"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[Store]:
    """Yield that store, open."""
    async with Store(folder) as store:
        yield store


def index_of(folder: Path) -> Path:
    """Return the folder of the only index there is."""
    (path,) = (folder / "index").iterdir()
    return path


def change_database(folder: Path, statement: str) -> None:
    """Change a store's database behind its back."""
    connection = sqlite3.connect(folder / "store.db")
    with connection:
        connection.execute(statement)
    connection.close()


async def found(folder: Path, query: str = "ferry") -> list[str]:
    """Return the ids that a search finds, in order."""
    async with Store(folder) as store:
        return [item.id for item in (await store.search("harbour", query)).items]


def flip(path: Path, place: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(bytes(data))


def delete_all(path: Path) -> None:
    shutil.rmtree(path)


def delete_meta(path: Path) -> None:
    (path / "meta.json").unlink()


def delete_note(path: Path) -> None:
    (path / NOTE).unlink()


def empty_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def cut_words(path: Path) -> None:
    for file in path.glob("*.idx"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_words(path: Path) -> None:
    for file in path.glob("*.idx"):
        flip(file, file.stat().st_size // 3)


def flip_keys(path: Path) -> None:
    for file in path.glob("*.fast"):
        flip(file, 3)


def flip_terms(path: Path) -> None:
    for file in path.glob("*.term"):
        flip(file, 20)


def delete_terms(path: Path) -> None:
    for file in path.glob("*.term"):
        file.unlink()


def garble_meta(path: Path) -> None:
    (path / "meta.json").write_text('{"segments": [', "utf-8")


def garble_note(path: Path) -> None:
    (path / NOTE).write_text("[]", "utf-8")


def forget_segments(path: Path) -> None:
    told = json.loads((path / "meta.json").read_text("utf-8"))
    (path / "meta.json").write_text(json.dumps({**told, "segments": []}), "utf-8")


def swap_for_another(path: Path) -> None:
    """Put the index of other items, as many, in its place."""
    other = path.with_name("other")
    index = ContextIndex.create(other)
    writer = index.writer()
    for key in range(1, 5):
        writer.add(key, "ferri " * key)
    writer.commit()
    writer.close()
    shutil.rmtree(path)
    other.rename(path)


DAMAGES = (
    delete_all, delete_meta, delete_note, empty_folder, cut_words, flip_words, flip_keys, flip_terms, delete_terms,
    garble_meta, garble_note, forget_segments, swap_for_another,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_a_damaged_index_is_built_anew(folder: Path, damage: Callable[[Path], None]) -> None:
    """Whatever has become of its files, a search finds what is in the database."""
    before = index_of(folder)
    damage(before)
    assert await found(folder) == ["2", "0"]
    assert index_of(folder) != before
    assert await found(folder, "lighthouse") == ["3"]


@pytest.mark.parametrize("damage", [cut_words, flip_words, delete_all], ids=lambda damage: damage.__name__)
async def test_damage_is_seen_while_an_index_is_open(folder: Path, damage: Callable[[Path], None]) -> None:
    """A process that has searched before looks at the files again, and reads none that was cut short."""
    async with Store(folder) as store:
        await store.search("harbour", "ferry")
        await asyncio.sleep(1.1)  # it looks once a second
        damage(index_of(folder))
        assert [item.id for item in (await store.search("harbour", "ferry")).items] == ["2", "0"]


@pytest.mark.parametrize("damage", [flip_words, delete_all, garble_meta], ids=lambda damage: damage.__name__)
async def test_adding_to_a_damaged_index_builds_it_anew(folder: Path, damage: Callable[[Path], None]) -> None:
    """Who adds finds the damage, too, and what is added is searched."""
    damage(index_of(folder))
    async with Store(folder) as store:
        await store.add("harbour", [Item(id="new", text="A second ferry, at last.")])
        assert {item.id for item in (await store.search("harbour", "ferry")).items} == {"0", "2", "new"}


async def test_an_index_of_another_format_is_built_anew(folder: Path) -> None:
    """An index that an older version has written is not read."""
    path = index_of(folder)
    old = path.with_name(f"1-0-{path.name.rpartition('-')[2]}")
    path.rename(old)
    change_database(folder, f"UPDATE indexes SET generation = '0-{old.name.rpartition('-')[2]}'")
    assert await found(folder) == ["2", "0"]
    assert index_of(folder).name.startswith("1-2-")


async def test_an_index_that_is_behind_is_brought_up(folder: Path) -> None:
    """A crash between rows and index loses nothing: what the index lacks is added by whoever searches next."""
    before = index_of(folder)
    aside = folder / "aside"
    shutil.copytree(before, aside)
    async with Store(folder) as store:
        await store.add("harbour", [Item(id="late", text="A late ferry.")])
        await store.remove("harbour", ["0"])
    shutil.rmtree(before)
    aside.rename(before)
    change_database(folder, "UPDATE indexes SET newest = 4, removed = removed - 1")
    assert {*await found(folder)} == {"2", "late"}
    assert index_of(folder) == before


async def test_an_index_that_is_behind_the_log_of_removals_is_built_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has not taken is forgotten: nobody can tell which items of it are gone."""
    monkeypatch.setattr(indexing_module, "LAST", 0)
    before = index_of(folder)
    async with Store(folder) as store:
        await store.remove("harbour", ["0"])
    change_database(folder, "UPDATE indexes SET removed = removed - 1")
    assert await found(folder) == ["2"]
    assert index_of(folder) != before
    async with Store(folder) as store:
        assert not await store.check()


async def test_the_log_of_removals_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that many the oldest go, whether or not a copy of the index has taken them."""
    monkeypatch.setattr(removals, "MOST", 3)
    items = [Item(id=f"i{n}", text="a late ferry") for n in range(6)]
    async with Store(folder) as store:
        await store.add("harbour", items)
        context = await store.context("harbour")
        keys = [*range(100, 106)]
        await store.write(removals.note_removals, context, keys[:2])
        await store.write(removals.note_removals, context, keys[2:])
        assert await store.read(removals.removals_after, context, 0) is None
        assert await store.read(removals.removals_after, context, 3) == keys[-3:]
        await store.add("harbour", [Item(id="new", text="another ferry")])
        assert len((await store.search("harbour", "ferry")).items) == 9
        assert (await store.read(removals.removals_after, context, 6)) == []
        assert not await store.check()


async def test_an_index_that_is_ahead_is_set_back(folder: Path) -> None:
    """A crash after the index and before its note in the database leaves no item twice."""
    async with Store(folder) as store:
        await store.add("harbour", [Item(id="late", text="A late ferry.")])
    change_database(folder, "UPDATE indexes SET newest = 4")
    assert {*await found(folder)} == {"0", "2", "late"}
    assert sorted(ContextIndex(index_of(folder)).keys()) == [1, 2, 3, 4, 5]


async def test_an_index_of_a_later_state_than_the_database_is_not_believed(folder: Path) -> None:
    """Where a backup of the database was put back, the index holds others for the same number of items."""
    backup = folder.with_name("backup.db")
    shutil.copy(folder / "store.db", backup)
    async with Store(folder) as store:
        await store.remove("harbour", ["0"])
        await store.add("harbour", [Item(id="other", text="Quite another ferry.")])
    shutil.copy(backup, folder / "store.db")
    assert await found(folder) == ["2", "0"]


async def test_indexes_of_two_contexts_are_not_mistaken(folder: Path) -> None:
    """Folders that somebody has exchanged are told apart by the names they were made with."""
    async with Store(folder) as store:
        await store.create("letters")
        await store.add("letters", [Item(id=f"letter {n}", text="About the ferry.") for n in range(4)])
    one, other = sorted((folder / "index").iterdir())
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)
    assert await found(folder) == ["2", "0"]


async def test_what_a_crash_leaves_of_a_removal_costs_no_new_index(folder: Path) -> None:
    """The files of removals that were never committed make way for those of the next ones."""
    path = index_of(folder)
    meta = json.loads((path / "meta.json").read_text())
    for segment in meta["segments"]:
        for number in range(meta["opstamp"], meta["opstamp"] + 20):
            (path / f"{segment['segment_id'].replace('-', '')}.{number + 1}.del").write_bytes(b"half")
    async with Store(folder) as store:
        await store.remove("harbour", ["0"])
        assert await store.check() == ()
    assert await found(folder) == ["2"]
    assert index_of(folder) == path


async def test_only_one_folder_is_left_of_an_index(folder: Path) -> None:
    """What is built anew takes the place of what was there, leftovers of a killed process included."""
    leftover = folder / "index" / "1-2-0123456789abcdef"
    leftover.mkdir()
    async with Store(folder) as store:
        await store.add("harbour", [Item(id="new", text="New.")])
    assert index_of(folder).name != leftover.name


async def test_files_that_look_as_noted_are_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening an index is quick: only what looks otherwise than when it was found whole is summed up again."""
    read: list[Path] = []

    def is_whole(path: Path) -> bool:
        read.append(path)
        return True

    monkeypatch.setattr("nexus_core.store.search.index_checksums.is_whole", is_whole)
    ContextIndex(index_of(folder))
    assert not read
    next(index_of(folder).glob("*.idx")).touch()
    ContextIndex(index_of(folder))
    assert len(read) == 1


async def test_removed_items_leave_the_index(store: Store) -> None:
    """What is removed or replaced is taken out of the index itself."""
    await store.remove("harbour", ["1"])
    await store.add("harbour", [Item(id="0", text="The ferry leaves at ten.")])
    assert sorted(ContextIndex(index_of(store.folder.root)).keys()) == [3, 4, 5]


async def test_items_of_others_are_taken_up_by_whoever_writes_the_index(store: Store, folder: Path) -> None:
    """While one has the index, others write rows alone; these are in the index at the next commit."""
    async with Store(folder) as other:
        context = await store.context("harbour")
        with indexing_module.IndexUpdater(store.folder, store._threads.connection(), store._threads.words).turn(
            context, 0.0
        ) as ours:
            assert ours
            await other.add("harbour", [Item(id="other", text="Another ferry.")])
            assert "other" in {item.id for item in (await other.search("harbour", "ferry")).items}
    await store.add("harbour", [Item(id="last", text="The last ferry.")])
    assert sorted(ContextIndex(index_of(folder)).keys()) == [1, 2, 3, 4, 5, 6]


def test_an_index_is_not_made_by_reading(tmp_path: Path) -> None:
    """Where there is none, that is damage, and no empty index."""
    with pytest.raises(IndexDamagedError):
        ContextIndex(tmp_path / "1-2-none")
    assert not any(tmp_path.iterdir())
