"""The suite of stores can fail: each fault of a store fails the test that is there for it."""

from __future__ import annotations

import inspect
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from time import time
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve, frozen

from nexus_core import NexusError, StoreError
from nexus_core.store import MIGRATIONS, Cursor, ServerConnection, ServerPaths, open_copies
from nexus_core.testing import StoreContract

pytestmark = pytest.mark.slow


class Rows:
    """A connection to a file, as a plugin has it; its subclasses have faults."""

    tables = MIGRATIONS
    is_own = False
    """Whether each place has a file of its own, whoever else is meant to see it."""

    def __init__(self, place: Place) -> None:
        self.driver = sqlite3.connect(place.file, timeout=10, isolation_level=None, check_same_thread=False)
        self.driver.execute("PRAGMA journal_mode = WAL")
        self.driver.execute("PRAGMA synchronous = OFF")
        self.configure()
        self.copies: Any = open_copies(place.copies)

    def configure(self) -> None:
        self.driver.execute("PRAGMA foreign_keys = ON")

    @property
    def in_transaction(self) -> bool:
        return self.driver.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        with self.meaning():
            return self.driver.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        with self.meaning():
            return self.driver.executemany(sql, parameters)

    @contextmanager
    def meaning(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"it failed: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.driver.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.driver.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.driver.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self.driver.execute("BEGIN")
        try:
            yield
        finally:
            self.driver.execute("ROLLBACK")

    def clock(self) -> float:
        return time()

    def check_version(self) -> None:
        self.driver.execute("SELECT 1")

    def continue_keys(self, table: str, column: str) -> None:
        self.driver.execute("SELECT 1")

    def close(self) -> None:
        self.driver.close()
        self.copies.close()


@frozen
class Place(ServerPaths):
    """Where it is."""

    kind: type[Rows] = Rows
    prunes: bool = True

    @property
    def file(self) -> str:
        return self.url.partition("@host")[2] + (self.root.parent.name if self.kind.is_own else "")

    def connect(self, *, writes: bool, takes_older: bool = False) -> ServerConnection:
        connection = self.kind(self)
        if writes and not connection.driver.execute("PRAGMA user_version").fetchone()[0]:
            connection.driver.execute("PRAGMA user_version = 1")
            for statements in self.kind.tables:
                for statement in statements:
                    connection.driver.execute(statement)
        if writes and self.prunes:
            self.prune(connection)
        return connection


class ShowsPassword(Place):
    @property
    def name(self) -> str:
        return self.url


@frozen
class NeverPrunes(Place):
    prunes: bool = False


class ForgetsCommits(Rows):
    def transaction(self) -> Any:
        return self.snapshot()


class KeepsHalf(Rows):
    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.driver.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self.driver.execute("COMMIT")


class CommitsEach(Rows):
    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield


class SeesOthers(Rows):
    @contextmanager
    def snapshot(self) -> Iterator[None]:
        yield


class OldTables(Rows):
    tables = MIGRATIONS[:-1]


class IgnoresCase(Rows):
    tables = tuple(
        tuple(statement.replace("TEXT PRIMARY KEY", "TEXT COLLATE NOCASE PRIMARY KEY") for statement in statements)
        for statements in MIGRATIONS
    )


class NoForeignKeys(Rows):
    def configure(self) -> None:
        self.driver.execute("PRAGMA foreign_keys = OFF")


class CutsTexts(Rows):
    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        return self.driver.execute(sql, [each[:65_535] if isinstance(each, str) else each for each in parameters])

    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        return self.driver.executemany(
            sql, ([each[:65_535] if isinstance(each, str) else each for each in row] for row in parameters)
        )


class RoundsNumbers(Rows):
    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        rows = [[each & 0x7FFFFFFF if isinstance(each, int) else each for each in row] for row in parameters]
        return self.driver.executemany(sql, rows)


class SinglePrecision(Rows):
    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        rows = [[float(f"{each:.7g}") if isinstance(each, float) else each for each in row] for row in parameters]
        return self.driver.executemany(sql, rows)


class TextsOfBytes(Rows):
    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        rows = [[each.partition(b"\0")[0] if isinstance(each, bytes) else each for each in row] for row in parameters]
        return self.driver.executemany(sql, rows)


class RaisesItsOwn(Rows):
    @contextmanager
    def meaning(self) -> Iterator[None]:
        yield


class FirstStays(Rows):
    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        return self.driver.executemany(sql.replace("INSERT INTO settings", "INSERT OR IGNORE INTO settings"),
                                       {row[0]: row for row in reversed([*parameters])}.values())  # fmt: skip


class ClockOfStart(Rows):
    ticks = iter(range(2_000_000_000, 1_900_000_000, -1))

    def clock(self) -> float:
        return float(next(self.ticks))


class SharedCopies(Rows):
    """How far indexes have come is kept with the rows, for all servers."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.copies.close()
        self.copies = self.driver


class OfItsOwn(Rows):
    is_own = True


FAULTS: list[tuple[Any, str]] = [
    (ShowsPassword, "it_is_found_by_its_url"),
    (ForgetsCommits, "a_transaction_is_whole_or_not_there"),
    (KeepsHalf, "a_transaction_is_whole_or_not_there"),
    (CommitsEach, "a_transaction_is_whole_or_not_there"),
    (SeesOthers, "a_snapshot_sees_one_state"),
    (OldTables, "tables_are_those_of_the_migrations"),
    (IgnoresCase, "texts_are_ordered_by_their_bytes"),
    (NoForeignKeys, "what_is_removed_is_found_by_nobody"),
    (CutsTexts, "large_values_come_back"),
    (RoundsNumbers, "values_come_back_with_their_types"),
    (SinglePrecision, "values_come_back_with_their_types"),
    (TextsOfBytes, "values_come_back_with_their_types"),
    (FirstStays, "statements_mean_what_they_mean_in_sqlite"),
    (ClockOfStart, "the_time_is_one_for_all"),
    (RaisesItsOwn, "statements_mean_what_they_mean_in_sqlite"),
    (NeverPrunes, "openers_see_what_each_other_writes"),
    (SharedCopies, "openers_see_what_each_other_writes"),
    (OfItsOwn, "openers_see_what_each_other_writes"),
]


Run = Callable[[type, str], None]


@pytest.fixture
def run_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one test of the suite on a store of a kind, which is installed by its entry point."""
    monkeypatch.setenv("NEXUS_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    info = tmp_path / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[contextnexus.stores]\nfaulty = faulty_store:place_of\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(kind: type, name: str) -> None:
        place = kind if issubclass(kind, Place) else Place
        rows = kind if issubclass(kind, Rows) else Rows
        module: Any = ModuleType("faulty_store")
        module.place_of = lambda url: evolve(place.of(url), kind=rows)
        monkeypatch.setitem(sys.modules, "faulty_store", module)

        class TestIt(StoreContract):
            absent = {"loss": "a file"}  # noqa: RUF012 - as authors write it

            def url(self) -> str:
                return f"faulty://ann:s3cret@host{tmp_path}/{token_hex(4)}"

        test = getattr(TestIt(), f"test_{name}")
        test(*([tmp_path] if "tmp_path" in inspect.signature(test).parameters else []))

    return run


@pytest.mark.parametrize(("wrong", "name"), FAULTS, ids=[f"{kind.__name__}-{name}" for kind, name in FAULTS])
def test_wrong_store_fails_its_test(wrong: type, name: str, run_test: Run) -> None:
    """The fault is found by the test that is there for it; without it the same test passes."""
    run_test(Rows, name)
    with pytest.raises((AssertionError, NexusError)):
        run_test(wrong, name)
