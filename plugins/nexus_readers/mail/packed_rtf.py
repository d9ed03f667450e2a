"""Unpacks the rich text of Outlook's mails: LZFu, as MS-OXRTFCP describes it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from nexus_core import SourceError

_PACKED, _RAW = 0x75465A4C, 0x414C454D
_BEGIN = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
"""What the window holds at first."""
_WINDOW = 4096
_HEAD = 16


def unpacked(data: bytes, most: int) -> bytes:
    """Return the rich text, up to so many bytes; raises SourceError where it is damaged."""
    if len(data) < _HEAD:
        raise SourceError("has a rich text that is cut off; left out")
    size, raw_size, kind, _ = struct.unpack_from("<4I", data)
    if kind == _RAW:
        return data[_HEAD : _HEAD + min(raw_size, most)]
    if kind != _PACKED:
        raise SourceError("has a rich text that is packed in an unknown way; left out")
    return bytes(_decoded(data[_HEAD : size + 4], min(raw_size, most)))


def _decoded(data: bytes, most: int) -> bytearray:
    """Return what was packed: runs of eight pieces, each a byte or a place in the window and a length."""
    window = bytearray(_BEGIN.ljust(_WINDOW, b"\0"))
    at, place, text = 0, len(_BEGIN), bytearray()
    while at < len(data) and len(text) < most:
        flags = data[at]
        at += 1
        for bit in range(8):
            if flags >> bit & 1:
                if at + 1 >= len(data):
                    return text
                offset, length = data[at] << 4 | data[at + 1] >> 4, (data[at + 1] & 15) + 2
                at += 2
                if offset == place:
                    return text
                taken: Iterator[int] = (window[(offset + step) % _WINDOW] for step in range(length))
            elif at < len(data):
                taken, at = iter(data[at : at + 1]), at + 1
            else:
                return text
            for byte in taken:
                window[place] = byte
                place = (place + 1) % _WINDOW
                text.append(byte)
    return text
