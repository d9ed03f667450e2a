"""Contexts and items, whatever database they are in: added, changed, removed, tagged, granted, found."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from nexus_core import Item, Store, UsageError, Viewer
from nexus_core.toolkit import parse_filter

pytestmark = pytest.mark.slow

TEXTS = ("rope and sail", "a gull on the sail", "the baker's bread", "50 % of a rope, what?", "Ünïcode Straße")
ITEMS = [
    Item(id=f"n{number}", title=f"Note {number}", text=text, kind="note", tags=("all", f"t{number}"),
         metadata={"year": 2020 + number, "links": ["n0"] if number == 1 else []}, source=f"file:{number}")
    for number, text in enumerate(TEXTS)
]  # fmt: skip
HR = Viewer(groups=frozenset({"group:hr"}))
GUEST = Viewer(groups=frozenset())


async def ids(store: Store, query: str, **options: object) -> list[str]:
    """Return the ids that a search finds, best first."""
    return [item.id for item in (await store.search("harbour", query, **options)).items]  # type: ignore[arg-type]


async def test_items_come_back_as_they_were(store: Store) -> None:
    """All fields, in the order in which they were added, page by page and by id."""
    assert (await store.add("harbour", ITEMS)).new == 5
    pages = [await store.items("harbour", limit=3)]
    pages.append(await store.items("harbour", after=pages[0][-1][0], limit=3))
    found = [item for page in pages for _, item in page]
    assert [(item.id, item.text, item.metadata, set(item.tags), item.source) for item in found] == [
        (item.id, item.text, item.metadata, set(item.tags), item.source) for item in ITEMS
    ]
    assert [item.id for item in await store.get("harbour", ["n4", "absent", "n1"])] == ["n4", "n1"]


async def test_many_items_come_back_as_they_were_whatever_signs_are_in_them(store: Store) -> None:
    """Those that stand for something where rows are written many at a time: ends of rows, of columns, of all, none."""
    signs = ["\\N", "\\.", "a\tb", "a\nb\r\n\\.\n", "\\x00", "\\", "%s %% %", "{}", '"', "'", "NULL", "\x01\x7f"]
    plain = [sign if sign.isprintable() else "plain" for sign in signs]  # as names are
    items = [
        Item(id=f"{number}{name}", title=sign, text=sign, source=sign, tags=(f"t{name}",), metadata={"s": sign})
        for number, (sign, name) in enumerate(zip(signs, plain, strict=True))
    ]
    assert (await store.add("harbour", items)).new == len(items)
    assert await store.get("harbour", [item.id for item in items]) == tuple(items)
    assert await store.check() == ()


async def test_a_changed_item_takes_the_place_of_the_one_before(store: Store) -> None:
    """What is as it was is left alone; counts and searches go on from the new state."""
    await store.add("harbour", ITEMS)
    added = await store.add("harbour", [evolve(ITEMS[2], text="a lighthouse"), ITEMS[0]])
    assert (added.new, added.changed, added.unchanged) == (0, 1, 1)
    assert (await ids(store, "lighthouse"), await ids(store, "bread")) == (["n2"], [])
    assert (await store.context("harbour")).items == 5


async def test_what_is_removed_is_found_by_nobody(store: Store) -> None:
    """Neither by id nor by a search, nor in the count; the rest is."""
    await store.add("harbour", ITEMS)
    assert await store.remove("harbour", ["n0", "absent"]) == 1
    assert (await store.get("harbour", ["n0"]), set(await ids(store, "rope sail"))) == ((), {"n1", "n3"})
    assert await store.check() == ()


async def test_tags_change_and_filter(store: Store) -> None:
    """A change of tags keeps the rest of an item; searches, pages and counts go by them."""
    await store.add("harbour", ITEMS)
    assert await store.tag("harbour", ["n0", "n1"], add=["wet"], remove=["t0"]) == 2
    assert (await ids(store, "sail", tags=["wet"])) == ["n0", "n1"]
    assert [item.id for _, item in await store.items("harbour", tag="wet")] == ["n0", "n1"]
    assert (await store.counts("harbour"))["wet"] == 2
    assert [item.id for _, item in await store.items("harbour", where=parse_filter({"year": {"gte": 2023}}))] == [
        "n3",
        "n4",
    ]
    assert await store.check() == ()


async def test_a_search_goes_by_stop_words_phrases_and_filters(store: Store) -> None:
    """A query of stop words alone looks at the texts themselves, whatever signs they hold."""
    await store.add("harbour", [*ITEMS, Item(id="who", title="Who", text="To be or not to be")])
    assert await ids(store, "to be or not to be") == ["who"]
    assert await ids(store, '"gull on the sail"') == ["n1"]
    assert await ids(store, "sail", where=parse_filter({"kind": "note", "year": 2021})) == ["n1"]
    assert await ids(store, "zzz") == []


async def test_who_may_not_see_an_item_does_not_find_it(store: Store) -> None:
    """By a search, a page, an id, a count; a context of their own is seen by its readers alone."""
    await store.add("harbour", [evolve(ITEMS[0], readers=("group:hr",)), *ITEMS[1:]])
    await store.create("payroll", readers=["group:hr"])
    for viewer, expected, contexts in ((HR, 5, 2), (GUEST, 4, 1)):
        assert len(await store.items("harbour", viewer=viewer)) == expected
        assert len(await ids(store, "rope sail", viewer=viewer)) == expected - 2
        assert (await store.context("harbour", viewer=viewer)).items == expected
        assert len(await store.contexts(viewer=viewer)) == contexts
    assert await store.get("harbour", ["n0"], viewer=GUEST) == ()


async def test_names_of_contexts_are_taken_once(store: Store) -> None:
    """A second one of a name is refused, and a deleted one leaves its name free and nothing behind."""
    with pytest.raises(UsageError, match="there is a context 'harbour' already"):
        await store.create("harbour")
    await store.add("harbour", ITEMS)
    await store.delete("harbour")
    assert await store.contexts() == ()
    await store.create("harbour")
    assert await ids(store, "sail") == []


async def test_a_context_is_searched_by_meaning(store: Store) -> None:
    """Its vectors are rows, and go with their items."""
    await store.add("harbour", ITEMS[:4])
    assert await store.embed("harbour", "static") == 4
    await store.add("harbour", ITEMS[4:])
    assert (await ids(store, "loaf", by="meaning", limit=1)) == ["n2"]
    await store.remove("harbour", ["n2"])
    assert "n2" not in await ids(store, "loaf", by="both")
    assert await store.check() == ()
    await store.unembed("harbour")
    assert not (await store.context("harbour")).embedder


async def test_an_export_is_taken_in_again(store: Store, tmp_path: Path) -> None:
    """With tags, grants and metadata, under another name."""
    await store.add("harbour", [evolve(ITEMS[0], readers=("group:hr",)), *ITEMS[1:]])
    assert await store.export("harbour", tmp_path / "out.jsonl") == 5
    taken = await store.import_(tmp_path / "out.jsonl", "copy")
    assert (taken.added.new, taken.problems) == (5, ())
    assert [item for _, item in await store.items("copy")] == [item for _, item in await store.items("harbour")]


async def test_a_transaction_is_whole_or_not_there(store: Store) -> None:
    """What is written before an error is undone with it."""

    def fail(connection: object) -> None:
        connection.execute("UPDATE contexts SET description = ?", ("half",))  # type: ignore[attr-defined]
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await store.write(fail)
    assert (await store.context("harbour")).description == ""


_KILLED = """
import asyncio, os, signal, sys
from nexus_core import Item, Store

def half(connection):
    connection.execute("UPDATE contexts SET description = ?", ("half",))
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Store(sys.argv[1]) as store:
        await store.add("harbour", [Item(id="kept", text="a lighthouse")])
        await store.write(half)

asyncio.run(main())
"""


async def test_a_process_that_is_killed_leaves_what_it_has_acknowledged(place: str) -> None:
    """And nothing of the transaction it was in; nobody waits for it."""
    async with Store(place) as store:
        await store.create("harbour")
        done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", _KILLED, place], check=False)
        assert done.returncode == -signal.SIGKILL
        assert (await store.context("harbour")).description == ""
        assert await ids(store, "lighthouse") == ["kept"]
        assert (await store.add("harbour", ITEMS)).new == 5
        assert await store.check() == ()


async def test_a_store_is_as_it_was_when_it_is_opened_again(place: str) -> None:
    """Also one whose folder of what was made of the rows is gone."""
    async with Store(place) as store:
        await store.create("harbour")
        await store.add("harbour", ITEMS)
    async with Store(place) as store:
        assert await ids(store, "gull") == ["n1"]
        assert await store.check() == ()
