"""The store suite on contexts and what is in them: added, changed, removed, tagged, granted, ingested, exported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from attrs import define, evolve

from nexus_core.contract.documents import DocumentMark, DocumentRead
from nexus_core.contract.errors import SourceError, UsageError
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Item
from nexus_core.store.store_view import StoreView
from nexus_core.testing.contracts.store.opening import ITEMS, StoreSuite, found_ids
from nexus_core.testing.contracts.suite import looped
from nexus_core.toolkit.filters import parse_filter

ODD_NAMES = (
    "a",
    "A",
    "ä",
    "a\u0308",
    "a'b\"c",
    "50 %s",
    "?",
    "a;--",
    "{1}",
    "⛵ 字",
    "\U0001f6a2",
    "a b",
    "\\x00",
    "nul",
    "$1",
)
"""Names that mean something elsewhere, or are the same to who does not compare bytes."""
_LARGE = "ferry ⛵ " * 40_000
_HR = Viewer(groups=frozenset({"group:hr"}))
_GUEST = Viewer(groups=frozenset())


@define
class _Notes:
    """Documents out of a mapping."""

    texts: dict[str, str]
    problems: Sequence[str] = ()

    def documents(self) -> Iterable[DocumentMark]:
        return [DocumentMark(name=name, stamp=text) for name, text in self.texts.items()]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        if self.texts[mark.name].startswith("!"):
            raise SourceError("is no good")
        items = [
            Item(id=f"{mark.name}#{number}", text=part, metadata={"path": mark.name, "line": number})
            for number, part in enumerate(self.texts[mark.name].split("\n"))
        ]
        lost = [f"line {number} is blank" for number, part in enumerate(self.texts[mark.name].split("\n")) if not part]
        return DocumentRead(items=items, digest=self.texts[mark.name], size=8, remarks=lost)


class ItemTests(StoreSuite):
    """Contexts, items, documents."""

    @looped
    async def test_items_come_back_as_they_were(self) -> None:
        """All fields, in the order in which they were added, page by page and by id.

        Fix: give keys that rise, and keep texts, JSON and bytes as they are.
        """
        async with self._store() as store:
            assert (await store.add("harbour", ITEMS)).new == 5
            pages = [await store.items("harbour", limit=3)]
            pages.append(await store.items("harbour", after=pages[0][-1][0], limit=3))
            found = [item for page in pages for _, item in page]
            assert [(item.id, item.text, item.metadata, set(item.tags), item.source) for item in found] == [
                (item.id, item.text, item.metadata, set(item.tags), item.source) for item in ITEMS
            ]
            assert [item.id for item in await store.get("harbour", ["n4", "absent", "n1"])] == ["n4", "n1"]

    @looped
    async def test_many_items_come_back_whatever_signs_are_in_them(self) -> None:
        """Those that stand for something where rows are written many at a time: ends of rows, of columns, none at all.

        Fix: write values as parameters, or escape each of them.
        """
        signs = ["\\N", "\\.", "a\tb", "a\nb\r\n\\.\n", "\\x00", "\\", "%s %% %", "{}", '"', "'", "NULL", "\x01\x7f"]
        plain = [sign if sign.isprintable() else "plain" for sign in signs]  # as names are
        items = [
            Item(id=f"{number}{name}", title=sign, text=sign, source=sign, tags=(f"t{name}",), metadata={"s": sign})
            for number, (sign, name) in enumerate(zip(signs, plain, strict=True))
        ]
        async with self._store() as store:
            assert (await store.add("harbour", items)).new == len(items)
            assert await store.get("harbour", [item.id for item in items]) == tuple(items)
            assert await store.check() == ()

    @looped
    async def test_a_changed_item_takes_the_place_of_the_one_before(self) -> None:
        """What is as it was is left alone; counts and searches go on from the new state.

        Fix: run `ON CONFLICT ... DO UPDATE` and `RETURNING` as SQLite does, and tell the right `rowcount`.
        """
        async with self._store() as store:
            await store.add("harbour", ITEMS)
            added = await store.add("harbour", [evolve(ITEMS[2], text="a lighthouse"), ITEMS[0]])
            assert (added.new, added.changed, added.unchanged) == (0, 1, 1)
            assert (await found_ids(store, "lighthouse"), await found_ids(store, "bread")) == (["n2"], [])
            assert (await store.context("harbour")).items == 5
            assert await store.check() == ()

    @looped
    async def test_what_is_removed_is_found_by_nobody(self) -> None:
        """Neither by id nor by a search, nor in the count; the rest is. A deleted context leaves nothing behind.

        Fix: enforce the foreign keys with their `ON DELETE CASCADE`.
        """
        async with self._store() as store:
            await store.add("harbour", ITEMS)
            assert await store.remove("harbour", ["n0", "absent"]) == 1
            assert await store.get("harbour", ["n0"]) == ()
            assert {*await found_ids(store, "rope sail")} == {"n1", "n3"}
            assert await store.check() == ()
            await store.delete("harbour")
            left = await store.read(lambda connection: connection.execute("SELECT count(*) FROM tags").fetchone())
            assert left[0] == 0, "the tags of a context that was deleted are still there"
            await store.create("harbour")
            assert await found_ids(store, "sail") == []

    @looped
    async def test_tags_change_and_filter(self) -> None:
        """A change of tags keeps the rest of an item; searches, pages and counts go by them.

        Fix: `json_each(?) AS texts` gives the rows of a JSON array in order.
        """
        async with self._store() as store:
            await store.add("harbour", ITEMS)
            assert await store.tag("harbour", ["n0", "n1"], add=["wet"], remove=["t0"]) == 2
            assert (await found_ids(store, "sail", tags=["wet"])) == ["n0", "n1"]
            assert [item.id for _, item in await store.items("harbour", tag="wet")] == ["n0", "n1"]
            assert (await store.counts("harbour"))["wet"] == 2
            late = parse_filter({"year": {"gte": 2023}})
            assert [item.id for _, item in await store.items("harbour", where=late)] == ["n3", "n4"]
            assert await store.check() == ()

    @looped
    async def test_who_may_not_see_an_item_does_not_find_it(self) -> None:
        """By a search, a page, an id, a count; a context of their own is seen by its readers alone.

        Fix: `json_each(?) AS numbers` gives whole numbers, and `json_group_array` an array of texts.
        """
        async with self._store() as store:
            await store.add("harbour", [evolve(ITEMS[0], readers=("group:hr",)), *ITEMS[1:]])
            await store.create("payroll", readers=["group:hr"])
            for viewer, expected, contexts in ((_HR, 5, 2), (_GUEST, 4, 1)):
                assert len(await store.items("harbour", viewer=viewer)) == expected
                assert len(await found_ids(store, "rope sail", viewer=viewer)) == expected - 2
                assert (await store.context("harbour", viewer=viewer)).items == expected
                assert len(await store.contexts(viewer=viewer)) == contexts
            assert await store.get("harbour", ["n0"], viewer=_GUEST) == ()

    @looped
    async def test_names_of_contexts_are_taken_once(self) -> None:
        """A second one of a name is refused, and the first one is as it was.

        Fix: enforce the constraints `UNIQUE`; `ON CONFLICT ... DO NOTHING RETURNING` gives no row then.
        """
        async with self._store() as store:
            await store.add("harbour", ITEMS)
            with pytest.raises(UsageError, match="there is a context 'harbour' already"):
                await store.create("harbour")
            assert [context.items for context in await store.contexts()] == [5]

    @looped
    async def test_names_with_odd_characters_are_kept_apart(self) -> None:
        """Signs of SQL, of formats and of other scripts; what differs in case, accents or normal form differs.

        Fix: pass values as parameters, and compare texts by their bytes (a binary collation).
        """
        async with self._store() as store:
            items = [Item(id=name, text=f"rope {name}", tags=(name,), source=name) for name in ODD_NAMES]
            assert (await store.add("harbour", items)).new == len(ODD_NAMES)
            assert [item.id for item in await store.get("harbour", ODD_NAMES)] == [*ODD_NAMES]
            for name in ODD_NAMES:
                assert await found_ids(store, "rope", tags=[name]) == [name], f"tag {name!r}"
                await store.conversations.new(name, owner=name)
            assert (await store.counts("harbour")) == dict.fromkeys(ODD_NAMES, 1)
            assert await store.remove("harbour", ["A", "ä"]) == 2
            assert len(await store.get("harbour", ODD_NAMES)) == len(ODD_NAMES) - 2

    @looped
    async def test_large_values_come_back(self) -> None:
        """Texts and bytes of some hundred thousand bytes, and metadata of as many; what is no text is refused.

        Fix: take types without a limit for TEXT and BLOB; what the driver cannot encode is a UsageError.
        """
        async with self._store() as store:
            item = Item(id="large", text=_LARGE, metadata={"notes": _LARGE, "number": 2**53 + 1, "share": 0.1})
            await store.add("harbour", [item])
            [found] = await store.get("harbour", ["large"])
            assert (found.text, found.metadata) == (item.text, item.metadata), "a large item came back otherwise"
            data = b"\0\xff%s" * 40_000
            key = await store.keep_original(data)
            assert key is not None
            assert await store.original(key) == data
            with pytest.raises(UsageError):  # half of a surrogate pair, which is no text
                await store.add("harbour", [Item(id="half", text="\ud83d")])

    @looped
    async def test_an_export_is_taken_in_again(self, tmp_path: Path) -> None:
        """With tags, grants and metadata, under another name.

        Fix: keep what the tests before this one look at.
        """
        async with self._store() as store:
            await store.add("harbour", [evolve(ITEMS[0], readers=("group:hr",)), *ITEMS[1:]])
            assert await store.export("harbour", tmp_path / "out.jsonl") == 5
            taken = await store.import_(tmp_path / "out.jsonl", "copy")
            assert (taken.added.new, taken.problems) == (5, ())
            assert [item for _, item in await store.items("copy")] == [item for _, item in await store.items("harbour")]

    @looped
    async def test_documents_are_read_when_they_change(self) -> None:
        """What is new, changed and gone of a source is in the context in the end, and what it says of it.

        Fix: keep the rows of `documents` and `origins`, and their foreign keys.
        """
        async with self._store() as store:
            notes = _Notes({"a.txt": "rope\nsail", "b.txt": "gull"})
            first = await store.ingest("harbour", notes, origin="notes")
            notes.texts = {"a.txt": "rope\nsail\nanchor", "c.txt": "tide"}
            second = await store.ingest("harbour", notes, origin="notes", prune=True)
            assert (first.items.new, second.items.new, second.pruned) == (3, 2, 1)
            assert [document.name for document in await store.documents("harbour")] == ["a.txt", "c.txt"]
            assert await found_ids(store, "anchor") == ["a.txt#2"]
            assert await store.remove_documents("harbour", ["a.txt"]) == 3
            assert await store.check() == ()

    @looped
    async def test_documents_tell_what_is_missing_of_them(self) -> None:
        """Page by page, with their items, what a reader has said, and why one is not as it is now; until it is mended.

        Fix: keep the columns of `documents`, and count the items of a page's documents alone.
        """
        async with self._store() as store:
            notes, view = _Notes({"a": "rope\nsail", "b": "gull\n", "c": "!", "d": "tide"}), StoreView(store, None)
            await store.ingest("harbour", notes, origin="notes")
            notes.texts |= {"a": "!", "c": "!!"}
            await store.ingest("harbour", notes, origin="notes")
            first = await view.page_of_documents("harbour", limit=2)
            told = [(each.document.name, each.items, each.document.remarks) for each in first]
            assert told == [("a", 2, ()), ("b", 2, ("line 1 is blank",))]
            assert first[0].document.problems == ("could not be read again, and is as it was: is no good",)
            assert [each.document.name for each in await view.page_of_documents("harbour", after="b")] == ["d"]
            remarked = await view.page_of_documents("harbour", among="remarked")
            skipped = await view.page_of_documents("harbour", among="skipped")
            assert [[each.document.name for each in page] for page in (remarked, skipped)] == [["a", "b"], ["c"]]
            totals = await view.document_totals("harbour")
            assert (totals.documents, totals.size, totals.remarked, totals.skipped) == (3, 24, 2, 1)
            seen = StoreView(store, evolve(_GUEST, tags=frozenset({"none"})))
            assert (
                (await seen.document_totals("harbour")).documents == len(await seen.page_of_documents("harbour")) == 0
            )
            notes.texts |= {"a": "rope\nsail", "b": "gull"}
            await store.ingest("harbour", notes, origin="notes")
            assert await view.page_of_documents("harbour", among="remarked") == ()
