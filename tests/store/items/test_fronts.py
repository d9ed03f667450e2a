"""What the items of a document share is kept once, and each item comes back as it was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nexus_core import DocumentMark, DocumentRead, Item, Store
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.fronts import front_of, own_part
from nexus_core.store.records import checked_item

PARTS: list[dict[str, Any]] = [{"title": "Leave", "year": 2026, "line": 3}, {"title": "Leave", "year": 2026, "line": 9}]


class Handbook:
    """A source of one document with these parts."""

    name = "handbook"
    problems = ()

    def __init__(self, parts: Sequence[dict[str, Any]]) -> None:
        self.parts = parts

    def documents(self) -> list[DocumentMark]:
        return [DocumentMark(name="leave.md", place="leave.md")]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        items = [Item(id=f"leave.md#{part['line']}", text=str(part), metadata=part) for part in self.parts]
        return DocumentRead(items=items, digest=repr(self.parts), size=1)


def kept(connection: SqlConnection) -> tuple[list[str], list[str]]:
    fronts = [row[0] for row in connection.execute("SELECT metadata FROM fronts")]
    return fronts, [row[0] for row in connection.execute("SELECT metadata FROM items ORDER BY id")]


async def test_front_matter_is_kept_once_for_each_document(tmp_path: Path) -> None:
    """And every item has all of it."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.ingest("c", Handbook(PARTS), origin="o")
        assert await store.read(kept) == (['{"title":"Leave","year":2026}'], ['{"line":3}', '{"line":9}'])
        assert [dict(item.metadata) for _, item in await store.items("c")] == PARTS
        assert await store.check() == ()


async def test_changed_front_matter_leaves_nothing_behind(tmp_path: Path) -> None:
    """What no item begins with any more goes; an item that has moved to another document keeps its own."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.ingest("c", Handbook(PARTS), origin="o")
        changed = [{**part, "year": 2027} for part in PARTS]
        await store.ingest("c", Handbook(changed), origin="o")
        assert (await store.read(kept))[0] == ['{"title":"Leave","year":2027}']
        assert [dict(item.metadata) for _, item in await store.items("c")] == changed
        await store.remove_documents("c", ["leave.md"])
        assert await store.read(kept) == ([], [])


async def test_front_matter_survives_tags_and_an_export(tmp_path: Path) -> None:
    """A change of a tag, and a way out and in again, change none of it."""
    async with Store(tmp_path / "a") as store, Store(tmp_path / "b") as other:
        await store.create("c")
        await store.ingest("c", Handbook(PARTS), origin="o")
        await store.tag("c", ["leave.md#3"], add=["new"])
        await store.export("c", tmp_path / "c.jsonl")
        await other.import_(tmp_path / "c.jsonl")
        for each in (store, other):
            assert sorted([dict(item.metadata) for _, item in await each.items("c")], key=str) == sorted(PARTS, key=str)
            assert await each.check() == ()
        assert (await other.import_(tmp_path / "c.jsonl")).added.unchanged == len(PARTS)


@pytest.mark.parametrize(
    ("metadata", "front"),
    [
        pytest.param([{"a": 1, "b": 2}, {"a": 1, "b": 3}], '{"a":1}', id="begin-alike"),
        pytest.param([{"a": 1}, {"a": 1}], '{"a":1}', id="the-same"),
        pytest.param([{"a": 1}, {"a": 1, "b": 2}], '{"a":1}', id="one-has-more"),
        pytest.param([{"a": 1, "b": 2}, {"b": 2, "a": 1}], "", id="another-order"),
        pytest.param([{"a": 1}, {"a": 1.0}], "", id="equal-but-written-otherwise"),
        pytest.param([{"a": 'é\n"{}'}, {"a": 'é\n"{}', "b": 1}], '{"a":"é\\n\\"{}"}', id="escapes"),
        pytest.param([{"a": 1}], "", id="one-item"),
        pytest.param([{}, {}], "", id="nothing"),
    ],
)
def test_a_front_is_what_all_begin_with(metadata: list[dict[str, Any]], front: str) -> None:
    """Letter by letter, so that the digests of the items stay true."""
    told = [(each, checked_item(Item(id="i", text="", metadata=each))) for each in metadata]
    assert front_of(told) == front
    for _, whole in told if front else ():
        own = own_part(whole, front)
        assert own is not None
        assert (front if own == "{}" else f"{front[:-1]},{own[1:]}") == whole
