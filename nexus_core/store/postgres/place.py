"""Where a store in Postgres is: its rows in the database, and on each server what is made of them, beside originals."""

from __future__ import annotations

import os
import sqlite3
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from attrs import field, frozen

from nexus_core.contract.errors import StoreDamagedError, StoreError, UsageError
from nexus_core.store.database.connection import BUSY_TIMEOUT_S, journal_mode, storage_error
from nexus_core.store.database.paths import StorePaths, user_folder
from nexus_core.store.database.schema import migrate
from nexus_core.store.postgres.connection import PostgresConnection
from nexus_core.store.postgres.errors import without_password
from nexus_core.store.postgres.schema import check_version, prepare

CACHE_VARIABLE = "NEXUS_STORE_CACHE"
"""The environment variable that names the folder of what each server makes of the rows; `cache` of a URL goes first."""


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
            self._copies = _opened(self._path)
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


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file; one that cannot be read is begun anew, and the indexes are built anew with it.

    It has the tables of a folder's database, of which only those are written that tell of indexes; their contexts are
    elsewhere, so that no foreign key is looked at. A power failure may take back what was said last of an index, which
    is then ahead of it, as after a crash: nothing waits for a sync.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA journal_mode = {journal_mode(sqlite3.sqlite_version_info)}")
        connection.execute("PRAGMA synchronous = NORMAL")
        migrate(connection, path)
    except (sqlite3.DatabaseError, StoreDamagedError) as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):  # somebody is at it, or the disk is
            raise StoreError(f"{path}, which can be deleted, cannot be used: {error}") from error
        path.unlink()
        return _opened(path)
    return connection


@frozen
class PostgresPlace(StorePaths):
    """A store by its URL; `root` is the folder of what this server makes of the rows."""

    url: str = field(repr=False)
    """With its password."""
    originals: Path
    """Where originals are, unless they are kept elsewhere: on this server alone."""

    @property
    def name(self) -> str:
        """How messages call the store: its URL without a password."""
        return without_password(self.url)

    @property
    def is_server(self) -> bool:
        """The rows are elsewhere."""
        return True

    @property
    def objects(self) -> Path:
        """Large originals: no cache, since they cannot be made again."""
        return self.originals

    def exists(self) -> bool:
        """Tell that there is a store: its tables are made when it is opened first."""
        return True

    def connect(self, *, writes: bool, takes_older: bool = False) -> CopiedConnection:
        """Return a connection for one thread at a time; the one that writes makes the tables, or migrates them."""
        connection = CopiedConnection(self.url, self.root / "copies.db")
        try:
            prepare(connection, writes=writes)
            if writes:
                self._prune(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prune(self, connection: CopiedConnection) -> None:
        """Delete what was made of contexts that another server has deleted; numbers are never used twice."""
        made = [*self.indexes.glob("*-*"), *self.vectors.glob("*-*")]  # before the look at what there is
        if made:
            there = {str(number) for (number,) in connection.execute("SELECT id FROM contexts")}
            for path in made:
                if path.name.partition("-")[0] not in there:
                    rmtree(path, ignore_errors=True)

    def may_be_written(self) -> bool:
        """Tell that it may: the database says so itself where not."""
        return True

    def prepare(self) -> None:
        """Make the folders; raises StoreError."""
        try:
            self.originals.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise storage_error(error, f"the folder {self.originals.parent}") from error
        super().prepare()


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
    digest = sha256(without_password(server).encode()).hexdigest()[:16]
    cache = asked[-1] if asked else os.environ.get(CACHE_VARIABLE, "")
    folder = Path(cache).expanduser() if cache else user_folder("cache") / "stores"
    root = folder if asked else folder / digest
    return PostgresPlace(root, url=server, originals=user_folder("data") / "originals" / digest)
