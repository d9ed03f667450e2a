"""Cuts the text of an item into what can be cited: sentences, list entries, table rows, stretches of code.

Headings are never cited, and a list entry, a row or a stretch of code never without what introduces it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from attrs import define, field, frozen

from nexus_core.toolkit.text import sentences

Form = Literal["sentence", "entry", "row", "code"]

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)[\s#]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
_FENCE = re.compile(r"\s{0,8}(`{3,}|~{3,})")
_ENTRY = re.compile(r"\s*([-*+•–]|\d{1,3}[.)])\s+(?=\S)")
_ROW = re.compile(r"\s*\|.*\|\s*$")
_DELIMITER = re.compile(r"\s*\|[\s:|-]*-[\s:|-]*$")
_CELL_BOUND = re.compile(r"(?<!\\)\|")
_NOTHING = re.compile(r"\s*(?:(?:[-*_=] ?){3,}|<!--.*-->|\[[^\]]+\]: *\S.*|!\[[^\]]*\]\([^)]*\))?\s*$")
"""What says nothing: a blank line, a rule, a comment, a link's address, a picture."""
_GAP = re.compile(r"\n…\n|(?<=\S) … (?=\S)")
"""Where passages of an item are left out."""
_QUOTED = re.compile(r"\s{0,3}>\s?")
_BOLD = re.compile(r"(?:\*\*|__)([^*_]{1,80})(?:\*\*|__):?$")
_ENDED = re.compile(r"[.!?…:;,。！？][\"'”’)\]]*$")

_LONG_ENTRY = 300
"""Characters beyond which a list entry is cited by its sentences."""
_LONG_HEADING = 7
"""Words up to which a line of plain text that stands alone may be a heading."""
_LOWEST = 7
"""The level of headings without marks: below all others."""
_SHOWN_LINES = 14
"""Of a stretch of code."""
_SHOWN_LINE = 200
"""Characters of a line of code."""
_LONGEST = 600
"""Characters beyond which what stands without any stop is cut between words."""


@frozen(kw_only=True, eq=False, repr=False)
class Unit:
    """Something that can be cited, in its original wording."""

    text: str
    place: int
    """From 0, in the order of the item."""
    block: int
    """Sentences of one paragraph have the same number."""
    form: Form = "sentence"
    mark: str = ""
    """What an entry begins with, `-` or `2.`, or how a fence opens."""
    under: str = ""
    """The headings it stands under, below the item's title."""
    lead: int | None = None
    """The place of the sentence that introduces an entry, a row or a fence."""
    follows: str = ""
    """That sentence; for code that has none, the heading."""


def units(text: str, kind: str) -> list[Unit]:
    """Return the units of a text in order."""
    cutter = _Cutter(marked=kind == "markdown")
    for stretch in _GAP.split(text):
        cutter.begin(stretch)
        if kind == "code":
            cutter.cut_code()
        else:
            cutter.cut_document()
    return cutter.found


@define(eq=False, repr=False)
class _Cutter:
    marked: bool
    """Headings have marks."""
    lines: list[str] = field(factory=list)
    found: list[Unit] = field(factory=list)
    _headings: list[tuple[int, str]] = field(factory=list)
    _lead: Unit | None = None
    _block: int = 0

    def begin(self, text: str) -> None:
        """Go on with a text that does not join on to the one before."""
        self.lines = text.split("\n")
        self._lead = None
        self._block += 1
        if inside := self._starts_inside_a_fence():
            self._add(_code(self.lines[: inside - 1]), "code", "```")
            self.lines = self.lines[inside:]

    def _starts_inside_a_fence(self) -> int:
        """Return the line after the fence that ends what the text begins with, 0 where it begins with no code.

        A passage may be cut out of the middle of a stretch of code. Then a fence has no partner, and the first one has
        no name of a language and stands right after something.
        """
        fences = [at for at, line in enumerate(self.lines) if _FENCE.match(line)]
        if len(fences) % 2 == 0 or self.lines[fences[0]].strip().strip("`~"):
            return 0
        before = self.lines[fences[0] - 1].strip() if fences[0] else "code"
        return 0 if not before or before.endswith(":") else fences[0] + 1

    def cut_document(self) -> None:
        at = 0
        while at < len(self.lines):
            at = self._next(at)

    def cut_code(self) -> None:
        """Take stretches between blank lines at the outermost level, none of them too long to be shown."""
        begin = 0
        for number, line in enumerate([*self.lines, ""]):
            after = self.lines[number + 1] if number + 1 < len(self.lines) else ""
            if (not line.strip() and not after[:1].isspace()) or number - begin >= _SHOWN_LINES:
                self._add(_code(self.lines[begin:number]), "code", "```")
                begin = number

    def _next(self, at: int) -> int:
        """Take what begins at a line, and return where it ends."""
        line = self.lines[at]
        if fence := _FENCE.match(line):
            return self._fence(at, fence[1])
        if _NOTHING.match(line):
            return at + 1
        if heading := _HEADING.match(line):
            self._head(len(heading[1]), heading[2])
            return at + 1
        if _ROW.match(line):
            return self._table(at)
        if entry := _ENTRY.match(line):
            return self._entry(at, entry)
        return self._paragraph(at)

    def _head(self, level: int, heading: str) -> None:
        self._headings = [(other, name) for other, name in self._headings if other < level]
        self._headings.append((level, heading))
        self._lead = None

    def _add(self, text: str, form: Form = "sentence", mark: str = "") -> None:
        if re.search(r"\w", text):
            led = self._lead if form != "sentence" else None
            heading = self._headings[-1][1] if self._headings and form == "code" else ""
            unit = Unit(
                text=text,
                place=len(self.found),
                block=self._block,
                form=form,
                mark=mark,
                under=" > ".join(name for _, name in self._headings),
                lead=led.place if led else None,
                follows=led.text if led else heading,
            )
            self.found.append(unit)

    def _fence(self, at: int, mark: str) -> int:
        end = next(
            (n for n in range(at + 1, len(self.lines)) if self.lines[n].strip().startswith(mark)), len(self.lines)
        )
        body = self.lines[at + 1 : end]
        if self._lead is None and self.found and self.found[-1].under == " > ".join(name for _, name in self._headings):
            self._lead = self.found[-1] if self.found[-1].form == "sentence" else None
        self._block += 1
        self._add(_code(body), "code", self.lines[at].strip())
        self._block += 1
        return end + 1

    def _table(self, at: int) -> int:
        end = at
        while end < len(self.lines) and _ROW.match(self.lines[end]):
            end += 1
        rows = [_cells(line) for line in self.lines[at:end] if not _DELIMITER.match(line)]
        headed = end - at > 1 and _DELIMITER.match(self.lines[at + 1]) is not None
        for row in rows[headed:]:
            named = zip(rows[0] if headed else [""] * len(row), row, strict=False)
            self._block += 1
            text = ", ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell)
            self._add(text[:_LONGEST], "row", "-")
        return end

    def _entry(self, at: int, opening: re.Match[str]) -> int:
        end = self._end(at)
        text = _joined([self.lines[at][opening.end() :], *self.lines[at + 1 : end]])
        self._block += 1
        if len(text) <= _LONG_ENTRY:
            self._add(text, "entry", opening[1])
        else:
            self._add_sentences(text)
        return end

    def _end(self, at: int) -> int:
        """Return the line at which a paragraph or an entry ends: before a blank one or what begins something else."""
        for number in range(at + 1, len(self.lines)):
            line = self.lines[number]
            if any(pattern.match(line) for pattern in (_NOTHING, _ENTRY, _HEADING, _ROW, _FENCE)):
                return number
        return len(self.lines)

    def _paragraph(self, at: int) -> int:
        end = self._end(at)
        below = self.lines[end] if end < len(self.lines) else ""
        if end == at + 1 and _UNDERLINE.match(below) and self.marked:
            self._head(1 if "=" in below else 2, self.lines[at].strip())
            return end + 1
        text = _joined([_QUOTED.sub("", line, count=1) for line in self.lines[at:end]])
        bold = _BOLD.match(text)
        if bold or (end == at + 1 and self._is_heading(text, end)):
            self._head(_LOWEST, bold[1] if bold else text)
            return end
        self._block += 1
        self._add_sentences(text)
        self._lead = self.found[-1] if text.endswith(":") and self.found else None
        return end

    def _add_sentences(self, text: str) -> None:
        for first, last in sentences(text):
            for piece in _short(text[first:last]):
                self._add(piece)

    def _is_heading(self, text: str, end: int) -> bool:
        """Tell whether a line alone is a heading without a mark: short, not ended, with something after it."""
        short = len(text.split()) <= _LONG_HEADING and not _ENDED.search(text) and not text[:1].islower()
        return not self.marked and short and any(line.strip() for line in self.lines[end:])


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL_BOUND.split(line.strip()[1:-1])]


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(line.split()) for line in lines)


def _code(lines: list[str]) -> str:
    shown = [line if len(line) <= _SHOWN_LINE else line[:_SHOWN_LINE] + " ..." for line in lines[:_SHOWN_LINES]]
    return "\n".join([*shown, *(["..."] if lines[_SHOWN_LINES:] else [])]).strip("\n")


def _short(text: str) -> Iterator[str]:
    while len(text) > _LONGEST:
        cut = text.rfind(" ", 1, _LONGEST)
        cut = cut if cut > 0 else _LONGEST
        yield text[:cut]
        text = text[cut:].lstrip()
    if text:
        yield text
