"""Another reader makes other items of a document: tags, links and cited ids follow to where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from nexus_core import DocumentMark, DocumentRead, Item, Store

PARTS = [
    Item(id="a.html#leave", text="Unused leave.", metadata={"headings": ["Staff", "Leave"]}),
    Item(id="a.html#pay", text="Pay day.", metadata={"headings": ["Staff", "Pay"], "links": ["b.html#one"]}),
]
OTHER = [Item(id="b.html#one", text="One.", metadata={"headings": ["One"], "links": ["a.html#leave"]})]


class Pages:
    """A source of two pages, read by a reader of some version."""

    name = "pages"
    problems = ()

    def __init__(self, reader: str, parts: Sequence[Item], edition: str = "") -> None:
        self.reader, self.parts, self.edition = reader, parts, edition

    def documents(self) -> list[DocumentMark]:
        return [DocumentMark(name="a.html", place="a"), DocumentMark(name="b.html", place="b")]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        items = [evolve(each) for each in (self.parts if mark.place == "a" else OTHER)]
        return DocumentRead(items=items, digest=f"{self.reader}{mark.place}{self.edition}", size=1, reader=self.reader)


async def ingested(store: Store, reader: str, parts: Sequence[Item]) -> None:
    ingested = await store.ingest("c", Pages(reader, parts), origin="o")
    assert ingested.failed == ()


def renamed(text: str = "Unused leave.") -> list[Item]:
    return [evolve(PARTS[0], id="a.html#leave-1", text=text), PARTS[1]]


async def test_what_belongs_to_an_item_follows_by_its_headings(tmp_path: Path) -> None:
    """Its tags, links to it, and its old id, over several versions of the reader."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await ingested(store, "html 1", PARTS)
        await store.tag("c", ["a.html#leave", "a.html#pay"], add=["staff"])
        await ingested(store, "html 2", renamed())
        await ingested(store, "html 3", [evolve(PARTS[0], id="a.html#leave-2"), PARTS[1]])
        found = await store.get("c", ["a.html#leave", "a.html#leave-1", "a.html#pay", "b.html#one"])
        assert [item.id for item in found] == ["a.html#leave-2", "a.html#leave-2", "a.html#pay", "b.html#one"]
        assert [item.tags for item in found] == [("staff",), ("staff",), ("staff",), ()]
        assert found[-1].metadata["links"] == ["a.html#leave-2"]
        assert {document.reader for document in await store.documents("c")} == {"html 3"}
        assert await store.check() == ()


async def test_nothing_follows_where_a_document_has_changed(tmp_path: Path) -> None:
    """By the same reader, who has written it has decided what belongs to what."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await ingested(store, "html 1", PARTS)
        await store.tag("c", ["a.html#leave"], add=["staff"])
        await store.ingest("c", Pages("html 1", renamed("Other leave."), edition="second"), origin="o")
        (item,) = await store.get("c", ["a.html#leave", "a.html#leave-1"])
        assert (item.id, item.tags) == ("a.html#leave-1", ())


async def test_headings_that_come_twice_tell_nothing(tmp_path: Path) -> None:
    """Which of two is meant is not guessed."""
    twice = [evolve(each, metadata={"headings": ["Same"]}) for each in PARTS]
    async with Store(tmp_path) as store:
        await store.create("c")
        await ingested(store, "html 1", twice)
        await store.tag("c", ["a.html#leave"], add=["staff"])
        await ingested(store, "html 2", [evolve(each, id=f"{each.id}-1") for each in twice])
        assert await store.get("c", ["a.html#leave"]) == ()
        assert [item.tags for _, item in await store.items("c")] == [(), (), ()]
