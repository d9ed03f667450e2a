"""Reads source code: sections are functions and classes, by the grammar of its language or else by its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO

from attrs import frozen

from nexus_core import Block, Code, Heading, Place, ReadHints, Remark, component
from nexus_core.toolkit import cut, decode, version_with
from nexus_readers.code_grammars import Definition, definitions, language_of

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
_MOST_PER_LINE = 400
_TOGETHER, _CRUMB = 800, 200
"""Characters up to which neighbours of one owner stand together, and lines between definitions with those before."""
_LANGUAGES = {
    ".sql": "sql", ".css": "css", ".scss": "scss", ".ps1": "powershell", ".pl": "perl", ".r": "r", ".jl": "julia",
    ".hs": "haskell", ".ex": "elixir", ".exs": "elixir", ".erl": "erlang", ".clj": "clojure", ".dart": "dart",
    ".zig": "zig", ".nim": "nim", ".proto": "protobuf", ".graphql": "graphql", ".tf": "hcl", ".cmake": "cmake",
    ".mk": "makefile", ".groovy": "groovy", ".gradle": "groovy", ".vue": "vue", ".svelte": "svelte", ".zsh": "zsh",
}  # fmt: skip


@frozen
class Stretch:
    """Some lines, and what they define."""

    names: tuple[str, ...]
    first: int
    last: int


@component
class CodeReader:
    """Reads source code; by its grammar with the extra `documents`, by how its lines begin without."""

    version = version_with("2", documents="tree_sitter")

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the lines, under implied headings: what they define."""
        decoded = decode(file.read(), hints.default_encoding, hints.encoding)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        lines = decoded.text.split("\n")
        language = language_of(hints.suffix) or _LANGUAGES.get(hints.suffix, "")
        stretches = _by_grammar(lines, decoded.text, hints.suffix)
        if stretches is None:
            stretches = _by_lines(lines, hints.suffix)
        before: tuple[str, ...] = ()
        for stretch in stretches:
            first, last = _trimmed(lines, stretch)
            if first >= last:
                continue
            if stretch.names != before and stretch.names:
                for level, name in enumerate(stretch.names, 1):
                    if before[:level] != stretch.names[:level]:
                        yield Heading(text=name, level=level, implied=True, place=Place(line=first + 1))
                before = stretch.names
            place = Place(line=first + 1, last_line=last)
            yield Code(text="\n".join(lines[first:last]), language=language, place=place)


def _trimmed(lines: list[str], stretch: Stretch) -> tuple[int, int]:
    """Return where the lines of a stretch begin and end without the blank ones around."""
    first, last = stretch.first, stretch.last
    while first < last and not lines[first].strip():
        first += 1
    while last > first and not lines[last - 1].strip():
        last -= 1
    return first, last


def _by_grammar(lines: list[str], text: str, suffix: str) -> list[Stretch] | None:
    """Return the stretches as the grammar tells them, small ones together; None where it tells nothing."""
    if len(text) > _MOST_PER_LINE * len(lines):
        return None  # written by a program: what it defines tells people nothing
    found = definitions(text, suffix)
    if not found:
        return None
    total = [0, *accumulate(len(line) + 1 for line in lines)]
    pieces = list(_pieces(found, total))
    joined: list[Stretch] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and _belong_together(last, piece, total):
            names = last.names if set(piece.names) <= {*last.names} else (*last.names, *piece.names)
            joined[-1] = Stretch(names, last.first, piece.last)
        else:
            joined.append(piece)
    return [Stretch((_listed([*each.names]),) if each.names else (), each.first, each.last) for each in joined]


def _belong_together(before: Stretch, piece: Stretch, total: list[int]) -> bool:
    size = total[piece.last] - total[before.first]
    if not piece.names:
        return bool(before.names) and total[piece.last] - total[piece.first] <= _CRUMB
    same_owner = before.names and before.names[-1].rpartition(".")[0] == piece.names[-1].rpartition(".")[0]
    return size <= _TOGETHER and bool(same_owner)


def _pieces(found: list[Definition], total: list[int]) -> Iterator[Stretch]:
    """Yield all lines of a file in their order: those of each definition, and what stands between."""
    at = 0
    open_definitions: list[Definition] = []
    for definition in found:
        first = max(definition.first, at)
        while open_definitions and open_definitions[-1].last <= first:
            outer = open_definitions.pop()
            if outer.last > at:
                yield _rest(outer, at, total)
                at = outer.last
        if open_definitions and total[open_definitions[-1].last] - total[open_definitions[-1].first] <= SIZE // 2:
            continue  # small enough to be read in whole
        if first > at:
            yield Stretch((open_definitions[-1].name,) if open_definitions else (), at, first)
            at = first
        if definition.last > at:
            open_definitions.append(definition)
    while open_definitions:
        outer = open_definitions.pop()
        if outer.last > at:
            yield _rest(outer, at, total)
            at = outer.last
    if at < len(total) - 1:
        yield Stretch((), at, len(total) - 1)


def _rest(outer: Definition, at: int, total: list[int]) -> Stretch:
    """Return what is left of a definition; a few characters, such as a brace, belong to what stands before."""
    is_crumb = at > outer.first and total[outer.last] - total[at] <= _CRUMB
    return Stretch(() if is_crumb else (outer.name,), at, outer.last)


def _by_lines(lines: list[str], suffix: str) -> list[Stretch]:
    """Return stretches of about the same size, cut where something new begins."""
    c_like = suffix in (".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".java", ".cs", ".m")
    defined = [_defined(line, c_like) for line in lines]
    around = list(_around(lines, defined))
    pieces = cut(lines, _starts(lines), SIZE)
    return [Stretch(_heading(defined[first:last], around[first]), first, last) for first, last in pieces]


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
