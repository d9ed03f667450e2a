"""OpenDocument texts, presentations and drawings (odt, odp, odg): headings, lists, tables, notes, slides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from attrs import define, evolve, field

from nexus_core import (
    Block,
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    ListItem,
    Metadata,
    PageBreak,
    Paragraph,
    Place,
    Quotation,
    Remark,
)
from nexus_core.toolkit import block_text
from nexus_readers.office.inline import CaptionLine, joined_code, with_captions
from nexus_readers.office.open_document.styles import OpenStyle, OpenStyles
from nexus_readers.office.open_document.tables import open_table
from nexus_readers.office.open_document.texts import SHAPES, NoteMarks, OpenText, described, formula_of
from nexus_readers.office.packages import Package, attribute, child, inner_text, name_of
from nexus_readers.office.word.styles import as_int
from nexus_readers.office.word.tables import flat_text

_AHEAD = 60
_HOLDERS = ("section", "numbered-paragraph", "index-body", "bibliography")
"""Not the other indexes and tables of contents, which repeat what stands elsewhere."""
_DEEPEST_LIST = 16


def odf_blocks(package: Package, *, hidden: bool) -> Iterator[Block]:
    """Yield the blocks of a text, a presentation or a drawing."""
    content = package.tree("content.xml")
    styles_root = package.optional_tree("styles.xml")
    document = _OpenDocument(package, hidden)
    roots = (content, styles_root)
    document.styles.add(
        child(root, name) for root in roots if root is not None for name in ("automatic-styles", "styles")
    )
    document.by_layout = next(content.iter("{*}soft-page-break"), None) is not None
    found = with_captions(joined_code(document.body(child(content, "body"))))
    ahead = list(islice(found, _AHEAD))
    metadata = open_metadata(package)
    yield evolve(metadata, title=metadata.title or document.title)
    said = {block_text(block).lstrip("# ").casefold() for block in ahead} | {metadata.title.casefold()}
    yield from document.margins(styles_root, said)
    yield from chain(ahead, found)
    if document.pictures:
        count = document.pictures
        yield Remark(text=f"{count} picture{'s have' if count > 1 else ' has'} no alternative text", lost=True)


def open_metadata(package: Package) -> Metadata:
    """Return what an OpenDocument file says of itself."""
    meta = child(package.optional_tree("meta.xml"), "meta")
    told: dict[str, str] = {}
    tags = []
    for each in meta if meta is not None else ():
        told.setdefault(name_of(each), inner_text(each))
        tags += [inner_text(each)] if name_of(each) == "keyword" and inner_text(each) else []
    return Metadata(
        title=told.get("title", ""),
        author=told.get("initial-creator", "") or told.get("creator", ""),
        date=told.get("date", "") or told.get("creation-date", ""),
        language=told.get("language", ""),
        tags=tuple(dict.fromkeys(tags)),
        values={name: told[name] for name in ("subject", "description") if told.get(name)}
        | ({"created": told["creation-date"]} if told.get("creation-date") else {}),
    )


@define(eq=False)
class _Counted:
    """A list while its items come."""

    name: str
    counts: list[int] = field(factory=list)


@define(eq=False)
class _OpenDocument:
    package: Package
    hidden: bool
    styles: OpenStyles = field(factory=OpenStyles)
    marks: NoteMarks = field(factory=NoteMarks)
    by_layout: bool = False
    """The file tells where its pages ended when it was last shown."""
    pictures: int = 0
    """Those without a word about them."""
    title: str = ""
    _shift: int = 0
    _last_counts: dict[str, list[int]] = field(factory=dict)

    def body(self, body: Any | None) -> Iterator[Block]:
        """Yield the blocks of the text, or of each slide."""
        for each in body if body is not None else ():
            if name_of(each) in ("presentation", "drawing"):
                yield from self._slides(each)
            elif name_of(each) == "text":
                yield from self._paged(self.blocks(each))

    def _paged(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Give each block its page where the file tells any."""
        page = 1
        if self.by_layout:
            yield PageBreak(number=1)
        for block in blocks:
            if not isinstance(block, PageBreak):
                yield evolve(block, place=Place(page=page)) if self.by_layout else block
            elif self.by_layout:
                page += 1
                yield PageBreak(number=page)

    def margins(self, root: Any | None, said: set[str]) -> Iterator[Block]:
        """Yield what headers and footers say, each line once, but for what the text says and for numbers of pages."""
        pages = child(root, "master-styles")
        for each in pages.iter("{*}header", "{*}footer") if pages is not None else ():
            for paragraph in each.iter("{*}p"):
                found = self._read(paragraph)
                text = found.line.text()
                few = found.page_fields and len(text.split()) <= 3
                if text and not few and text.casefold() not in said:
                    said.add(text.casefold())
                    yield Paragraph(text=text, links=tuple(found.line.links))

    def blocks(self, element: Any) -> Iterator[Block]:
        """Yield the blocks of what stands in an element: the text, a section, a cell, a frame."""
        for each in element:
            name = name_of(each)
            if name in ("p", "h"):
                yield from self._paragraph(each)
            elif name == "list":
                yield from self._list(each, None)
            elif name == "table":
                yield from open_table(each, self.blocks)
            elif name == "soft-page-break":
                yield PageBreak(number=-1)
            elif name in SHAPES:
                yield from self._shape(each)
            elif name in _HOLDERS and attribute(each, "display", "true") != "none":
                yield from self.blocks(each)

    def _read(self, element: Any) -> OpenText:
        found = OpenText(self.styles, self.marks)
        found.read(element)
        return found

    def _paragraph(self, element: Any, marker: tuple[str, int] | None = None) -> Iterator[Block]:
        style = self.styles.style("paragraph", attribute(element, "style-name"))
        found = self._read(element)
        yield from [PageBreak(number=-1)] * found.breaks_before
        text, links = found.line.text(), tuple(found.line.links)
        if not style.is_hidden:
            yield from self._main_block(element, style, found, text, links, marker)
        for mark, body in found.notes:
            inside = list(self.blocks(body))
            yield Footnote(mark=mark, text=flat_text(inside), links=_links_of(inside))
        for comment in found.comments:
            inside = list(self.blocks(comment))
            author = inner_text(child(comment, "creator"))
            yield Paragraph(text=f"Comment{f' by {author}' if author else ''}: {flat_text(inside)}")
        for shape in found.shapes:
            yield from self._shape(shape)
        yield from [PageBreak(number=-1)] * found.breaks_after

    def _main_block(
        self, element: Any, style: OpenStyle, found: OpenText, text: str, links: tuple[str, ...],
        marker: tuple[str, int] | None,
    ) -> Iterator[Block]:  # fmt: skip
        level = as_int(attribute(element, "outline-level", "1"), 1) if name_of(element) == "h" else 0
        if _is_title(style) and not level:
            level = 1
        if not level and (style.is_code or (found.line.is_code and marker is None)):
            yield Code(text=found.line.lines().replace("\t", "    ").rstrip())
        elif not text:
            return
        elif level:
            yield self._heading(text, level, marker, style)
        elif marker is not None:
            yield ListItem(text=text, depth=marker[1], marker=marker[0], links=links)
        elif style.name in ("quotations", "quote"):
            yield Quotation(text=text, links=links)
        elif style.name in ("caption", "table", "illustration", "figure", "drawing"):
            yield CaptionLine(text=text, links=links)
        else:
            yield Paragraph(text=text, links=links)

    def _heading(self, text: str, level: int, marker: tuple[str, int] | None, style: OpenStyle) -> Heading:
        number = "" if marker is None or marker[0] == "-" else marker[0] + " "
        words = text.partition("[^")[0].rstrip() if text.endswith("]") else text
        if _is_title(style):
            self.title, self._shift = self.title or words, 1
            return Heading(text=words, level=1)
        return Heading(text=number + words, level=level + self._shift)

    def _list(self, element: Any, above: _Counted | None) -> Iterator[Block]:
        """Yield the items of a list, counted as its style counts."""
        name = attribute(element, "style-name") or (above.name if above else "") or self._style_inside(element)
        depth = min(len(above.counts) + 1 if above else 1, _DEEPEST_LIST)
        goes_on = attribute(element, "continue-numbering") == "true" or attribute(element, "continue-list")
        last = self._last_counts.get(name, []) if goes_on else []
        start = self.styles.level(name, depth).start - 1
        counted = _Counted(name, [*(above.counts[: depth - 1] if above else ()), last[0] if last else start])
        for item in element:
            if name_of(item) not in ("list-item", "list-header"):
                continue
            if name_of(item) == "list-item":
                told = attribute(item, "start-value")
                counted.counts[-1] = as_int(told, 1) if told else counted.counts[-1] + 1
            yield from self._item(item, counted, depth)
        if above is None:
            self._last_counts[name] = counted.counts

    def _style_inside(self, element: Any) -> str:
        paragraph = next(element.iter("{*}p", "{*}h"), None)
        return "" if paragraph is None else self.styles.style("paragraph", attribute(paragraph, "style-name")).list_name

    def _item(self, item: Any, counted: _Counted, depth: int) -> Iterator[Block]:
        marker = (self.styles.number(counted.name, counted.counts), depth) if name_of(item) == "list-item" else None
        for each in item:
            if name_of(each) in ("p", "h"):
                yield from self._paragraph(each, marker)
                marker = None
            elif name_of(each) == "list":
                yield from self._list(each, counted)
            else:
                yield from self.blocks([each])

    def _shape(self, shape: Any) -> Iterator[Block]:
        """Yield what a frame or a drawn shape says."""
        formula = formula_of(self.package, shape) if name_of(shape) == "frame" else None
        if formula is not None:
            yield Formula(text=formula[0], notation="tex" if formula[1] == "tex" else "text")
            return
        told = described(shape)
        if told:
            yield Figure(text=told)
        inside = False
        for each in shape:
            if name_of(each) == "text-box":
                inside = True
                yield from self.blocks(each)
            elif name_of(each) in ("p", "h", "list", "table", *SHAPES):
                inside = True
                yield from self.blocks([each])
        if not told and not inside and child(shape, "image") is not None:
            self.pictures += 1

    def _slides(self, root: Any) -> Iterator[Block]:
        number = 0
        for page in root:
            if name_of(page) != "page":
                continue
            number += 1
            place = Place(page=number)
            if self._is_hidden(page) and not self.hidden:
                told = f"slide {number} is hidden; left out (read it with `hidden: true`)"
                yield Remark(text=told, lost=True, place=place)
                continue
            yield PageBreak(number=number)
            for block in self._slide(page, number):
                if not isinstance(block, PageBreak):
                    yield evolve(block, place=place)

    def _slide(self, page: Any, number: int) -> Iterator[Block]:
        shapes = [each for each in page if name_of(each) in SHAPES]
        titles = [each for each in shapes if attribute(each, "class") == "title"]
        title = " ".join(flat_text(self._shape(each)) for each in titles)
        yield Heading(text=title.strip() or f"Slide {number}", implied=not title.strip())
        for shape in shapes:
            if attribute(shape, "class") not in ("title", "page-number", "date-time", "footer", "header"):
                yield from self._shape(shape)
        notes = child(page, "notes")
        blocks = [
            block
            for each in (notes if notes is not None else ())
            if attribute(each, "class") not in ("page-number", "date-time", "footer", "header", "page")
            and name_of(each) in SHAPES
            for block in self._shape(each)
        ]
        if any(map(block_text, blocks)):
            yield Heading(text="Notes", level=2, implied=True)
            yield from blocks
        for comment in page.iter("{*}annotation"):
            author = inner_text(child(comment, "creator"))
            said = flat_text(list(self.blocks(comment)))
            yield Paragraph(text=f"Comment{f' by {author}' if author else ''}: {said}")

    def _is_hidden(self, page: Any) -> bool:
        return self.styles.hides_slides(attribute(page, "style-name"))


def _is_title(style: OpenStyle) -> bool:
    """Tell whether a paragraph is the title of the document; programs put their names before that of its style."""
    return style.name == "title" or style.name.endswith("-title")


def _links_of(blocks: Iterable[Block]) -> tuple[str, ...]:
    return tuple(link for block in blocks for link in getattr(block, "links", ()))
