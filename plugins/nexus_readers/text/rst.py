"""Reads reStructuredText: headings by their lines, directives by what they hold, tables, notes, links. Runs nothing.

docutils is slower by far, and drops what the roles and directives of Sphinx hold, which it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from attrs import define, field

from nexus_core import Block, Code, Heading, ListItem, Paragraph, Place, Quotation, ReadHints, component
from nexus_readers.markdown.front_matter import metadata_of
from nexus_readers.markdown.inline import heading_of
from nexus_readers.text.notes import with_notes
from nexus_readers.text.rst_directives import directive_blocks
from nexus_readers.text.rst_inline import RstInline
from nexus_readers.text.rst_tables import grid_table, is_grid, is_simple, simple_table
from nexus_readers.text.source_text import one_line, read_text

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{1,}[ \t]*$")
_BULLET = re.compile(r"([-*+•‣])(?:[ \t]+(?=\S)|$)")
_NUMBER = re.compile(r"(\(?(?:\d{1,9}|#|[A-Za-z]|[ivxlcIVXLC]{2,6})[.)])[ \t]+(?=\S)")
_EXPLICIT = re.compile(r"\.\.(?:[ \t]+|$)")
_DIRECTIVE = re.compile(r"(?:\|([^|\n]{1,200})\|[ \t]+)?([\w:.+-]+)[ \t]?::(?:[ \t]+(.*)|[ \t]*)$")
_NOTE = re.compile(r"\[(#?[\w.-]*|\*)\][ \t]+|\[(#?[\w.-]*|\*)\]$")
_TARGET = re.compile(r"_(`[^`\n]+`|(?:[^:\\\n]|\\.)+):(?:[ \t]+(.*))?$|__[ \t]+(.*)$")
_FIELD = re.compile(r":((?:[^:\\\n`]|\\.|:`[^`]*`)+):(?:[ \t]+(.*)|[ \t]*)$")
_OPTION = re.compile(
    r"-{1,2}[A-Za-z][\w-]*(?:[ =][\w<>-]+)?(?:, -{1,2}[A-Za-z][\w-]*(?:[ =][\w<>-]+)?)*(?:[ ]{2,}\S|$)"
)
_LINE_BLOCK = re.compile(r"\|(?:[ \t]+|$)")
_DEEPEST = 30
"""Bodies inside of bodies; what is deeper is read as one paragraph."""


@component
class RstReader:
    """Reads reStructuredText."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        lines = [line.expandtabs(8).rstrip() for line in source.text.split("\n")]
        document = Document(RstInline(lines))
        blocks = list(document.blocks(lines, 0, top=True))
        yield metadata_of(document.fields)
        yield from with_notes(blocks, document.notes)


@define(eq=False)
class Document:
    """What is known of a document while it is read."""

    inline: RstInline
    styles: list[str] = field(factory=list)
    """How headings are adorned, in the order of their levels."""
    fields: dict[str, str] = field(factory=dict)
    notes: dict[str, tuple[str, Place]] = field(factory=dict)

    def blocks(
        self, lines: list[str], first: int, *, top: bool = False, depth: int = 0, lists: int = 0
    ) -> Iterator[Block]:
        """Yield the blocks of some lines, the first of which is that line of the file, from 0."""
        if depth > _DEEPEST:
            yield Paragraph(text=one_line(lines), place=Place(line=first + 1))
            return
        yield from _Body(self, lines, first, top, depth, lists).blocks()


@define(eq=False)
class _Body:
    document: Document
    lines: list[str]
    first: int
    top: bool
    depth: int
    lists: int
    at: int = 0
    literal: bool = False
    """What is indented below is code: the paragraph before ends with `::`."""

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line:
                self.at += 1
                continue
            if line[0] == " ":
                yield from self._indented()
            else:
                self.literal = False
                yield from self._structure(line)

    def _structure(self, line: str) -> Iterator[Block]:
        if heading := self._heading(line):
            yield heading
        elif _EXPLICIT.match(line) or line.startswith("__ "):
            yield from self._explicit(line)
        elif bullet := _BULLET.match(line) or _NUMBER.match(line):
            yield from self._item(bullet)
        elif is_grid(self.lines, self.at) or is_simple(self.lines, self.at):
            yield from self._table()
        elif _LINE_BLOCK.match(line):
            yield from self._line_block()
        elif line.startswith(">>> "):
            place, held = self.place(), self._take_paragraph()
            yield Code(text="\n".join(held), place=place)
        elif _OPTION.match(line):
            yield from self._option()
        elif told := _FIELD.match(line):
            yield from self._field(told)
        elif _ADORNMENT.match(line) and len(line) >= 4 and not self._below():
            self.at += 1  # a rule
        else:
            yield from self._paragraph()

    def inline(self, text: str) -> str:
        """Return a line as blocks have it."""
        return self.document.inline(text)

    def inner(self, lines: list[str], at: int) -> Iterator[Block]:
        """Yield the blocks of lines inside, which begin at a line of these."""
        return self.document.blocks(lines, self.first + at, depth=self.depth + 1, lists=self.lists)

    def place(self, at: int | None = None, last: int | None = None) -> Place:
        """Return where a line stands in the file."""
        return Place(line=self.first + (self.at if at is None else at) + 1, last_line=last and self.first + last)

    def _below(self) -> str:
        return self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""

    def _heading(self, line: str) -> Heading | None:
        """Take a heading with a line below it, or with one above and one below."""
        if not self.top:
            return None
        below, over = self._below(), _ADORNMENT.match(line)
        if over and len(line) >= 3 and self.at + 2 < len(self.lines) and below.strip():
            under = self.lines[self.at + 2]
            if under == line or (under[:2] == line[:2] and _ADORNMENT.match(under) and len(under) == len(line)):
                return self._headed(below, over[1] * 2, 3)
        under_match = _ADORNMENT.match(below)
        if under_match is None or (over and len(line) > 2) or _EXPLICIT.match(line):
            return None
        return self._headed(line, under_match[1], 2) if len(below) >= min(4, len(line)) else None

    def _headed(self, title: str, style: str, lines: int) -> Heading:
        styles = self.document.styles
        if style not in styles:
            styles.append(style)
        heading = Heading(
            text=heading_of(self.document.inline(title.strip())),
            level=styles.index(style) + 1,
            place=self.place(last=self.at + lines),
        )
        self.at += lines
        return heading

    def _take_lines(self, indent: int = 1) -> tuple[list[str], int]:
        """Take the lines that are indented, with blank ones between; return them without their indentation, and where
        they begin.
        """
        begin = self.at
        while self.at < len(self.lines) and (not self.lines[self.at] or self.lines[self.at].startswith(" " * indent)):
            self.at += 1
        held = self.lines[begin : self.at]
        least = min((len(line) - len(line.lstrip()) for line in held if line), default=0)
        return [line[least:] for line in held], begin

    def _indented(self) -> Iterator[Block]:
        held, begin = self._take_lines()
        literal, self.literal = self.literal, False
        if literal:
            text = "\n".join(held).strip("\n")
            if text:
                yield Code(text=text, place=self.place(begin))
            return
        for block in self.document.blocks(held, self.first + begin, depth=self.depth + 1, lists=self.lists):
            yield Quotation(text=block.text, place=block.place) if isinstance(block, Paragraph) else block

    def _explicit(self, line: str) -> Iterator[Block]:
        """Take what begins with two dots: a directive, a note, a target, or a comment."""
        found = _EXPLICIT.match(line)
        rest = line[found.end() :] if found else line
        begin = self.at
        self.at += 1
        body, at = self._take_lines()
        while body and not body[0]:
            body, at = body[1:], at + 1
        if directive := _DIRECTIVE.match(rest):
            if directive[1]:
                return  # a substitution, which the inline writer knows
            yield from directive_blocks(self, directive[2].lower(), directive[3] or "", body, (begin, at))
        elif note := _NOTE.match(rest):
            text = one_line([rest[note.end() :], *body])
            mark = self.document.inline.note_mark((note[1] if note[1] is not None else note[2]) or "#", defines=True)
            self.document.notes[mark] = self.document.inline(text), self.place(begin)
        elif _TARGET.match(rest) or not found:
            return

    def _item(self, found: re.Match[str]) -> Iterator[Block]:
        begin, width = self.at, found.end()
        first = self.lines[self.at][width:]
        self.at += 1
        following = self._below_item(width)
        rest, _ = self._take_lines(min(width, following)) if following else ([], 0)
        marker = found[1] if found[1] not in ("*", "+", "•", "‣") else "-"
        marker = "1." if marker.startswith("#") else marker
        inner = self.document.blocks([first, *rest], self.first + begin, depth=self.depth + 1, lists=self.lists + 1)
        for number, block in enumerate(inner):
            if number == 0 and isinstance(block, Paragraph):
                yield ListItem(text=block.text, depth=self.lists + 1, marker=marker, place=block.place)
            else:
                yield block

    def _below_item(self, width: int) -> int:
        """Return how far the rest of a list item is indented; 0 where it has no more."""
        for line in self.lines[self.at : self.at + 3]:
            if line:
                return min(width, len(line) - len(line.lstrip()))
        return 0

    def _table(self) -> Iterator[Block]:
        read = grid_table if is_grid(self.lines, self.at) else simple_table
        begin = self.at
        table, self.at = read(self.lines, self.at, self.document.inline, self.place(begin))
        yield table

    def _line_block(self) -> Iterator[Block]:
        begin = self.at
        held: list[str] = []
        while self.at < len(self.lines) and (
            self.lines[self.at][:1] == "|" or (held and self.lines[self.at][:1] == " ")
        ):
            held.append(self.lines[self.at].lstrip("| "))
            self.at += 1
        text = "\n".join(self.document.inline(line) for line in held)
        if text.strip():
            yield Paragraph(text=text.strip("\n"), place=self.place(begin))

    def _field(self, told: re.Match[str]) -> Iterator[Block]:
        begin, name = self.at, told[1]
        self.at += 1
        rest, _ = self._take_lines()
        text = self.document.inline(one_line([told[2] or "", *rest]))
        if self.top and self.first + begin < 60 and name.lower() in ("author", "authors", "date", "language", "title"):
            self.document.fields[name.lower()] = text
        elif text:
            yield Paragraph(text=f"{self.document.inline(name)}: {text}", place=self.place(begin))

    def _option(self) -> Iterator[Block]:
        """Take an option of a program and what it does."""
        begin, line = self.at, self.lines[self.at]
        names, _, first = line.partition("  ")
        self.at += 1
        rest, _ = self._take_lines()
        text = self.document.inline(one_line([first, *rest]))
        yield ListItem(text=": ".join(filter(None, (f"`{names.strip()}`", text))), place=self.place(begin, self.at))

    def _take_paragraph(self) -> list[str]:
        held: list[str] = []
        while self.at < len(self.lines) and self.lines[self.at] and (not held or self.lines[self.at][0] != " "):
            held.append(self.lines[self.at])
            self.at += 1
        return held

    def _paragraph(self) -> Iterator[Block]:
        begin = self.at
        held = self._take_paragraph()
        text = one_line(held)
        if self.at < len(self.lines) and self.lines[self.at] and len(held) == 1 and not text.endswith("::"):
            yield from self._defined(text, begin)  # a term, and what it means right below
            return
        if text.endswith("::"):
            self.literal = True
            text = text[:-2].rstrip() if text.endswith(" ::") or text == "::" else text[:-1]
        if text:
            yield Paragraph(text=self.document.inline(text), place=self.place(begin, self.at))

    def _defined(self, term: str, begin: int) -> Iterator[Block]:
        yield Paragraph(text=self.document.inline(term.replace(" : ", ": ")), place=self.place(begin))
        held, at = self._take_lines()
        yield from self.document.blocks(held, self.first + at, depth=self.depth + 1, lists=self.lists)
