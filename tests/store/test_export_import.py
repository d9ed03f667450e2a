"""Contexts taken elsewhere and back, and copies of a whole store."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Item, Store, StoreDamagedError, UsageError, vector_key
from nexus_core.store import contexts, export_import
from nexus_core.store.items import rows
from nexus_core.store.records import Added, StoredDocument

pytestmark = pytest.mark.slow

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=20)
METADATA = st.dictionaries(
    TEXTS,
    st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS, st.lists(TEXTS)),
    max_size=3,
)
ITEMS = st.builds(
    Item,
    id=NAMES,
    text=TEXTS,
    title=TEXTS,
    kind=st.sampled_from(["text", "code", "markdown"]),
    tags=st.sets(NAMES, max_size=3).map(lambda tags: tuple(sorted(tags))),
    source=TEXTS,
    metadata=METADATA.filter(lambda told: "links" not in told),
)
HEAD = {"contextnexus": 1, "name": "c", "description": "", "language": "english", "encoding": "approximate"}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One loop for all examples, since a store is opened once."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def store(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store"))
    loop.run(store.__aenter__())
    yield store
    loop.run(store.__aexit__(None, None, None))


def lines(*values: object, head: dict[str, object] | None = None) -> io.BytesIO:
    """Return an export with these lines after its head."""
    told = [json.dumps(head or HEAD).encode()]
    told += [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return io.BytesIO(b"\n".join(told) + b"\n")


@settings(max_examples=10, deadline=None)
@given(items=st.lists(ITEMS, max_size=5, unique_by=lambda item: item.id), description=TEXTS)
def test_what_is_exported_is_imported_exactly(
    loop: asyncio.Runner, store: Store, items: list[Item], description: str
) -> None:
    """Items in their order, with all that belongs to them, and the context with what it says of itself."""

    async def round_trip() -> None:
        await store.create("a", description=description, language="german", encoding="approximate")
        await store.add("a", items)
        first, second = io.BytesIO(), io.BytesIO()
        assert await store.export("a", first) == len(items)
        first.seek(0)
        done = await store.import_(first, "b")
        assert (done.context, done.added, done.problems) == ("b", Added(new=len(items)), ())
        assert [item for _, item in await store.items("b")] == items
        copied = await store.context("b")
        assert (copied.description, copied.language, copied.encoding) == (description, "german", "approximate")
        await store.export("b", second)
        assert second.getvalue() == first.getvalue().replace(b'"name":"a"', b'"name":"b"', 1)
        first.seek(0)
        assert (await store.import_(first, "b")).added == Added(unchanged=len(items))
        assert await store.check("b") == ()

    try:
        loop.run(round_trip())
    finally:
        for context in loop.run(store.contexts()):
            loop.run(store.delete(context.name))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b'{"id": "x", "text"', "it is no JSON", id="cut"),
        pytest.param(b"\xff\xfe", "it is no JSON", id="bytes"),
        pytest.param([1], "it is no map", id="list"),
        pytest.param({"id": "x"}, "needs `id` and `text`", id="no-text"),
        pytest.param({"id": "x", "text": 5}, "its text is no text but of type int", id="number"),
        pytest.param({"id": "x", "text": "a", "colour": "red"}, "no 'colour': put it into `metadata`", id="unknown"),
        pytest.param({"id": "x", "text": "a", "tags": "abc"}, "`tags` is no list", id="tags"),
        pytest.param({"id": "x", "text": "a", "tags": [1]}, "a tag is empty", id="tag"),
        pytest.param({"id": "x", "text": "a", "metadata": []}, "`metadata` is no map", id="metadata"),
        pytest.param(b'{"id": "x", "text": "\\ud800"}', "half of a surrogate pair", id="surrogate"),
        pytest.param(b'{"id": "x", "text": "a", "metadata": {"n": NaN}}', "is no JSON", id="nan"),
        pytest.param(b"[" * 100_000, "it is no JSON", id="deep"),
        pytest.param({"document": {"name": ""}}, "the name of a document is empty", id="document"),
        pytest.param({"document": {"name": "d", "size": 2**70}}, "the size of a document", id="size"),
    ],
)
async def test_a_bad_line_is_told_by_its_number_and_stops_nothing(tmp_path: Path, line: object, reason: str) -> None:
    """What is good before and after it is there."""
    file = lines({"id": "first", "text": "a"}, b"", line, {"id": "last", "text": "b"})
    async with Store(tmp_path) as store:
        done = await store.import_(file)
        assert done.added == Added(new=2)
        assert done.left_out == len(done.problems) == 1
        assert done.problems[0].startswith("line 4: ")
        assert reason in done.problems[0]
        assert [item.id for _, item in await store.items("c")] == ["first", "last"]


async def test_a_file_that_cannot_be_made_is_no_fault_of_the_store(tmp_path: Path) -> None:
    """The error names the file, and what the system said of it."""
    async with Store(tmp_path / "store") as store:
        await store.create("a")
        with pytest.raises(UsageError, match=r"^cannot write .*nowhere/a\.jsonl: No such file or directory$"):
            await store.export("a", tmp_path / "nowhere" / "a.jsonl")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        pytest.param({"id": "a", "text": "b"}, "line 1 is not the head of an export", id="item"),
        pytest.param({**HEAD, "contextnexus": 3}, "newer version", id="newer"),
        pytest.param({**HEAD, "language": None}, "line 1 tells no language", id="no-language"),
        pytest.param({**HEAD, "language": "klingon"}, "there is no language 'klingon'", id="language"),
        pytest.param({**HEAD, "encoding": "o200k"}, "there is no encoding 'o200k', did you mean", id="encoding"),
        pytest.param({**HEAD, "name": "a\0"}, "control character", id="name"),
    ],
)
async def test_what_is_no_export_is_refused(tmp_path: Path, head: dict[str, object], reason: str) -> None:
    """Before anything is made of it."""
    async with Store(tmp_path) as store:
        with pytest.raises(UsageError, match=reason):
            await store.import_(lines(head=head))
        assert await store.contexts() == ()


async def test_an_empty_file_and_a_missing_one_are_told(tmp_path: Path) -> None:
    """By what they are."""
    async with Store(tmp_path) as store:
        with pytest.raises(UsageError, match="not the head"):
            await store.import_(io.BytesIO())
        with pytest.raises(UsageError, match="there is no file .*none"):
            await store.import_(tmp_path / "none")


async def test_a_line_that_is_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And never read into memory as a whole."""
    monkeypatch.setattr(export_import, "LONGEST_LINE", 200)
    file = lines({"id": "a", "text": "x" * 10_000}, {"id": "b", "text": "b"})
    async with Store(tmp_path) as store:
        done = await store.import_(file)
        assert done.problems == ("line 2: it is longer than 200 bytes: divide the item",)
        assert done.added == Added(new=1)


async def test_only_so_many_problems_are_told(tmp_path: Path) -> None:
    """All of them are counted."""
    async with Store(tmp_path) as store:
        done = await store.import_(lines(*[[n] for n in range(export_import.TOLD + 5)]))
        assert (len(done.problems), done.left_out) == (export_import.TOLD, export_import.TOLD + 5)


async def test_documents_are_taken_along(tmp_path: Path) -> None:
    """With what tells that they have not changed, and the items that belong to them."""
    document = StoredDocument(name="a.txt", origin="docs", stamp="7", digest="ab", size=3)

    async with Store(tmp_path) as store:
        await store.create("c")
        await store.write(
            lambda connection: rows.write_document(connection, contexts.find(connection, "c"), document) and None
        )
        await store.add("c", [Item(id="a", text="a"), Item(id="b", text="b")])
        await store.write(
            lambda connection: connection.execute("UPDATE items SET document_id = 1 WHERE id = 'a'") and None
        )
        await store.export("c", tmp_path / "out.jsonl")
        await store.import_(tmp_path / "out.jsonl", "d")
        assert await store.documents("d") == (document,)
        assert await store.remove_documents("d", ["a.txt"]) == 1
        assert [item.id for _, item in await store.items("d")] == ["b"]


async def test_a_large_context_goes_in_pages(tmp_path: Path) -> None:
    """More items than one page, in the order in which they were added."""
    async with Store(tmp_path) as store:
        await store.create("c", encoding="approximate")
        await store.add("c", [Item(id=str(n), text=f"{n} " * 5) for n in range(1203)])
        assert await store.export("c", tmp_path / "out.jsonl") == 1203
        assert (await store.import_(tmp_path / "out.jsonl", "d")).added == Added(new=1203)
        told = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["id"] for line in told[1:]] == [str(n) for n in range(1203)]


async def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """A file is there as a whole or as it was before."""
    (tmp_path / "out").write_text("before")
    async with Store(tmp_path / "s") as store:
        with pytest.raises(UsageError, match="there is no context 'c'"):
            await store.export("c", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["out", "s"]


async def test_an_export_from_damaged_pages_says_so(tmp_path: Path) -> None:
    """Whichever page is hit, that of the contexts too: an error of the store, not of SQLite."""
    async with Store(tmp_path / "s") as store:
        await store.create("c")
        folder = store.folder
    data = bytearray(folder.database.read_bytes())
    data[8192:] = bytes(byte ^ 0x5A for byte in data[8192:])
    folder.database.write_bytes(data)
    with pytest.raises(StoreDamagedError):
        export_import.export(folder, "c", tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_a_backup_is_a_store(tmp_path: Path) -> None:
    """With all contexts, conversations and originals; its indexes are built when they are needed."""
    async with Store(tmp_path / "s") as store:
        await store.create("c")
        await store.add("c", [Item(id=f"i{n}", text=f"number {n}") for n in range(50)])
        key = await store.keep_original(b"x" * 100_000)
        assert key is not None
        document = StoredDocument(name="d", original=key)
        await store.write(
            lambda connection: rows.write_document(connection, contexts.find(connection, "c"), document) and None
        )
        await store.conversations.add("t", query="q", answer="a", model="m", run_id="r")
        await store.backup(tmp_path / "copy")
        await store.remove("c", ["i7"])
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.txt").write_text("mine")
        with pytest.raises(UsageError, match="is not empty and no store"):
            await store.backup(tmp_path / "other")
        assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]
    assert {path.name for path in (tmp_path / "copy").iterdir()} >= {"index", "objects", "store.db", "vectors"}
    async with Store(tmp_path / "copy") as copy:
        assert await copy.check() == ()
        assert (await copy.search("c", "number 7")).items[0].id == "i7"
        assert await copy.original(key) == b"x" * 100_000
        assert len(await copy.conversations.turns("t")) == 1


async def test_an_export_has_the_vectors_where_they_are_asked_for(tmp_path: Path) -> None:
    """By the name of the context's model; taken in, nothing is worked out again."""
    pytest.importorskip("wordllama")
    own = Item(id="p", text="Nothing of the kind.")
    own.features.put(vector_key("mine"), np.ones(4, "<f2").tobytes())
    async with Store(tmp_path / "one") as store:
        await store.create("c")
        await store.add("c", [Item(id="a", text="A puppy makes noise."), own])
        await store.embed("c", "static")
        await store.export("c", tmp_path / "plain.jsonl")
        await store.export("c", tmp_path / "vectors.jsonl", vectors=True)
    assert '"vectors"' not in (tmp_path / "plain.jsonl").read_text()
    async with Store(tmp_path / "two") as store:
        imported = await store.import_(tmp_path / "vectors.jsonl")
        assert (imported.added.new, imported.problems, imported.embedder) == (2, (), "static")
        assert await store.embed("c", "static") == 0
        found = await store.search("c", "dogs are loud", limit=1, by="meaning")
        assert [item.id for item in found.items] == ["a"]
        assert (await store.import_(tmp_path / "vectors.jsonl")).added.unchanged == 2
        assert await store.check() == ()
