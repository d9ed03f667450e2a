"""What is told of Postgres alone: lost databases, several servers, versions, what it cannot keep, and passwords."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from traceback import format_exception
from typing import Any

import psycopg
import pytest

from nexus_core import Item, Store, StoreDamagedError, StoreError, StoreUnavailableError, UsageError, Viewer
from nexus_core.cli.main import main
from nexus_core.store.database.server_paths import hidden, secrets_of, without_password
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.postgres.connection import PostgresConnection
from nexus_core.store.postgres.dialect import translate

pytestmark = pytest.mark.slow

ITEMS = [Item(id=f"n{number}", text=f"rope number {number} of the harbour") for number in range(20)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT '?', a FROM b WHERE c = ?", "SELECT '?', a FROM b WHERE c = %s", id="mark in a string"),
        pytest.param("SELECT a % ? FROM b", "SELECT a %% %s FROM b", id="sign"),
        pytest.param("SELECT a FROM b INDEXED BY c WHERE d", "SELECT a FROM b WHERE d", id="index"),
        pytest.param("IN (SELECT value FROM json_each(?) AS texts)", "IN (SELECT value FROM json_texts(%s) AS texts)",
                     id="array"),
        pytest.param("a IN (SELECT value FROM json_each(?) AS numbers)",
                     "a = ANY (CAST(%s AS bigint[]))", id="numbers"),
        pytest.param("a NOT IN (SELECT value FROM json_each(?) AS numbers)",
                     "a NOT IN (SELECT value FROM json_numbers(%s) AS numbers)", id="no numbers"),
    ],
)  # fmt: skip
def test_statements_are_translated(sql: str, expected: str) -> None:
    """What Postgres spells otherwise, and nothing within a string."""
    assert translate(sql).text == expected


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3%40cret@host:5432/name?sslmode=require",
        "postgresql://host/name?password=s3%40cret",
        "postgres://ann:s3%40cret@one:1,two:2/name",
    ],
)
def test_passwords_are_hidden(url: str) -> None:
    """In a URL as it is told, and in what libpq says."""
    said = hidden(f"could not parse {url}: s3@cret", secrets_of(url))
    assert not {"s3@cret", "s3%40cret"} & {*without_password(url).split(":"), *said.split()}
    assert "cret" not in without_password(url) + said


@pytest.mark.parametrize("password", ["s3/cret", "s3@cret", "s3@/cret", "s3?cret", "s3?a=cret", "s3#cret", "s3[cret"])
def test_a_password_that_is_not_written_as_urls_have_it_is_refused_and_not_shown(password: str) -> None:
    """It would be taken apart as a host, a port or an option, and told as one."""
    with pytest.raises(UsageError, match="write @ as %40") as refused:
        Store(f"postgresql://ann:{password}@localhost:1/name")
    assert refused.value.__suppress_context__
    assert not {"s3", "cret"} & {*re.findall(r"\w+", str(refused.value))}


@pytest.mark.parametrize("url", ["postgresql:ann:secret@host/name", "Postgres:/ann:secret@host/name"])
def test_a_url_without_its_slashes_is_no_folder(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where the environment names it."""
    monkeypatch.setenv("NEXUS_STORE", url)
    for path in (url, None):
        with pytest.raises(UsageError, match="begins with postgres") as refused:
            Store(path)
        assert "secret" not in str(refused.value)


async def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Which one it is, and what to do; neither in the error, nor in what it was raised for, nor in the log."""
    monkeypatch.setenv("NEXUS_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    password = "s3cret"
    store = Store(f"postgresql://ann:{password}@127.0.0.1:1/name")
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreUnavailableError, match="look whether it runs") as raised:
        await store.__aenter__()
    assert "postgresql://ann@127.0.0.1:1/name" in str(raised.value)
    told = "".join(format_exception(raised.value))
    assert password not in f"{told} {caplog.text} {store.folder!r}"


def test_a_command_takes_the_url_from_a_file(postgres: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that it is in nobody's list of processes; and documents are added and found by it."""
    file, document = tmp_path / "url", tmp_path / "note.md"
    file.write_text(f"{postgres}\n")
    document.write_text("# Ferry\n\nThe ferry leaves at noon.")
    for command in (["add", "harbour", str(document)], ["search", "harbour", "ferry noon"], ["check"]):
        with pytest.raises(SystemExit, match="0"):
            main(["context", *command, "--store-url-file", str(file)])
    assert "Ferry" in capsys.readouterr().out


def test_a_scheme_that_nobody_offers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is installed; no folder of that name is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no store for URLs of 'mysql'.*postgresql"):
        Store("mysql://host/name")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL], ids=["quit", "kill"])
async def test_a_database_that_has_crashed_is_told_and_found_again(
    own_server: Any, how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is down every use says so; once it is up again everything goes on, with all that was acknowledged."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    async with Store(f"{own_server.get_uri()}&cache={tmp_path / 'cache'}") as store:
        await store.create("harbour")
        await store.add("harbour", ITEMS)
        os.kill(own_server.get_pid(), how)
        await used_in_vain(store)
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await store.remove("harbour", ["n0"])
        restart(own_server)
        await used_again(store)
        assert len((await store.search("harbour", "rope", limit=50)).items) == 20
        assert await store.remove("harbour", ["n0"]) == 1
        assert await store.check() == ()


def restart(server: Any) -> None:
    """Start a server that has crashed: as often as needed, since what it has left is in the way at first."""
    is_up = False
    while not is_up:
        with suppress(subprocess.SubprocessError, psycopg.Error):
            server.ensure_postgres_running()
            psycopg.connect(server.get_uri()).close()
            is_up = True


async def used_in_vain(store: Store) -> None:
    """Use a store until that fails: a server that is killed leaves its children to the work that they are at."""
    with suppress(StoreUnavailableError):
        while True:
            await store.contexts()


async def used_again(store: Store) -> None:
    """Use a store for reading and for writing until that does not fail: for a second nobody looks."""
    is_up = False
    while not is_up:
        with suppress(StoreUnavailableError):
            await store.contexts()
            await store.grant("harbour", [])
            is_up = True


def test_who_waits_for_a_lost_database_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tries for two seconds, and those after it do not try at all: else they would wait for one another."""
    monkeypatch.setattr("nexus_core.store.postgres.connection._REST_S", 1e9)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = PostgresConnection(f"postgresql://127.0.0.1:{listener.getsockname()[1]}/name")
        tries: list[None] = []
        Thread(target=refuse, args=(listener, tries), daemon=True).start()
        for number in range(3):
            with pytest.raises(StoreUnavailableError, match="look whether it runs"):
                connection.execute("SELECT 1")
            before, tries[:] = len(tries), []
            assert (before > 1) == (number == 0)


def refuse(listener: socket.socket, tries: list[None]) -> None:
    """Hang up on all who come, until nobody may, and note each."""
    with suppress(OSError):
        while True:
            listener.accept()[0].close()
            tries.append(None)


def end_connections(server: str, database: str) -> None:
    """End all connections to a database, as a restart of the server does."""
    name = database.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


async def test_an_index_is_built_anew_where_another_server_has_made_the_words_anew(
    postgres: str, tmp_path: Path
) -> None:
    """Its own is of the words before, whatever else it says."""
    async with Store(f"{postgres}{'&' if '?' in postgres else '?'}cache={tmp_path / 'a'}") as store:
        await store.create("harbour")
        await store.add("harbour", ITEMS)
        (before,) = store.folder.indexes.iterdir()
        await store.write(lambda writer: writer.execute("UPDATE contexts SET analyzer = analyzer + 1").rowcount)
        assert len((await store.search("harbour", "rope", limit=50)).items) == 20
        assert [*store.folder.indexes.iterdir()] != [before]


@pytest.mark.parametrize("before", [[], ITEMS], ids=["alone", "among-many"])
async def test_a_text_with_a_nul_is_refused_and_named(postgres: str, before: list[Item]) -> None:
    """Postgres cannot keep it: nothing is written, and the text is told."""
    async with Store(postgres) as store:
        await store.create("harbour")
        with pytest.raises(UsageError, match=r"'a\\x00b' holds a NUL"):
            await store.add("harbour", [*before, Item(id="n", text="a\0b"), Item(id="o", text="b")])
        assert (await store.context("harbour")).items == 0
        assert (await store.add("harbour", ITEMS)).new == len(ITEMS)


@pytest.mark.parametrize(("viewer", "most"), [(None, 3), (Viewer(groups=frozenset({"group:hr"})), 4)])
async def test_a_search_takes_few_statements(
    postgres: str, monkeypatch: pytest.MonkeyPatch, viewer: Viewer | None, most: int
) -> None:
    """One for the context, one for what is scored, one for what is found; and one for who a viewer is."""
    ran: list[str] = []
    run = PostgresConnection._run

    def noted(self: PostgresConnection, text: str, *more: Any) -> Any:
        ran.append(text)
        return run(self, text, *more)

    monkeypatch.setattr(PostgresConnection, "_run", noted)
    async with Store(postgres) as store:
        await store.create("harbour")
        await store.add("harbour", ITEMS)
        for query in ("rope", "harbour number 7"):
            ran.clear()
            found = await store.search("harbour", query, viewer=viewer)
            assert len(found.items) == 10
            assert ran[0].startswith("BEGIN")
            assert len(ran) <= most, ran


def test_rows_that_cannot_all_be_written_are_none(postgres: str) -> None:
    """Many at a time, whatever it is that is in the way: they are an error of the store, or of who gives them."""

    def given() -> Iterator[tuple[str]]:
        yield from ((str(number),) for number in range(50))
        raise KeyError("no more")

    connection = PostgresConnection(postgres)
    connection.run("CREATE TABLE a (b TEXT PRIMARY KEY)")
    tried: list[tuple[Iterable[tuple[str]], type[Exception]]] = [(given(), KeyError), ([("x",)] * 50, StoreError)]
    for rows, expected in tried:
        with pytest.raises(expected), connection.transaction():
            connection.executemany("INSERT INTO a (b) VALUES (?)", rows)
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,)
    with connection.transaction():
        assert connection.executemany("INSERT INTO a (b) VALUES (?)", [(str(n),) for n in range(50)]).rowcount == 50
    connection.close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda url: url + "&options=-csearch_path%3Dabsent", "has no such schema .*create it", id="schema"
        ),
        pytest.param(lambda url: url.replace("postgres:", "nobody:"), "check user, password and database", id="user"),
    ],
)
async def test_a_url_that_names_something_absent_is_told_so(
    postgres: str, change: Callable[[str], str], expected: str
) -> None:
    """Not that the server is away, nor that a text holds a NUL because the statement that failed says NOT NULL."""
    with pytest.raises(StoreError, match=expected):
        await Store(change(postgres)).__aenter__()


@pytest.mark.parametrize(("ahead", "goes_on"), [(1, True), (2, False)])
async def test_a_server_of_the_version_before_goes_on(postgres: str, ahead: int, goes_on: bool) -> None:
    """Servers are replaced one after the other; two versions apart are refused."""
    async with Store(postgres) as store:
        await store.create("harbour")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("UPDATE store_version SET version = version + %s", (ahead,))
    if not goes_on:
        with pytest.raises(StoreDamagedError, match="upgrade contextnexus"):
            await Store(postgres).__aenter__()
        return
    async with Store(postgres) as store:
        assert (await store.add("harbour", ITEMS)).new == 20


async def test_a_table_of_something_else_is_left_alone(postgres: str) -> None:
    """A database that has a table of the same name is refused before anything of it changes."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE items (mine text)")
    with pytest.raises(StoreError, match="a database of its own"):
        await Store(postgres).__aenter__()


async def test_rows_are_written_many_at_a_time(postgres: str) -> None:
    """The last of several with one key stays, as where each is written for itself."""
    sql = "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    rows = [(f"n{number % 700}", str(number)) for number in range(1_100)]

    def write(connection: SqlConnection) -> dict[str, str]:
        connection.executemany(sql, rows)
        return dict(connection.execute("SELECT name, value FROM settings").fetchall())

    async with Store(postgres) as store:
        assert await store.write(write) == dict(rows)
