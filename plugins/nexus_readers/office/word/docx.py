"""Word files (docx, docm, dotx): headings, lists, tables, notes, comments, text boxes, in reading order.

Inserted text is in, deleted text is out. Headers and footers come once, before the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from attrs import evolve

from nexus_core import (
    Block,
    Code,
    Footnote,
    Formula,
    Heading,
    ListItem,
    PageBreak,
    Paragraph,
    Place,
    Quotation,
    Remark,
)
from nexus_core.toolkit import block_text
from nexus_readers.office.inline import CaptionLine, joined_code, with_captions
from nexus_readers.office.packages import Package, attribute, child, core_metadata, inner_blocks, let_go, name_of
from nexus_readers.office.word.paragraphs import WordContext, WordParagraph
from nexus_readers.office.word.styles import Numbers, Style, WordStyles, as_int, is_on, outline_level, roman, value
from nexus_readers.office.word.tables import flat_text, read_table

_AHEAD = 60
"""Blocks that are looked at before the first one is told: the title is among them."""
_PAGE_ENDS = re.compile(rb"lastRenderedPageBreak|type=[\"']page[\"']|pageBreakBefore")
"""What tells of pages: where they ended when the file was last shown, or else where its author ends them."""
_MARK = re.compile(r"\s*\[\^[^\]]*\]")
_NOTES_OF = {"footnote": "footnotes", "endnote": "endnotes"}
_HOLDERS = frozenset({"body", "sdtContent", "customXml", "ins", "moveTo", "smartTag", "sdt"})


def docx_blocks(package: Package, main: str) -> Iterator[Block]:
    """Yield the blocks of a Word file whose main part has this name."""
    document = _Document(package, main)
    found = document.blocks()
    ahead = list(islice(found, _AHEAD))
    metadata = core_metadata(package, document.styles.language)
    yield evolve(metadata, title=metadata.title or document.title)
    said = {block_text(block).lstrip("# ").casefold() for block in ahead} | {metadata.title.casefold()}
    yield from document.margins(said)
    yield from chain(ahead, found)
    if document.context.pictures:
        count = document.context.pictures
        yield Remark(text=f"{count} picture{'s have' if count > 1 else ' has'} no alternative text", lost=True)


class _Document:
    """One Word file while its text is read."""

    def __init__(self, package: Package, main: str) -> None:
        self._package = package
        self._main = main
        relations = package.relations(main)
        self._parts = {each.kind: each.target for each in relations.values() if not each.is_external}
        self._margin_parts = [each.target for each in relations.values() if each.kind in ("header", "footer")]
        self.styles = WordStyles(package.optional_tree(self._parts.get("styles", "")))
        self._numbers = Numbers(package.optional_tree(self._parts.get("numbering", "")))
        self._notes = {kind: self._by_id(part, kind) for kind, part in _NOTES_OF.items()}
        self._comments = self._by_id("comments", "comment")
        self._marks: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()
        self._shift = 0
        """1 below a title: its headings stand one level deeper."""
        self.title = ""
        """The text of the first paragraph in the style of that name."""
        ends = set(package.find_all(main, _PAGE_ENDS))
        self._has_pages = bool(ends)
        self.context = WordContext(
            package=package, styles=self.styles, relations=relations, blocks_in=self.blocks_in,
            pages_by_layout=b"lastRenderedPageBreak" in ends,
        )  # fmt: skip

    def _by_id(self, part: str, name: str) -> dict[str, Any]:
        root = self._package.optional_tree(self._parts.get(part, ""))
        return {attribute(each, "id"): each for each in root if name_of(each) == name} if root is not None else {}

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks of the text."""
        yield from with_captions(joined_code(self._placed(self._body())))

    def _body(self) -> Iterator[Block]:
        for each in self._package.elements(self._main, "p", "tbl", "altChunk"):
            if _is_in_text(each):
                yield from self._read(each)
                let_go(each)

    def _placed(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Give each block its page, where the file tells any."""
        page = 1
        if self._has_pages:
            yield PageBreak(number=page)
        for block in blocks:
            if not isinstance(block, PageBreak):
                yield evolve(block, place=Place(page=page)) if self._has_pages else block
            elif self._has_pages:
                page += 1
                yield PageBreak(number=page)

    def margins(self, said: set[str]) -> Iterator[Block]:
        """Yield what headers and footers say, each line once, but for what the text says and for numbers of pages."""
        for part in dict.fromkeys(self._margin_parts):
            root = self._package.optional_tree(part)
            for each in root.iter("{*}p") if root is not None else ():
                found = self._paragraph(each, self._package.relations(part))
                text = found.line.text()
                few = found.page_fields and len(text.split()) <= 3
                if text and not few and text.casefold() not in said:
                    said.add(text.casefold())
                    yield Paragraph(text=text, links=tuple(found.line.links))

    def blocks_in(self, element: Any) -> Iterator[Block]:
        """Yield the blocks of what stands in a cell or a text box."""
        for each in element:
            name = name_of(each)
            if name in ("p", "tbl", "altChunk"):
                yield from self._read(each)
            elif name in _HOLDERS and not is_on(child(each, "sdtPr", "showingPlcHdr")):
                yield from self.blocks_in(each)

    def _read(self, element: Any) -> Iterator[Block]:
        if name_of(element) == "tbl":
            self.context.fields.clear()  # whatever has not ended by now never will
            yield from read_table(element, self.blocks_in)
        elif name_of(element) == "altChunk":
            found = self.context.relations.get(attribute(element, "id"))
            if found is not None and not found.is_external:
                yield from inner_blocks(self._package, found.target)
        else:
            yield from self._paragraph_blocks(element)

    def _paragraph(self, element: Any, relations: Any = None) -> WordParagraph:
        context = self.context if relations is None else evolve(self.context, relations=relations, fields=[])
        found = WordParagraph(context, mark_of=self._mark)
        found.read(element)
        return found

    def _mark(self, kind: str, id: str) -> str:
        """Return the mark of a note; empty where there is no such note."""
        if id not in self._notes.get(kind, {}):
            return ""
        if (kind, id) not in self._marks:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            self._marks[kind, id] = str(number) if kind == "footnote" else roman(min(number, 3999))
        return self._marks[kind, id]

    def _paragraph_blocks(self, element: Any) -> Iterator[Block]:
        properties = child(element, "pPr")
        style = self.styles.style(value(child(properties, "pStyle"))) if properties is not None else self.styles.default
        if (style.level or outline_level(properties)) and not style.is_contents:
            self.context.fields.clear()
        found = self._paragraph(element)
        # Instructions end in their paragraph; results, such as a table of contents, go on in others.
        self.context.fields[:] = [each for each in self.context.fields if each.is_shown]
        starts_page = not self.context.pages_by_layout and is_on(child(properties, "pageBreakBefore"))
        yield from [PageBreak(number=-1)] * (found.breaks_before + starts_page)
        if not style.is_contents and not style.is_hidden:
            yield from self._main_block(found, properties, style)
        yield from self._notes_of(found)
        yield from found.after
        section = None if self.context.pages_by_layout else child(properties, "sectPr")
        ends_section = section is not None and value(child(section, "type")) != "continuous"
        yield from [PageBreak(number=-1)] * (found.breaks_after + ends_section)

    def _main_block(self, found: WordParagraph, properties: Any, style: Style) -> Iterator[Block]:
        text, links = found.line.text(), tuple(found.line.links)
        own = outline_level(properties)
        level = style.level if own is None else own
        marker = self._marker(properties, style) if text else None
        if style.is_code or (found.line.is_code and not level and marker is None):
            yield Code(text=found.line.lines().replace("\t", "    ").rstrip())
        elif not text:
            return
        elif level:
            yield self._heading(text, level, marker, style)
        elif found.formulas and not found.has_words:
            yield from (Formula(text=tex) for tex in found.formulas)
        elif marker is not None:
            yield ListItem(text=text, depth=marker[1], marker=marker[0], links=links)
        elif style.name in ("quote", "intense quote", "block text", "quotations"):
            yield Quotation(text=text, links=links)
        elif style.name in ("caption", "table caption", "image caption", "figure caption"):
            yield CaptionLine(text=text, links=links)
        else:
            yield Paragraph(text=text, links=links)

    def _heading(self, text: str, level: int, marker: tuple[str, int] | None, style: Style) -> Heading:
        number = "" if marker is None or marker[0] == "-" else marker[0] + " "
        heading = Heading(text=number + _MARK.sub("", text), level=level + self._shift)
        if style.name == "title":
            heading = evolve(heading, level=1)
            self.title, self._shift = self.title or heading.text, 1
        return heading

    def _marker(self, properties: Any, style: Style) -> tuple[str, int] | None:
        """Count a list item; return what stands before it and how deep it is, None where it is none."""
        number = child(properties, "numPr")
        own = child(number, "numId")
        list_id = value(own) if own is not None else style.list_id
        if not list_id or list_id == "0":
            return None
        level = child(number, "ilvl")
        at = as_int(value(level)) if level is not None else self._numbers.level_of(style)
        shown = self._numbers.take(list_id, at)
        return None if shown is None else (shown, max(at + 1, style.depth))

    def _notes_of(self, found: WordParagraph) -> Iterator[Block]:
        for kind, id in found.notes:
            if (kind, id) not in self._told:
                self._told.add((kind, id))
                text, links = self._flat(self._notes[kind][id], _NOTES_OF[kind])
                yield Footnote(mark=self._marks[kind, id], text=text, links=links)
        for id in found.comments:
            comment = self._comments.get(id)
            if comment is not None and ("comment", id) not in self._told:
                self._told.add(("comment", id))
                text, links = self._flat(comment, "comments")
                author = attribute(comment, "author")
                if text:
                    yield Paragraph(text=f"Comment{f' by {author}' if author else ''}: {text}", links=links)

    def _flat(self, element: Any, part: str) -> tuple[str, tuple[str, ...]]:
        """Return a note as one line, with its links."""
        relations = self._package.relations(self._parts[part])
        document, self.context = self.context, evolve(self.context, relations=relations, fields=[])
        try:
            blocks = [block for block in self.blocks_in(element) if not isinstance(block, PageBreak)]
        finally:
            self.context = document
        return flat_text(blocks), tuple(link for block in blocks for link in getattr(block, "links", ()))


def _is_in_text(element: Any) -> bool:
    """Tell whether a paragraph or table is one of the text itself, not inside of a table, a box or a contents list."""
    for above in element.iterancestors():
        name = name_of(above)
        if name == "body":
            return True
        if name not in _HOLDERS:
            return False
        if name == "sdt" and value(child(above, "sdtPr", "docPartObj", "docPartGallery")) == "Table of Contents":
            return False
    return False
