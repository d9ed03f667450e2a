"""A context is searched by meaning: what has vectors, whoever looks, after changes, kills and damage."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import numpy as np
import pytest

from nexus_core import Item, Store, StoreError, UsageError, Viewer
from nexus_core.store.vectors import graph_upkeep
from nexus_core.store.vectors.graph import GraphDamagedError, VectorGraph, build_graph
from nexus_core.store.vectors.matrix import VectorMatrix, quantized
from nexus_core.store.vectors.meaning import fused, usual_weight
from nexus_core.store.vectors.vector_model import VectorModel
from nexus_core.toolkit import parse_filter

pytest.importorskip("usearch")
pytest.importorskip("wordllama")

SUBJECTS = ("A dog barks at the postman.", "Interest rates rise in autumn.", "The recipe needs flour and eggs.")
ASKED = ("puppy noise", "bank loans cost more", "baking ingredients")


def items(count: int, start: int = 0) -> list[Item]:
    """Items of three subjects in turn."""
    return [Item(id=f"i{n}", text=f"{SUBJECTS[n % 3]} Number {n}.") for n in range(start, start + count)]


async def best(store: Store, query: str, **asked: object) -> list[str]:
    ranking = await store.search("c", query, limit=5, by="meaning", **asked)  # type: ignore[arg-type]
    return [candidate.item.id for candidate in ranking.top(5)]


async def test_a_question_without_a_shared_word_finds_its_item(tmp_path: Path) -> None:
    """By meaning and by both; what is added later, tagged or removed is found as it is then."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items(30))
        assert await store.embed("c", "static") == 30
        for number, query in enumerate(ASKED):
            assert {int(name[1:]) % 3 for name in await best(store, query)} == {number}
            both = await store.search("c", query, limit=3)
            assert {int(each.item.id[1:]) % 3 for each in both.top(3)} == {number}
        await store.add("c", [Item(id="new", text="Loud puppies make noise.")])
        assert (await best(store, "puppy noise"))[0] == "new"
        await store.tag("c", ["new"], add=["loud"])
        assert await best(store, "puppy noise", tags=["loud"]) == ["new"]
        await store.remove("c", ["new"])
        assert "new" not in await best(store, "puppy noise")


@pytest.mark.parametrize(("model", "first"), [("static:table/96", "words"), ("minilm:any/96", "meaning")])
def test_both_trusts_a_model_that_runs_more_than_words_and_the_table_less(model: str, first: str) -> None:
    """Of two items, one of which words find and the other meaning."""
    weight = usual_weight(VectorModel(model, 4))
    found = fused({1: 3.0, 2: 0.0}, {1: 0.1, 2: 0.7}, weight)
    assert max(found, key=lambda key: found[key]) == {"words": 1, "meaning": 2}[first]


async def test_a_graph_finds_what_comparing_all_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for who may see a part, with a filter, and with what came after it was made."""
    monkeypatch.setattr(graph_upkeep, "EXACT", 100)
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [*items(300), Item(id="secret", text="A puppy makes noise.", readers=("group:hr",))])
        await store.embed("c", "static")
        assert len([*(tmp_path / "vectors").iterdir()]) == 1
        assert (await best(store, "puppy noise"))[0] == "secret"
        assert "secret" not in await best(store, "puppy noise", viewer=Viewer())
        assert await best(store, "puppy noise", where=parse_filter({"id": ["i0", "i4"]})) == ["i0", "i4"]
        await store.add("c", [Item(id="later", text="Puppies and their noise.")])
        assert "later" in await best(store, "puppy noise")


async def test_a_search_by_both_asks_the_database_once_for_what_items_are_scored_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those found by words and by meaning together, and whether the nearest are there still in one statement."""
    monkeypatch.setattr(graph_upkeep, "EXACT", 100)
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items(300))
        await store.embed("c", "static")
    async with Store(tmp_path) as store:  # which has nothing in memory
        await store.search("c", "flour", by="words")
        statements: list[str] = []
        connection = store._threads.opened().connection
        connection.set_trace_callback(statements.append)  # type: ignore[attr-defined]
        assert len((await store.search("c", "puppy barks", by="both")).items) == 10
        connection.set_trace_callback(None)  # type: ignore[attr-defined]
    assert sum("LEFT JOIN figures ON item_key = key AND" in each for each in statements) == 1
    others = [each for each in statements if "LEFT JOIN figures" not in each]
    assert sum("INDEXED BY items_of_contexts" in each for each in others) <= 1


async def test_a_damaged_graph_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows are compared instead, and the next pass makes another one."""
    monkeypatch.setattr(graph_upkeep, "EXACT", 100)
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items(200))
        await store.embed("c", "static")
        expected = await best(store, "puppy noise")
    (folder,) = (tmp_path / "vectors").iterdir()
    file = folder / "graph.usearch"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    async with Store(tmp_path) as store:
        with caplog.at_level(logging.WARNING):
            assert set(await best(store, "puppy noise")) == set(expected)
        assert "damaged" in caplog.text
        await store.embed("c", "static")
        assert [*(tmp_path / "vectors").iterdir()] != [folder]
        assert set(await best(store, "puppy noise")) == set(expected)


async def test_what_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    """Until the end the context is searched as before; then by the model."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items(600))
        begun, done = asyncio.Event(), 0

        def note(count: int, _total: int, _what: str) -> None:
            nonlocal done
            done = count
            begun.set()

        task = asyncio.create_task(store.embed("c", "static", seen=note))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await store.context("c")).embedder == ""
        assert 0 < await store.embed("c", "static") <= 600 - done
        assert (await store.context("c")).embedder == "static"
        assert await store.embed("c", "static") == 0


async def test_without_the_model_words_answer_and_say_so(tmp_path: Path) -> None:
    """`both` goes by words and tells it; `meaning` is an error; so it is for a context without vectors."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items(6))
        with pytest.raises(UsageError, match="nexus context embed c --model"):
            await best(store, "puppy")
        await store.embed("c", "static")
        await store.write(lambda db: db.execute("UPDATE contexts SET embedder = 'no-such-model'").rowcount)
        notes: list[str] = []
        ranking = await store.search("c", "dog barks", by="both", note=notes.append)
        assert ranking.top(1)[0].item.id == "i0"
        assert notes[0].startswith("searched by words alone: ")
        with pytest.raises(StoreError, match="cannot be searched by meaning"):
            await best(store, "puppy")


async def test_what_lasts_is_logged_once_and_noted_for_each_search(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A context without vectors, and one whose model is not here: each is one line of the log."""
    notes: list[str] = []
    async with Store(tmp_path) as store:
        for name in ("c", "d"):
            await store.create(name)
            await store.add(name, items(3))
        for name in ("c", "d", "c", "d", "c"):
            await store.search(name, "dog barks", by="both", note=notes.append)
        assert [record.message.count("has no vectors") for record in caplog.records] == [1, 1]
        assert len(notes) == 5
        await store.write(lambda db: db.execute("UPDATE contexts SET embedder = 'no-such-model'").rowcount)
        for _ in range(2):
            await store.search("c", "dog barks", note=notes.append)
        assert (len(caplog.records), len(notes)) == (3, 7)


def test_a_graph_tells_when_it_is_not_whole(tmp_path: Path) -> None:
    """Cut short, of another width, without its note: none of these is opened."""
    rows = quantized(np.random.default_rng(1).normal(size=(500, 32)).astype(np.float32))
    assert build_graph(tmp_path / "g", 32, [VectorMatrix(np.arange(500), rows)]) == 500
    assert len(VectorGraph(tmp_path / "g", 32)) == 500
    with pytest.raises(GraphDamagedError, match="something else"):
        VectorGraph(tmp_path / "g", 64)
    (tmp_path / "g" / "keys.npy").write_bytes(b"")
    with pytest.raises(GraphDamagedError, match="damaged"):
        VectorGraph(tmp_path / "g", 32)
    (tmp_path / "g" / "note.json").write_text("{}")
    with pytest.raises(GraphDamagedError, match=r"note\.json does not say what it should"):
        VectorGraph(tmp_path / "g", 32)
    (tmp_path / "g" / "note.json").unlink()
    with pytest.raises(GraphDamagedError):
        VectorGraph(tmp_path / "g", 32)
