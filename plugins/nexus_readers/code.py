"""Reads source code: a long file of code falls into stretches, named after what they define."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from nexus_core import Block, ReadHints, Remark, component
from nexus_core.toolkit import cut, decode
from nexus_readers.legacy import OldSection, ReadResult, blocks_of

SIZE = 3000
"""Characters of a section, about: some eighty lines."""

_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|unsafe|extern|inline|virtual|override"
    r"|const|open|sealed|partial|data|suspend|pub(?:\([a-z:]{1,20}\))?)\s+)*"
)
_DEFINITION = re.compile(
    rf"(?P<indent>[ \t]*){_MODIFIERS}(?:def|class|function\*?|func|fun|fn|interface|struct|enum|trait|impl|type|module"
    r"|namespace|object|protocol|record|sub|create\s+(?:or\s+replace\s+)?(?:table|view|function|procedure))"
    r"\s+(?:\([^)]{0,80}\)\s*)?(?P<name>[A-Za-z_$][\w$.]*)",
    re.IGNORECASE,
)
_BOUND_FUNCTION = re.compile(
    r"(?P<indent>)(?:export\s+)?(?:const|let|var)\s+(?P<name>[\w$]+)\s*=\s*(?:async\s*)?(?:\(|function\b|\w+\s*=>)"
)
_C_FUNCTION = re.compile(r"(?P<indent>)[A-Za-z_][\w:<>,*&\[\] ]{0,100}[ *&](?P<name>[A-Za-z_][\w:~]*)\s*\([^;]{0,200}$")
_C_WORDS = frozenset({"if", "for", "while", "switch", "return", "else", "catch", "sizeof"})
_CLOSING = (")", "]", "}", "end", "else", "fi", "done", "esac")
_LONGEST_LINE = 300
_NAMED_AT_MOST = 4


def read(text: str, suffix: str) -> ReadResult:
    """Return a source file with its sections."""
    lines = text.split("\n")
    c_like = suffix in (".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".java", ".cs", ".m")
    defined = [_defined(line, c_like) for line in lines]
    around = list(_around(lines, defined))
    sections = []
    for first, last in cut(lines, _starts(lines), SIZE):
        heading = _heading(defined[first:last], around[first])
        piece = "\n".join(lines[first:last]).strip("\n")
        if piece.strip():
            anchor = heading[-1].split(", ")[0] if heading else ""
            sections.append(OldSection(text=piece, headings=heading, anchor=anchor, line=first + 1))
    return ReadResult(text=text.strip("\n"), sections=tuple(sections), kind="code")


def _defined(line: str, c_like: bool) -> tuple[bool, str]:
    """Return what a line defines, and whether it does so at the outermost level."""
    if len(line) > _LONGEST_LINE:
        return False, ""
    match = _DEFINITION.match(line) or _BOUND_FUNCTION.match(line) or (_C_FUNCTION.match(line) if c_like else None)
    if match is None or match["name"] in _C_WORDS:
        return False, ""
    return not match["indent"], match["name"]


def _around(lines: list[str], defined: list[tuple[bool, str]]) -> Iterator[str]:
    """Yield for each line the definition of the outermost level that it stands inside of."""
    name = ""
    for line, (top, defines) in zip(lines, defined, strict=True):
        if line and not line[0].isspace():
            yield ""
            if not line.startswith((*_CLOSING, "#", "//", "{")):
                name = defines if top else ""
        else:
            yield name


def _starts(lines: list[str]) -> list[int]:
    """Return the lines at which something new begins at the outermost level, after a blank line."""
    starts = [0]
    for number in range(1, len(lines)):
        line = lines[number]
        if line and not line[0].isspace() and not lines[number - 1].strip() and not line.startswith(_CLOSING):
            starts.append(number)
    return starts


def _heading(defined: list[tuple[bool, str]], around: str) -> tuple[str, ...]:
    """Return the headings of a stretch: what it defines outermost, else what it is inside of and defines there."""
    tops = [name for top, name in defined if top]
    names = tops or [name for _, name in defined if name]
    return tuple(filter(None, ("" if tops else around, _listed(list(dict.fromkeys(names))))))


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


@component
class CodeReader:
    """Reads code."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        decoded = decode(file.read(), hints.default_encoding, hints.encoding)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        yield from blocks_of(read(decoded.text, hints.suffix))
