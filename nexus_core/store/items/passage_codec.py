"""The figures of an item as bytes, and back: its passages with their stems and token counts."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from zlib import crc32

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.passages import Passages, count_title, counted, key_of, passages_of

SIZES = (64, 128)
"""Passages are kept of both sizes that the packer uses by default, in tokens."""
ANY_SIZE = 0
"""Stands for all sizes, where an item is one passage by any."""
VERSION = 2
"""Of the bytes below; those of another one are not used."""
_HEAD = struct.Struct("<BIiIIIII")
"""Version, CRC of all that follows it, tokens of the title, and the lengths in bytes of the five parts."""
_SUMMED = 5
"""Where that begins that the CRC is of."""


def figures_of(item: Item, encoding: str, count: Callable[[str], int]) -> list[tuple[int, bytes]]:
    """Return (size, bytes) for each size that is to be kept; what is counted stays with the item, too."""
    found = []
    for size in SIZES:
        cut = passages_of(item, key_of(size, encoding))
        counted(item, cut, 0, len(cut.tokens), count)
        count_title(item, cut, count)
        if len(cut.firsts) <= 2 and size == SIZES[0]:
            return [(ANY_SIZE, packed(cut))]
        found.append((size, packed(cut)))
    return found


def packed(cut: Passages) -> bytes:
    """Return passages as bytes, little-endian."""
    parts = (
        _bytes("I", cut.bounds),
        _bytes("I", cut.firsts),
        _bytes("i", cut.tokens),
        cut.codes,
        cut.lengths,
    )
    breaks = cut.breaks.to_bytes((cut.breaks.bit_length() + 7) // 8, "little")
    whole = b"".join((_HEAD.pack(VERSION, 0, cut.title, *map(len, parts)), *parts, breaks))[_SUMMED:]
    return b"".join((bytes([VERSION]), crc32(whole).to_bytes(4, "little"), whole))


def unpacked(data: bytes) -> Passages | None:
    """Return the passages, or `None` where the bytes are of another version or damaged: then they are cut anew."""
    if len(data) < _HEAD.size or data[0] != VERSION:
        return None
    _, crc, title, bounds, firsts, tokens, codes, lengths = _HEAD.unpack_from(data)
    if crc32(memoryview(data)[_SUMMED:]) != crc:
        return None
    # Written out, since a search does this for each item that it finds.
    firsts_at = _HEAD.size + bounds
    tokens_at = firsts_at + firsts
    codes_at = tokens_at + tokens
    lengths_at = codes_at + codes
    breaks_at = lengths_at + lengths
    return Passages(
        bounds=_array("I", data[_HEAD.size : firsts_at]),
        firsts=_array("I", data[firsts_at:tokens_at]),
        tokens=_array("i", data[tokens_at:codes_at]).tolist(),
        codes=data[codes_at:lengths_at],
        lengths=data[lengths_at:breaks_at],
        breaks=int.from_bytes(data[breaks_at:], "little"),
        title=title,
    )


def codes_in(data: bytes) -> bytes | None:
    """Return the stems of a text alone, as numbers, out of its figures; `None` as `unpacked` does."""
    if len(data) < _HEAD.size or data[0] != VERSION:
        return None
    _, crc, _, bounds, firsts, tokens, codes, _ = _HEAD.unpack_from(data)
    if crc32(memoryview(data)[_SUMMED:]) != crc:
        return None
    start = _HEAD.size + bounds + firsts + tokens
    return data[start : start + codes]


def give(item: Item, encoding: str, size: int, data: bytes) -> None:
    """Put kept figures with an item."""
    cut = unpacked(data)
    if cut is None:
        return
    if size != ANY_SIZE:
        item.features.put(key_of(size, encoding), cut)
        return
    for each in SIZES:
        item.features.put(key_of(each, encoding), cut)


def _bytes(code: str, numbers: array[int] | list[int]) -> bytes:
    made = array(code, numbers)
    if _IS_BIG_ENDIAN:
        made.byteswap()
    return made.tobytes()


def _array(code: str, data: bytes) -> array[int]:
    made = array(code, data)
    if _IS_BIG_ENDIAN:
        made.byteswap()
    return made


_IS_BIG_ENDIAN = struct.pack("=H", 1) != struct.pack("<H", 1)
