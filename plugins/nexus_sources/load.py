"""Loads a file of a pipeline into items: all at once, with what is wrong with it."""

from __future__ import annotations

from hashlib import blake2b
from io import BytesIO
from typing import overload

from attrs import frozen

from nexus_core import Item, SourceError
from nexus_core.toolkit import DocumentReader, FileOrigin
from nexus_sources.walking.walk import FoundFile


@frozen(kw_only=True, repr=False)
class Loaded:
    """What came of a file."""

    items: tuple[Item, ...] = ()
    problem: str = ""
    """Without the name of the file."""
    fingerprint: bytes = b""
    """Of its bytes."""


@overload
def load(found: FoundFile, reader: DocumentReader) -> Loaded: ...
@overload
def load(found: FoundFile, reader: DocumentReader, known: bytes) -> Loaded | None: ...
def load(found: FoundFile, reader: DocumentReader, known: bytes = b"") -> Loaded | None:
    """Return the items of a file, and what is wrong with it; `None` where its bytes have the known fingerprint."""
    size, most = found.stamp[2], reader.settings.max_bytes
    if size > most:
        way = ": add it to a context, which reads it record by record" if reader.streams(found.name) else ""
        return Loaded(problem=f"is {size:,} bytes long, more than max_bytes: {most}; left out{way}")
    try:
        with open(found.path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        return Loaded(problem=f"cannot be read ({error.strerror or error}); left out")
    fingerprint = blake2b(data, digest_size=16).digest()
    if fingerprint == known:
        return None
    try:
        document = reader.items(BytesIO(data), FileOrigin(name=found.name, modified_ns=found.stamp[0]))
        items = tuple(document.items)
    except SourceError as error:
        return Loaded(problem=str(error), fingerprint=fingerprint)
    except Exception as error:  # noqa: BLE001 - one file that a reader chokes on does not stop the others
        return Loaded(problem=f"cannot be read ({type(error).__name__}: {error}); left out", fingerprint=fingerprint)
    return Loaded(items=items, problem="; ".join(document.remarks), fingerprint=fingerprint)
