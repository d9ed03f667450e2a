"""Reads Org: headings by their stars, lists, tables, blocks of code, notes, links; drawers and comments are no text."""

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
from nexus_readers.text.notes import ListDepths, with_notes
from nexus_readers.text.source_text import dedented, one_line, read_text

_HEADING = re.compile(r"(\*+)[ \t]+(?:\[#[A-Z0-9]\][ \t]+)?(.*?)(?:[ \t]+(:(?:[\w@#%]+:)+))?[ \t]*$")
_PRIORITY = re.compile(r"^((?:[A-Z]{3,10}[ \t]+)?)\[#[A-Z0-9]\][ \t]+")
_KEYWORD = re.compile(r"[ \t]*#\+(\w+):[ \t]*(.*)$")
_BEGIN = re.compile(r"[ \t]*#\+begin_(\w+)[ \t]*(\S*)", re.IGNORECASE)
_END = re.compile(r"[ \t]*#\+end_\w+", re.IGNORECASE)
_DELIMITED = frozenset({"src", "example", "quote", "verse", "comment", "export"})
_DRAWER = re.compile(r"[ \t]*:[\w-]+:[ \t]*$")
_FIXED = re.compile(r"[ \t]*:(?: |$)")
_ITEM = re.compile(r"([ \t]*)([-+]|\d{1,9}[.)]|(?<=[ \t])\*)[ \t]+(?=\S)(?:\[@\d+\][ \t]*)?")
_NOTE = re.compile(r"\[fn:([\w-]+)\][ \t]*")
_RULE = re.compile(r"[ \t]*-{5,}[ \t]*$")
_MATH = re.compile(r"\\begin\{(equation|align|gather|displaymath|multline|eqnarray)(\*?)\}|\\\[|\$\$")
_INLINE = re.compile(
    r"""(?<![\w*/+=~])([=~])(?=\S)((?:(?!\1)[^\n]){1,300})(?<=\S)\1(?!\w)
    | \[\[([^\[\]]{1,2000})\](?:\[([^\[\]]{1,1000})\])?\]
    | \[fn:([\w-]*):([^\[\]]*)\]
    | \[fn:([\w-]+)\]
    | \\\((.{1,500}?)\\\)
    | ([\^_])\{([^{}]{1,100})\}
    | (?<![\w*/=~+])\+(?=[^\s+])([^+\n]{1,300})(?<=\S)\+(?!\w)
    | <((?:https?|mailto|ftp):[^<>\s]+)>""",
    re.VERBOSE,
)
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")


@component
class OrgReader:
    """Reads Org."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        document = _Document(source.text.split("\n"))
        blocks = list(document.blocks())
        yield metadata_of(document.keywords)
        yield from with_notes(blocks, document.notes)


@define(eq=False)
class _Document:
    lines: list[str]
    at: int = 0
    keywords: dict[str, str] = field(factory=dict)
    notes: dict[str, tuple[str, Place]] = field(factory=dict)
    caption: str = ""
    """Of the table or picture that follows."""
    depths: ListDepths = field(factory=ListDepths)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks without the notes, which are kept."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                self.at += 1
            elif heading := _HEADING.match(line):
                self.depths.leave()
                text = _PRIORITY.sub(r"\1", heading[2])
                if text:
                    yield Heading(text=heading_of(self.inline(text)), level=len(heading[1]), place=self._place())
                self.at += 1
            else:
                yield from self._block(line)

    def _block(self, line: str) -> Iterator[Block]:
        stripped = line.lstrip()
        if (begin := _BEGIN.match(line)) and begin[1].lower() in _DELIMITED:
            yield from self._delimited(begin[1].lower(), begin[2])
        elif begin or _END.match(line):
            self.at += 1  # of a block that is like any other text
        elif stripped.startswith("#") and (stripped[:2] in ("#", "# ") or _KEYWORD.match(line)):
            self._keyword(line)
            self.at += 1
        elif _DRAWER.match(line) and self._ends_drawer():
            return
        elif stripped.startswith("|"):
            yield self._table()
        elif _FIXED.match(line):
            place, held = self._place(), []
            while self.at < len(self.lines) and _FIXED.match(self.lines[self.at]):
                held.append(self.lines[self.at].lstrip()[2:])
                self.at += 1
            yield Code(text="\n".join(held), place=place)
        elif note := _NOTE.match(line):
            place = self._place()
            self.notes[note[1]] = self.inline(one_line([line[note.end() :], *self._following()])), place
        elif _RULE.match(line):
            self.at += 1
        elif math := _MATH.match(stripped):
            yield self._formula(math)
        else:
            yield from self._text(line)

    def _text(self, line: str) -> Iterator[Block]:
        place, item = self._place(), _ITEM.match(line)
        if item is None and line[:1] not in (" ", "\t"):
            self.depths.leave()
        text = one_line([line[item.end() :] if item else line, *self._following()])
        if item:
            depth = self.depths.depth(len(item[1].expandtabs()))
            marker = item[2] if item[2][0].isdigit() else "-"
            yield ListItem(text=self.inline(text.replace(" :: ", ": ", 1)), depth=depth, marker=marker, place=place)
            return
        caption, self.caption = self.caption, ""
        target = text[2:-2].partition("][")[0].removeprefix("file:") if text.startswith("[[") else ""
        if text.endswith("]]") and text.count("[[") == 1 and target.lower().endswith(_PICTURES):
            if caption:
                yield Figure(text="", caption=caption, place=place)
            return
        yield Paragraph(text=self.inline(text), place=place)

    def _following(self) -> Iterator[str]:
        """Take the lines of the paragraph or list item that begins here, and yield all but the first."""
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            stripped = line.lstrip()
            if not stripped or stripped[0] in "|#" or _HEADING.match(line) or _ITEM.match(line) or _NOTE.match(line):
                return
            if _FIXED.match(line) or _DRAWER.match(line) or _RULE.match(line) or _MATH.match(stripped):
                return
            yield line
            self.at += 1

    def _place(self, last: int | None = None) -> Place:
        return Place(line=self.at + 1, last_line=last)

    def _keyword(self, line: str) -> None:
        found = _KEYWORD.match(line)
        if found is None:
            return
        name = found[1].lower()
        if name == "caption":
            self.caption = self.inline(found[2])
        elif name in ("title", "author", "date", "language", "keywords", "description", "subtitle"):
            before = self.keywords.get(name)
            self.keywords[name] = f"{before} {found[2]}" if before else found[2]
        elif name == "filetags":
            self.keywords["tags"] = found[2].strip(":").replace(":", " ")

    def _ends_drawer(self) -> bool:
        """Pass over a drawer; tell whether it is one."""
        if self.lines[self.at].strip().upper() == ":END:":
            self.at += 1
            return True
        for number in range(self.at + 1, min(self.at + 200, len(self.lines))):
            if self.lines[number].strip().upper() == ":END:":
                self.at = number + 1
                return True
            if self.lines[number].startswith("*"):
                return False
        return False

    def _delimited(self, kind: str, language: str) -> Iterator[Block]:
        place = self._place()
        self.at += 1
        held: list[str] = []
        end = f"#+end_{kind}"
        while self.at < len(self.lines) and self.lines[self.at].strip().lower() != end:
            held.append(self.lines[self.at])
            self.at += 1
        self.at += 1
        if kind in ("src", "example"):
            yield Code(text=dedented(held), language=language if kind == "src" else "", place=place)
        elif kind == "quote":
            for paragraph in "\n".join(held).split("\n\n"):
                if paragraph.strip():
                    yield Quotation(text=self.inline(one_line([paragraph])), place=place)
        elif kind == "verse":
            yield Paragraph(text=self.inline("\n".join(line.strip() for line in held).strip()), place=place)

    def _formula(self, begin: re.Match[str]) -> Block:
        place = self._place()
        end = f"\\end{{{begin[1]}{begin[2]}}}" if begin[1] else "\\]" if begin[0] == "\\[" else "$$"
        held = [self.lines[self.at].lstrip()[begin.end() :]]
        while end not in held[-1] and self.at + 1 < len(self.lines) and self.lines[self.at].strip():
            self.at += 1
            held.append(self.lines[self.at])
        self.at += 1
        text, _, rest = "\n".join(held).partition(end)
        return Formula(text=f"{text.strip()} {rest.strip()}".strip(), place=place)

    def _table(self) -> Block:
        place = self._place()
        rows: list[tuple[str, ...]] = []
        headed = 0
        while self.at < len(self.lines) and self.lines[self.at].lstrip().startswith("|"):
            line = self.lines[self.at].strip()
            if line.startswith("|-"):
                headed = headed or len(rows)
            else:
                rows.append(tuple(self.inline(cell.strip()) for cell in line.strip("|").split("|")))
            self.at += 1
        width = max(map(len, rows), default=0)
        rows = [row + ("",) * (width - len(row)) for row in rows]
        is_headed = headed and headed < len(rows)
        caption, self.caption = self.caption, ""
        header = tuple(one_line(cells) for cells in zip(*rows[:headed], strict=True)) if is_headed else ()
        return Table(header=header, rows=tuple(rows[headed:] if is_headed else rows), caption=caption, place=place)

    def inline(self, text: str) -> str:
        """Return a line of Org as blocks have it."""
        return _INLINE.sub(self._replaced, text) if re.search(r"[=~\[\\{+<]", text) else text

    def _replaced(self, found: re.Match[str]) -> str:
        mark, code, target, words, named, note, reference, tex, script, raised, struck, url = found.groups()
        if mark:
            return f"`{code}`"
        if target:
            target = target.removeprefix("file:")
            return f"[{words}]({target})" if words else target
        if note is not None:
            mark = named or str(len(self.notes) + 1)
            self.notes[mark] = one_line([note]), self._place()
            return f"[^{mark}]"
        if reference:
            return f"[^{reference}]"
        return f"${tex}$" if tex else f"{script}{raised}" if script else f"~~{struck}~~" if struck else url
