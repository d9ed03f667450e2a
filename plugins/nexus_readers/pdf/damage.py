"""What is wrong with a file that pdfium opens or does not: told by its first and last bytes, repaired by its objects.

A reader of PDF repairs a file without a table of its objects silently. People want to know of it; and pdfium gives up
where the trailer is lost. Then the objects are looked for in one pass, and a new trailer names what was found.
"""

from __future__ import annotations

import re
import zlib
from base64 import a85decode
from collections.abc import Iterator

from attrs import define, field

_OBJECT = re.compile(rb"(?<![\d.])(\d{1,10})[ \t\r\n]+(\d{1,5})[ \t\r\n]+obj\b")
_STARTXREF = re.compile(rb"startxref\s*(\d{1,19})\s*(?:%%EOF)?")
_CATALOG = re.compile(rb"/Type\s*/Catalog\b")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_PAGES = re.compile(rb"/Type\s*/Pages\b")
_COUNT = re.compile(rb"/Count\s+(\d{1,9})\b")
_KIDS = re.compile(rb"/Kids\s*\[([^\]]*)\]")
_REFERENCE = re.compile(rb"(\d{1,10})\s+\d{1,5}\s+R\b")
_PARENT = re.compile(rb"/Parent\s+(\d{1,10})\s+\d{1,5}\s+R\b")
_ENCRYPT = re.compile(rb"/Encrypt\s+\d{1,10}\s+\d{1,5}\s+R\b")
_ID = re.compile(rb"/ID\s*\[[^\]]{0,400}\]")
_BOX = b"/MediaBox [0 0 612 792]"
"""Of pages that inherited theirs from what is lost."""
_PACKED = re.compile(rb"/Type\s*/ObjStm\b")
_NUMBER = {name: re.compile(rb"/" + name + rb"\s+(\d{1,9})\b") for name in (b"N", b"First")}
_STREAM = re.compile(rb"stream\r?\n")
_ROOT = re.compile(rb"/Pages\s+(\d{1,10})\s+\d{1,5}\s+R\b")
_CONTENTS = re.compile(rb"/Contents\s*(?:\[([^\]]*)\]|(\d{1,10})\s+\d{1,5}\s+R\b)")
_SHOWS = re.compile(rb"(?:Tj|TJ|Do|'|\"|\bf|\bS|\bs|\bB|\bEI)(?=\s|$)")
_EMPTY = re.compile(rb"(?:\(\s*\)|<\s*>|\[\s*\])\s*T[jJ]")
_MOST_PAGES = 200_000
_MOST_LOOKED_AT = 1_000_000
_HEAD = 4096
"""Bytes of an object's dictionary that are looked at."""
_TAIL = 2048
_MOST_UNPACKED = 20_000_000
_MOST_OBJECTS = 2_000_000


def damage_of(data: bytes) -> str:
    """Return what a look at a file's ends tells of its damage; empty where nothing is wrong with them."""
    begin = data[:1024].find(b"%PDF-")
    if begin < 0:
        return "its header is missing"
    tail = data[-_TAIL:]
    found = list(_STARTXREF.finditer(tail))
    if not found:
        return "its end is missing" if b"%%EOF" not in tail else "its table of objects is missing"
    place = int(found[-1].group(1))
    for at in (place, place + begin):
        if _is_table(data, at):
            return "" if begin == 0 else "other bytes stand before its header"
    return "the place of its table of objects is wrong" if begin == 0 else "other bytes stand before its header"


def _is_table(data: bytes, at: int) -> bool:
    head = data[at : at + 40].lstrip()
    return 0 < at < len(data) and (head.startswith(b"xref") or _OBJECT.match(head) is not None)


@define(eq=False)
class RepairedFile:
    """A file with a trailer that names the objects found in it."""

    data: bytes
    missing: int | None = None
    """Pages that are not in the file any more, where it tells how many it had."""


@define(eq=False)
class FileObjects:
    """The objects that one pass over a file finds."""

    data: bytes
    places: dict[int, tuple[int, int]] = field(factory=dict)
    """Of each object its first and last byte."""
    packed: dict[int, bytes] = field(factory=dict)
    """Objects out of compressed streams."""

    def heads(self) -> Iterator[tuple[int, bytes]]:
        """Yield the dictionaries of all objects, as they are written."""
        for number in self.places:
            yield number, self.head(number)
        yield from self.packed.items()

    def head(self, number: int) -> bytes:
        """Return the dictionary of an object, as it is written; empty where there is none."""
        if number in self.packed:
            return self.packed[number]
        begin, end = self.places.get(number, (0, 0))
        return self.data[begin : min(end, begin + _HEAD)].partition(b"stream")[0]


def repaired(data: bytes) -> RepairedFile | None:
    """Return a file with a new table of its objects, or None where there are no pages in it."""
    objects = objects_of(data)
    catalog = root = None
    pages: list[int] = []
    count, named = 0, set[int]()
    for number, head in objects.heads():
        if _CATALOG.search(head):
            catalog = number
        elif _PAGES.search(head):
            root = number if b"/Parent" not in head else root
            told = _COUNT.search(head)
            count = max(count, int(told.group(1)) if told else 0)
            kids = _KIDS.search(head)
            named.update(map(int, _REFERENCE.findall(kids.group(1))) if kids else ())
        elif _PAGE.search(head):
            pages.append(number)
    if not pages:
        return None
    whole = catalog is not None and root is not None and not (named - objects.places.keys() - objects.packed.keys())
    missing = max(0, count - len(pages)) if count else None
    return RepairedFile(_written(data, objects, catalog if whole else None, pages), missing)


def objects_of(data: bytes) -> FileObjects:
    """Return the objects of a file, the last of each number."""
    objects = FileObjects(data)
    last: tuple[int, int] | None = None
    for found in _OBJECT.finditer(data):
        if last is not None:
            objects.places[last[0]] = (last[1], found.start())
        last = (int(found.group(1)), found.start())
        if len(objects.places) > _MOST_OBJECTS:
            break
    if last is not None and b"endobj" in data[last[1] :]:
        objects.places[last[0]] = (last[1], len(data))
    left = _MOST_UNPACKED
    for begin, end in list(objects.places.values()):
        if left > 0 and _PACKED.search(data, begin, min(end, begin + _HEAD)):
            left -= _unpack(data[begin:end], objects.packed, left)
    return objects


def _unpack(stream: bytes, packed: dict[int, bytes], most: int) -> int:
    """Add the objects of a compressed stream; returns how many bytes it had."""
    count, first = (pattern.search(stream, 0, _HEAD) for pattern in (_NUMBER[b"N"], _NUMBER[b"First"]))
    begin = _STREAM.search(stream)
    if count is None or first is None or begin is None:
        return 0
    try:
        text = zlib.decompressobj().decompress(stream[begin.end() :], most)
    except zlib.error:
        return 0
    offset = int(first.group(1))
    numbers = [int(each) for each in text[:offset].split()[: 2 * int(count.group(1))] if each.isdigit()]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    ends = [place for _, place in pairs[1:]] + [len(text) - offset]
    for (number, place), end in zip(pairs, ends, strict=True):
        packed[number] = text[offset + place : offset + max(place, end)]
    return len(text)


def _written(data: bytes, objects: FileObjects, catalog: int | None, pages: list[int]) -> bytes:
    """Return a file with a table of its objects, and with a tree of its pages where it lost that."""
    parts = [data, b"\n"]
    size = len(data) + 1
    places = {number: begin for number, (begin, _) in objects.places.items()}
    added = dict(objects.packed)
    if catalog is None:
        catalog = max([*places, *added]) + 1
        parents = {int(found.group(1)) for page in pages if (found := _PARENT.search(objects.head(page)))}
        lost = sorted(parents - places.keys() - added.keys()) or [catalog + 1]
        kids = b" ".join(b"%d 0 R" % page for page in pages)
        added[catalog] = b"<< /Type /Catalog /Pages %d 0 R >>" % lost[0]
        added[lost[0]] = b"<< /Type /Pages /Kids [%s] /Count %d %s >>" % (kids, len(pages), _BOX)
        for other in lost[1:]:
            added[other] = b"<< /Type /Pages /Parent %d 0 R /Kids [] /Count 0 >>" % lost[0]
    for number, text in added.items():
        places[number] = size
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, text))
        size += len(parts[-1])
    rows = [b"xref\n0 1\n0000000000 65535 f \n"]
    rows += [b"%d 1\n%010d 00000 n \n" % (number, place) for number, place in sorted(places.items())]
    told = b" ".join(found.group() for pattern in (_ENCRYPT, _ID) if (found := pattern.search(data)))
    root = b"/Size %d /Root %d 0 R %s" % (max(places) + 1, catalog, told)
    trailer = b"trailer\n<< %s >>\nstartxref\n%d\n%%%%EOF\n" % (root, size)
    return b"".join([*parts, *rows, trailer])


@define(eq=False)
class PageContents:
    """What draws the pages of a file, by a look at its bytes."""

    data: bytes
    _pages: list[int] | None = None
    _objects: FileObjects = field(init=False)

    def is_lost(self, number: int) -> bool:
        """Tell whether something draws a page on which nothing was read; counted from 1."""
        if self._pages is None:
            self._objects = objects_of(self.data)
            self._pages = list(self._tree())
        if not 0 < number <= len(self._pages):
            return False
        found = _CONTENTS.search(self._objects.head(self._pages[number - 1]))
        if found is None:
            return False
        references = _REFERENCE.findall(found.group(1)) if found.group(1) is not None else [found.group(2)]
        return any(self._draws(int(each)) for each in references[:100])

    def _tree(self) -> Iterator[int]:
        """Yield the pages in their order; each node once, however the tree is tangled."""
        catalog = next((head for _, head in self._objects.heads() if _CATALOG.search(head)), b"")
        root = _ROOT.search(catalog)
        waiting, seen = [int(root.group(1))] if root else [], set[int]()
        while waiting and len(seen) < _MOST_PAGES:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            kids = _KIDS.search(self._whole(number))
            if kids is None:
                yield number
            else:
                waiting += [int(each) for each in reversed(_REFERENCE.findall(kids.group(1)))]

    def _whole(self, number: int) -> bytes:
        if number in self._objects.packed:
            return self._objects.packed[number]
        begin, end = self._objects.places.get(number, (0, 0))
        return self.data[begin:end]

    def _draws(self, number: int) -> bool:
        if number not in self._objects.places:
            return True
        text = self._whole(number)
        begin = _STREAM.search(text)
        if begin is None:
            return True
        stream = text[begin.end() :].rpartition(b"endstream")[0] or text[begin.end() :]
        head = text[: begin.start()]
        try:
            if b"/ASCII85Decode" in head:
                stream = a85decode(stream.strip().removesuffix(b"~>"))
            if b"/FlateDecode" in head:
                stream = zlib.decompressobj().decompress(stream, _MOST_LOOKED_AT)
        except (zlib.error, ValueError):
            return True
        return _SHOWS.search(_EMPTY.sub(b"", stream)) is not None
