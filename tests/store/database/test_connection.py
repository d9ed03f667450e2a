"""Connections to SQLite: how they are set up, what a failure leaves behind, and what it is called."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreBusyError, StoreDamagedError, StoreError, StoreFullError, UsageError
from nexus_core.store.database import connection
from nexus_core.store.database.connection import connect, is_open, journal_mode, snapshot, transaction, translated
from nexus_core.store.database.sql import SqlConnection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@contextmanager
def opened(path: Path, *, writes: bool = True) -> Iterator[sqlite3.Connection]:
    connection = connect(path, writes=writes)
    try:
        yield connection
    finally:
        connection.close()


def set_value(connection: sqlite3.Connection, name: str, value: str = "") -> None:
    connection.execute("INSERT INTO settings (name, value) VALUES (?, ?)", (name, value))


def written(connection: sqlite3.Connection, path: Path, name: str, error: BaseException | None = None) -> None:
    """Set a value in a transaction, which then ends with an error if there is one."""
    with transaction(connection, path):
        set_value(connection, name)
        if error is not None:
            raise error


def values(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM settings ORDER BY name")]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        pytest.param((3, 37, 0), "truncate", id="oldest"),
        pytest.param((3, 40, 1), "truncate", id="debian"),
        pytest.param((3, 44, 5), "truncate", id="branch-before"),
        pytest.param((3, 44, 6), "wal", id="branch-repaired"),
        pytest.param((3, 45, 9), "truncate", id="branch-without"),
        pytest.param((3, 50, 6), "truncate", id="second-branch-before"),
        pytest.param((3, 50, 7), "wal", id="second-branch-repaired"),
        pytest.param((3, 51, 2), "truncate", id="last-bad"),
        pytest.param((3, 51, 3), "wal", id="repaired"),
        pytest.param((3, 52, 0), "wal", id="later"),
        pytest.param((4, 0, 0), "wal", id="much-later"),
    ],
)
def test_a_write_ahead_log_is_used_only_where_it_loses_nothing(version: tuple[int, ...], expected: str) -> None:
    """Releases whose log is reset wrongly keep a rollback journal (fault 155)."""
    assert journal_mode(version) == expected


def test_an_sqlite_that_is_too_old_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fail at the first table in words of its own."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StoreError, match="is too old"):
        connect(path, writes=True)


@pytest.mark.parametrize("writes", [True, False], ids=["writer", "reader"])
def test_a_connection_is_set_up_for_safety(path: Path, writes: bool) -> None:
    """Commits are synced in full, the journal is bounded, and no schema is trusted (faults 156, 166)."""
    with opened(path), opened(path, writes=writes) as connection:

        def told(name: str) -> object:
            return connection.execute(f"PRAGMA {name}").fetchone()[0]

        assert told("synchronous") == 2
        assert told("foreign_keys") == told("cell_size_check") == 1
        assert told("trusted_schema") == 0
        assert told("busy_timeout") == 5000
        assert told("query_only") == (not writes)
        if writes:
            assert told("journal_mode") == journal_mode(sqlite3.sqlite_version_info)
            assert told("journal_size_limit") == 64 * 2**20


def test_a_reader_cannot_write(path: Path) -> None:
    """A mistake in a query can spoil nothing."""
    with opened(path), opened(path, writes=False) as connection, pytest.raises(StoreError, match="check the rights"):
        written(connection, path, "a")


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_transaction_is_whole_or_not_there(path: Path, error: BaseException) -> None:
    """What ends with an error has not begun, and the next one is not disturbed."""
    with opened(path) as connection:
        with pytest.raises(type(error)):
            written(connection, path, "half", error)
        written(connection, path, "whole")
        assert values(connection) == ["whole"]


@pytest.mark.slow
def test_writers_take_turns(tmp_path: Path) -> None:
    """Many writers at once never find the database locked: none begins by reading (fault 154)."""
    path, failed = tmp_path / "store.db", list[StoreError]()
    connect(path, writes=True).close()

    def write(number: int) -> None:
        try:
            with opened(path) as connection:
                for turn in range(2):
                    with transaction(connection, path):
                        counted = len(values(connection))  # reads first, which is what makes a deferred one fail
                        set_value(connection, f"{number}-{turn}", str(counted))
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened(path) as connection:
        found = connection.execute("SELECT CAST(value AS INTEGER) FROM settings").fetchall()
    assert failed == []
    assert sorted(value for (value,) in found) == list(range(50))


@pytest.mark.slow
async def test_waiting_for_another_process_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer waits in a thread, then says that it is busy; reads and the event loop go on (fault 160)."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.3)
    async with Store(tmp_path) as store:
        await store.create("a")
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(store.create("b"))
        turns = 0
        while not waiting.done():
            await store.contexts()
            await asyncio.sleep(0)
            turns += 1
        other.execute("ROLLBACK")
        other.close()
        with pytest.raises(StoreBusyError, match=r"kept by another process .* try again"):
            await waiting
        await store.create("b")
    assert turns > 5


def test_a_full_disk_changes_nothing_and_passes(path: Path) -> None:
    """Where no space is left that is said, reads go on, and so do writes when there is space again (fault 158)."""
    with opened(path) as connection:
        with transaction(connection, path):
            set_value(connection, "before")
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFullError, match="this write changed nothing"), transaction(connection, path):
            set_value(connection, "large", "x" * 100_000)
        assert values(connection) == ["before"]
        connection.execute("PRAGMA max_page_count = 1000000")
        with transaction(connection, path):
            set_value(connection, "large", "x" * 100_000)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


LIMITED = """
import asyncio, resource, sys
from nexus_core import Item, Store, StoreFullError

def items(first, count):
    return [Item(id=f"i{n}", text=f"item {n} " + "many words of it " * 50) for n in range(first, first + count)]

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    async with Store(sys.argv[1]) as store:
        await store.create("c")
        await store.add("c", items(0, 50))
        limit((store.folder.database.stat().st_size // 4096 + 2) * 4096)
        try:
            await store.add("c", items(50, 2000))
        except StoreFullError as error:
            print("full:", error)
        assert len(await store.get("c", ["i0", "i49", "i50"])) == 2
        assert (await store.search("c", "item 7")).items[0].id == "i7"
        limit(resource.RLIM_INFINITY)
        print(await store.add("c", items(50, 2000)))
        print((await store.search("c", "item 1777")).items[0].id, await store.check())

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_limit_of_the_size_of_files_is_told_as_a_full_disk(tmp_path: Path) -> None:
    """SQLite calls it an error of the disk; the writer is opened anew after it, and works (faults 158, 159)."""
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "no space is left" in lines[0]
    assert lines[1:] == ["Added(new=2000, changed=0, unchanged=0, removed=0, remarks=())", "i1777 ()"]


def test_a_failed_disk_closes_the_connection_for_good(path: Path) -> None:
    """What it believes of the file may be wrong (fault 159); nothing but another connection brings it back."""
    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    with opened(path) as connection:
        assert is_open(connection)
        with pytest.raises(StoreError, match="look at the disk"):
            written(connection, path, "unsure", failure)
        assert not is_open(connection)
    with opened(path) as connection:
        assert values(connection) == []


async def test_a_store_writes_on_after_the_disk_failed(tmp_path: Path) -> None:
    """With a connection of its own making (fault 159)."""
    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

    def fail(connection: SqlConnection) -> None:
        raise failure

    async with Store(tmp_path) as store:
        await store.create("a")
        with pytest.raises(StoreError, match="this write changed nothing"):
            await store.write(fail)
        await store.create("b")
        assert [context.name for context in await store.contexts()] == ["a", "b"]


INJECTED = """
import asyncio, sys
from nexus_core import Item, Store, StoreError

async def main():
    async with Store(sys.argv[1]) as store:
        await store.create("c")
        for n in range(12):
            try:
                await store.add("c", [Item(id=f"i{n}", text=f"number {n}")])
                print("kept", n, flush=True)
            except StoreError as error:
                print("failed", n, type(error).__name__, flush=True)

asyncio.run(main())
"""


def can_inject() -> bool:
    strace = shutil.which("strace")
    if strace is None:
        return False
    tried = subprocess.run([strace, "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_inject(), reason="needs strace, and the right to trace")
@pytest.mark.parametrize(
    "fault",
    [
        "fsync,fdatasync:error=EIO:when=30..60+7",
        "pwrite64,write,pwritev:error=ENOSPC:when=120..400+31",
        "pwrite64:error=EIO:when=130..210+13",  # behind the making of the tables
    ],
    ids=["sync", "space", "write"],
)
async def test_injected_errors_of_the_disk_lose_nothing_that_was_acknowledged(tmp_path: Path, fault: str) -> None:
    """The system fails some calls: every item is told as failed or there, the store is whole (faults 158, 159)."""
    command = [
        "strace",
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-e",
        f"trace={fault.partition(':')[0]}",
        "-e",
        f"inject={fault}",
    ]
    process = await asyncio.create_subprocess_exec(
        *command, sys.executable, "-c", INJECTED, tmp_path / "s", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    told = {line.split()[1]: line.split()[0] for line in said.decode().splitlines()}
    assert "failed" in told.values()
    async with Store(tmp_path / "s") as store:
        kept = {item.id for _, item in await store.items("c")}
        assert kept >= {f"i{n}" for n, state in told.items() if state == "kept"}
        await store.search("c", "number")
        assert await store.check() == ()


def test_the_journal_does_not_stay_large(path: Path) -> None:
    """After a large write it is cut again, whoever has read before (fault 166)."""
    with opened(path) as connection, opened(path, writes=False) as reader:
        with snapshot(reader, path):
            assert values(reader) == []
        for turn in range(3):
            with transaction(connection, path):
                connection.execute("INSERT OR REPLACE INTO settings VALUES ('a', ?)", (str(turn) * 5_000_000,))
        journals = [file for file in path.parent.iterdir() if file != path]
        assert sum(file.stat().st_size for file in journals) <= 64 * 2**20
        if journal_mode(sqlite3.sqlite_version_info) == "truncate":
            assert sum(file.stat().st_size for file in journals) == 0


def test_a_snapshot_sees_one_state(path: Path) -> None:
    """Two reads of one question never see a change between them."""
    with opened(path) as writer, opened(path, writes=False) as reader:
        writer.execute("PRAGMA busy_timeout = 10")
        with snapshot(reader, path):
            before = values(reader)
            try:
                with transaction(writer, path):
                    set_value(writer, "new")
            except StoreBusyError:  # with a rollback journal a writer waits; with a log it does not
                assert journal_mode(sqlite3.sqlite_version_info) == "truncate"
            assert values(reader) == before
        assert not reader.in_transaction


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_database_is_its_owners_alone(path: Path) -> None:
    """Also where the file was there and open to others, and for the journal beside it (fault 165)."""
    connect(path, writes=True).close()
    path.chmod(0o644)
    before = os.umask(0)
    try:
        with opened(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            set_value(connection, "a")
            files = list(path.parent.iterdir())
            connection.execute("COMMIT")
    finally:
        os.umask(before)
    assert len(files) >= 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_what_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    """A file of something else under this name keeps its bytes."""
    path.write_bytes(b"precious text, and no database at all" * 100)
    with pytest.raises(StoreDamagedError, match=r"store\.db is damaged or no store"):
        connect(path, writes=True)
    assert path.read_bytes() == b"precious text, and no database at all" * 100


def test_a_half_surrogate_that_reaches_sqlite_is_told(path: Path) -> None:
    """Wherever it comes from, it is no error of Python that the caller sees (fault 163)."""
    half = pytest.raises(UsageError, match="half of a surrogate pair at character 2")
    with opened(path) as connection, half, translated(path):
        connection.execute("SELECT ?", ("a\ud800",))


@pytest.mark.slow
async def test_statements_never_depend_on_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name, key or text reaches the text of a statement: whatever is stored, they are the same (fault 161)."""
    heard = set[str]()

    class Heard(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            heard.add(sql)
            return super().execute(sql, *args)  # type: ignore[arg-type]

        def executemany(self, sql: str, *args: object) -> sqlite3.Cursor:
            heard.add(sql)
            return super().executemany(sql, *args)  # type: ignore[arg-type]

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: real(*args, **kwargs, factory=Heard))

    async def said(folder: Path, word: str) -> set[str]:
        heard.clear()
        async with Store(folder) as store:
            await store.create(word, description=word)
            item = Item(id=word, text=word, title=word, kind=word, source=word, tags=(word,), metadata={word: [word]})
            await store.add(word, [item, Item(id="other", text="x", metadata={"links": [word]})])
            await store.tag(word, [word], add=[word + "2"])
            await store.search(word, word, tags=[word])
            await store.items(word, tag=word)
            await store.export(word, folder / "out")
            await store.import_(folder / "out", word + "3")
            assert await store.check() == ()
            assert await store.remove(word, [word]) == 1
            await store.delete(word)
        return {*heard}

    plain = await said(tmp_path / "1", "plain")
    hostile = await said(tmp_path / "2", """x'); DROP TABLE items; --" OR 1=1 /* $.a[0] ? :a %s {0} \\""")
    assert len(plain) > 40
    assert plain == hostile
