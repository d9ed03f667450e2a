"""Snapshots of indexes beside the originals: what a server that begins with one finds, and what is not taken."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from zipfile import ZipFile

import pytest

from nexus_core import Item, Store
from nexus_core.store import contexts
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.removals import forget_removals
from nexus_core.store.snapshots import index_snapshots, snapshot_rows
from nexus_core.store.vectors import graph_upkeep
from tests.server.cluster.test_index_upkeep import with_cache

pytestmark = pytest.mark.slow

WORDS = "ferry baker lighthouse rope sail anchor tide harbour gull storm".split()
QUESTIONS = ("rope", '"ferry rope"', "gull storm tide", "anchor of the lighthouse")
ITEMS = 300


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let contexts of a few items have snapshots."""
    monkeypatch.setattr(index_snapshots, "SMALLEST", 100)


def notes(count: int = ITEMS, start: int = 0) -> list[Item]:
    """Return items of a fixed seed."""
    chooser = Random(start)
    return [
        Item(id=f"n{number}", text=" ".join(chooser.choices(WORDS, k=chooser.randint(1, 9))))
        for number in range(start, start + count)
    ]


class Machines:
    """Servers of one store, each with a cache of its own, and an object storage in common."""

    def __init__(self, url: str, folder: Path, objects: str | None = None) -> None:
        self.objects = objects or str(folder / "objects")
        self._url, self._folder = url, folder

    def url(self, name: str) -> str:
        return with_cache(self._url, self._folder / name)

    def store(self, name: str, *, without: bool = False) -> Store:
        """Return the store as one of them opens it, or as one that knows of no object storage."""
        return Store(self.url(name), objects=None if without else self.objects)

    @property
    def archives(self) -> list[Path]:
        return sorted(Path(self.objects).glob("*/snapshot-*"))

    async def publish(self, *, model: str = "") -> None:
        """Fill the context `harbour`, and publish a snapshot of its index."""
        async with self.store("first") as store:
            await store.create("harbour")
            await store.add("harbour", notes())
            if model:
                await store.embed("harbour", model)
            assert await store.snapshots.publish_due() == 1
            assert await store.snapshots.publish_due() == 0


@pytest.fixture
def machines(postgres: str, tmp_path: Path) -> Machines:
    return Machines(postgres, tmp_path)


async def found(store: Store) -> list[tuple[list[str], list[float]]]:
    """Return ids and scores of what is found by some questions."""
    answers = []
    for question in QUESTIONS:
        ranking = await store.search("harbour", question, limit=30)
        answers.append(([item.id for item in ranking.items], [*(ranking.scores or ())]))
    return answers


async def compare(machines: Machines, caplog: pytest.LogCaptureFixture, *, begins: bool) -> None:
    """Search as a new server, with and without snapshots: both find the same, and one of them by a snapshot or not."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        async with machines.store("new") as new, machines.store("other", without=True) as other:
            assert await found(new) == await found(other)
            assert await new.check() == ()
            assert not [*new.folder.snapshots.glob("*")]
    assert [" begins with the snapshot " in record.message for record in caplog.records].count(True) == begins
    assert (" is passed over: " in caplog.text) != begins


@pytest.mark.parametrize("objects", [None, "memory://bucket/prefix"], ids=["folder", "fsspec"])
async def test_a_new_server_begins_with_a_snapshot_and_finds_the_same(
    postgres: str, tmp_path: Path, objects: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What has come, changed and gone since is honoured."""
    machines = Machines(postgres, tmp_path, objects)
    await machines.publish()
    async with machines.store("first") as store:
        await store.remove("harbour", [f"n{number}" for number in range(0, 40, 2)])
        await store.add("harbour", [*notes(20, ITEMS), Item(id="n1", text="rope rope changed")])
    await compare(machines, caplog, begins=True)


async def test_the_graph_of_vectors_comes_along(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same to the last bit, so that it finds the same."""
    pytest.importorskip("wordllama")
    monkeypatch.setattr(graph_upkeep, "EXACT", 100)
    await machines.publish(model="static")
    async with machines.store("new") as new, machines.store("first") as first:
        for question in QUESTIONS:
            one, other = [await store.search("harbour", question, by="meaning") for store in (new, first)]
            assert (one.items, one.scores) == (other.items, other.scores)
        (graph,), (same,) = ([*store.folder.vectors.iterdir()] for store in (new, first))
        assert graph.name == same.name
        assert await new.check() == ()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lack(path: Path) -> None:
    path.unlink()


def forge(path: Path) -> None:
    """Let one file be another one, in an archive that is whole."""
    with ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in files if name.endswith(".fast"))
    files[name] = files[name].replace(b"\0", b"\1", 1)
    with ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def take_another(path: Path) -> None:
    """Let the snapshot of another context stand in its place."""
    (other,) = {*path.parent.iterdir()} - {path}
    shutil.copyfile(other, path)


@pytest.mark.parametrize("harm", [flip, cut, lack, forge, take_another])
async def test_a_snapshot_that_is_not_what_was_published_is_passed_over(
    machines: Machines, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The index is built from the rows, and the log says why."""
    await machines.publish()
    (archive,) = machines.archives
    async with machines.store("first") as store:
        await store.create("another")
        await store.add("another", notes(200, 1_000))
        assert await store.snapshots.publish_due() == 1
    harm(archive)
    await compare(machines, caplog, begins=False)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("format", 99, "it is of format 99"),
        ("words_format", "99", "its index is of format '99'"),
        ("analyzer", 99, "its words are of version 99"),
        ("context", 99, "it is of context 99"),
        ("files", None, "its manifest cannot be read"),
    ],
)
async def test_a_snapshot_of_something_else_or_a_newer_version_is_passed_over(
    machines: Machines, field: str, value: object, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And another one is published, which servers of this version can use."""
    await machines.publish()

    def change(connection: SqlConnection) -> None:
        (text,) = connection.execute("SELECT manifest FROM index_snapshots").fetchone()
        connection.execute("UPDATE index_snapshots SET manifest = ?", (json.dumps(json.loads(text) | {field: value}),))

    async with machines.store("first") as store:
        await store.write(change)
    await compare(machines, caplog, begins=False)
    assert why in caplog.text
    async with machines.store("first") as store:
        assert await store.snapshots.publish_due() == 1
    shutil.rmtree(Path(machines.store("new").folder.root))
    await compare(machines, caplog, begins=True)


async def test_a_snapshot_before_the_log_of_removals_is_not_gone_on_with(
    machines: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell what has gone since: the index is built from the rows."""
    await machines.publish()
    async with machines.store("first") as store:
        await store.remove("harbour", ["n1", "n2"])
        await store.write(lambda writer: forget_removals(writer, contexts.find(writer, "harbour"), 1))
    with caplog.at_level(logging.WARNING):
        async with machines.store("new") as new, machines.store("other", without=True) as other:
            assert await found(new) == await found(other)
            assert await new.check() == ()
    assert "the log of removals begins after" in caplog.text


async def test_a_snapshot_is_published_when_the_index_has_grown_and_old_ones_go(machines: Machines) -> None:
    """By a fifth, through items that come or go; two are kept, and none of a context that is gone."""
    await machines.publish()
    async with machines.store("first") as store:
        for count, due in ((50, 0), (11, 1), (80, 1)):
            await store.add("harbour", notes(count, 1_000 * count))
            assert await store.snapshots.publish_due() == due
        await store.remove("harbour", [f"n{number}" for number in range(100)])
        before = machines.archives
        assert await store.snapshots.publish_due() == 1
        assert len(machines.archives) == len(before) == snapshot_rows.KEPT
        assert machines.archives != before
        await store.delete("harbour")
        await store.create("harbour")
        await store.add("harbour", notes(150, 5_000))
        assert await store.snapshots.publish_due() == 1
        (archive,) = machines.archives
        number = (await store.context("harbour")).id
        assert archive.name.startswith(f"snapshot-{number}-")


async def test_one_server_at_a_time_publishes(machines: Machines) -> None:
    """Of two that find it due at the same time."""
    async with machines.store("first") as one, machines.store("other") as other:
        await one.create("harbour")
        await one.add("harbour", notes())
        await other.search("harbour", "rope")
        counts = await asyncio.gather(one.snapshots.publish_due(), other.snapshots.publish_due())
        assert sum(counts) == 1
        assert len(machines.archives) == 1


async def test_nothing_is_published_without_a_place_for_it(machines: Machines) -> None:
    """Neither of a small context, nor where originals are kept on the server itself."""
    async with machines.store("first", without=True) as store:
        await store.create("harbour")
        await store.add("harbour", notes())
        assert await store.snapshots.publish_due() == 0
    async with machines.store("first") as store:
        await store.remove("harbour", [f"n{number}" for number in range(250)])
        assert await store.snapshots.publish_due() == 0


_KILLED = """
import asyncio, os, signal, sys
from nexus_core import Store
from nexus_core.store.snapshots import index_snapshots

index_snapshots.SMALLEST = 100
url, objects, event, part, what = sys.argv[1:]

def hear(name, arguments):
    if name == event and any(part in str(each) for each in arguments):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Store(url, objects=objects) as store:
        sys.addaudithook(hear)
        if what == "publish":
            await store.snapshots.publish_due()
        else:
            await store.search("harbour", "rope")

asyncio.run(main())
"""


async def killed(machines: Machines, name: str, event: str, part: str, what: str) -> None:
    """Publish or begin with a snapshot in a process that is killed at a use of a file."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _KILLED, machines.url(name), machines.objects, event, part, what
    )
    assert await process.wait() == -9


@pytest.mark.parametrize(
    ("event", "part"),
    [
        pytest.param("os.link", "meta.json", id="linking"),
        pytest.param("open", ".zip", id="packing"),
        pytest.param("os.rename", "snapshot-", id="putting away"),
    ],
)
async def test_a_server_that_is_killed_while_publishing_leaves_nothing_that_is_used(
    machines: Machines, event: str, part: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one publishes after a while, and what there was of it is deleted."""
    async with machines.store("first") as store:
        await store.create("harbour")
        await store.add("harbour", notes())
    await killed(machines, "first", event, part, "publish")
    async with machines.store("new") as store:
        assert len(await found(store)) == len(QUESTIONS)
        if event != "os.link":  # it was noted by then
            assert await store.snapshots.publish_due() == 0
            monkeypatch.setattr(snapshot_rows, "CLAIM_S", -1.0)
    async with machines.store("first") as store:
        assert await store.snapshots.publish_due() == 1
        assert await store.read(lambda reader: reader.execute("SELECT count(*) FROM index_snapshots").fetchone()) == (
            1,
        )
        assert len(machines.archives) == 1
        assert not [*store.folder.snapshots.glob("*")]
        shutil.rmtree(machines.store("new").folder.root)
    await compare(machines, caplog, begins=True)


@pytest.mark.parametrize(
    ("event", "part"),
    [
        pytest.param("shutil.copyfile", "snapshot-", id="reading"),
        pytest.param("open", "nexus.json.part", id="in place"),
    ],
)
async def test_a_server_that_is_killed_while_it_begins_begins_again(
    machines: Machines, event: str, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of an index is not searched, and does not stay."""
    await machines.publish()
    await killed(machines, "new", event, part, "search")
    await compare(machines, caplog, begins=True)
    assert len([*machines.store("new").folder.indexes.iterdir()]) == 1
