"""Reads Markdown as GitHub shows it: blocks, with the text in them as it is written; front matter, notes, pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import BinaryIO

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
    Paragraph,
    Place,
    Quotation,
    ReadHints,
    Remark,
    Table,
    component,
)
from nexus_readers.markdown.front_matter import front_matter
from nexus_readers.markdown.inline import inline, label_of, words_of
from nexus_readers.markdown.lines import plain_parts
from nexus_readers.markdown.parts import Part
from nexus_readers.text.source_text import read_text

_NAME = re.compile(r"\{#([\w.:-]+)[^}]*\}")
_DEFINITION = re.compile(
    r""" {0,3}\[((?:[^\[\]\\]|\\.){1,400})\]:[ \t]*\n?[ \t]*(?:<([^<>\n]*)>|([^\s<]\S*))"""
    r"""(?:[ \t]*\n?[ \t]+(?:"[^"]*"|'[^']*'|\([^()]*\)))?[ \t]*(?:\n|$)"""
)
_NOTE_MARK = re.compile(r"\[\^([^\[\]\s]{1,100})\]")
_FIGURE = re.compile(
    r"!\[((?:[^\[\]\\`]|\\.|\[[^\[\]]*\])*)\]\(\s*(?:<[^<>]*>|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)"
    r"(?:\s+(?:\"([^\"]*)\"|'([^']*)'))?\s*\)"
)
_FORMULA = re.compile(r"\$\$([^$]+)\$\$")
_ALERT = re.compile(r"\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\][ \t]*(?:\n|$)")
_HARD_BREAK = re.compile(r"(?: {2,}|\\)\n")
_WIDE = r"\u2e80-\u312f\u3190-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60"
_BETWEEN_WIDE = re.compile(rf"(?<=[{_WIDE}]) ?\n(?=[{_WIDE}])")
_COMMENT = re.compile(r"<!--(?:(?!-->).)*-->", re.DOTALL)
_OPEN_TABLE = re.compile(r"<table\b", re.IGNORECASE)
_END_OF_TABLE = re.compile(r"</table\s*>", re.IGNORECASE)


@component
class MarkdownReader:
    """Reads Markdown."""

    version = "3"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        yield from blocks_of(source.text)


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of a Markdown document."""
    front = front_matter(text)
    yield front.metadata
    if front.text:
        yield Paragraph(text=front.text, place=Place(line=1, last_line=front.lines))
    parts = plain_parts(text, front.lines)
    if parts is None:
        parser = import_module("nexus_readers.markdown.tokens")  # most documents need no parser
        lines = text.split("\n")
        body = "\n".join([""] * front.lines + lines[front.lines :])  # in its place, so that line numbers stay true
        parts, too_deep = parser.parsed_parts(body)
        if too_deep:
            yield Remark(
                text="has lists or quotations too deep inside of each other; what is deepest is left out", lost=True
            )
        parts = list(_whole_tables(parts, lines))
    yield from _Writer().blocks(parts)


def _whole_tables(parts: Sequence[Part], lines: list[str]) -> Iterator[Part]:
    """Yield the parts with tables in HTML in one piece: Markdown takes a blank line for the end of HTML."""
    after, last_end = 0, -1
    for number, line in enumerate(lines):
        if "</" in line and _END_OF_TABLE.search(line):
            last_end = number
    for part in parts:
        if part.line < after:
            continue
        opened = part.kind == "html" and part.line < last_end and part.after <= last_end
        if opened and len(_OPEN_TABLE.findall(part.text)) > len(_END_OF_TABLE.findall(part.text)):
            after = (
                next(number for number in range(part.after, last_end + 1) if _END_OF_TABLE.search(lines[number])) + 1
            )
            part = part._replace(text="\n".join(lines[part.line : after]), after=after)
        yield part


@define(eq=False)
class _Writer:
    """Makes blocks of parts: addresses resolved, notes after what they belong to."""

    references: dict[str, str] = field(factory=dict)
    notes: dict[str, list[Part]] = field(factory=dict)

    def blocks(self, parts: Sequence[Part]) -> Iterator[Block]:
        """Yield the blocks of all parts."""
        left = [part for part in map(self._without_definitions, parts) if part is not None]
        body = [part for part in left if not part.note]
        for part in left:
            if part.note:
                self.notes.setdefault(part.note, []).append(part)
        for part in body:
            for block in self._blocks(part):
                yield block
                if self.notes and (part.kind in ("text", "heading", "table")):
                    yield from self._notes(part)
        for label in list(self.notes):  # nothing refers to it
            yield from self._note(label)

    def _without_definitions(self, part: Part) -> Part | None:
        """Take the addresses that a paragraph begins with; `None` where nothing else is in it."""
        if part.kind not in ("text", "heading") or part.text[:1] != "[" or "]:" not in part.text:
            return part
        if part.kind == "heading" and not part.underlined:
            return part
        at = 0
        while (found := _DEFINITION.match(part.text, at)) and not found[1].startswith("^"):
            target = found[2] if found[2] is not None else found[3]
            self.references.setdefault(label_of(found[1]), target)
            at = found.end()
        if not at:
            return part
        rest = part.text[at:]
        if not rest.strip():
            return None
        return part._replace(text=rest, line=part.line + part.text.count("\n", 0, at))

    def _notes(self, part: Part) -> Iterator[Block]:
        """Yield the notes whose marks stand in a part."""
        texts = [part.text] if part.kind != "table" else [cell for row in part.rows for cell in row]
        for text in texts:
            if "[^" in text:
                for found in _NOTE_MARK.finditer(text):
                    yield from self._note(found[1])

    def _note(self, label: str) -> Iterator[Block]:
        parts = self.notes.pop(label, None)
        if parts is None:
            return
        text = " ".join(self._note_text(part) for part in parts)
        place = Place(line=parts[0].line + 1, last_line=parts[-1].after)
        yield Footnote(mark=label, text=text.strip(), place=place)
        for part in parts:
            yield from self._notes(part)

    def _note_text(self, part: Part) -> str:
        if part.kind == "table":
            return "; ".join(" | ".join(row) for row in part.rows)
        return part.text if part.kind == "code" else self._line(part.text)

    def _line(self, text: str) -> str:
        return inline(one_line(text), self.references)

    def _blocks(self, part: Part) -> Iterator[Block]:
        place = Place(line=part.line + 1, last_line=part.after)
        if part.kind == "text":
            yield from self._text(part, place)
        elif part.kind == "heading":
            words, name = _named(part.text)
            text = words_of(one_line(words), self.references)
            if text:
                yield Heading(text=text, level=part.level, anchor=name, place=place)
        elif part.kind == "code":
            yield from _code(part, place)
        elif part.kind == "table":
            rows = [tuple(self._line(cell) for cell in row) for row in part.rows]
            yield Table(header=rows[0], rows=tuple(row for row in rows[1:] if any(row)), place=place)
        elif (
            part.text.lstrip().startswith("<!--") and part.text.rstrip().endswith("-->") and part.text.count("-->") == 1
        ):
            return
        else:
            yield from _html(part)

    def _text(self, part: Part, place: Place) -> Iterator[Block]:
        if part.marker == ">":
            text = _ALERT.sub(lambda found: f"{found[1].capitalize()}: ", part.text, count=1)
            yield Quotation(text=self._line(text), depth=part.level, place=place)
            return
        text = self._line(part.text)
        if part.marker:
            yield ListItem(text=text, depth=part.level, marker=part.marker, place=place)
        elif formula := _FORMULA.fullmatch(part.text.strip()):
            yield Formula(text=formula[1].strip(), place=place)
        elif part.text.startswith("![") and (figure := self._figure(part.text)) is not None:
            if figure.text or figure.caption:
                yield Figure(text=figure.text, caption=figure.caption, place=place)
        elif text:
            yield Paragraph(text=text, place=place)

    def _figure(self, written: str) -> Figure | None:
        """Return the picture that a paragraph is, where it is nothing else."""
        written = one_line(written)
        if found := _FIGURE.fullmatch(written):
            return Figure(text=words_of(found[1], self.references), caption=found[2] or found[3] or "")
        reference = re.fullmatch(r"!\[([^\[\]]*)\](?:\[([^\[\]]*)\])?", written)
        if reference and label_of(reference[2] or reference[1]) in self.references:
            return Figure(text=words_of(reference[1], self.references))
        return None


def _html(part: Part) -> Iterator[Block]:
    """Yield the blocks of HTML that stands between those of Markdown."""
    # Most documents need no parser of HTML.
    for block in import_module("nexus_readers.web.html").page_blocks(part.text):
        if not isinstance(block, Metadata):
            line = min(part.line + (block.place.line or 1), part.after)
            yield evolve(block, place=Place(line=line, last_line=part.after))


def _code(part: Part, place: Place) -> Iterator[Block]:
    language = part.marker.split(maxsplit=1)[0].strip("{}.,") if part.marker else ""
    if language == "math":
        yield Formula(text=part.text.strip(), place=place)
    elif part.text.strip():
        yield Code(text=part.text, language=language, place=place)


def one_line(text: str) -> str:
    """Return what stands on several lines of a paragraph as one: Chinese and Japanese have no space in between."""
    if "\n" in text:
        text = _HARD_BREAK.sub(" \n", text)
        if not text.isascii():
            text = _BETWEEN_WIDE.sub("", "\n".join(map(str.strip, text.split("\n"))))
    return " ".join(text.split())


def _named(content: str) -> tuple[str, str]:
    """Return a heading without the name of its place, and that: `# Words {#name}`."""
    content = content.strip()
    begin = content.rfind("{#") if content.endswith("}") else -1
    named = _NAME.fullmatch(content, begin) if begin >= 0 else None
    return (content[:begin].rstrip(), named[1]) if named else (content, "")
