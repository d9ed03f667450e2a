"""The readers as growing texts are given to them: each returns how much it has made of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO

from nexus_extractive.citable_units import units
from nexus_jsonl.records import Fields, read as read_lines

from nexus_core import Item, SourceError
from nexus_core.toolkit import DocumentReader, FileOrigin, ReadSettings
from nexus_core.toolkit.text.passages import key_of, passages_of
from tests.plugins.growth import shapes

Reader = Callable[[str], int]


def _size(items: Iterable[Item]) -> int:
    return sum(len(item.text) + len(item.title) + len(item.id) + len(str(item.metadata)) for item in items)


def _file(suffix: str) -> Reader:
    reader = DocumentReader(ReadSettings(links=True))

    def read(text: str) -> int:
        try:
            document = reader.items(BytesIO(text.encode("utf-8")), FileOrigin(name="file" + suffix))
            return _size(document.items) + sum(map(len, document.remarks))
        except SourceError as error:
            return len(str(error))

    return read


def _lines(text: str) -> int:
    reading = read_lines(text.encode("utf-8").splitlines(keepends=True), "file.jsonl", Fields())
    return _size(reading.items) + sum(map(len, reading.bad)) + sum(map(len, reading.left_out))


def _cut(kind: str) -> Reader:
    def cut(text: str) -> int:
        bounds = passages_of(Item(id="a", text=text, kind=kind), key_of(64, "any")).bounds
        return len(bounds) + sum(len(unit.text) + len(unit.under) + len(unit.follows) for unit in units(text, kind))

    return cut


READERS: dict[str, tuple[Reader, list[shapes.Shape]]] = {
    "html": (_file(".html"), shapes.shapes_of(shapes.HTML, shapes.HTML_PIECES)),
    "markdown": (_file(".md"), shapes.shapes_of(shapes.MARKDOWN, shapes.MARKDOWN_PIECES)),
    "plain": (_file(".txt"), shapes.shapes_of(shapes.TEXT, shapes.TEXT_PIECES)),
    "code": (_file(".c"), shapes.shapes_of(shapes.CODE, shapes.CODE_PIECES)),
    "jsonl": (_lines, shapes.shapes_of(shapes.JSONL, shapes.JSON_PIECES)),
    "rst": (_file(".rst"), shapes.shapes_of(shapes.RST, shapes.RST_PIECES)),
    "asciidoc": (_file(".adoc"), shapes.shapes_of(shapes.ASCIIDOC, shapes.ASCIIDOC_PIECES)),
    "org": (_file(".org"), shapes.shapes_of(shapes.ORG, shapes.ORG_PIECES)),
    "latex": (_file(".tex"), shapes.shapes_of(shapes.LATEX, shapes.LATEX_PIECES)),
    "manual": (_file(".1"), shapes.shapes_of(shapes.MANUAL, shapes.MANUAL_PIECES)),
    "subtitles": (_file(".srt"), shapes.shapes_of(shapes.SUBTITLES, shapes.SUBTITLE_PIECES)),
    "passages-text": (_cut("text"), shapes.shapes_of(shapes.TEXT, shapes.TEXT_PIECES)),
    "passages-markdown": (_cut("markdown"), shapes.shapes_of(shapes.MARKDOWN, shapes.MARKDOWN_PIECES)),
}
