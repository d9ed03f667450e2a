"""The suite of stores: whatever database the rows are in, the store is the same.

class TestAcmeStore(StoreContract):
    absent = {"loss": "the database is a file"}

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path):
        self.folder = tmp_path

    def url(self):
        return f"acme://{self.folder}/{token_hex(4)}"
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from nexus_core.contract.errors import StoreError
from nexus_core.store.database.connection import snapshot
from nexus_core.store.database.migrations import MIGRATIONS
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.server_paths import secrets_of
from nexus_core.store.database.sql import ServerConnection, SqlConnection
from nexus_core.store.store import Store
from nexus_core.testing.contracts.store.copies import CopyTests
from nexus_core.testing.contracts.store.items import ODD_NAMES, ItemTests
from nexus_core.testing.contracts.store.records import RecordTests
from nexus_core.testing.contracts.store.runs import RunTests
from nexus_core.testing.contracts.store.searching import SearchTests
from nexus_core.testing.contracts.store.sharing import SharingTests
from nexus_core.testing.contracts.suite import looped

_HALF = "SELECT value FROM settings WHERE name = 'half'"
_SETTING = "INSERT INTO settings (name, value) VALUES (?, ?)"
_VALUES: tuple[tuple[Any, ...], ...] = (
    (2**62, 0.1 + 0.2, b"\0\xff%s?", "50 % of 'it'?"),
    (-(2**62), 1e-300, b"", ""),
    (0, -1e300, bytes(range(256)), "⛵ 字\n\t\\"),
)
"""A whole number, a float, bytes and a text, as columns of `answers` hold them."""
_STATEMENTS: tuple[tuple[str, Sequence[Any], list[tuple[Any, ...]]], ...] = (
    ("SELECT value FROM json_each(?) AS numbers ORDER BY key", ("[3, 1, 2]",), [(3,), (1,), (2,)]),
    ("SELECT value FROM json_each(?) AS texts ORDER BY key", ('["b", "\\u00e9", "a"]',), [("b",), ("é",), ("a",)]),
    ("SELECT CASE WHEN ? > ? THEN 1 ELSE 0 END", (2, 1), [(1,)]),
    ("SELECT '50 % ?' || ?", ("x",), [("50 % ?x",)]),
    ("SELECT coalesce(max(key), 0) FROM vector_parts", (), [(0,)]),
    ("SELECT key FROM items INDEXED BY items_of_contexts WHERE context_id = ?", (0,), []),
)
"""Of the dialect: what each statement gives."""


class StoreContract(ItemTests, SearchTests, RecordTests, RunTests, SharingTests, CopyTests):
    """Holds a store to the contract; a subclass defines `url` and, where there is a server, `lose`."""

    def test_it_is_found_by_its_url(self) -> None:
        """It is a `StorePaths`, made without asking the database, and shows no password.

        Fix: name a function in the entry points `contextnexus.stores` that takes the URL; derive from `ServerPaths`.
        """
        url = self.url()
        place = Store(url).folder
        assert isinstance(place, StorePaths)
        assert Store(url).folder.root == place.root, "the same URL has other folders each time"
        for secret in secrets_of(url):
            assert secret not in place.name, "`name` shows the password"
            assert secret not in repr(place), "`repr` shows the password"

    @looped
    async def test_tables_are_those_of_the_migrations(self) -> None:
        """Table by table and column by column.

        Fix: run all of MIGRATIONS, in the types of your database.
        """
        expected = sqlite3.connect(":memory:")
        for statements in MIGRATIONS:
            for statement in statements:
                expected.execute(statement)
        made = expected.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        tables = [name for (name,) in made]

        def columns(connection: SqlConnection) -> dict[str, list[str]]:
            found = ((name, connection.execute(f"SELECT * FROM {name} LIMIT 0").description or ()) for name in tables)
            return {name: [column[0] for column in described] for name, described in found}

        async with self._store() as store:
            assert await store.read(columns) == columns(expected)
        expected.close()

    @looped
    async def test_statements_mean_what_they_mean_in_sqlite(self) -> None:
        """The common subset that "Write a store" tells; what a statement raises is an error of the store.

        Fix: translate in `execute` and `executemany` what your database spells otherwise, and its errors.
        """
        async with self._store() as store:
            for sql, parameters, expected in _STATEMENTS:
                found = await store.read(_rows, sql, parameters)
                assert found == expected, f"{sql} with {parameters} gave {found}"
            assert await store.write(_written) == (3, 2, [("a", "4"), ("b", "2"), ("c", "3")], 1)
            with _errors_of_the_store():
                await store.read(_rows, "SELECT nothing FROM settings", ())

    @looped
    async def test_values_come_back_with_their_types(self) -> None:
        """Whole numbers of 64 bits, floats, bytes and texts, each as it was written.

        Fix: give int, float, bytes and str, and take parameters of these types; not Decimal, not memoryview.
        """

        def write(connection: SqlConnection) -> list[tuple[Any, ...]]:
            connection.executemany(
                "INSERT INTO answers (owner, request, model, answer, digest, size, made, used, expires) VALUES"
                " ('', ?, 'm', ?, ?, ?, ?, 1.0, 1.0)",
                ((str(place), text, data, whole, real) for place, (whole, real, data, text) in enumerate(_VALUES)),
            )
            return connection.execute("SELECT size, made, digest, answer FROM answers ORDER BY request").fetchall()

        async with self._store() as store:
            found = await store.write(write)
            assert [tuple(row) for row in found] == [*_VALUES]
            assert all([type(value) for value in row] == [int, float, bytes, str] for row in found)

    @looped
    async def test_texts_are_ordered_by_their_bytes(self) -> None:
        """As UTF-8, whatever the database is set to; so are equal texts told apart.

        Fix: give all texts a binary collation.
        """
        names = sorted(ODD_NAMES, key=str.encode)
        middle = names[len(names) // 2]

        def write(connection: SqlConnection) -> tuple[list[str], list[str]]:
            connection.executemany(_SETTING, ((name, "odd") for name in ODD_NAMES))
            every = connection.execute("SELECT name FROM settings WHERE value = 'odd' ORDER BY name")
            whole = [name for (name,) in every]
            after = connection.execute("SELECT name FROM settings WHERE value = 'odd' AND name > ?", (middle,))
            return whole, sorted(name for (name,) in after)

        async with self._store() as store:
            whole, after = await store.write(write)
            assert whole == names, "`ORDER BY` goes by something else than the bytes of texts"
            assert after == sorted(name for name in names if name.encode() > middle.encode()), "and so does `>`"

    @looped
    async def test_a_transaction_is_whole_or_not_there(self) -> None:
        """What is written before an error is undone with it, and seen by nobody before its end.

        Fix: begin each transaction as one, and undo it whatever is raised in it.
        """
        async with self._store() as store:

            def write(connection: SqlConnection, fails: bool) -> None:
                connection.execute(_SETTING, ("half", "1"))
                assert connection.in_transaction, "`in_transaction` is false within a transaction"
                with _closing(store.folder) as other:
                    found = other.execute(_HALF).fetchall()
                assert not found, "another connection sees what was not committed"
                if fails:
                    raise ValueError("stop")

            with pytest.raises(ValueError, match="stop"):
                await store.write(write, True)
            assert await store.read(_rows, _HALF, ()) == [], "half of a transaction is there"
            await store.write(write, False)
            assert await store.read(_rows, _HALF, ()) == [("1",)], "a transaction that has ended is not there"

    @looped
    async def test_a_snapshot_sees_one_state(self) -> None:
        """What others write meanwhile is seen after its end.

        Fix: begin `snapshot` with an isolation in which all statements see one state (repeatable read).
        """
        async with self._store() as store:
            if not store.folder.is_server:
                return  # without a write-ahead log nobody can commit meanwhile
            with _closing(store.folder) as reader:
                with snapshot(reader, store.folder.database):
                    before = reader.execute("SELECT count(*) FROM settings").fetchone()
                    await store.write(lambda writer: writer.execute(_SETTING, ("new", "1")).rowcount)
                    assert reader.execute("SELECT count(*) FROM settings").fetchone() == before
                assert reader.execute("SELECT value FROM settings WHERE name = 'new'").fetchall() == [("1",)]

    @looped
    async def test_the_time_is_one_for_all(self) -> None:
        """Asked of one connection after the other, the time of the database never goes back.

        Fix: `clock` gives the time of the database, in seconds since the epoch.
        """
        async with self._store() as store:
            if not store.folder.is_server:
                return  # the clock of the machine is the one for all
            with _closing(store.folder) as one, _closing(store.folder) as other:
                times = [_clock(each) for each in (one, other) * 3]
            assert all(isinstance(time, float) for time in times)
            assert times == sorted(times), f"the time went back: {times}"
            assert 1.7e9 < times[0] < 1e11, f"{times[0]} is no time in seconds since the epoch"


def _rows(connection: SqlConnection, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(sql, parameters)]


def _written(connection: SqlConnection) -> tuple[int, int, list[tuple[Any, ...]], int]:
    """Write many rows, some of one key; returns what statements say of how many, and what is there then."""
    connection.execute("DELETE FROM settings")
    put = f"{_SETTING} ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    connection.executemany(put, (("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")))
    found = connection.execute("SELECT name, value FROM settings ORDER BY name")
    first = [tuple(found.fetchone()), *(tuple(row) for row in found)]
    changed = connection.execute("UPDATE settings SET value = '9' WHERE name <> ?", ("none",)).rowcount
    gone = connection.execute("DELETE FROM settings WHERE name > ? RETURNING name", ("a",)).fetchall()
    nothing = connection.execute(f"{_SETTING} ON CONFLICT (name) DO NOTHING RETURNING value", ("a", "x")).fetchone()
    return changed, len(gone), first, 1 if nothing is None else 0


@contextmanager
def _errors_of_the_store() -> Iterator[None]:
    """Hold that a StoreError is raised."""
    try:
        yield
    except StoreError:
        return
    except Exception as error:
        raise AssertionError(f"a {type(error).__name__} came through, which is no error of the store") from error
    raise AssertionError("a column that is not there was read")


@contextmanager
def _closing(place: StorePaths) -> Iterator[SqlConnection]:
    """Give a connection that reads."""
    connection = place.connect(writes=False)
    try:
        yield connection
    finally:
        connection.close()


def _clock(connection: SqlConnection) -> float:
    return cast(ServerConnection, connection).clock()
