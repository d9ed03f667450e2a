"""Large originals: kept by the SHA-256 of their bytes, in the folder of the store or wherever fsspec leads.

A key is noted in the database before its bytes are put away, and what is collected is deleted within the transaction
that forgets its key. So nobody can be told that an original is there while another is deleting it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import time
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from nexus_core.contract.errors import NexusError, StoreDamagedError, StoreError, UsageError
from nexus_core.store.database.connection import storage_error
from nexus_core.store.database.sql import SqlConnection

VARIABLE = "NEXUS_OBJECTS"
"""The environment variable that says where the originals of stores are kept."""
SMALLEST = 64 * 2**10
"""Bytes. Of what is not larger no copy is kept: the text of its items is nearly all of it, and a request for an object
costs more than it holds."""
GRACE_S = 3600.0
"""For so long an original is kept that no document refers to yet: it was put there for one that is being read."""
_AT_ONCE = 100
_PIECE = 2**20
_ADVICE = "remove its document and add it again, or put it back from a backup"
_UNFINISHED = ".new-"

_log = logging.getLogger(__name__)


class BlobStorage(Protocol):
    """Where bytes are kept by key; the methods block, and raise OSError or what their library raises."""

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes unless they are there."""

    def get(self, key: str) -> bytes:
        """Return the bytes; FileNotFoundError where there are none."""

    def put_file(self, key: str, source: Path) -> None:
        """Keep what a file holds in the place of what is there; it is never in memory as a whole."""

    def get_file(self, key: str, target: Path) -> None:
        """Write the bytes to a file; FileNotFoundError where there are none."""

    def remove(self, key: str) -> None:
        """Delete the bytes, if they are there."""


class LocalBlobs:
    """Objects in a folder, each a file of its owner's alone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes unless they are there: whole and durable under a passing name, and then under their own."""
        place = self._place(key)
        with suppress(FileNotFoundError):
            if place.read_bytes() == data:
                return
        self._write(place, BytesIO(data))

    def put_file(self, key: str, source: Path) -> None:
        """Keep what a file holds, in the same way."""
        with source.open("rb") as file:
            self._write(self._place(key), file)

    def get_file(self, key: str, target: Path) -> None:
        """Write the bytes to a file."""
        shutil.copyfile(self._place(key), target)

    def _write(self, place: Path, source: BinaryIO) -> None:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with NamedTemporaryFile(dir=place.parent, prefix=_UNFINISHED, delete=False) as file:
            try:
                shutil.copyfileobj(source, file, _PIECE)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, place)
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise
        _sync_folder(place.parent)

    def get(self, key: str) -> bytes:
        """Return the bytes."""
        return self._place(key).read_bytes()

    def remove(self, key: str) -> None:
        """Delete the bytes, and what a crash has left beside them."""
        place = self._place(key)
        place.unlink(missing_ok=True)
        if place.parent.is_dir():
            for left in place.parent.glob(f"{_UNFINISHED}*"):
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < time() - GRACE_S:
                        left.unlink()

    def _place(self, key: str) -> Path:
        return self._root / key[:2] / key


class RemoteBlobs:
    """Objects wherever fsspec leads; half of one that was being written has another size, and is written again."""

    def __init__(self, url: str) -> None:
        import fsspec  # an eighth of a second, for those only who keep originals elsewhere

        self._files: Any
        self._files, self._root = fsspec.core.url_to_fs(url)

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes unless as many are there."""
        place = self._place(key)
        if self._files.exists(place) and self._files.size(place) == len(data):
            return
        self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(place, data)

    def put_file(self, key: str, source: Path) -> None:
        """Keep what a file holds."""
        place = self._place(key)
        self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(source), place)

    def get_file(self, key: str, target: Path) -> None:
        """Write the bytes to a file."""
        self._files.get_file(self._place(key), str(target))

    def get(self, key: str) -> bytes:
        """Return the bytes."""
        return bytes(self._files.cat_file(self._place(key)))

    def remove(self, key: str) -> None:
        """Delete the bytes, if they are there."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._place(key))

    def _place(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key[:2]}/{key}"


class BlobStore:
    """The originals of one store. `url` is where they are, empty for the store's own folder.

    Where several servers use the store, a folder of one of them `is_apart`: what is put there is warned of.
    """

    def __init__(self, folder: Path, url: str, *, is_apart: bool = False) -> None:
        self.url = url
        self._is_apart = is_apart and (not url or _is_local(url))
        self._folder = folder
        self._kept: BlobStorage | None = None

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes that were noted before; blocks."""
        with self._translated():
            self._objects().put(key, data)

    def get(self, key: str) -> bytes:
        """Return what is kept under a key; raises StoreDamagedError where it is gone or another. Blocks."""
        try:
            with self._translated():
                data = self._objects().get(key)
        except FileNotFoundError as error:
            raise StoreDamagedError(f"the original {key} is gone from {self._place}: {_ADVICE}") from error
        if sha256(data).hexdigest() != key:
            raise StoreDamagedError(f"the original {key} in {self._place} is damaged: {_ADVICE}")
        return data

    def put_file(self, key: str, source: Path) -> None:
        """Keep beside the originals what a file holds, by a key that is no hash; blocks."""
        with self._translated():
            self._objects().put_file(key, source)

    def get_file(self, key: str, target: Path) -> None:
        """Write what is kept so to a file; raises FileNotFoundError where it is gone. Blocks."""
        with self._translated():
            self._objects().get_file(key, target)

    def remove(self, key: str) -> None:
        """Delete what is kept under a key, if it is there; blocks."""
        with self._translated():
            self._objects().remove(key)

    def keep(self, connection: SqlConnection, data: bytes) -> str | None:
        """Keep bytes, if they are many enough, and return their key; for who is in a transaction anyway. Blocks."""
        if len(data) <= SMALLEST:
            return None
        key = sha256(data).hexdigest()
        self.note(connection, key, len(data))
        self.put(key, data)
        return key

    def note(self, connection: SqlConnection, key: str, size: int) -> None:
        """Note that bytes are about to be put away, so that nobody collects them; and where, from the first on."""
        if self._is_apart:
            self._is_apart = False
            _log.warning(
                "originals are kept in %s, where no other server can read them: name a shared place by %s",
                self._place, VARIABLE,
            )  # fmt: skip
        connection.execute(
            "INSERT INTO settings (name, value) VALUES ('objects', ?) ON CONFLICT DO NOTHING", (self.url,)
        )
        connection.execute(
            "INSERT INTO objects (key, size, added) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET added = excluded.added, size = excluded.size",
            (key, size, time()),
        )

    def collect(self, connection: SqlConnection, before: float) -> int:
        """Delete some of the originals that no document refers to and that were put there before a time.

        To be called in a transaction; returns how many they were, 0 when it is done.
        """
        keys = [
            key
            for (key,) in connection.execute(
                "SELECT key FROM objects WHERE added < ?"
                " AND NOT EXISTS (SELECT 1 FROM documents WHERE original = objects.key) LIMIT ?",
                (before, _AT_ONCE),
            )
        ]
        with self._translated():
            for key in keys:
                self._objects().remove(key)
        connection.executemany("DELETE FROM objects WHERE key = ?", ((key,) for key in keys))
        return len(keys)

    @property
    def _place(self) -> str:
        return self.url or str(self._folder)

    def _objects(self) -> BlobStorage:
        if self._kept is None:
            if not self.url or _is_local(self.url):
                self._kept = LocalBlobs(Path(self.url.removeprefix("file://")) if self.url else self._folder)
            else:
                self._kept = RemoteBlobs(self.url)
        return self._kept

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NexusError):
            raise
        except ImportError as error:
            raise StoreError(f"the originals are in {self._place}: {error}") from error
        except OSError as error:
            raise storage_error(error, f"the folder of originals {self._place}") from error
        except Exception as error:  # each kind of storage has errors of its own
            raise StoreError(f"the originals in {self._place} cannot be reached: {error}") from error


def place_of(connection: SqlConnection, asked: str | None) -> str:
    """Return where the originals of a store are; raises UsageError where another place is asked for than there was."""
    asked = asked if asked is not None else os.environ.get(VARIABLE) or None
    url = _normal(asked) if asked is not None else ""
    known = connection.execute("SELECT value FROM settings WHERE name = 'objects'").fetchone()
    if known is None:
        return url
    if asked is not None and url != known[0]:
        raise UsageError(
            f"the originals of this store are in {known[0] or 'its own folder'}, not in {url or 'its own folder'}: "
            f"leave out `objects` and {VARIABLE}, or make a new store there and add the documents to it"
        )
    return str(known[0])


def _normal(url: str) -> str:
    if not url:
        return ""
    if not _is_local(url):
        if urlsplit(url).password:
            raise UsageError("the place of the originals holds a password: give it by the environment of its library")
        return url.rstrip("/")
    path = Path(os.path.expanduser(url.removeprefix("file://"))).absolute()
    return str(path)


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith("file://")


def _sync_folder(path: Path) -> None:
    """Make durable that a file has its name; not every system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
