"""Archive of an index as one file: its files as they are in a zip, and a manifest with the SHA-256 of each of them.

The manifest is kept in the database, too: an archive whose own is another one is not that which was published.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from attrs import asdict, evolve, frozen

FORMAT = 1
"""Of archives; one of another format is passed over."""
MANIFEST = "manifest.json"
_PIECE = 2**20
_NAME = re.compile(r"\w[\w.-]*")


class SnapshotError(Exception):
    """A snapshot cannot be used: it is damaged, of something else, or of another version."""


class StoppedError(Exception):
    """Nobody waits for the archive any more."""


@frozen(kw_only=True)
class GraphPart:
    """The graph of vectors in a snapshot."""

    format: int
    model: int
    """The number of the model in the database."""
    generation: str
    newest: int
    """The key of the last part of a vector in it."""
    rows: int
    width: int
    """Numbers of a vector."""


@frozen(kw_only=True)
class Manifest:
    """What a snapshot holds, and up to where."""

    context: int
    """The number of the context in its database."""
    newest: int
    """The largest key in the index of words."""
    removed: int
    """The number of the last removal that it has taken."""
    items: int
    analyzer: int
    """The version by which its words were made."""
    words_format: str
    graph: GraphPart | None = None
    files: Mapping[str, tuple[int, str]] = {}
    """By its name in the archive, the size of each file in bytes and its SHA-256."""
    format: int = FORMAT

    def text(self) -> str:
        """Return it as it is kept."""
        return json.dumps(asdict(self), sort_keys=True)


def read_manifest(text: str) -> Manifest:
    """Return what a manifest says; raises SnapshotError."""
    try:
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise SnapshotError(f"it is of format {told['format']!r}, and this version knows {FORMAT}")
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in told["files"].items()}
        graph = None if told["graph"] is None else GraphPart(**told["graph"])
        return Manifest(**{**told, "graph": graph, "files": files})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotError(f"its manifest cannot be read ({error})") from error


def pack(target: Path, folders: Mapping[str, Path], head: Manifest, check: Callable[[], None]) -> Manifest:
    """Write an archive of the files in some folders, each below its name there; returns the manifest with their sums.

    `check` is called again and again, and may raise to end it.
    """
    files: dict[str, tuple[int, str]] = {}
    with ZipFile(target, "w", ZIP_STORED) as archive:
        for prefix, folder in folders.items():
            for path in sorted(folder.iterdir()):
                name, digest, size = f"{prefix}/{path.name}", sha256(), 0
                with path.open("rb") as source, archive.open(ZipInfo(name), "w", force_zip64=True) as entry:
                    while piece := source.read(_PIECE):
                        check()
                        digest.update(piece)
                        entry.write(piece)
                        size += len(piece)
                files[name] = (size, digest.hexdigest())
        manifest = evolve(head, files=files)
        archive.writestr(MANIFEST, manifest.text())
    return manifest


def unpack(archive: Path, manifest: Manifest, prefix: str, folder: Path) -> None:
    """Write the files of an archive that are below a name into a new folder, durably; raises SnapshotError.

    Each is what the manifest says, to the last bit, or the whole is refused; what there is of it then is the caller's.
    """
    try:
        with ZipFile(archive) as opened:
            text = manifest.text().encode()
            if opened.getinfo(MANIFEST).file_size != len(text) or opened.read(MANIFEST) != text:
                raise SnapshotError("it is another one than was published")
            folder.mkdir(mode=0o700)
            for name, (size, digest) in manifest.files.items():
                below, _, own = name.partition("/")
                if not _NAME.fullmatch(own.removeprefix(".")):
                    raise SnapshotError(f"it holds a file {name!r}")
                if below == prefix:
                    with opened.open(name) as source, (folder / own).open("xb") as target:
                        if _copy(cast(BinaryIO, source), target, size) != digest:
                            raise SnapshotError(f"{name} in it is damaged")
            _sync(folder)
    except (BadZipFile, KeyError, EOFError, RuntimeError, ValueError, struct.error, zlib.error) as error:
        raise SnapshotError(f"it is damaged ({error})") from error


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> str:
    """Copy one byte more than a file should have at most, durably, and return the SHA-256 of what that was."""
    digest, left = sha256(), size + 1
    while left and (piece := source.read(min(_PIECE, left))):
        digest.update(piece)
        target.write(piece)
        left -= len(piece)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    """Make durable which files are in a folder, and it in its own."""
    if os.name == "posix":
        for path in (folder, folder.parent):
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
