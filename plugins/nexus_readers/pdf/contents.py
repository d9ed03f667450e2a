"""Why a page shows nothing: it is blank, or what draws it cannot be read; asked only of pages without anything."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from attrs import define, field

from nexus_readers.pdf.damage import FileObjects, objects_of

_ROOT = re.compile(rb"/Pages\s+(\d{1,10})\s+\d{1,5}\s+R\b")
_KIDS = re.compile(rb"/Kids\s*\[([^\]]*)\]")
_CONTENTS = re.compile(rb"/Contents\s*(?:\[([^\]]*)\]|(\d{1,10})\s+\d{1,5}\s+R\b)")
_REFERENCE = re.compile(rb"(\d{1,10})\s+\d{1,5}\s+R\b")
_CATALOG = re.compile(rb"/Type\s*/Catalog\b")
_SHOWS = re.compile(rb"(?:Tj|TJ|Do|'|\"|\bf|\bS|\bs|\bB|\bEI)(?=\s|$)")
_STREAM = re.compile(rb"stream\r?\n")
_MOST_PAGES = 200_000
_MOST_UNPACKED = 1_000_000


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
        if b"/FlateDecode" in text[: begin.start()] and b"/ASCII85Decode" not in text[: begin.start()]:
            try:
                stream = zlib.decompressobj().decompress(stream, _MOST_UNPACKED)
            except zlib.error:
                return True
        elif b"/Filter" in text[: begin.start()]:
            return len(stream.strip()) > 40
        return _SHOWS.search(stream) is not None
