"""Where a store in Postgres is: its rows in the database, and on each server what is made of them, beside originals."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.store.database.server_paths import ServerPaths, open_copies
from nexus_core.store.postgres.connection import OPTIONS, PostgresConnection
from nexus_core.store.postgres.listener import PostgresListener
from nexus_core.store.postgres.schema import check_version, prepare


class CopiedConnection(PostgresConnection):
    """A connection that knows, too, how far the indexes on this server have come."""

    def __init__(self, url: str, copies: Path) -> None:
        super().__init__(url)
        self._path = copies
        self._copies: sqlite3.Connection | None = None

    @property
    def copies(self) -> sqlite3.Connection:
        """The connection to the file that says so."""
        if self._copies is None:
            self._copies = open_copies(self._path)
        return self._copies

    def check_version(self) -> None:
        """Raise StoreError where another server has brought the tables to a version that this one cannot use."""
        check_version(self)

    def close(self) -> None:
        """Close both; the next use opens them anew."""
        super().close()
        if self._copies is not None:
            self._copies.close()
            self._copies = None


@frozen
class PostgresPlace(ServerPaths):
    """A store in Postgres by its URL."""

    def connect(self, *, writes: bool, takes_older: bool = False) -> CopiedConnection:
        """Return a connection for one thread at a time; the one that writes makes the tables, or migrates them."""
        connection = CopiedConnection(self.url, self.copies)
        try:
            prepare(connection, writes=writes)
            if writes:
                self.prune(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def listen(self) -> PostgresListener:
        """Open a connection that is told of changes."""
        return PostgresListener(self.url, OPTIONS)


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; one with a password that is not written as URLs have it is refused, and not shown.

    libpq and we would take it apart at other places, and tell a piece of the password as a host, a port or an option.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or "#" in url or "@" in parts.netloc.rpartition("@")[0] + parts.path + parts.query:
        raise UsageError(
            "the URL of the store cannot be taken apart: within its user, password, database and options write @ as"
            " %40, : as %3A, / as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D and % as %25"
        ) from None
    return parts


def postgres_place(url: str) -> PostgresPlace:
    """Return the store that a URL names; its `cache` is the folder of what this server makes of the rows."""
    parts = _split(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    asked = [value for name, value in options if name == "cache"]
    rest = [(name, value) for name, value in options if name != "cache"]
    server = urlunsplit(parts._replace(query=urlencode(rest, quote_via=quote, safe="/")))
    if not server.partition("://")[2].strip("/"):
        raise UsageError("the URL of the store names no database: write postgresql://USER@HOST/DATABASE")
    return PostgresPlace.of(server, asked[-1] if asked else "")
