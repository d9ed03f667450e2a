"""A store whose rows are in a database elsewhere: what this server derives from them, and how its URL is told."""

from __future__ import annotations

import os
import re
import sqlite3
from abc import ABC, abstractmethod
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Self
from urllib.parse import unquote

from attrs import field, frozen

from nexus_core.contract.errors import StoreDamagedError, StoreError
from nexus_core.store.database.connection import BUSY_TIMEOUT_S, journal_mode, storage_error
from nexus_core.store.database.paths import StorePaths, user_folder
from nexus_core.store.database.schema import migrate
from nexus_core.store.database.sql import ServerConnection, SqlConnection

CACHE_VARIABLE = "NEXUS_STORE_CACHE"
"""The environment variable that names the folder of what each server derives from the rows."""
_NETLOC = re.compile(r"[/?#]")
_SECRET = re.compile(r"([?&](?:password|sslpassword)=)[^&#]*")


@frozen
class ServerPaths(StorePaths, ABC):
    """A store by its URL; `root` is the folder of what this server derives from the rows.

    A subclass for a kind of database defines `connect` alone. Public: third parties derive from it.
    """

    url: str = field(repr=False)
    """With its password."""
    originals: Path
    """Where originals are, unless they are kept elsewhere: on this server alone."""

    @classmethod
    def of(cls, url: str, cache: str = "") -> Self:
        """Return the store of a URL; `cache` is the folder of what this server derives from the rows.

        By default that is a folder of its own below the one that NEXUS_STORE_CACHE names, else below the user's cache.
        """
        digest = sha256(without_password(url).encode()).hexdigest()[:16]
        above = os.environ.get(CACHE_VARIABLE, "")
        folder = Path(cache or above).expanduser() if cache or above else user_folder("cache") / "stores"
        return cls(folder if cache else folder / digest, url=url, originals=user_folder("data") / "originals" / digest)

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

    @property
    def copies(self) -> Path:
        """The file that says how far the indexes of this server have come; see `open_copies`."""
        return self.root / "copies.db"

    def exists(self) -> bool:
        """Tell that there is a store: its tables are made when it is opened first."""
        return True

    @abstractmethod
    def connect(self, *, writes: bool, takes_older: bool = False) -> ServerConnection:
        """Return a connection for one thread at a time; the one that writes makes the tables, or migrates them.

        It is called from several threads. Raises StoreUnavailableError where the database cannot be reached, and
        StoreError where its tables cannot be used; no message holds the password. `takes_older` is of folders alone.
        """

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

    def prune(self, connection: SqlConnection) -> None:
        """Delete what was derived from contexts that another server has deleted; numbers are never used twice."""
        folders = (self.indexes, self.vectors, self.snapshots)
        made = [path for folder in folders for path in folder.glob("*-*")]  # before the look at what there is
        if made:
            there = {str(number) for (number,) in connection.execute("SELECT id FROM contexts")}
            for path in made:
                if path.name.partition("-")[0] not in there:
                    rmtree(path, ignore_errors=True)


def open_copies(path: Path) -> sqlite3.Connection:
    """Open the file that says how far the indexes of a server have come: `ServerConnection.copies`, for one thread.

    One that cannot be read is begun anew, and the indexes are built anew with it. It has the tables of a folder's
    database, of which only those are written that tell of indexes; their contexts are elsewhere, so that no foreign
    key is looked at. A power failure may take back what was said last of an index, which is then ahead of it, as after
    a crash: nothing waits for a sync. Raises StoreError where somebody else keeps it, or the disk fails.
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
        return open_copies(path)
    return connection


def without_password(url: str) -> str:
    """Return a URL as it may be told: without its password, wherever that stands."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    return _SECRET.sub(r"\1***", f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}")


def secrets_of(url: str) -> tuple[str, ...]:
    """Return what may not be told of a URL: its password as it is written, and as it is."""
    found = [match[0].partition("=")[2] for match in _SECRET.finditer(url)]
    place = _NETLOC.split(url.partition("://")[2], maxsplit=1)[0]
    written = place.rpartition("@")[0].partition(":")[2]
    return tuple(dict.fromkeys(each for one in [*found, written] if one for each in (one, unquote(one))))


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text without passwords."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
