"""Writes compound files (the container of .msg): as little as a reader of them asks for."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from attrs import define, field

_SECTOR, _SMALL, _SMALLEST = 512, 64, 4096
_END, _FREE, _FAT, _NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
Folder = Mapping[str, "bytes | Folder"]


@define
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    child: int = _NONE
    right: int = _NONE
    start: int = _END


@define
class _Writer:
    entries: list[_Entry] = field(factory=list)
    sectors: list[bytes] = field(factory=list)
    fat: list[int] = field(factory=list)
    small: list[int] = field(factory=list)
    """Which of the small sectors follows each: streams below 4096 bytes stand in one stream together."""
    together: bytearray = field(factory=bytearray)

    def add(self, folder: Folder) -> int:
        """Add what a folder holds; returns the number of its first entry."""
        first = last = _NONE
        for name, content in folder.items():
            number = len(self.entries)
            self.entries.append(_Entry(name, 2 if isinstance(content, bytes) else 1))
            if last == _NONE:
                first = number
            else:
                self.entries[last].right = number
            last = number
            if isinstance(content, bytes):
                self.entries[number].data = content
                self.entries[number].start = self.store(content) if len(content) >= _SMALLEST else self.pack(content)
            else:
                self.entries[number].child = self.add(content)
        return first

    def store(self, data: bytes) -> int:
        """Add bytes as a chain of sectors; returns the first."""
        start = len(self.sectors)
        pieces = [data[at : at + _SECTOR].ljust(_SECTOR, b"\0") for at in range(0, len(data), _SECTOR)]
        self.sectors += pieces
        self.fat += [*range(start + 1, start + len(pieces)), _END] if pieces else []
        return start if pieces else _END

    def pack(self, data: bytes) -> int:
        """Add bytes as a chain of small sectors; returns the first."""
        start, count = len(self.small), -(-len(data) // _SMALL)
        self.together += data.ljust(count * _SMALL, b"\0")
        self.small += [*range(start + 1, start + count), _END] if count else []
        return start if count else _END


def compound_file(folder: Folder) -> bytes:
    """Return the bytes of a compound file."""
    writer = _Writer([_Entry("Root Entry", 5)])
    writer.entries[0].child = writer.add(folder)
    writer.entries[0].data, writer.entries[0].start = bytes(writer.together), writer.store(bytes(writer.together))
    small = writer.store(struct.pack(f"<{len(writer.small)}I", *writer.small).ljust(_SECTOR, b"\xff"))
    directory = writer.store(b"".join(map(_written, writer.entries)))
    own = -(-(len(writer.fat) + 1) // 127)
    first_fat = len(writer.sectors)
    writer.fat += [_FAT] * own
    table = struct.pack(f"<{len(writer.fat)}I", *writer.fat).ljust(own * _SECTOR, b"\xff")
    places = [first_fat + number for number in range(own)]
    head = struct.pack(
        "<8s16sHHHHH6sIIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 0x3E, 3, 0xFFFE, 9, 6, b"", 0, own,
        directory, 0, _SMALLEST, small, 1, _END, 0, places[0],
    )  # fmt: skip
    head += struct.pack(f"<{108}I", *(places[1:] + [_FREE] * (109 - len(places))))
    return head + b"".join(writer.sectors) + table


def _written(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII16sI8s8sIII",
        name, len(name) + 2, entry.kind, 1, _NONE, entry.right, entry.child, b"", 0, b"", b"", entry.start & _NONE,
        len(entry.data), 0,
    )  # fmt: skip
