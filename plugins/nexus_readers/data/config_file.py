"""Reads files of settings (YAML, TOML, INI, properties) as their own lines, comments included, by their keys.

They are not parsed: comments answer questions, too, and what is asked for is a line to be found and changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO

from attrs import field, frozen

from nexus_core import Block, Code, Heading, Place, ReadHints, Remark, component
from nexus_readers.text.source_text import read_text

SMALL = 600
"""Characters up to which keys stand together."""
MOST_NAMES = 4
LARGE = 2_500
"""Characters under one key beyond which the keys in it are headings, too."""
DEEPEST = 6
_KEY = re.compile(
    r"""(?:- )?\s{0,20}(?:"([^"\n]{1,200})"|'([^'\n]{1,200})'|([^\s#:'"\[{\-][^:#\n]{0,200}))\s*:(?:\s|\Z)"""
)
_NAME = re.compile(r"- +(?:name|id|title|key|hosts|uses|job_name|alert) *: *[\"']?([^\"'#\n]{1,200})")
_KIND, _OWN_NAME = re.compile(r"kind:\s*(\S{1,100})"), re.compile(r"\s{1,8}name:\s*[\"']?([^\"'#\s]{1,100})")
_SECTION = re.compile(r"\s*\[{1,2}\s*([^\[\]\n]{1,200}?)\s*\]{1,2}\s*(?:[#;].*)?")
_TEXT_BLOCK = re.compile(r"""[:-]\s+[|>][+-]?\d?\s*(?:\#.*)?\Z|^[|>][+-]?\s*\Z""")


@frozen
class KeySpan:
    """Some lines of a file, and how deep they are indented."""

    first: int
    last: int
    indent: int = 0
    level: int = field(default=1, kw_only=True)


@component
class YamlReader:
    """Reads .yaml."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the lines, under a heading for each key of the outermost level, and more where there is much in one."""
        decoded = read_text(file, hints)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        lines = decoded.text.split("\n")
        bounds = [-1, *(at for at, line in enumerate(lines) if line.rstrip() == "---"), len(lines)]
        documents = [KeySpan(first + 1, last) for first, last in pairwise(bounds) if last > first + 1]
        filled = [span for span in documents if any(line.strip() for line in lines[span.first : span.last])]
        for span in filled:
            level = 1
            if len(filled) > 1 and (name := _document_name(lines[span.first : span.last])):
                yield Heading(text=name, level=1, implied=True, place=Place(line=span.first + 1))
                level = 2
            yield from _keys(lines, KeySpan(span.first, span.last, 0, level=level))


def _document_name(lines: Sequence[str]) -> str:
    """Return what one of several documents is called, as Kubernetes has it: `Deployment web`."""
    kind = next((found[1] for line in lines if (found := _KIND.match(line))), "")
    name = next((found[1] for line in lines if (found := _OWN_NAME.match(line))), "") if kind else ""
    return f"{kind} {name}".strip()


def _keys(lines: Sequence[str], span: KeySpan) -> Iterator[Block]:
    """Yield the lines of a span under the keys at its level of indentation, small ones together."""
    starts = [span.first, *_starts(lines, span)]
    together: list[KeySpan] = []
    size = 0
    for first, last in zip(starts, [*starts[1:], span.last], strict=True):
        length = sum(map(len, lines[first:last])) + last - first
        if together and size + length > SMALL:
            yield from _group(lines, together, span)
            together, size = [], 0
        together.append(KeySpan(first, last))
        size += length
    yield from _group(lines, together, span)


def _group(lines: Sequence[str], spans: Sequence[KeySpan], around: KeySpan) -> Iterator[Block]:
    """Yield some keys together; one with much in it by the keys inside of it."""
    first, last = spans[0].first, spans[-1].last
    owns = [next((at for at in range(s.first, s.last) if _begins(lines[at], around.indent)), -1) for s in spans]
    names = [name for own in owns if own >= 0 and (name := _name_of(lines[own]))]
    if names:
        more = ", ..." if len(names) > MOST_NAMES else ""
        text = ", ".join(names[:MOST_NAMES]) + more
        yield Heading(text=text, level=min(around.level, DEEPEST), implied=True, place=Place(line=first + 1))
    size = sum(map(len, lines[first:last])) + last - first
    if size > LARGE and around.level < DEEPEST and names and len(spans) == 1:
        deeper = _inner_indent(lines, owns[0] + 1, last, around.indent)
        if deeper:
            head = next(at for at in range(owns[0] + 1, last) if _begins(lines[at], deeper))
            yield from _code(lines, first, head, "yaml")
            yield from _keys(lines, KeySpan(head, last, deeper, level=around.level + 1))
            return
    yield from _code(lines, first, last, "yaml")


def _starts(lines: Sequence[str], span: KeySpan) -> list[int]:
    """Return where keys begin, with the comments right above them."""
    starts: list[int] = []
    comment = -1
    text_indent = -1
    for at in range(span.first, span.last):
        line = lines[at]
        if not line.strip():
            comment = -1
            continue
        indent = len(line) - len(line.lstrip(" "))
        if text_indent >= 0 and indent > text_indent:
            continue  # inside of a text over several lines
        text_indent = indent if _TEXT_BLOCK.search(line[-100:]) else -1
        if line.lstrip().startswith("#"):
            comment = at if comment < 0 else comment
        elif _begins(line, span.indent):
            starts.append(comment if comment >= 0 else at)
            comment = -1
        else:
            comment = -1
    return [at for at in starts if at > span.first]


def _begins(line: str, indent: int) -> bool:
    if line[:indent].strip() or line[indent : indent + 1] in (" ", "\t", "#", ""):
        return False
    return line.startswith("- ", indent) or _KEY.match(line, indent) is not None


def _inner_indent(lines: Sequence[str], first: int, last: int, indent: int) -> int:
    """Return how deep the keys inside of a key are indented; 0 where there are none."""
    for line in lines[first:last]:
        inner = len(line) - len(line.lstrip(" "))
        if line.strip() and not line.lstrip().startswith("#"):
            return inner if inner > indent and _begins(line, inner) else 0
    return 0


def _name_of(line: str) -> str:
    """Return what a key, or an entry of a list, is called."""
    line = line.strip()
    if named := _NAME.match(line):
        return named[1].strip()
    if found := _KEY.match(line):
        name = next(filter(None, found.groups())).strip()
        rest = line[found.end() :].strip(" \"'")
        return f"{name} {rest}"[:100] if line.startswith("- ") and rest else name
    return line[2:].strip()[:100] if line.startswith("- ") else ""


def _code(lines: Sequence[str], first: int, last: int, language: str) -> Iterator[Block]:
    """Yield lines as they are, without blank ones around."""
    while first < last and not lines[first].strip():
        first += 1
    while last > first and not lines[last - 1].strip():
        last -= 1
    if first < last:
        yield Code(text="\n".join(lines[first:last]), language=language, place=Place(line=first + 1, last_line=last))


def _sections(file: BinaryIO, hints: ReadHints, language: str) -> Iterator[Block]:
    """Yield the lines of a file whose sections begin with a name in brackets."""
    decoded = read_text(file, hints)
    if decoded.problem:
        yield Remark(text=decoded.problem)
    lines = decoded.text.split("\n")
    first = 0
    for at, line in enumerate(lines):
        found = _SECTION.fullmatch(line[:300]) if line.lstrip().startswith("[") else None
        if found is not None:
            begin = _with_comments(lines, at, first)
            yield from _code(lines, first, begin, language)
            first = begin
            yield Heading(text=found[1].strip(" \"'"), level=1, implied=True, place=Place(line=begin + 1))
    yield from _code(lines, first, len(lines), language)


def _with_comments(lines: Sequence[str], at: int, first: int) -> int:
    """Return where the comments right above a line begin."""
    while at - 1 > first and lines[at - 1].lstrip().startswith(("#", ";")):
        at -= 1
    return at


@component
class TomlReader:
    """Reads .toml."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the lines, under a heading for each table."""
        yield from _sections(file, hints, "toml")


@component
class IniReader:
    """Reads .ini and the like."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the lines, under a heading for each section."""
        yield from _sections(file, hints, "ini")
