"""A JSONL file as one document, whose items are read as they are taken: it may be larger than the memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256

from nexus_core import DocumentMark, DocumentRead, Item, SourceError
from nexus_core.toolkit import mark_stamp, stamp_of
from nexus_jsonl.records import Fields, each

_BLOCK = 2**20


def mark(path: str, shown: str) -> DocumentMark:
    """Return the file, unread; raises SourceError where it is not there."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise SourceError(f"jsonl: {path} cannot be read ({error.strerror or error})") from error
    stamp = mark_stamp(stamp_of(status), time.time_ns())
    return DocumentMark(name=shown, place=path, stamp=stamp, size=status.st_size)


def read(mark: DocumentMark, fields: Fields, known: str) -> DocumentRead:
    """Return the items of the file, or that it is the same; raises SourceError where it cannot be read."""
    try:
        digest = _digest(mark.place)
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror or error})") from error
    if digest == known:
        return DocumentRead(digest=digest, size=mark.size, same=True)
    problems: list[str] = []
    items = _items(mark, fields, problems)
    return DocumentRead(items=items, digest=digest, size=mark.size, problems=problems)


def _items(mark: DocumentMark, fields: Fields, problems: list[str]) -> Iterator[Item]:
    with open(mark.place, "rb") as file:
        yield from each(file, mark.name, fields, problems, problems)


def _digest(path: str) -> str:
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
