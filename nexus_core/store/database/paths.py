"""The folder of a store: what lies where, for its owner alone, and on which kind of file system."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

from attrs import frozen

from nexus_core.contract.errors import StoreError, UsageError
from nexus_core.store.database.connection import connect, storage_error
from nexus_core.store.database.sql import ChangeListener, SqlConnection

VARIABLE = "NEXUS_STORE"
"""The environment variable that names the folder."""
_SHARED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "lustre", "gpfs"}
)
"""File systems of a network or of a host, on which SQLite's locks are not to be relied on."""

_log = logging.getLogger(__name__)


@frozen
class StorePaths:
    """Where the parts of a store are."""

    root: Path

    @property
    def database(self) -> Path:
        """The file of SQLite: the truth."""
        return self.root / "store.db"

    @property
    def indexes(self) -> Path:
        """Indexes, a folder for each: derived from the database, and safe to delete."""
        return self.root / "index"

    @property
    def vectors(self) -> Path:
        """Graphs of vectors, a folder for each: derived as well, and safe to delete."""
        return self.root / "vectors"

    @property
    def snapshots(self) -> Path:
        """What snapshots of indexes are made of, or unpacked from, while that is under way."""
        return self.root / "snapshots"

    @property
    def objects(self) -> Path:
        """Large originals, unless the store keeps them elsewhere."""
        return self.root / "objects"

    @property
    def keys_stamp(self) -> Path:
        """The file whose time tells when API keys were last changed."""
        return self.root / "keys.stamp"

    def lock(self, name: str) -> Path:
        """The file by which processes take turns at something."""
        return self.root / f"{name}.lock"

    @property
    def name(self) -> str:
        """How messages call the store."""
        return str(self.root)

    @property
    def is_server(self) -> bool:
        """Whether the rows are in a database elsewhere, and only what is made of them is in the folder."""
        return False

    def exists(self) -> bool:
        """Tell whether there is a store."""
        return self.database.exists()

    def connect(self, *, writes: bool, takes_older: bool = False) -> SqlConnection:
        """Return a connection for one thread at a time; see `connection.connect`."""
        return connect(self.database, writes=writes, takes_older=takes_older)

    def listen(self) -> ChangeListener | None:
        """Open a connection that is told of changes, `None` where the database tells of none; blocks."""
        return None

    def may_be_written(self) -> bool:
        """Tell whether there is no store yet, or one that this process may change."""
        return not self.database.exists() or (os.access(self.root, os.W_OK) and os.access(self.database, os.W_OK))

    def prepare(self) -> None:
        """Make the folder if it is not there, for its owner alone; raises StoreError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for ours in (self.indexes, self.vectors, self.objects):
                ours.mkdir(exist_ok=True, mode=0o700)
                # The root may be shared with others; what is in these is not, whatever mode its files have.
                if ours.stat().st_mode & 0o077 and os.name == "posix":
                    ours.chmod(0o700)
        except FileExistsError as error:
            raise StoreError(
                f"the store cannot be kept in {self.root}: that is a file, and a store is a folder"
            ) from error
        except OSError as error:
            raise storage_error(error, f"the folder {self.root}") from error
        kind_of = file_system(self.root)
        if kind_of in _SHARED:
            _log.warning(
                "the store at %s is on a network file system (%s): use it from one machine only", self.root, kind_of
            )


def default_folder() -> Path:
    """Return the folder that NEXUS_STORE names, else the user's own."""
    named = os.environ.get(VARIABLE)
    if named:
        folder = os.path.expanduser(named)
        if folder.startswith("~"):
            raise UsageError(f"the store {named!r} of {VARIABLE} cannot be found: there is no such user")
        return Path(folder)
    return user_folder("data") / "store"


def user_folder(kind: Literal["data", "cache"]) -> Path:
    """Return the user's own folder for what is to be kept, or for what can be made again."""
    import platformdirs  # for those who name none

    found = platformdirs.user_data_path if kind == "data" else platformdirs.user_cache_path
    return found("contextnexus", appauthor=False)


def file_system(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """Return the kind of the file system that a path is on, `""` where the system does not tell."""
    try:
        lines = Path(mounts).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    whole, best, kind = path.resolve(), -1, ""
    for parts in (line.split() for line in lines):
        if len(parts) < 3:
            continue
        point = Path(parts[1].replace("\\040", " "))
        if len(point.parts) > best and whole.is_relative_to(point):
            best, kind = len(point.parts), parts[2]
    return kind
