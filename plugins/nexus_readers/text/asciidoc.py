"""Reads AsciiDoc: headings, delimited blocks, lists, tables, admonitions, notes, links. Includes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from attrs import define, field

from nexus_core import (
    Block,
    Code,
    Figure,
    Formula,
    Heading,
    ListItem,
    Paragraph,
    Place,
    Quotation,
    ReadHints,
    Table,
    component,
)
from nexus_readers.markdown.front_matter import metadata_of
from nexus_readers.markdown.inline import heading_of
from nexus_readers.text.asciidoc_inline import AsciiDocInline
from nexus_readers.text.asciidoc_table import table_of
from nexus_readers.text.notes import with_notes
from nexus_readers.text.source_text import one_line, read_text

_HEADING = re.compile(r"(={1,6}|\#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?[ \t]*$")
_UNDERLINED = {"=": 1, "-": 2, "~": 3, "^": 4, "+": 5}
_UNDERLINE = re.compile(r"([=\-~^+])\1{2,}$")
_ATTRIBUTE = re.compile(r":(!?[\w-]+!?):(?:[ \t]+(.*))?$")
_ATTRIBUTES = re.compile(r"\[(.*)\]$")
_ANCHOR = re.compile(r"\[\[([\w:.-]+)(?:,[^\]]*)?\]\]$")
_DELIMITER = re.compile(r"(-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,}|--|`{3,}|[|,:!]={3,})(.*)$")
_TITLE = re.compile(r"\.([^\s.].*)$")
_ITEM = re.compile(r"[ \t]*(\*{1,6}|\.{1,6}|-|\d{1,9}\.|[a-z]\.|<(?:\d{1,3}|\.)>)[ \t]+(?=\S)")
_TERM = re.compile(r"[ \t]*(\S.*?)(?::{2,4}|;;)(?:[ \t]+(.*))?$")
_TOLD = re.compile(r"(NOTE|TIP|IMPORTANT|WARNING|CAUTION):[ \t]+")
_PICTURE = re.compile(r"image::[^\[\s]*\[([^\]]*)\]$")
_UNSEEN = re.compile(r"(?:include|ifdef|ifndef|ifeval|endif|toc|video|audio)::\S*\[.*\]$")
_RULES = ("'''", "---", "***", "- - -", "* * *", "<<<", "+")
_DEEPEST = 20


@component
class AsciiDocReader:
    """Reads AsciiDoc."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        inline = AsciiDocInline()
        lines = [line.rstrip() for line in source.text.split("\n")]
        blocks = list(_Body(lines, 0, inline).blocks())
        told = {
            name: inline.attributes.get(name, "") for name in ("author", "revdate", "lang", "keywords", "description")
        }
        told["date"] = told.pop("revdate")
        yield metadata_of({name: value for name, value in told.items() if value})
        yield from with_notes(blocks, inline.notes)


@define(eq=False)
class _Body:
    lines: list[str]
    first: int
    """Which line of the file they begin at, from 0."""
    inline: AsciiDocInline
    depth: int = 0
    at: int = 0
    style: str = ""
    """What stands in brackets before a block: `source,python`."""
    title: str = ""
    anchor: str = ""
    lists: list[str] = field(factory=list)
    """The marks of the lists that are open, from the outermost."""
    numbers: list[int] = field(factory=list)
    label: str = ""
    """Of an admonition, until its first paragraph."""

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line:
                self.at += 1
            elif not self._note(line):
                yield from self._block(line)
                self.style = self.anchor = ""

    def place(self, begin: int) -> Place:
        """Return where the lines from one on that were taken stand in the file."""
        return Place(line=self.first + begin + 1, last_line=self.first + max(begin + 1, self.at))

    def _note(self, line: str) -> bool:
        """Take what tells of the block that follows, or of the document; tell whether it is that."""
        if line.startswith("//") and not line.startswith("///"):
            if self.at and not self.lines[self.at - 1]:
                self._leave_lists()  # which keeps lists apart
        elif attribute := _ATTRIBUTE.match(line):
            self.inline.attributes[attribute[1].strip("!").lower()] = self.inline(attribute[2] or "")
        elif anchor := _ANCHOR.match(line):
            self.anchor = anchor[1]
        elif (found := _ATTRIBUTES.match(line)) and not line.startswith("[["):
            self.style = found[1]
            if named := re.search(r"#([\w-]+)|\bid=\"?([\w-]+)", found[1]):
                self.anchor = named[1] or named[2]
        elif (title := _TITLE.match(line)) and not _DELIMITER.match(line) and not _ITEM.match(line):
            self.title = self.inline(title[1])
        elif line in _RULES or _UNSEEN.match(line):
            if line != "+":
                self.lists.clear()
        else:
            return False
        self.at += 1
        return True

    def _block(self, line: str) -> Iterator[Block]:
        begin = self.at
        if (delimiter := _DELIMITER.match(line)) and (not delimiter[2] or line.startswith("```")):
            yield from self._delimited(delimiter[1], delimiter[2])
        elif heading := _HEADING.match(line):
            self.at += 1
            self._leave_lists()
            yield Heading(
                text=heading_of(self.inline(heading[2])),
                level=len(heading[1]),
                anchor=self.anchor,
                place=self.place(begin),
            )
            if len(heading[1]) == 1 and not begin:
                self._header()
        elif self._is_underlined(line):
            self.at += 2
            self._leave_lists()
            level = _UNDERLINED[self.lines[begin + 1][0]]
            yield Heading(text=heading_of(self.inline(line)), level=level, anchor=self.anchor, place=self.place(begin))
        elif picture := _PICTURE.match(line):
            self.at += 1
            alt = self.inline(picture[1].split(",")[0].strip('"'))
            yield from self._titled(Figure(text=alt, caption=self._take_title(), place=self.place(begin)))
        elif item := _ITEM.match(line):
            yield from self._item(item)
        elif (term := _TERM.match(line)) and not term[1].endswith(":"):
            yield from self._term(term)
        elif line[0] in " \t" and not self.lists:
            held = self._take_lines()
            yield Code(text="\n".join(held), place=self.place(begin))
        else:
            yield from self._paragraph()

    def _titled(self, block: Figure) -> Iterator[Block]:
        if block.text or block.caption:
            yield block

    def _take_title(self) -> str:
        title, self.title = self.title, ""
        return title

    def _leave_lists(self) -> None:
        self.lists.clear()
        self.numbers.clear()

    def _header(self) -> None:
        """Take the line of the author and that of the revision, below the title."""
        for name in ("author", "revdate"):
            line = self.lines[self.at] if self.at < len(self.lines) else ""
            if not line or line[0] in ":/[=" or len(line) > 200:
                return
            self.inline.attributes[name] = re.sub(r"\s*<[^<>]*>", "", line) if name == "author" else _date(line)
            self.at += 1

    def _is_underlined(self, line: str) -> bool:
        below = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        return bool(_UNDERLINE.match(below)) and abs(len(below) - len(line)) <= 2 and any(map(str.isalnum, line))

    def _take_lines(self) -> list[str]:
        """Take the lines up to a blank one, or to what ends a paragraph."""
        held = [self.lines[self.at]]
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            delimiter = _DELIMITER.match(line)
            if not line or line == "+" or (delimiter and not delimiter[2]) or (self.lists and _ITEM.match(line)):
                break
            if self.lists and _TERM.match(line):
                break
            if not line.startswith("//") and not _UNSEEN.match(line):
                held.append(line)
            self.at += 1
        return held

    def _text(self, lines: list[str]) -> str:
        text = self.inline(one_line(line.removesuffix(" +") for line in lines))
        label, self.label = self.label, ""
        return f"{label}: {text}" if label else text

    def _paragraph(self) -> Iterator[Block]:
        begin, style = self.at, self.style.partition(",")[0].lower()
        if self.lines[begin - 1] != "+" if begin else True:
            self._leave_lists()
        held = self._take_lines()
        place = self.place(begin)
        if title := self._take_title():
            yield Paragraph(text=title, place=place)
        if style in ("source", "listing", "literal"):
            yield Code(text="\n".join(held), language=_language(self.style), place=place)
            return
        if told := _TOLD.match(held[0]):
            held[0] = held[0][told.end() :]
            self.label = told[1].capitalize()
        elif style.upper() in ("NOTE", "TIP", "IMPORTANT", "WARNING", "CAUTION"):
            self.label = style.capitalize()
        text = self._text(held)
        yield Quotation(text=text, place=place) if style in ("quote", "verse") else Paragraph(text=text, place=place)

    def _item(self, item: re.Match[str]) -> Iterator[Block]:
        begin, mark = self.at, item[1] if not item[1][0].isdigit() else "1."
        if title := self._take_title():
            yield Paragraph(text=title, place=self.place(begin))
        if mark not in self.lists:
            self.lists.append(mark)
            self.numbers.append(0)
        depth = self.lists.index(mark) + 1
        del self.lists[depth:], self.numbers[depth:]
        self.numbers[-1] += 1
        self.lines[begin] = self.lines[begin][item.end() :]
        text = self._text(self._take_lines())
        numbered = mark[0] in ".1<" or mark[-1] == "."
        marker = f"{self.numbers[-1]}." if numbered else "-"
        yield ListItem(text=text, depth=depth, marker=marker, place=self.place(begin))

    def _term(self, term: re.Match[str]) -> Iterator[Block]:
        begin = self.at
        self.lists = ["::"]
        self.numbers = [0]
        words = self.inline(term[1])
        self.at += 1
        while self.at < len(self.lines) and not term[2] and not self.lines[self.at]:
            self.at += 1
        if term[2]:
            self.at -= 1
            self.lines[begin] = term[2]
        line = self.lines[self.at] if self.at < len(self.lines) else ""
        is_text = bool(line) and not _ITEM.match(line) and not _HEADING.match(line) and not _DELIMITER.match(line)
        text = self._text(self._take_lines()) if is_text and (term[2] or not _TERM.match(line)) else ""
        yield ListItem(text=f"{words}: {text}" if text else words, place=self.place(begin))

    def _delimited(self, mark: str, rest: str) -> Iterator[Block]:
        begin = self.at
        end = next((at for at in range(begin + 1, len(self.lines)) if self.lines[at] == mark), len(self.lines))
        held = self.lines[begin + 1 : end]
        self.at = end + 1
        place, kind, style = self.place(begin), mark[0], self.style.partition(",")[0].lower()
        if "=" in mark[1:] and kind in "|,:!":
            rows, header = table_of(held, self.style, kind, self.inline)
            if rows or header:
                yield Table(rows=rows, header=header, caption=self._take_title(), place=place)
        elif kind == "/" or style == "comment":
            return
        elif kind == "+":
            text = "\n".join(held).strip()
            if style in ("stem", "latexmath", "asciimath") and text:
                yield Formula(text=text, notation="text" if style == "asciimath" else "tex", place=place)
        elif (kind in "-." and mark != "--") or kind == "`" or style in ("source", "listing", "literal"):
            if title := self._take_title():
                yield Paragraph(text=title, place=place)
            if any(held):
                yield Code(
                    text="\n".join(held).strip("\n"), language=rest.strip() or _language(self.style), place=place
                )
        else:
            yield from self._inside(held, begin + 1, kind, style)

    def _inside(self, held: list[str], begin: int, kind: str, style: str) -> Iterator[Block]:
        """Yield the blocks of an example, a sidebar, a quotation."""
        if title := self._take_title():
            yield Paragraph(text=title, place=self.place(begin))
        if self.depth >= _DEEPEST:
            yield Paragraph(text=one_line(held), place=self.place(begin))
            return
        label = style.capitalize() if style.upper() in ("NOTE", "TIP", "IMPORTANT", "WARNING", "CAUTION") else ""
        inner = _Body(held, self.first + begin, self.inline, self.depth + 1, label=label)
        for block in inner.blocks():
            if isinstance(block, Paragraph) and (kind == "_" or style in ("quote", "verse")):
                yield Quotation(text=block.text, place=block.place)
            else:
                yield block


def _language(style: str) -> str:
    parts = [part.strip().strip('"') for part in style.split(",")]
    return parts[1] if len(parts) > 1 and parts[0].partition("%")[0] in ("source", "") and "=" not in parts[1] else ""


def _date(line: str) -> str:
    found = re.search(r"\d{4}-\d{2}-\d{2}", line)
    return found[0] if found else ""
