"""Migrations, and what is refused before anything of it is changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nexus_core import Store, StoreDamagedError
from nexus_core.store.database import schema
from nexus_core.store.database.connection import connect
from nexus_core.store.database.migrations import MIGRATIONS
from nexus_core.store.database.schema import APPLICATION_ID, expected, read_statements


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def made(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_new_database_has_the_tables_of_this_version(path: Path) -> None:
    """And says whose it is."""
    with closing(connect(path, writes=True)) as connection:
        assert read_statements(connection) == expected()
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        pytest.param(["CREATE TABLE t (a)"], "something else", id="tables"),
        pytest.param(["PRAGMA journal_mode = wal", "CREATE TABLE t (a)"], "something else", id="in-wal"),
        pytest.param(["PRAGMA application_id = 7", "PRAGMA user_version = 1"], "something else", id="another-id"),
        pytest.param(["PRAGMA user_version = 12"], "something else", id="version-without-id"),
        pytest.param(
            [f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 999"],
            r"newer version \(schema 999, .* upgrade contextnexus",
            id="newer",
        ),
    ],
)
def test_a_foreign_database_is_refused_and_left_as_it_is(path: Path, statements: list[str], reason: str) -> None:
    """Not one byte of it changes, not even how it keeps its journal or who may read it (fault 164)."""
    made(path, *statements)
    path.chmod(0o644)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match=reason):
            connect(path, writes=True)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_migration_leaves_the_older_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its steps or none; with the repaired steps it goes through (fault 164)."""
    connect(path, writes=True).close()
    first = ("CREATE TABLE more (a TEXT) STRICT", "INSERT INTO more VALUES ('kept')")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, first, ("CREATE TABLE more (b TEXT) STRICT",)))
        with pytest.raises(Exception, match="already exists"):
            connect(path, writes=True)
    with closing(connect(path, writes=True)) as connection:
        assert read_statements(connection) == expected()
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, first))
    with closing(connect(path, writes=True)) as connection:
        assert connection.execute("SELECT a FROM more").fetchall() == [("kept",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from nexus_core.store.database import schema
from nexus_core.store.database.connection import connect
schema.MIGRATIONS = (*schema.MIGRATIONS, (
    "CREATE TABLE more (a TEXT) STRICT",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    " INSERT INTO more SELECT hex(randomblob(200)) FROM n",
    "SELECT 'stop'",
))
class Stopping(sqlite3.Connection):
    def execute(self, sql, *args):
        if sql == "SELECT 'stop'":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(sql, *args)
real = sqlite3.connect
sqlite3.connect = lambda *args, **kwargs: real(*args, **kwargs, factory=Stopping)
connect(Path(sys.argv[1]), writes=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_a_killed_migration_leaves_the_older_version(path: Path) -> None:
    """Its pages may be in the file already: they are undone at the next opening (fault 164)."""
    connect(path, writes=True).close()
    done = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert path.with_name("store.db-journal").exists() or path.with_name("store.db-wal").exists()
    with closing(connect(path, writes=True)) as connection:
        assert read_statements(connection) == expected()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
@pytest.mark.parametrize("opening", [lambda path: connect(path, writes=True)], ids=["writer"])
def test_processes_may_make_a_store_at_once(path: Path, opening: Callable[[Path], sqlite3.Connection]) -> None:
    """Only one of them makes the tables, and none takes them for another's."""
    code = "import sys; from pathlib import Path; from nexus_core.store.database.connection import connect;"
    code += "connect(Path(sys.argv[1]), writes=True).close()"
    racing = [subprocess.Popen([sys.executable, "-c", code, path], stderr=subprocess.PIPE) for _ in range(4)]
    told = [process.communicate()[1] for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, told
    opening(path).close()


async def test_what_an_older_version_left_out_is_read_again_for_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document without items and without a reason has no stamp any more, so that the next addition looks at it."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", MIGRATIONS[:2])
        connect(tmp_path / "store.db", writes=True).close()
    made(
        tmp_path / "store.db",
        "INSERT INTO contexts VALUES (1, 'c', '', 'english', 'o200k_base', 0, 0, 0, 0)",
        "INSERT INTO documents VALUES (1, 1, 'pic.png', 'docs', 'v:1', 'd', 5, NULL, 0)",
        "INSERT INTO documents VALUES (2, 1, 'a.md', 'docs', 'v:2', 'e', 5, NULL, 0)",
        "INSERT INTO items VALUES (1, 1, 2, 'a.md', '', 'text', 'text', '', '{}', x'00')",
    )
    async with Store(tmp_path) as store:
        kept = {each.name: (each.stamp, each.digest, each.skipped) for each in await store.documents("c")}
    assert kept == {"pic.png": ("", "", ""), "a.md": ("v:2", "e", "")}


def test_removals_of_an_older_version_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its indexes have not taken gets numbers, in each context from 1 on."""
    path = tmp_path / "store.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", MIGRATIONS[:9])
        connect(path, writes=True).close()
    made(
        path,
        "INSERT INTO contexts (id, name, description, language, encoding, created, changed)"
        " VALUES (1, 'c', '', 'auto', 'o', 0, 0), (2, 'd', '', 'auto', 'o', 0, 0), (3, 'e', '', 'auto', 'o', 0, 0)",
        "INSERT INTO removals (context_id, item_key) VALUES (1, 7), (1, 5), (3, 9)",
    )
    with closing(connect(path, writes=True)) as connection:
        log = connection.execute("SELECT context_id, number, item_key FROM removal_log ORDER BY context_id, number")
        assert log.fetchall() == [(1, 1, 5), (1, 2, 7), (3, 1, 9)]
        assert connection.execute("SELECT removed FROM contexts ORDER BY id").fetchall() == [(2,), (0,), (1,)]
