"""The documents of `files` one by one: found without being read, each read on its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from hashlib import file_digest, sha256
from io import BytesIO
from posixpath import splitext
from typing import BinaryIO
from zlib import crc32

from attrs import evolve

from nexus_core import DocumentMark, DocumentRead, Item, SourceError
from nexus_core.toolkit import DocumentReader, FileOrigin, NotReadError, mark_stamp
from nexus_sources.walking.globs import Pattern
from nexus_sources.walking.ignore_files import Ignoring
from nexus_sources.walking.no_match_hints import why_nothing
from nexus_sources.walking.walk import FoundFile, Walk


def find(
    patterns: Iterable[Pattern], exclude: tuple[str, ...], ignore: tuple[str, ...], *, root: str, follows: bool
) -> tuple[list[DocumentMark], tuple[str, ...]]:
    """Return the files that patterns match, by their names, and what was wrong with finding them."""
    walk = Walk(exclude, Ignoring(ignore) if ignore else None, root, follows)
    began = time.time_ns()
    found: dict[str, FoundFile] = {}
    missing = []
    for pattern in patterns:
        before = len(found)
        for batch in walk.files(pattern):
            found.update((file.name, file) for file in batch)
        if len(found) == before and not walk.excluded and pattern.start not in walk.unlisted:
            missing.append(why_nothing(pattern, walk))
    marks = [_mark(found[name], began) for name in sorted(found)]
    marks += [DocumentMark(name=name, problem=why) for name, why in walk.unreadable.items()]
    marks += [
        DocumentMark(name=name, left_out=why, leads_nowhere=name in walk.nowhere) for name, why in walk.left_out.items()
    ]
    told = {f"{name}: {why}" for name, why in (walk.unreadable | walk.left_out).items()}
    return marks, (*missing, *(problem for problem in walk.problems if problem not in told))


def _mark(file: FoundFile, now: int) -> DocumentMark:
    return DocumentMark(
        name=file.name,
        place=file.path,
        stamp=mark_stamp(file.stamp, now),
        size=file.stamp[2],
        apart=splitext(file.name)[1].lower() == ".pdf",
    )


def with_reader(mark: DocumentMark, reader: DocumentReader, origin: FileOrigin | None = None) -> DocumentMark:
    """Return a document whose stamp tells what reads it, too: another version of that reads it again.

    One whose reader cannot even be imported is one that cannot be read.
    """
    if mark.problem or mark.left_out:
        return mark
    try:
        name = reader.reader_told(origin or FileOrigin(name=mark.name))
    except SourceError as error:
        return evolve(mark, problem=str(error))
    # A file that was written just now has no stamp yet: it is read, and its reader is asked for all the same.
    return evolve(mark, stamp=f"{mark.stamp} {crc32(name.encode()):08x}") if mark.stamp else mark


def read(mark: DocumentMark, reader: DocumentReader, known: str = "") -> DocumentRead:
    """Return the items of a file; raises SourceError with the reason where it cannot be read."""
    if mark.size > reader.settings.max_bytes:
        if reader.streams(mark.name):
            return _streamed(mark, reader, known)
        return DocumentRead(size=mark.size, left_out=too_large(mark.size, reader.settings.max_bytes))
    try:
        with open(mark.place, "rb") as file:
            data = file.read(reader.settings.max_bytes + 1)
            modified = os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError as error:
        raise SourceError("was there when its folder was listed, and is gone") from error
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror or error})") from error
    return read_bytes(data, FileOrigin(name=mark.name, modified_ns=modified), reader, known)


def read_bytes(data: bytes, origin: FileOrigin, reader: DocumentReader, known: str = "") -> DocumentRead:
    """Return the items of a document's bytes."""
    digest = digest_of(data, reader.reader_of(origin))
    if digest == known:
        return DocumentRead(digest=digest, size=len(data), same=True)
    if len(data) > reader.settings.max_bytes:
        return DocumentRead(digest=digest, size=len(data), left_out=too_large(len(data), reader.settings.max_bytes))
    try:
        found = reader.items(BytesIO(data), origin)
    except NotReadError as error:
        return DocumentRead(size=len(data), left_out=str(error))
    return DocumentRead(
        items=found.items, digest=digest, size=len(data), remarks=found.remarks, original=data, reader=found.reader
    )


def _streamed(mark: DocumentMark, reader: DocumentReader, known: str) -> DocumentRead:
    """Return the items of a file that is read record by record, as they are taken."""
    try:
        with open(mark.place, "rb") as file:
            digest = _read_by(file_digest(file, "sha256").hexdigest(), reader.reader_of(FileOrigin(name=mark.name)))
            modified = os.fstat(file.fileno()).st_mtime_ns
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror or error})") from error
    if digest == known:
        return DocumentRead(digest=digest, size=mark.size, same=True)
    file = open(mark.place, "rb")  # noqa: SIM115 - closed when the items are taken, or nobody has them any more
    try:
        found = reader.items(file, FileOrigin(name=mark.name, modified_ns=modified))
    except NotReadError as error:
        file.close()
        return DocumentRead(size=mark.size, left_out=str(error))
    return DocumentRead(
        items=_until_read(found.items, file), digest=digest, size=mark.size, remarks=found.remarks, reader=found.reader
    )


def _until_read(items: Iterator[Item], file: BinaryIO) -> Iterator[Item]:
    with file:
        yield from items


def read_whole(data: bytes, origin: FileOrigin, reader: DocumentReader, known: str = "") -> DocumentRead:
    """Return the same with all items taken, as it can be sent from one process to another."""
    read = read_bytes(data, origin, reader, known)
    return evolve(read, items=tuple(read.items))


def digest_of(data: bytes, reader: str = "") -> str:
    """Return by what the bytes of a document are known again, and that they were read in this way."""
    return _read_by(sha256(data).hexdigest(), reader)


def _read_by(digest: str, reader: str) -> str:
    return f"{digest}:{crc32(reader.encode()):08x}" if reader else digest


def too_large(size: int, most: int) -> str:
    """Return why a document of so many bytes is left out."""
    return f"is {size:,} bytes long, more than the {most:,} that are taken; left out: raise `max_bytes`"
