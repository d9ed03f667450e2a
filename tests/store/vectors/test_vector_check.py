"""The check looks at vectors and graphs, and a repair makes anew what can be made anew."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from nexus_core import Item, Store
from nexus_core.store.vectors import graph_mending, graph_upkeep, vector_check
from nexus_core.store.vectors.graph import build_graph
from nexus_core.store.vectors.matrix import VectorMatrix, quantized

pytest.importorskip("usearch")
pytest.importorskip("wordllama")


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(graph_upkeep, "EXACT", 100)
    async with Store(tmp_path) as store:
        await store.create("d")
        await store.add("d", [Item(id="other", text="Something else.")])
        await store.create("c")
        await store.add("c", [Item(id=f"i{n}", text=f"A dog barks at number {n}.") for n in range(150)])
        await store.add("c", [Item(id="blank", text=" ")])
        await store.embed("c", "static")
        yield store


def change(store: Store, statement: str) -> None:
    """Change the database behind the store's back, as damage would."""
    connection = sqlite3.connect(store.folder.database)
    connection.executescript(statement)
    connection.commit()
    connection.close()


def graph(store: Store) -> Path:
    (folder,) = store.folder.vectors.iterdir()
    return folder


def cut(folder: Path) -> None:
    (folder / "graph.usearch").write_bytes((folder / "graph.usearch").read_bytes()[:-100])


def replace(folder: Path, keys: np.ndarray) -> None:
    """Put a graph of other items in the place of one."""
    shutil.rmtree(folder)
    rows = quantized(np.random.default_rng(1).normal(size=(len(keys), 256)).astype(np.float32))
    build_graph(folder, 256, [VectorMatrix(keys, rows)])


async def test_an_embedded_context_has_no_problems(store: Store) -> None:
    """Also after changes, removals and tags, whose rows the graph has still, and with items without text."""
    assert await store.check() == ()
    await store.remove("c", ["i1", "i2"])
    await store.add("c", [Item(id="i3", text="A cat sleeps."), Item(id="new", text="Puppies.")])
    await store.tag("c", ["i4"], add=["loud"])
    assert await store.check() == ()
    await store.unembed("c")
    assert [*store.folder.vectors.iterdir()] == []
    assert await store.check() == ()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        pytest.param(
            "UPDATE vector_parts SET data = CAST('short' AS BLOB) WHERE key = 5",
            "vectors of 1 item .* damaged",
            id="cut",
        ),
        pytest.param(
            "DELETE FROM vector_parts WHERE key IN (7, 8)", "2 items in 'c' should have vectors", id="lacking"
        ),
        pytest.param(
            f"UPDATE vector_parts SET data = CAST(x'{'007e' * 256}' AS BLOB) WHERE key IN (7, 8)",
            "vectors of 2 items .* not finite",
            id="not-a-number",
        ),
        pytest.param(
            f"UPDATE vector_parts SET data = CAST(x'{'007c' + '003c' * 255}' AS BLOB) WHERE key = 7",
            "vectors of 1 item .* not finite",
            id="infinite",
        ),
        pytest.param(
            f"UPDATE vector_parts SET data = CAST(x'{'0080' * 256}' AS BLOB) WHERE key = 7",
            "vectors of 1 item .* of zeros alone",
            id="zeros",
        ),
        pytest.param(
            "DELETE FROM vector_parts WHERE item_key > 100; UPDATE contexts SET embedded = 100 WHERE name = 'c'",
            "[0-9]+ items in 'c' should have vectors",
            id="interrupted",
        ),
        pytest.param(
            "DELETE FROM vector_parts; DELETE FROM vector_indexes; DELETE FROM vector_models",
            "150 items in 'c' should have vectors",
            id="none-at-all",
        ),
        pytest.param("UPDATE vector_indexes SET generation = 'x'", "graph of 'c' is damaged", id="generation"),
    ],
)
async def test_damaged_rows_are_found_and_embedded_anew(store: Store, statement: str, problem: str) -> None:
    """Afterwards all is as it was."""
    change(store, statement)
    found = await store.check()
    assert any(re.search(problem, each) for each in found), found
    assert all("nexus context check --repair" in each for each in found)
    assert await store.check(repair=True) == ()
    assert len([*store.folder.vectors.iterdir()]) == 1
    ranking = await store.search("c", "puppy noise", by="meaning")
    assert len(ranking.items) == 10


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        pytest.param(np.arange(2, 140), "lacks 12 items", id="lacks"),
        pytest.param(np.arange(1, 152), "holds 1 item that", id="another-context"),
        pytest.param(np.arange(2, 400), "holds [0-9]+ items that were never in it", id="never-given"),
    ],
)
async def test_a_graph_of_other_items_is_found_and_made_anew(store: Store, keys: np.ndarray, problem: str) -> None:
    """What is gone from the context may be in it, what was never there may not."""
    replace(graph(store), keys)
    found = await store.check("c")
    assert any(re.search(problem, each) for each in found), found
    assert await store.check("c", repair=True) == ()


@pytest.mark.parametrize("is_lost", [False, True], ids=["damaged", "lost"])
async def test_a_graph_is_made_anew_in_the_background_by_who_searches(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_lost: bool
) -> None:
    """Once, however many search meanwhile, and they find the same."""
    monkeypatch.setattr(graph_mending, "AFTER_S", 0.0)
    caplog.set_level("INFO", "nexus_core.store.vectors.graph_mending")
    before = graph(store)
    async with Store(store.folder.root) as server:
        if is_lost:
            shutil.rmtree(before)
        else:
            cut(before)
        found = await asyncio.gather(*(server.search("c", "puppy noise", by="meaning") for _ in range(4)))
        await server._graphs.settle()
        after = await server.search("c", "puppy noise", by="meaning")
        await server._graphs.settle()
        assert {tuple(item.id for item in each.items) for each in (*found, after)} == {tuple(i.id for i in after.items)}
        assert server._threads.opened().unarranged == {}
    assert graph(store) != before
    assert [record.message for record in caplog.records].count(
        "the vectors of 'c' are arranged anew in the background"
    ) == 1
    assert await store.check() == ()


async def test_a_graph_that_cannot_be_made_anew_is_let_be_for_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told in the log, searches go on, and the next one does not begin at once."""
    monkeypatch.setattr(graph_mending, "AFTER_S", 0.0)
    cut(graph(store))

    def fail(*_: object) -> int:
        raise OSError("no space")

    monkeypatch.setattr(graph_upkeep, "build_graph", fail)
    for _ in range(3):
        assert (await store.search("c", "puppy noise", by="meaning")).items
        await store._graphs.settle()
    assert caplog.text.count("cannot be arranged anew: no space") == 1
    assert len([*store.folder.vectors.iterdir()]) == 1


async def test_a_store_that_closes_gives_up_the_graph_that_it_makes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the whole, and leaves nothing that no database names."""
    cut(graph(store))
    async with Store(store.folder.root) as server:
        await server.search("c", "puppy noise", by="meaning")
    assert server._graphs._work is not None
    assert server._graphs._work.cancelled()
    assert len([*store.folder.vectors.iterdir()]) == 1


async def test_damaged_and_unnamed_graphs_are_found(store: Store) -> None:
    """Those of contexts that are there and of others; a repair leaves the one that is right."""
    cut(graph(store))
    (store.folder.vectors / "2-1-killed").mkdir()
    (store.folder.vectors / "77-1-gone").mkdir()
    found = await store.check()
    assert len(found) == 3, found
    assert await store.check(repair=True) == ()
    assert graph(store).name.startswith("2-1-")


async def test_a_repair_without_the_model_arranges_what_is_there(store: Store) -> None:
    """And tells what is left."""
    cut(graph(store))
    change(store, "UPDATE contexts SET embedder = 'no-such-model' WHERE name = 'c'")
    change(store, "DELETE FROM vector_parts WHERE key = 7")
    left = await store.check(repair=True)
    assert len(left) == 1
    assert "1 item in 'c' should have vectors" in left[0]
    assert len([*store.folder.vectors.iterdir()]) == 1


async def test_what_is_being_embedded_is_not_lacking(store: Store) -> None:
    """While another process has the turn, only items that were embedded once are missed; afterwards all are."""
    change(store, "UPDATE contexts SET embedder = 'no-such-model' WHERE name = 'c'")
    await store.add("c", [Item(id="late", text="Puppies are loud.")])
    change(store, "UPDATE contexts SET embedder = 'static' WHERE name = 'c'")
    context = await store.context("c")
    with graph_upkeep.vectors_turn(store.folder, context) as ours:
        assert ours
        assert await store.check() == ()
    (problem,) = await store.check()
    assert problem.startswith("1 item in 'c' should have vectors and have none")
    assert await store.check(repair=True) == ()
    assert (await store.search("c", "puppy noise", by="meaning", limit=1)).items[0].id == "late"


async def test_a_deleted_context_leaves_no_graph(store: Store) -> None:
    """Nor anything else that was known of it."""
    await store.delete("c")
    assert [*store.folder.vectors.iterdir()] == []
    told = await store.read(lambda db: db.execute("SELECT name FROM settings WHERE name LIKE 'vectors%'").fetchall())
    assert told == []
    assert await store.check() == ()


async def test_a_backup_has_vectors_and_no_graph(store: Store, tmp_path: Path) -> None:
    """It is searched by meaning at once, and what is embedded next makes the graph."""
    await store.backup(tmp_path / "copy")
    async with Store(tmp_path / "copy") as copy:
        assert [*copy.folder.vectors.iterdir()] == []
        assert await copy.check() == ()
        assert len((await copy.search("c", "puppy noise", by="meaning")).items) == 10
        await copy.embed("c", "static")
        assert len([*copy.folder.vectors.iterdir()]) == 1


async def test_an_export_names_the_model_and_holds_no_vectors(store: Store, tmp_path: Path) -> None:
    """Whoever imports it is told; nothing is embedded unasked, since that may cost money."""
    await store.export("c", tmp_path / "c.jsonl")
    taken = await store.import_(tmp_path / "c.jsonl", "e")
    assert taken.embedder == "static"
    assert (await store.context("e")).embedder == ""
    assert (await store.import_(tmp_path / "c.jsonl", "c")).embedder == ""


async def test_items_that_are_gone_hide_none_that_are_there(store: Store) -> None:
    """However many of those that were nearest are gone, the next ones are found."""
    await store.add("c", [Item(id=f"p{n}", text="A puppy makes noise.") for n in range(60)])
    await store.embed("c", "static")
    await store.remove("c", [f"p{n}" for n in range(60)])
    assert len((await store.search("c", "A puppy makes noise", by="meaning", limit=10)).items) == 10


async def test_without_usearch_a_large_context_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All is compared one by one then, and found as before."""
    monkeypatch.setattr(graph_upkeep, "has_graphs", lambda: False)
    monkeypatch.setattr(vector_check, "has_graphs", lambda: False)
    monkeypatch.setattr(vector_check, "EXACT", 100)
    assert "contextnexus[minilm]" in await store.vectors_note("c")
    assert await store.vectors_note("d") == ""
    await store.unembed("c")
    await store.embed("c", "static")
    assert "usearch" in caplog.text
    assert [*store.folder.vectors.iterdir()] == []
    assert len((await store.search("c", "puppy noise", by="meaning")).items) == 10
