"""PowerPoint files (pptx, ppsx, pptm): slides as pages with their titles, tables, charts, notes and comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, evolve, field

from nexus_core import Block, Figure, Heading, PageBreak, Paragraph, Place, Remark, Table
from nexus_core.toolkit import Cell, TableGrid
from nexus_readers.office.drawings import drawn_blocks
from nexus_readers.office.header_rows import with_header
from nexus_readers.office.packages import (
    Package,
    Relation,
    attribute,
    child,
    core_metadata,
    inner_text,
    name_of,
)
from nexus_readers.office.slide_text import SlideText
from nexus_readers.office.word.styles import as_int

_TITLES = ("title", "ctrTitle")
_MARGINS = ("sldNum", "dt", "ftr", "hdr", "sldImg")
_PLAIN = (*_TITLES, "subTitle")
"""Placeholders whose paragraphs have no bullets."""


def pptx_blocks(package: Package, main: str, *, hidden: bool) -> Iterator[Block]:
    """Yield the blocks of a presentation; hidden slides are left out where they are not asked for."""
    yield core_metadata(package)
    relations = package.relations(main)
    authors = _authors(package, relations)
    slides = child(package.tree(main), "sldIdLst")
    number = 0
    for each in slides if slides is not None else ():
        # Of its two ids the one with a namespace is that of the relation.
        found = relations.get(next((value for key, value in each.items() if key.endswith("}id")), ""))
        if found is None or found.target not in package:
            yield Remark(text=f"slide {number + 1} is missing in the file", lost=True)
            continue
        number += 1
        root = package.optional_tree(found.target)
        if root is None:
            continue
        place = Place(page=number)
        if root.get("show") in ("0", "false") and not hidden:
            yield Remark(
                text=f"slide {number} is hidden; left out (read it with `hidden: true`)", lost=True, place=place
            )
            continue
        yield PageBreak(number=number)
        slide = _Slide(package, package.relations(found.target), number, authors)
        for block in slide.blocks(root):
            yield evolve(block, place=place)


def _authors(package: Package, relations: Mapping[str, Relation]) -> dict[str, str]:
    found = {}
    for relation in relations.values():
        if relation.kind in ("commentAuthors", "authors"):
            root = package.optional_tree(relation.target)
            found.update({attribute(each, "id"): attribute(each, "name") for each in root} if root is not None else {})
    return found


@define(eq=False)
class _Slide:
    package: Package
    relations: Mapping[str, Relation]
    number: int
    authors: Mapping[str, str]
    pictures: int = 0
    _text: SlideText = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._text = SlideText(self.relations)

    def blocks(self, root: Any) -> Iterator[Block]:
        """Yield the title of a slide, what its shapes say, its notes and comments."""
        tree = child(root, "cSld", "spTree")
        shapes = list(_shapes(tree)) if tree is not None else []
        titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
        title = " ".join(filter(None, (self._text.text(child(shape, "txBody")) for shape in titles)))
        yield Heading(text=title or f"Slide {self.number}", implied=not title)
        for shape in shapes:
            if _placeholder(shape) not in (*_TITLES, *_MARGINS):
                yield from self._shape(shape)
        if self.pictures:
            count = self.pictures
            yield Remark(
                text=f"slide {self.number}: {count} picture{'s have' if count > 1 else ' has'} no alternative text",
                lost=True,
            )
        yield from self._notes()
        yield from self._comments()

    def _shape(self, shape: Any) -> Iterator[Block]:
        name = name_of(shape)
        if name == "sp":
            kind = _placeholder(shape)
            bulleted = kind is not None and kind not in _PLAIN
            yield from self._text.blocks(child(shape, "txBody"), bulleted=bulleted)
        elif name == "graphicFrame":
            yield from self._frame(shape)
        if name == "pic" or next(shape.iter("{*}blip"), None) is not None:
            yield from self._picture(shape)

    def _picture(self, shape: Any) -> Iterator[Block]:
        told = _described(shape)
        is_decorative = any(attribute(each, "val") == "1" for each in shape.iter("{*}decorative"))
        if told:
            yield Figure(text=told)
        elif name_of(shape) == "pic" and not is_decorative:
            self.pictures += 1

    def _frame(self, frame: Any) -> Iterator[Block]:
        data = child(frame, "graphic", "graphicData")
        said = False
        for each in data if data is not None else ():
            if name_of(each) == "tbl":
                said = True
                yield from self._table(each)
            else:
                for block in drawn_blocks(self.package, each, self.relations):
                    said = True
                    yield block
        told = _described(frame)
        if told:
            yield Figure(text=told)
        elif not said:
            yield Remark(text=f"slide {self.number}: an embedded object is not read", lost=True)

    def _table(self, table: Any) -> Iterator[Block]:
        grid = TableGrid()
        links: list[str] = []
        rows = [grid.row(self._cells(row, links)) for row in table if name_of(row) == "tr"]
        declared = child(table, "tblPr")
        has_header = declared is not None and declared.get("firstRow") in ("1", "true") and len(rows) > 1
        header, body = with_header(rows, declared=int(has_header))
        if any(any(row) for row in (header, *body)):
            yield Table(rows=body, header=header, links=tuple(dict.fromkeys(links)))

    def _cells(self, row: Any, links: list[str]) -> Iterator[Cell]:
        for cell in row:
            merged = cell.get("hMerge") in ("1", "true") or cell.get("vMerge") in ("1", "true")
            if name_of(cell) != "tc" or merged:
                continue
            blocks = list(self._text.blocks(child(cell, "txBody")))
            links.extend(link for block in blocks for link in getattr(block, "links", ()))
            text = " ".join(getattr(block, "text", "") for block in blocks)
            columns, rows = (max(1, as_int(cell.get(name, "1"), 1)) for name in ("gridSpan", "rowSpan"))
            yield Cell(text, columns=columns, rows=rows)

    def _notes(self) -> Iterator[Block]:
        for root in self._related("notesSlide"):
            tree = child(root, "cSld", "spTree")
            shapes = (
                [shape for shape in _shapes(tree) if _placeholder(shape) not in _MARGINS] if tree is not None else []
            )
            blocks = [block for shape in shapes for block in self._text.blocks(child(shape, "txBody"))]
            if blocks:
                yield Heading(text="Notes", level=2, implied=True)
                yield from blocks

    def _comments(self) -> Iterator[Block]:
        for root in self._related("comments", "comment"):
            for each in root:
                text = inner_text(child(each, "text")) or self._text.text(child(each, "txBody"))
                author = self.authors.get(attribute(each, "authorId"), "")
                if text:
                    yield Paragraph(text=f"Comment{f' by {author}' if author else ''}: {text}")

    def _related(self, *kinds: str) -> Iterator[Any]:
        for relation in self.relations.values():
            if relation.kind in kinds and not relation.is_external:
                root = self.package.optional_tree(relation.target)
                if root is not None:
                    yield root


def _shapes(tree: Any) -> Iterator[Any]:
    """Yield the shapes of a slide in their order, those of groups in the place of the group, hidden ones not."""
    waiting = list(reversed(tree))
    while waiting:
        each = waiting.pop()
        name = name_of(each)
        if name == "AlternateContent":
            waiting.extend(reversed(list(each)[:1]))
        elif name in ("grpSp", "Choice", "Fallback"):
            waiting.extend(reversed(each))
        elif name in ("sp", "pic", "graphicFrame", "cxnSp") and not _is_hidden(each):
            yield each


def _properties(shape: Any) -> Any | None:
    return next((each for each in shape if name_of(each).startswith("nv")), None)


def _is_hidden(shape: Any) -> bool:
    return attribute_of(child(_properties(shape), "cNvPr"), "hidden") in ("1", "true")


def _described(shape: Any) -> str:
    properties = child(_properties(shape), "cNvPr")
    return " ".join((attribute_of(properties, "descr") or attribute_of(properties, "title")).split())


def _placeholder(shape: Any) -> str | None:
    """Return the kind of a placeholder, None for a shape that is none."""
    found = child(_properties(shape), "nvPr", "ph")
    return None if found is None else attribute(found, "type", "obj")


def attribute_of(element: Any | None, name: str) -> str:
    """Return an attribute of an element that may not be there."""
    return "" if element is None else attribute(element, name)
