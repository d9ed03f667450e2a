"""Reads plain Markdown line by line: most documents are, and the parser takes longer to import than a pipeline to load.

Whatever is doubtful is left to the parser: underlined headings, HTML but for a comment on a line of its own,
quotations, lists in lists, code by indentation. A property test holds both ways to the same parts.
"""

from __future__ import annotations

import re

from attrs import define, field

from nexus_readers.markdown.parts import Part, cells_of, filled

_ATX = re.compile(r"(#{1,6})(?=[ \t]|$)")
_FENCE = re.compile(r"(`{3,}(?=[^`]*$)|~{3,})(.*)")
_ITEM = re.compile(r"(?:([-+*])|(\d{1,9})([.)])) {1,4}(?=\S)")
_MAYBE_ITEM = re.compile(r"(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)")
_RULE = re.compile(r"([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_COMMENT = re.compile(r"<!--(?!-?>)(?:(?!-->).)*-->[ \t]*$")
_STRUCTURE = re.compile(
    r"#{1,6}(?:[ \t]|$)|>|```|~~~|(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)|<|\||=+[ \t]*$|([-*_])[ \t]*(?:\1[ \t]*){2,}$"
    r"|\[\^[^\]\s]+\]:|[-:|]"
)
"""What is no mere text where a list item or an indented line begins with it."""
_DELIMITERS = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_NOTE = re.compile(r"\[\^[^\]\s]+\]:")
_SPECIAL = frozenset(" \t#`~-+*_<>|=[:0123456789")
_MOST_CELLS = 50_000


@define(eq=False)
class _Lines:
    lines: list[str]
    parts: list[Part] = field(factory=list)
    held: list[str] = field(factory=list)
    """The lines of the paragraph or list item that goes on."""
    begin: int = 0
    marker: str = ""
    number: int = 0
    """That the next item of an ordered list has; 0 where there is no such list."""
    delimiter: str = ""

    def end(self, at: int) -> None:
        """End the paragraph or list item that goes on, before a line."""
        if self.held:
            text = "\n".join(self.held)
            self.parts.append(Part("text", text, self.begin, at, 1 if self.marker else 0, self.marker))
            self.held, self.marker = [], ""

    def leave_list(self) -> None:
        """End the list that was going on: the next one counts anew."""
        self.number, self.delimiter = 0, ""


def plain_parts(text: str, skipped: int = 0) -> list[Part] | None:
    """Return the parts of a document, `None` where it is not plain enough to be read line by line."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    state = _Lines(lines)
    at, count = skipped, len(lines)
    while at < count:
        line = lines[at]
        if line[:1] not in _SPECIAL and line and not line.isspace():
            if not state.held:
                state.begin = at
                state.leave_list()
            state.held.append(line)
            at += 1
            continue
        if not line or line.isspace():
            if line.strip(" \t"):
                return None  # white space that is none to Markdown
            state.end(at)
            at += 1
            continue
        following = _take(state, line, at)
        if following is None:
            return None
        at = following
    state.end(count)
    return state.parts


def _take(state: _Lines, line: str, at: int) -> int | None:
    """Take a line that may begin something; return the one after it, `None` where it is doubtful."""
    first = line[0]
    if first in " \t":
        words = line.strip(" \t")
        if not state.held or _STRUCTURE.match(words):
            return None
        state.held.append(words + " " * (2 * line.endswith("  ")))
        return at + 1
    if first == "#" and (heading := _ATX.match(line)):
        state.end(at)
        state.leave_list()
        words = _opened(line[len(heading[1]) :])
        state.parts.append(Part("heading", words, at, at + 1, len(heading[1])))
        return at + 1
    if first in "`~" and (opening := _FENCE.match(line)):
        return _take_fence(state, opening, at)
    if first == "<":
        return _take_comment(state, line, at)
    if first == "|":
        return _take_table(state, line, at)
    if first == ">" or _NOTE.match(line) or (state.held and (_DELIMITERS.match(line) or not line.strip("= \t"))):
        return None
    if first in "-*_" and _RULE.match(line):
        state.end(at)
        state.leave_list()
        return at + 1
    if _MAYBE_ITEM.match(line):
        return _take_item(state, line, at)
    if not state.held:
        state.begin = at
        state.leave_list()
    state.held.append(line)
    return at + 1


def _opened(content: str) -> str:
    """Return what a heading says, without the marks that close it."""
    content = content.strip(" \t")
    bare = content.rstrip("#")
    return bare.rstrip(" \t") if not bare or bare[-1] in " \t" else content


def _take_fence(state: _Lines, opening: re.Match[str], at: int) -> int:
    state.end(at)
    state.leave_list()
    lines, fence = state.lines, opening[1]
    last = at + 1
    while last < len(lines):
        closing = lines[last].lstrip(" ") if lines[last].startswith((" ", fence[0])) else ""
        indent = len(lines[last]) - len(closing)
        if closing.startswith(fence) and indent < 4 and not closing.strip(" \t").strip(fence[0]):
            break
        last += 1
    code = "\n".join(lines[at + 1 : last])
    state.parts.append(Part("code", code, at, min(last + 1, len(lines)), marker=opening[2].strip()))
    return last + 1


def _take_comment(state: _Lines, line: str, at: int) -> int | None:
    if not _COMMENT.match(line):
        return None
    state.end(at)
    state.leave_list()
    return at + 1


def _take_table(state: _Lines, line: str, at: int) -> int | None:
    """Take a table whose lines all begin with `|`; where the next line is no row of dashes, it is text."""
    lines = state.lines
    below = lines[at + 1] if at + 1 < len(lines) else ""
    if state.held or "\\" in line:
        return None
    if not _DELIMITERS.match(below):
        if below.lstrip(" \t").startswith(("|", ":", "-")):
            return None
        state.begin = at
        state.leave_list()
        state.held.append(line)
        return at + 1
    header = cells_of(line)
    if not below.startswith("|") or len(header) != len(cells_of(below)) or not header:
        return None
    last = at + 2
    rows = [filled(header, len(header))]
    while last < len(lines) and lines[last].startswith("|"):
        rows.append(filled(cells_of(lines[last]), len(header)))
        last += 1
    if (last < len(lines) and lines[last].strip(" \t")) or len(rows) * len(header) > _MOST_CELLS:
        return None
    state.leave_list()
    state.parts.append(Part("table", "", at, last, rows=tuple(rows)))
    return last


def _take_item(state: _Lines, line: str, at: int) -> int | None:
    found = _ITEM.match(line)
    if found is None or "\t" in line[: found.end() + 1] or _STRUCTURE.match(line, found.end()):
        return None
    bullet, written, delimiter = found.groups()
    if state.held and (state.number > 0 and state.marker != "") == bool(bullet) and state.marker:
        return None  # another kind of list right below an item
    if written and state.held and not state.marker and int(written) != 1:
        state.held.append(line)  # a number at the begin of a line of text begins no list
        return at + 1
    state.end(at)
    if bullet:
        if state.delimiter and state.delimiter != bullet:
            state.leave_list()
        state.delimiter, state.marker = bullet, "-"
    else:
        number = state.number if state.number and state.delimiter == delimiter else int(written)
        if state.delimiter and state.delimiter != delimiter and state.delimiter in ".)":
            return None
        state.marker, state.number, state.delimiter = f"{number}{delimiter}", number + 1, delimiter
    state.begin = at
    state.held = [line[found.end() :]]
    return at + 1
