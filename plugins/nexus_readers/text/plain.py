"""Reads plain text: paragraphs, the titles that writers of plain text underline, number or set in capitals, pages.

Logs and patches keep their lines. Lines of a paragraph stay as they are: they may be verses or a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from attrs import define, field

from nexus_core import Block, Code, Heading, PageBreak, Paragraph, Place, ReadHints, component
from nexus_readers.text.source_text import read_text

_UNDERLINE = re.compile(r"([=\-~*^#+_])\1{2,}[ \t]*$")
_NUMBERED = re.compile(r"((?:\d{1,2}|[A-Z])(?:\.\d{1,3}){0,5})(\.?)[ \t]+(?=\S)")
_LEADER = re.compile(r"\.{3,}|(?:\. ){3,}|[ \t]{3,}\d+$")
_FOOT = re.compile(r"\S.*\[Page ([\divxlc]{1,8})\]$", re.IGNORECASE)
_HEAD = re.compile(r"(?:RFC|Internet-Draft)\b.*\d{4}$")
_OVERSTRUCK = re.compile(r".\x08")
_LONGEST_TITLE = 80
_LONGEST_FIRST = 80
_LONGEST_INDENTED = 160


class _Stretch(NamedTuple):
    """Lines that stand together."""

    first: int
    """From 0."""
    lines: list[str]

    @property
    def indent(self) -> int:
        line = self.lines[0]
        return len(line) - len(line.lstrip(" \t"))


@component
class PlainReader:
    """Reads plain text."""

    version = "2"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        yield from blocks_of(source.text)


@component
class LogReader:
    """Reads logs, patches and whatever else must keep its lines."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        text = source.text.strip("\n")
        if text.strip():
            line = source.text.index(text) + 1 and source.text.count("\n", 0, source.text.index(text)) + 1
            language = "diff" if hints.suffix in (".diff", ".patch") else ""
            yield Code(text=text, language=language, place=Place(line=line, last_line=line + text.count("\n")))


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of a plain text."""
    if "\b" in text:
        text = _OVERSTRUCK.sub("", text)
    pages = text.split("\f")
    line = 0
    titles = _Titles(text)
    for number, page in enumerate(pages, 1):
        stretches = list(_stretches(page, line))
        if len(pages) > 1 and (stretches or number < len(pages)):
            label = _trim_page(stretches)
            yield PageBreak(number=number, label=label if label != str(number) else "")
        yield from titles.blocks(stretches)
        line += page.count("\n")


def _stretches(text: str, line: int) -> Iterator[_Stretch]:
    held: list[str] = []
    for number, written in enumerate(text.split("\n"), line):
        written = written.rstrip()
        if written:
            held.append(written)
        elif held:
            yield _Stretch(number - len(held), held)
            held = []
    if held:
        yield _Stretch(text.count("\n") + line + 1 - len(held), held)


def _trim_page(stretches: list[_Stretch]) -> str:
    """Take the line at the foot of a page that tells its number, and the one at its head; return the number."""
    label = ""
    if stretches and (foot := _FOOT.match(stretches[-1].lines[-1])):
        label = foot[1]
        stretches[-1].lines.pop()
    if len(stretches) > 1 and len(stretches[0].lines) == 1 and _HEAD.match(stretches[0].lines[0]) and label:
        stretches[0].lines.pop()
    stretches[:] = [stretch for stretch in stretches if stretch.lines]
    return label


@define(eq=False)
class _Titles:
    """Tells titles from text, by how the document writes them."""

    text: str
    indented: bool = field(init=False)
    """The text is indented, as in manuals and RFCs: what begins at the margin is a title."""
    titled: int = 0
    """1 where the document has a title of its own above all others."""
    begun: bool = False
    lines: list[str] = field(factory=list)
    """The signs that titles are underlined with, in the order in which they came."""

    def __attrs_post_init__(self) -> None:
        sample = [line for line in self.text[:100_000].split("\n") if line.strip()]
        indented = sum(line.startswith(("  ", "\t")) for line in sample)
        self.indented = len(sample) > 5 and indented >= 0.5 * len(sample)

    def blocks(self, stretches: list[_Stretch]) -> Iterator[Block]:
        """Yield the blocks of a page."""
        for at, stretch in enumerate(stretches):
            if len(stretch.lines) == 1 and len(stretch.lines[0]) > _LONGEST_INDENTED:  # surely no title
                yield _paragraph(stretch)
                self.begun = True
                continue
            following = stretches[at + 1] if at + 1 < len(stretches) else None
            yield from self._blocks(stretch, following)
            self.begun = True

    def _blocks(self, stretch: _Stretch, following: _Stretch | None) -> Iterator[Block]:
        place = Place(line=stretch.first + 1, last_line=stretch.first + len(stretch.lines))
        first = stretch.lines[0].strip()
        level = self._underlined(stretch, following)
        if level:
            yield Heading(text=" ".join(first.split()), level=level, place=place)
            if rest := stretch.lines[2:]:
                yield from self._blocks(_Stretch(stretch.first + 2, rest), following)
            return
        level = self._level(stretch, following)
        if level:
            yield Heading(text=" ".join(first.split()), level=level, place=place)
            if rest := stretch.lines[1:]:
                yield _paragraph(_Stretch(stretch.first + 1, rest))
        else:
            yield _paragraph(stretch)

    def _underlined(self, stretch: _Stretch, following: _Stretch | None) -> int:
        """Return the level of a title with a line below it, 0 for what is none."""
        if len(stretch.lines) < 2 or not (under := _UNDERLINE.match(stretch.lines[1].strip())):
            return 0
        title = stretch.lines[0].strip()
        has_more = len(stretch.lines) > 2 or following is not None
        if not has_more or len(title) > _LONGEST_TITLE or not any(map(str.isalnum, title)):
            return 0
        if not 0.5 * len(title) <= len(stretch.lines[1].strip()) or "  " in title:
            return 0  # the head of a table
        if under[1] not in self.lines:
            self.lines.append(under[1])
        return self.lines.index(under[1]) + 1 + self.titled

    def _level(self, stretch: _Stretch, following: _Stretch | None) -> int:
        """Return the level of a title on a line of its own, 0 for what is none."""
        title = stretch.lines[0].strip()
        alone = len(stretch.lines) == 1
        if len(title) > _LONGEST_TITLE or (alone and following is None) or _LEADER.search(title):
            return 0
        body = following if alone else None
        if not self.begun and alone and _is_title(title):
            self.titled = 1
            return 1
        numbered = _NUMBERED.match(title)
        if numbered and alone and stretch.indent < 4 and self._heads(numbered, title, stretch, body):
            return numbered[1].count(".") + 1 + self.titled
        if not alone and not (self.indented and not stretch.indent and stretch.lines[1][:1] in " \t"):
            return 0
        if title.isupper() and sum(map(str.isalpha, title)) > 2 and not stretch.indent and title[-1] not in ".,;!":
            return 1 + self.titled
        at_margin = self.indented and not stretch.indent and not numbered
        return 1 + self.titled if at_margin and (body is None or body.indent) and _is_title(title) else 0

    def _heads(self, numbered: re.Match[str], title: str, stretch: _Stretch, body: _Stretch | None) -> bool:
        """Tell whether a numbered line heads what follows, and is no item of a list."""
        words = title[numbered.end() :]
        if (
            body is None
            or title[-1] in ".,;:!?"
            or not (words[0].isupper() or not words[0].isascii() or "." in numbered[1])
        ):
            return False
        if numbered[1].isalpha() and not (numbered[2] and self.indented):
            return False
        return not _NUMBERED.match(body.lines[0].strip()) or body.indent > stretch.indent or len(body.lines) == 1


def _is_title(line: str) -> bool:
    return (
        3 <= len(line) <= _LONGEST_FIRST and line[-1] not in ".,;:!?" and line[0] not in "-*+•|>#_="
        and "   " not in line and any(map(str.isalpha, line))
    )  # fmt: skip


def _paragraph(stretch: _Stretch) -> Paragraph:
    place = Place(line=stretch.first + 1, last_line=stretch.first + len(stretch.lines))
    if len(stretch.lines) == 1:
        return Paragraph(text=stretch.lines[0].strip(), place=place)
    indent = min(len(line) - len(line.lstrip()) for line in stretch.lines)
    first = stretch.lines[0].strip()
    rest = (line[indent:] for line in stretch.lines[1:])
    return Paragraph(text="\n".join([first, *rest]), place=place)
