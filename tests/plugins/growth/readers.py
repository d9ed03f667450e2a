"""The readers as growing texts are given to them: each returns how much it has made of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nexus_extractive.citable_units import units
from nexus_jsonl.records import Fields, read as read_lines
from nexus_sources.readers import pdf
from nexus_sources.readers.dispatch import parsed
from nexus_sources.readers.sections import ReadSettings
from nexus_sources.walking.walk import FoundFile

from nexus_core import Item, SourceError
from nexus_core.toolkit.text.passages import key_of, passages_of
from tests.plugins.growth import shapes

Reader = Callable[[str], int]


def _size(items: Iterable[Item]) -> int:
    return sum(len(item.text) + len(item.title) + len(item.id) + len(str(item.metadata)) for item in items)


def _file(suffix: str) -> Reader:
    def read(text: str) -> int:
        found = FoundFile("file" + suffix, "file" + suffix, (0, 0, 0))
        try:
            items, problem = parsed(text.encode("utf-8"), found, ReadSettings(links=True))
        except SourceError as error:
            return len(str(error))
        return _size(items) + len(problem)

    return read


def _lines(text: str) -> int:
    reading = read_lines(text.encode("utf-8").splitlines(keepends=True), "file.jsonl", Fields())
    return _size(reading.items) + sum(map(len, reading.bad)) + sum(map(len, reading.left_out))


def _outlined(text: str) -> int:
    """Cut what pypdf has read of a page by an outline whose titles stand on it, but for every second."""
    page = pdf._tidied(text)
    titles = [page[place : place + 40].strip() + "?" * (place % 400 > 0) for place in range(0, len(page), 200)]
    entries = tuple(pdf._Entry(number % 9, title or "x", 0) for number, title in enumerate(titles))
    sections = pdf._by_outline([page], entries) if entries else ()
    return sum(len(section.text) + len(str(section.headings)) for section in sections)


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
    "pdf": (_outlined, shapes.shapes_of(shapes.TEXT, shapes.TEXT_PIECES)),
    "passages-text": (_cut("text"), shapes.shapes_of(shapes.TEXT, shapes.TEXT_PIECES)),
    "passages-markdown": (_cut("markdown"), shapes.shapes_of(shapes.MARKDOWN, shapes.MARKDOWN_PIECES)),
}
