"""Contexts that another version has written: their words are made anew by who writes next, beside the old index."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreError
from nexus_core.contract.features import vector_key
from nexus_core.store.database import schema
from nexus_core.store.database.connection import connect
from nexus_core.store.database.migrations import MIGRATIONS
from nexus_core.store.search.renewal import Renewal
from nexus_core.toolkit.text.sentence_figures import figures_key
from nexus_core.toolkit.text.stemming import ANALYZER_VERSION

ITEMS = [
    Item(id=f"i{number}", text=f"The ferry {number} leaves at nine. It returns.", tags=("sea",)) for number in range(40)
]


def older_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a store as the version before the figures had it: an item with a tag, a link, passages and a vector."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", MIGRATIONS[:4])
        connect(folder / "store.db", writes=True).close()
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as connection:
        for statement in (
            "INSERT INTO settings VALUES ('next_key', '3')",
            "INSERT INTO contexts VALUES (1, 'c', '', 'english', 'o200k_base', 0, 0, 1, 2)",
            "INSERT INTO items VALUES (2, 1, NULL, 'old', '', 'The ferry leaves.', 'text', '', '{\"links\":[\"x\"]}',"
            " x'00')",
            "INSERT INTO tags VALUES (2, 'sea')",
            "INSERT INTO links VALUES (2, 'x')",
            "INSERT INTO passages VALUES (2, 'o200k_base', 0, x'0200')",
            "INSERT INTO vectors VALUES (2, 'm', x'0102')",
        ):
            connection.execute(statement)


@pytest.fixture
async def stale(tmp_path: Path) -> AsyncIterator[Store]:
    """A store with a context that another version is said to have written."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", ITEMS)
        await store.write(lambda connection: connection.execute("UPDATE contexts SET analyzer = 0").rowcount)
        yield store


async def test_a_store_of_an_older_version_is_brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items, tags, links and vectors are there at once; words and passages once somebody has written."""
    older_store(tmp_path, monkeypatch)
    async with Store(tmp_path) as store:
        assert [item.id for item in (await store.search("c", "ferries", tags=["sea"])).items] == ["old"]
        assert (await store.context("c")).analyzer == 0
        await store.add("c", [Item(id="new", text="Another ferry.")])
        assert (await store.context("c")).analyzer == ANALYZER_VERSION
    async with Store(tmp_path) as store:
        (item,) = await store.get("c", ["old"])
        assert (item.tags, item.metadata, item.features.get(vector_key("m"))) == (("sea",), {"links": ["x"]}, b"\1\2")
        known = item.features.get(figures_key("o200k_base"))
        assert known is not None
        assert known.tokens == [4]
        rows = "SELECT (SELECT count(*) FROM vectors), (SELECT count(*) FROM vector_parts), min(language) FROM items"
        assert await store.read(lambda connection: connection.execute(rows).fetchone()) == (0, 1, "english")


async def test_readers_search_the_old_index_until_the_switch(stale: Store, tmp_path: Path) -> None:
    """Another process finds what there was while the words are made anew, and one statement switches."""
    context = await stale.context("c")
    renewal = await stale.write_indexed(Renewal, context)
    before = {path.name for path in (tmp_path / "index").iterdir()}
    async with Store(tmp_path) as reader:
        assert renewal.step()
        assert len((await reader.search("c", "ferries", limit=50)).items) == len(ITEMS)
        assert (await reader.context("c")).analyzer == 0
        while renewal.step():
            continue
        assert len((await reader.search("c", "ferries", limit=50)).items) == len(ITEMS)
    assert (renewal.done, len(before)) == (len(ITEMS), 2)
    assert len(list((tmp_path / "index").iterdir())) == 1
    assert await stale.check() == ()


async def test_renewal_tells_of_its_progress(stale: Store, caplog: pytest.LogCaptureFixture) -> None:
    """To who asks for it, and to the log; a second one has nothing to do."""
    told: list[tuple[int, int, str]] = []
    with caplog.at_level(logging.INFO):
        await stale.renew("c", seen=lambda *progress: told.append(progress))
        await stale.renew("c", seen=lambda *progress: told.append(progress))
    assert told == [(40, 40, "the words of c are made anew")]
    assert "another version" in caplog.text


async def test_a_renewal_that_was_left_begins_again(stale: Store, tmp_path: Path) -> None:
    """What it had written does no harm, and its index goes."""
    renewal = await stale.write_indexed(Renewal, await stale.context("c"))
    assert renewal.step()
    renewal.close()
    assert len(list((tmp_path / "index").iterdir())) == 1
    assert any("check --repair" in problem for problem in await stale.check())
    assert await stale.check(repair=True) == ()
    assert len((await stale.search("c", "ferry", limit=50)).items) == len(ITEMS)


async def test_only_one_process_renews(stale: Store) -> None:
    """Others write meanwhile, and what they write is in the new index."""
    renewal = await stale.write_indexed(Renewal, await stale.context("c"))
    other = await stale.write_indexed(Renewal, await stale.context("c"))
    assert not other.step()
    assert renewal.step()
    async with Store(stale.folder.root) as beside:
        await beside.add("c", [Item(id="late", text="A late ferry.")])
        await beside.remove("c", ["i3"])
    while renewal.step():
        continue
    assert await stale.check() == ()
    found = {item.id for item in (await stale.search("c", "ferry", limit=50)).items}
    assert found == {"late", *(item.id for item in ITEMS if item.id != "i3")}


async def test_a_store_that_may_only_be_read_names_the_command(
    stale: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may renew it there."""
    monkeypatch.setattr("nexus_core.store.database.paths.StorePaths.may_be_written", lambda paths: False)
    async with Store(stale.folder.root) as reader:
        with pytest.raises(StoreError, match=r"nexus context check --repair"):
            await reader.search("c", "ferry")


def test_an_older_database_that_may_only_be_read_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who only reads cannot bring it to this version."""
    older_store(tmp_path, monkeypatch)
    with pytest.raises(StoreError, match=r"older version \(schema 4, .* `nexus context check --repair`"):
        connect(tmp_path / "store.db", writes=False)
