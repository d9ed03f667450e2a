"""Files that gzip, bzip2 or xz have compressed: unpacked within a bound, and read as what they are without the suffix.

Manual pages and documentation of distributions come so: `ls.1.gz`, `changelog.gz`.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from attrs import frozen

from nexus_core.contract.errors import SourceError
from nexus_core.toolkit.documents.charsets import NotReadError

SUFFIXES = (".gz", ".bz2", ".xz")
_CHUNK = 65_536
_MOST_STREAMS = 4_000
"""Compressed streams one after the other in one file, as parallel compressors write them."""
_MOST_MEMORY = 2**27
"""Bytes that unpacking xz may take: its highest level needs half of it, and a file may ask for gigabytes."""
_TAR_AT, _TAR = 257, b"ustar"


def _xz() -> Any:
    return lzma.LZMADecompressor(memlimit=_MOST_MEMORY)


_KINDS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b\x08", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", _xz),
)


@frozen(repr=False)
class Unpacked:
    """What was compressed."""

    data: bytes
    is_whole: bool
    """False where the file ends too early, or is damaged: then this is what comes before."""


def is_compressed(head: bytes) -> bool:
    """Tell by its first bytes whether a file is compressed."""
    return head.startswith((b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00"))


def inner_name(name: str) -> str:
    """Return the name of a file without the suffix that a compressor has added."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def unpack(data: bytes, most: int) -> Unpacked:
    """Return what a file holds; raises SourceError where it is damaged, an archive, or unpacks to more than `most`."""
    start = next(start for begins, start in _KINDS if data.startswith(begins))
    found, whole = bytearray(), False
    try:
        whole = _unpack_into(found, data, start, most)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        if not found:
            raise SourceError(f"is damaged: it cannot be unpacked ({error}); left out") from error
    if len(found) > most:
        raise SourceError(f"unpacks to more than the {most:,} bytes that are taken; left out: raise `max_bytes`")
    if found[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        raise NotReadError("is an archive; left out: unpack it, and add the files in it")
    return Unpacked(bytes(found), whole)


def _unpack_into(found: bytearray, data: bytes, start: Callable[[], Any], most: int) -> bool:
    """Add what is unpacked, up to one byte too many; return whether the last stream has come to its end."""
    unpacking, streams, ended = start(), 1, False
    for begin in range(0, len(data), _CHUNK):
        rest = data[begin : begin + _CHUNK]
        while rest:
            if ended:
                rest = rest.lstrip(b"\0")  # some pad the last block
                if not rest:
                    break
                if streams == _MOST_STREAMS:
                    return False
                unpacking, streams, ended = start(), streams + 1, False
            found += unpacking.decompress(rest, most + 1 - len(found))
            if len(found) > most:
                return False
            ended = unpacking.eof
            rest = unpacking.unused_data if ended else b""
    return ended
