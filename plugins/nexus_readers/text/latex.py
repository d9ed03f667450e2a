"""Reads LaTeX: headings, lists, tables, formulas, code, notes, quotations; runs no macro and includes no file.

The text is walked once. What a command does with its argument is done where the brace closes, so nothing is nested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from attrs import define, evolve, field

from nexus_core import (
    Block,
    Figure,
    Formula,
    Heading,
    ListItem,
    Metadata,
    Paragraph,
    Place,
    Quotation,
    ReadHints,
    Table,
    component,
)
from nexus_readers.markdown.inline import heading_of
from nexus_readers.text.latex_signs import (
    CODE,
    DROPPED,
    FORMULAS,
    PUNCTUATION,
    SECTIONS,
    SIGNS,
    STYLED,
    TABLES,
    UNITS,
    UNSEEN,
    WRAPPED,
    accented,
    is_accent,
    letter_at,
    matched_braces,
)
from nexus_readers.text.latex_table import block_of
from nexus_readers.text.notes import with_notes
from nexus_readers.text.source_text import one_line, read_text

_TOKEN = re.compile(
    r"""\\(begin|end)[ \t]*\{([^{}\n]{1,60})\}
    | \\([A-Za-z@]+)\*?[ \t]*
    | \\(.|\n)
    | (\$\$?)
    | ([{}~])
    | (\n[ \t]*\n\s*)
    | (``|''|---?|"`|"')
    | (%[^\n]*\n?[ \t]*)""",
    re.VERBOSE,
)
_DEFINED = re.compile(r"\\[A-Za-z@]+[^{}\n]{0,100}")
_DEEPEST = 2
"""Tables in each other; the cells of deeper ones are text."""
_MACRO = re.compile(
    r"\\(?:(?:re|provide)?newcommand\*?[ \t]*\{?|[gex]?def[ \t]*)\\([A-Za-z@]+)[ \t]*\}?[ \t]*\{([^{}\\#%]{1,300})\}"
)
"""A name for some words, as a version has one."""
_UNITS = re.compile(r"\\([A-Za-z]+)[ \t]*")
_SECTION = re.compile(r"\\(part|chapter|section|subsection|subsubsection|paragraph|subparagraph)\b")
_OPTION = re.compile(r"\[[^\[\]]{0,1000}\][ \t]*")


@component
class LatexReader:
    """Reads LaTeX."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        walk = _Walk(source.text, macros=dict(_MACRO.findall(source.text)))
        begin = source.text.find("\\begin{document}")
        title, author, date = (walk.argument_of(name, begin) for name in ("title", "author", "date"))
        walk.at = begin + len("\\begin{document}") if begin >= 0 else 0
        blocks = walk.blocks()
        yield Metadata(title=title, author=author, date=date)
        yield from with_notes(blocks, walk.notes)


def inline(text: str, depth: int = 0) -> str:
    """Return a stretch of LaTeX as one line of text; how deep it stands in others."""
    walk = _Walk(text, depth=depth)
    return one_line(getattr(block, "text", "") for block in walk.blocks())


@define(eq=False)
class _Walk:
    text: str
    at: int = 0
    depth: int = 0
    """Of tables in each other."""
    ends: dict[str, int] = field(factory=dict)
    """Where each end of a formula, and a blank line, comes next; beyond the text where none does."""
    out: list[Block] = field(factory=list)
    notes: dict[str, tuple[str, Place]] = field(factory=dict)
    marks: int = 0
    """Notes so far."""
    macros: dict[str, str] = field(factory=dict)
    """The words that the document has names for."""
    pieces: list[str] = field(factory=list)
    waiting: list[list[str]] = field(factory=list)
    """What was being written where an argument began that goes elsewhere."""
    closes: dict[int, list[Callable[[], None]]] = field(factory=dict)
    """What is to be done at a closing brace."""
    braces: dict[int, int] = field(init=False)
    lists: list[int] = field(factory=list)
    """Of each open list the number of its last item; -1 where it has bullets."""
    marker: str = ""
    quotes: int = 0
    begins: list[int] = field(factory=list)
    """Where the blocks of the open tables and figures begin."""
    caption: str = ""
    outermost: int = field(init=False)
    line: int = 1
    counted: int = 0
    since: int | None = None
    """Where the paragraph begins."""

    def __attrs_post_init__(self) -> None:
        self.braces = matched_braces(self.text)
        used = [SECTIONS.index(found[1]) for found in _SECTION.finditer(self.text)]
        self.outermost = min(used, default=0)

    def argument_of(self, name: str, before: int) -> str:
        """Return the argument of a command such as `title` before a place."""
        found = re.compile(rf"\\{name}[ \t]*(?:\[[^\[\]]*\])?[ \t]*\{{").search(
            self.text, 0, before if before >= 0 else 20_000
        )
        end = self.braces.get(found.end() - 1) if found else None
        written = self.text[found.end() : end] if found and end else "\\today"
        return inline(written).replace(" ,", ",") if "\\today" not in written else ""

    def blocks(self) -> list[Block]:
        """Return the blocks from here on."""
        while found := _TOKEN.search(self.text, self.at):
            self._write(self.text[self.at : found.start()])
            self.at = found.end()
            kind, name, command, sign, dollar, brace, blank, mark, _ = found.groups()
            if kind:
                if name.strip() == "document" and kind == "end":
                    break
                self._environment(kind, name.strip().rstrip("*"))
            elif command:
                self._command(command)
            elif sign:
                self._sign(sign)
            elif dollar:
                self._formula(dollar, dollar, display=dollar == "$$")
            elif brace:
                self._brace(brace, found.start())
            elif blank:
                self._end_paragraph()
            elif mark:
                self._write(PUNCTUATION[mark])
        else:
            self._write(self.text[self.at :])
        while self.waiting:  # braces that nothing closes
            self.pieces = self.waiting.pop() + self.pieces
        self._end_paragraph()
        return self.out

    def _write(self, text: str) -> None:
        if text:
            if self.since is None and text.strip():
                self.since = self.at
            self.pieces.append(text)

    def _place(self, at: int) -> Place:
        if at >= self.counted:
            self.line += self.text.count("\n", self.counted, at)
            self.counted = at
        return Place(line=self.line)

    def _end_paragraph(self) -> None:
        if self.waiting:
            self.pieces.append(" ")
            return
        text = _joined(self.pieces)
        self.pieces = []
        since, self.since = self.since, None
        if not text:
            return
        place = self._place(since or 0)
        if self.marker:
            self.out.append(ListItem(text=text, depth=max(1, len(self.lists)), marker=self.marker, place=place))
            self.marker = ""
        elif self.quotes > 0:
            self.out.append(Quotation(text=text, depth=self.quotes, place=place))
        else:
            self.out.append(Paragraph(text=text, place=place))

    def _brace(self, brace: str, at: int) -> None:
        if brace == "~":
            self._write(" ")
        elif brace == "}":
            for close in self.closes.pop(at, ()):
                close()

    def _wrap(self, opened: str, closed: str) -> bool:
        """Write before and after the argument that begins here; tell whether there is one."""
        return self._argument(opened, lambda: self._write(closed))

    def _argument(self, opened: str, closed: Callable[[], None]) -> bool:
        """Write before the argument that begins here, and do something after it; tell whether there is one."""
        while option := _OPTION.match(self.text, self.at):
            self.at = option.end()
        end = self.braces.get(self.at)
        if end is None:
            return False
        self.at += 1
        self._write(opened)
        self.closes.setdefault(end, []).append(closed)
        return True

    def _apart(self, done: Callable[[str], None]) -> None:
        """Give the argument that begins here to somebody else than the paragraph."""

        def close() -> None:
            text = _joined(self.pieces)
            self.pieces = self.waiting.pop()
            done(text)

        if self._argument("", close):
            self.waiting.append(self.pieces)
            self.pieces = []

    def _raw(self) -> str:
        """Take an argument as it is written."""
        end = self.braces.get(self.at)
        if end is None:
            return ""
        text = self.text[self.at + 1 : end]
        self.at = end + 1
        return text

    def _command(self, name: str) -> None:
        if name in SECTIONS:
            self._end_paragraph()
            self._head(SECTIONS.index(name) - self.outermost + 1, self._place(self.at))
        elif name in ("footnote", "footnotetext", "thanks"):
            self.marks += 1
            mark, place = str(self.marks), self._place(self.at)
            self._write(f"[^{mark}]" if name == "footnote" else "")
            self._note(mark, place)
        elif name == "caption":
            self._caption()
        elif name in ("item", "bibitem"):
            self._item(name)
        elif name == "href":
            target = self._raw()
            if not self._wrap("[", f"]({target})"):
                self._write(target)
        elif name in ("verb", "lstinline"):
            self._verb()
        elif name in DROPPED:
            self._drop()
        elif name in ("def", "gdef", "edef", "let") and (defined := _DEFINED.match(self.text, self.at)):
            self.at = defined.end()
            self._drop()
        elif is_accent(name) and len(name) == 1:
            self._accent(name)
        elif name in ("ref", "eqref", "autoref", "cref", "Cref", "pageref", "url", "nolinkurl"):
            self._write(self._raw())
        elif name in STYLED:
            if option := _OPTION.match(self.text, self.at):
                self.at = option.end()
            if name != "hyperref":
                self._raw()  # how it looks
        elif name in WRAPPED:
            self._wrap(*WRAPPED[name])
        elif name in SIGNS:
            self._write(SIGNS[name])
        elif name in self.macros:
            self._write(self.macros[name])
        elif name in ("SI", "qty", "num", "ang", "si", "unit"):
            self._quantity(name)
        elif option := _OPTION.match(self.text, self.at):
            self.at = option.end()

    def _quantity(self, name: str) -> None:
        """Write a number and its unit, as siunitx has them."""
        while option := _OPTION.match(self.text, self.at):
            self.at = option.end()
        number = self._raw() if name not in ("si", "unit") else ""
        unit = self._raw() if name not in ("num", "ang") else ""
        unit = _UNITS.sub(lambda part: UNITS.get(part[1], part[1]), unit).strip()
        self._write(f"{number}{' ' * bool(number and unit)}{unit}" + "°" * (name == "ang"))

    def _head(self, level: int, place: Place) -> None:
        def close(text: str) -> None:
            if text:
                self.out.append(Heading(text=heading_of(text), level=level, place=place))

        self._apart(close)

    def _note(self, mark: str, place: Place) -> None:
        def close(text: str) -> None:
            self.notes[mark] = text, place

        self._apart(close)

    def _caption(self) -> None:
        def close(text: str) -> None:
            self.caption = text

        self._apart(close)

    def _drop(self) -> None:
        """Pass over the arguments of a command, and what it defines."""
        while True:
            if option := _OPTION.match(self.text, self.at):
                self.at = option.end()
            elif self.at in self.braces:
                self.at = self.braces[self.at] + 1
            elif self.text.startswith("\\", self.at) and re.match(
                r"\\[A-Za-z@]+[ \t]*[\[{]", self.text[self.at : self.at + 60]
            ):
                return
            else:
                return

    def _verb(self) -> None:
        while option := _OPTION.match(self.text, self.at):
            self.at = option.end()
        sign = self.text[self.at : self.at + 1]
        end = self.text.find("}" if sign == "{" else sign, self.at + 1) if sign else -1
        if 0 < end <= self.at + 1000:
            self._write(f"`{self.text[self.at + 1 : end]}`")
            self.at = end + 1

    def _accent(self, name: str) -> None:
        letter, self.at = letter_at(self.text, self.at)
        self._write(accented(name, letter))

    def _sign(self, sign: str) -> None:
        if sign in "([":
            self._formula("\\)" if sign == "(" else "\\]", "$", display=sign == "[")
        elif is_accent(sign):
            self._accent(sign)
        elif sign in "&%$#_{}":
            self._write(sign)
        elif sign not in "-/@!)]":
            self._write(" ")  # a line break, or a thin space
            if sign == "\\" and (option := _OPTION.match(self.text, self.at)):
                self.at = option.end()

    def _formula(self, end: str, mark: str, *, display: bool) -> None:
        """Take a formula up to its end: on its own, or within the sentence."""
        place = self._next(end)
        while end == "$" and self.text[place - 1 : place] == "\\":
            place = self._next(end, place + 1)
        tex = self.text[self.at : place] if place < min(len(self.text), self._next("\n\n")) else ""
        if not tex.strip():
            self._write(mark if end == "$" else "")
            return
        begin, self.at = self.at, place + len(end)
        tex = " ".join(tex.split())
        if display and not self.waiting:
            self._end_paragraph()
            self.out.append(Formula(text=tex, place=self._place(begin)))
        else:
            self._write(f"${tex}$")

    def _next(self, sign: str, at: int = -1) -> int:
        """Return where a sign comes next; the end of the text where it does not."""
        at = max(at, self.at)
        if self.ends.get(sign, -1) < at:
            place = self.text.find(sign, at)
            self.ends[sign] = place if place >= 0 else len(self.text)
        return self.ends[sign]

    def _item(self, name: str) -> None:
        self._end_paragraph()
        label = ""
        if option := _OPTION.match(self.text, self.at):
            self.at = option.end()
            label = inline(option[0].strip()[1:-1]) if len(option[0]) < 500 else option[0]
        if name == "bibitem":
            self.marker = "-"
            self._write(f"[{self._raw()}] ")
            return
        if self.lists and self.lists[-1] >= 0:
            self.lists[-1] += 1
        self.marker = f"{self.lists[-1]}." if self.lists and self.lists[-1] > 0 else "-"
        if label:
            self._write(f"{label}: ")

    def _environment(self, kind: str, name: str) -> None:
        is_table = name in TABLES
        if kind == "begin" and (name in (FORMULAS | CODE | UNSEEN) or (is_table and self.depth < _DEEPEST)):
            self._verbatim(name)
            return
        self._end_paragraph()
        if name in ("itemize", "enumerate", "description", "compactitem", "compactenum", "thebibliography"):
            if kind == "begin":
                self.lists.append(0 if "enum" in name else -1)
            elif self.lists:
                self.lists.pop()
            self.marker = ""
        elif name in ("quote", "quotation", "displayquote"):
            self.quotes += 1 if kind == "begin" else -1
        elif name in ("figure", "table", "wrapfigure", "subfigure", "sidewaystable"):
            self._float(kind, name)
        if kind == "begin" and name != "itemize":
            self._drop()

    def _float(self, kind: str, name: str) -> None:
        """Begin or end a figure or table, whose caption may stand before or after it."""
        if kind == "begin":
            self.begins.append(len(self.out))
            return
        begin = self.begins.pop() if self.begins else len(self.out)
        caption, self.caption = self.caption, ""
        if not caption:
            return
        for number in range(begin, len(self.out)):
            block = self.out[number]
            if isinstance(block, Table):
                self.out[number] = evolve(block, caption=caption)
                return
        self.out.append(Figure(text="", caption=caption, place=self._place(self.at)))

    def _verbatim(self, name: str) -> None:
        """Take what stands in an environment whose content is not walked."""
        begin = self.at
        found = re.compile(rf"\\end[ \t]*\{{{re.escape(name)}\*?\}}").search(self.text, begin)
        content = self.text[begin : found.start()] if found else self.text[begin:]
        self.at = found.end() if found else len(self.text)
        self._end_paragraph()
        place = self._place(begin)
        block = block_of(name, content, place, lambda cell: inline(cell, self.depth + 1))
        if block is not None:
            self.out.append(block)


def _joined(pieces: list[str]) -> str:
    return " ".join("".join(pieces).split())
