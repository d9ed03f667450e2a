"""Documents of a source in a context: only what has changed is read, each is whole, and nothing stops the rest."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from nexus_core import DocumentMark, DocumentRead, Documents, Item, SourceError, Store
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.store.ingest.ingest import Ingested
from nexus_core.store.ingest.read_document import DocumentReading
from nexus_core.store.ingest.reader_processes import ReaderProcess, told_of
from nexus_core.store.items.prepare import ItemPreparer

pytestmark = pytest.mark.slow

FILES: Any = PluginRegistry.installed().component(Kind.SOURCE, "files")


@define
class Notes:
    """Documents out of a mapping, which counts what is read."""

    texts: dict[str, str]
    problems: Sequence[str] = ()
    reads: int = 0
    per_line: bool = False
    stamp: str = ""
    """Else the beginning of the text."""

    def documents(self) -> Iterable[DocumentMark]:
        return [
            DocumentMark(name=name, stamp=self.stamp or f"{len(text)} {text[:9]}") for name, text in self.texts.items()
        ]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        self.reads += 1
        text = self.texts[mark.name]
        if text.startswith("!"):
            raise SourceError("is no good")
        if text == known:
            return DocumentRead(digest=text, same=True)
        parts = text.split("\n") if self.per_line else [text]
        items = [Item(id=f"{mark.name}#{number}", text=part) for number, part in enumerate(parts)]
        return DocumentRead(items=items, digest=text, size=len(text))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store") as opened:
        await opened.create("notes")
        yield opened


async def ids(store: Store) -> list[str]:
    return sorted(item.id for _, item in await store.items("notes", limit=10_000))


async def ingest(store: Store, source: Documents, **asked: Any) -> Ingested:
    return await store.ingest("notes", source, origin="here", **asked)


def test_what_a_third_party_writes_is_documents() -> None:
    """The protocol asks for methods and no base class."""
    assert isinstance(Notes({}), Documents)


async def test_a_document_with_its_old_stamp_is_not_read(store: Store) -> None:
    """The second time costs a look."""
    source = Notes({"a": "one", "b": "two"})
    first, second = await ingest(store, source), await ingest(store, source)
    assert (first.written, first.items.new, second.written, second.unchanged, source.reads) == (2, 2, 0, 2, 2)


async def test_a_document_with_its_old_digest_is_read_and_left(store: Store) -> None:
    """A new time alone changes no item, and is remembered."""
    await ingest(store, Notes({"a": "one"}))

    source = Notes({"a": "one"}, stamp="new")
    done = [await ingest(store, source) for _ in range(2)]
    assert ([each.unchanged for each in done], source.reads) == ([1, 1], 1)


async def test_a_changed_document_has_its_items_and_no_others(store: Store) -> None:
    """What it no longer says is gone."""
    await ingest(store, Notes({"a": "one\ntwo\nthree"}, per_line=True))
    done = await ingest(store, Notes({"a": "one\nanother"}, per_line=True))
    assert await ids(store) == ["a#0", "a#1"]
    assert (done.items.changed, done.items.unchanged, done.items.removed) == (1, 1, 1)
    assert [c.item.id for c in await store.search("notes", "another")] == ["a#1"]


async def test_a_bad_document_stops_nothing_and_keeps_its_old_state(store: Store) -> None:
    """Its reason is told."""
    await ingest(store, Notes({"a": "one", "b": "two"}))
    done = await ingest(store, Notes({"a": "!bad", "b": "three"}))
    assert done.failed == (("a", "is no good"),)
    assert [item.text for item in await store.get("notes", ["a#0", "b#0"])] == ["one", "three"]


@pytest.mark.parametrize("text", ["half \ud800 a pair", "x" * (64 * 2**20 + 1)], ids=["surrogate", "too-long"])
async def test_an_item_that_cannot_be_kept_is_told_and_the_others_are_kept(store: Store, text: str) -> None:
    """Refused with a reason, and read again the next time."""
    done = await ingest(store, Notes({"a": f"good\n{text}\nfine"}, per_line=True))
    assert await ids(store) == ["a#0", "a#2"]
    assert "a#1" in done.failed[0][1]


async def test_vanished_documents_stay_until_they_are_pruned(store: Store) -> None:
    """And only those of the same origin go."""
    await store.ingest("notes", Notes({"other": "x"}), origin="elsewhere")
    await ingest(store, Notes({"a": "one", "b": "two"}))
    left = await ingest(store, Notes({"a": "one"}))
    assert (left.vanished, len(await ids(store))) == (("b",), 3)
    done = await ingest(store, Notes({"a": "one"}), prune=True)
    assert (done.pruned, done.items.removed, await ids(store)) == (1, 1, ["a#0", "other#0"])


@pytest.mark.parametrize(
    "source", [Notes({}), Notes({"a": "one"}, problems=("docs: cannot be listed",))], ids=["nothing", "unsure"]
)
async def test_nothing_is_pruned_where_it_may_still_be_there(store: Store, source: Notes) -> None:
    """A disk that is not mounted looks like an empty folder."""
    await ingest(store, Notes({"a": "one", "b": "two"}))
    done = await ingest(store, source, prune=True)
    assert (done.pruned, len(await ids(store))) == (0, 2)


async def test_tags_are_given_and_other_tags_read_again(store: Store) -> None:
    """What is given to all items is part of how they are read."""
    source = Notes({"a": "one"})
    await ingest(store, source, tags=["x"])
    await ingest(store, source, tags=["y", "y"])
    (item,) = await store.get("notes", ["a#0"])
    assert (item.tags, source.reads) == (("y",), 2)


async def test_an_item_of_another_document_is_not_taken_away(store: Store) -> None:
    """Two files with the same ids: the second is refused as a whole."""

    class Same(Notes):
        def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
            return DocumentRead(items=[Item(id="1", text=mark.name), Item(id=mark.name, text="x")], digest="d")

    done = await ingest(store, Same({"a": "", "b": ""}))
    assert (done.failed, await ids(store)) == ((("b", "has the id '1', which is in a already"),), ["1", "a"])


async def test_a_large_document_is_written_in_pieces_and_changes_as_one(store: Store) -> None:
    """Its items that are gone are removed at the end."""
    await ingest(store, Notes({"a": "\n".join(map(str, range(6001)))}, per_line=True))
    assert (await store.context("notes")).items == 6001
    done = await ingest(store, Notes({"a": "\n".join(map(str, range(5500)))}, per_line=True))
    assert (done.items.unchanged, done.items.removed) == (5500, 501)
    assert await store.check("notes") == ()


# Processes

APART = """
import ctypes, os, time
from attrs import define
from nexus_core import DocumentMark, DocumentRead, Item

@define
class Parser:
    names: tuple
    apart: bool = True
    problems: tuple = ()

    def documents(self):
        return [DocumentMark(name=name, apart=self.apart) for name in self.names]

    def read(self, mark, known=""):
        if mark.name == "crash":
            os.abort()
        if mark.name == "loop":
            while True:
                time.sleep(1)
        if mark.name == "print":
            os.write(1, b"garbage" * 100)
        text = "word " * 500_000 if mark.name.startswith("large") else str(os.getpid())
        return DocumentRead(items=[Item(id=mark.name, text=text)], digest="d")
"""


@pytest.fixture
def parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Documents]:
    """A source in a module that other processes can import."""
    (tmp_path / "apart_source.py").write_text(APART)
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    sys.modules.pop("apart_source", None)
    made: Callable[..., Documents] = importlib.import_module("apart_source").Parser
    return made


@pytest.mark.parametrize("apart", [True, False], ids=["one by one", "many at a time"])
async def test_a_parser_that_crashes_or_never_ends_harms_one_document(
    store: Store, parser: Callable[..., Documents], apart: bool
) -> None:
    """The rest is read, in another process; what it prints harms nothing."""
    done = await ingest(store, parser(("a", "crash", "loop", "print", "z"), apart), limit_s=2.0, processes=2)
    assert dict(done.failed) == {
        "crash": "the process that read it ended by signal 6",
        "loop": "was not read within 2 s",
    }
    assert await ids(store) == ["a", "print", "z"]
    assert all(item.text != str(os.getpid()) for item in await store.get("notes", ["a", "print", "z"]))


async def test_a_process_with_more_to_say_than_a_pipe_holds_can_be_ended(parser: Callable[..., Documents]) -> None:
    """Whoever leaves does not wait for what nobody takes."""
    source = parser(("large",))
    reader = ReaderProcess()
    await reader.start()
    await reader.tell(told_of(DocumentReading(source=source, preparation=ItemPreparer("english", "approximate")), 60.0))
    await reader._send([(mark, "") for mark in source.documents()])
    stream: Any = reader._process and reader._process.stdout
    async with asyncio.timeout(60):
        while not stream._paused:  # noqa: ASYNC110 - of which asyncio tells nobody
            await asyncio.sleep(0.01)
        assert await reader.stop() in (0, -9)


async def test_a_source_that_cannot_be_sent_is_read_here(store: Store) -> None:
    """Without other processes all works, one after the other."""

    @define
    class Local(Notes):
        """No other process could import it."""

    done = await ingest(store, Local({str(number): f"text {number}" for number in range(150)}))
    assert (done.written, done.failed) == (150, ())


# Links


async def test_links_become_the_ids_of_items(store: Store, tmp_path: Path) -> None:
    """A section that is named, the first one where none is, a short document whole, and what came later."""
    section = "\n\n".join(f"## Part {letter}\n\n" + "Some words. " * 60 for letter in "abc")
    texts = {
        "a.md": "# A\n\nSee [b](sub/long.md), [c](sub/long.md#part-b), [d](z.md#nowhere), [[Long]], `[e](z.md)`.\n",
        "sub/long.md": f"# Long\n\n{section}\n\n[up](../z.md) [web](https://example.com/a.md) ![p](p.png)\n",
        "z.md": "# Z\n\n[a][1] [long](<sub/long.md>)\n\n[1]: a.md\n",
        "p.html": "<h1>P</h1><p><a href='a.md'>a</a> <a href='#x'>x</a></p>",
    }
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name, text in texts.items():
        (tmp_path / "in" / name).write_text(text)
    await ingest(store, FILES(paths=".", root=str(tmp_path / "in")))
    links = {item.id: item.metadata.get("links") for _, item in await store.items("notes")}
    assert links["a.md"] == ["sub/long.md#part-a", "sub/long.md#part-b", "z.md"]
    assert links["sub/long.md#part-c"] == ["z.md"]
    assert links["z.md"] == ["a.md", "sub/long.md#part-a"]
    assert links["p.html"] == ["a.md"]
    assert (await ingest(store, FILES(paths=".", root=str(tmp_path / "in")))).items.changed == 0
    assert await store.check("notes") == ()


# The end of it all


KILLED = """
import asyncio, sys
from nexus_core import Store
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

async def main():
    files = PluginRegistry.installed().component(Kind.SOURCE, "files")(paths=".", root=sys.argv[2])
    async with Store(sys.argv[1]) as store:
        if not await store.contexts():
            await store.create("notes")
        print("ready", flush=True)
        await store.ingest("notes", files, origin="here", processes=2, seen=lambda *done: print(done[0], flush=True))

asyncio.run(main())
"""


def _killed_after(lines: int, *arguments: str) -> list[str]:
    """Start it, kill it after so many lines, and return them."""
    command = [sys.executable, "-c", KILLED, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
    return said


async def test_what_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Whatever the moment: acknowledged documents are there once, no reader is left behind, and the rest comes."""
    root = tmp_path / "in"
    root.mkdir()
    for number in range(900):
        (root / f"{number}.md").write_text(f"# Note {number}\n\nabout the {number} of [next]({number + 1}.md)\n")
    for lines in (1, 2, 3):
        said = await asyncio.to_thread(_killed_after, lines, str(tmp_path / "store"), str(root))
        acknowledged = max([int(line) for line in said if line.strip().isdigit()], default=0)
        async with Store(tmp_path / "store") as store:
            if await store.contexts():
                kept = await ids(store)
                assert len(kept) == len(set(kept)) >= acknowledged
                assert len(kept) == len(await store.documents("notes"))
    async with Store(tmp_path / "store") as store:
        done = await store.ingest("notes", FILES(paths=".", root=str(root)), origin="here")
        assert (done.found, done.failed, (await store.context("notes")).items) == (900, (), 900)
        assert await store.check("notes") == ()


async def test_a_file_that_changes_at_once_is_noticed(store: Store, tmp_path: Path) -> None:
    """Clocks of file systems tick slowly: what was written this very moment is looked at again."""
    root = tmp_path / "in"
    root.mkdir()
    path = root / "a.txt"
    path.write_text("one")
    stamp = time.time_ns()
    os.utime(path, ns=(stamp, stamp))
    await ingest(store, FILES(paths=".", root=str(root)))
    path.write_text("two")
    os.utime(path, ns=(stamp, stamp))
    assert (await ingest(store, FILES(paths=".", root=str(root)))).items.changed == 1
