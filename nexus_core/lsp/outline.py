"""Outline: the tree of a YAML text that is there however broken the text is, with beginning and end of each value.

While somebody types, a text is hardly ever YAML. Lines tell by their indentation what belongs to what, a bracket that
is never closed ends with its block, and what nothing can be made of is left out. Nothing here raises, and each
character is looked at a bounded number of times.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from attrs import define, field

_KEY = re.compile(
    r"""(?:(?P<quoted>"(?:[^"\\\r\n]|\\[^\r\n])*"|'(?:[^'\r\n]|'')*')|(?P<plain>[^\s\[\]{},"'#&*!|>%@`:]"""
    r"""(?:[^\s:#]|:(?=\S)|(?<=\S)\#|[ \t]++(?=[^\s:#]|:\S))*+))[ \t]*+:(?=[ \t\r\n]|$)"""
)
_DASH = re.compile(r"-(?:[ \t]++|$)")
_LINE = re.compile(r"[^\r\n]*")
_END = re.compile(r"\r\n|\r|\n")
_BLOCK_SCALAR = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\r\n]*)?$")
_PLAIN = re.compile(r"(?:[^\s#]|(?<=\S)#|[ \t]++(?![\s#]|$))*+")
_FLOW_PLAIN = re.compile(r"(?:[^\s,\[\]{}:#]|:(?![\s,\[\]{}]|$)|(?<=\S)#|[ \t]++(?![\s,\[\]{}:#]|$))*+")
_BLANK = re.compile(r"[\r\n \t]*+")
_REST_OF_QUOTED = {'"': re.compile(r'(?:[^"\\]|\\[\s\S])*+"'), "'": re.compile("(?:[^']|'')*'(?!')")}
_QUOTED = re.compile(r"""'(?:[^'\r\n]|'')*+'?|"(?:[^"\\\r\n]|\\[^\r\n])*+"?""")
DEEPEST = 64
"""Levels that are looked into; the reader of pipelines refuses more."""


@define(eq=False, repr=False)
class OutlineScalar:
    """A single value or a key."""

    text: str
    """Without its quotes; escapes are left as they are."""
    start: int
    end: int
    """After its last character, the closing quote included."""
    style: str = "plain"
    """`plain`, `quoted` or `block`."""


@define(eq=False, repr=False)
class OutlinePair:
    """An entry of a mapping or a list."""

    start: int
    key: OutlineScalar | None = None
    """`None` in a list."""
    value: OutlineScalar | OutlineBlock | None = None
    colon: bool = False
    """Whether the colon after the key is there; without it, the key is perhaps only begun."""
    ended: bool = False


@define(eq=False, repr=False)
class OutlineBlock:
    """A mapping or a list."""

    is_list: bool
    column: int
    """Where its entries begin; -1 in brackets."""
    start: int
    entries: list[OutlinePair] = field(factory=list)

    def entry(self, key: str) -> OutlinePair | None:
        """Return the entry of a key, if there is one."""
        return next((entry for entry in self.entries if entry.key is not None and entry.key.text == key), None)

    def scalar(self, key: str) -> str | None:
        """Return the value of a key, if it is a single one."""
        entry = self.entry(key)
        return entry.value.text if entry is not None and isinstance(entry.value, OutlineScalar) else None

    def block(self, key: str) -> OutlineBlock | None:
        """Return the mapping or list of a key, if it has one."""
        entry = self.entry(key)
        return entry.value if entry is not None and isinstance(entry.value, OutlineBlock) else None

    def items(self) -> Iterator[tuple[str, OutlinePair]]:
        """Yield the keys that are there with their entries, in the order of the text."""
        return ((entry.key.text, entry) for entry in self.entries if entry.key is not None and entry.colon)


Chain = tuple[tuple[OutlineBlock, OutlinePair], ...]
"""The mappings and lists around a place, the outermost first, and the entry of each that leads to it."""


@define(eq=False, repr=False)
class OutlinePlace:
    """What stands at an index of a text."""

    chain: Chain
    scalar: OutlineScalar
    is_key: bool
    """It is a key of the innermost mapping, or the beginning of one."""


def read_outline(text: str) -> OutlineBlock:
    """Return the outermost mapping or list of a text; an empty mapping where there is none."""
    return _Outliner(text).read()


def find_place(root: OutlineBlock, index: int) -> OutlinePlace | None:
    """Return the key or single value at an index, `None` where there is neither."""
    waiting: list[tuple[OutlineBlock, Chain]] = [(root, ())]
    while waiting:
        block, around = waiting.pop()
        for entry in block.entries:
            chain = (*around, (block, entry))
            if entry.key is not None and entry.key.start <= index <= entry.key.end:
                return OutlinePlace(chain, entry.key, True)
            if isinstance(entry.value, OutlineBlock):
                waiting.append((entry.value, chain))
            elif entry.value is not None and entry.value.start <= index <= entry.value.end:
                return OutlinePlace(chain, entry.value, False)
    return None


@define(eq=False, repr=False)
class _Outliner:
    text: str
    root: OutlineBlock | None = None
    stack: list[OutlineBlock] = field(factory=list)
    lines: list[tuple[int, int]] = field(factory=list)
    """Beginning and end of each line."""

    def read(self) -> OutlineBlock:
        start = 0
        for match in _END.finditer(self.text):
            self.lines.append((start, match.start()))
            start = match.end()
        self.lines.append((start, len(self.text)))
        number = 0
        while number < len(self.lines):
            number = self._line(number)
        return self.root or OutlineBlock(False, 0, 0)

    def _indent(self, number: int) -> int | None:
        """Return the column of the first character of a line, `None` where it is blank or a comment."""
        start, end = self.lines[number]
        rest = self.text[start:end].lstrip(" ")
        return None if not rest.strip() or rest[0] == "#" else end - start - len(rest)

    def _line(self, number: int) -> int:
        """Read a line, and those after it that its value goes on in; return the next one."""
        column = self._indent(number)
        start, end = self.lines[number]
        if column is None or (column == 0 and self.text[start : start + 3] in ("---", "...")):
            return number + 1
        dash: int | None = None
        at = start + column
        while (dashes := _DASH.match(self.text, at, end)) is not None:
            dash, column = column, column + dashes.end() - at
            self._open(dash, True, at).entries.append(OutlinePair(at))
            at = dashes.end()
        if at >= end or self.text[at] == "#":
            return number + 1
        key = _KEY.match(self.text, at, end)
        if key is None:
            return self._bare(number, column, at, dash)
        block = self._open(column, False, at)
        entry = OutlinePair(at, _key_scalar(key), colon=True)
        block.entries.append(entry)
        return self._value(entry, number, key.end(), column)

    def _bare(self, number: int, column: int, at: int, dash: int | None) -> int:
        """Read a value without a key: of an item, of the key above it, or a key that is only begun."""
        if dash is None:
            while self.stack and (self.stack[-1].column > column or self._is_ended(column)):
                self.stack.pop()
        if not self.stack:
            self._open(column, False, at)
        top = self.stack[-1]
        last = top.entries[-1] if top.entries else None
        if last is not None and last.value is None and (dash is not None or top.column < column):
            return self._value(last, number, at, column - 1 if dash is None else dash)
        entry = OutlinePair(at)
        after = self._value(entry, number, at, column)
        if top.column == column and not top.is_list and isinstance(entry.value, OutlineScalar):
            top.entries.append(OutlinePair(at, key=entry.value))
        return after

    def _is_ended(self, column: int) -> bool:
        """Tell whether a list ends here: what stands in its column without a dash belongs to the mapping around it."""
        return self.stack[-1].column == column and self.stack[-1].is_list and len(self.stack) > 1

    def _open(self, column: int, is_list: bool, at: int) -> OutlineBlock:
        """Return the mapping or list whose entries begin in a column."""
        while self.stack and (
            self.stack[-1].column > column
            or (self.stack[-1].column == column and self.stack[-1].is_list and not is_list)
        ):
            self.stack.pop()
        top = self.stack[-1] if self.stack else None
        if top is not None and (len(self.stack) >= DEEPEST or (top.column == column and top.is_list == is_list)):
            return top
        if top is None and self.root is not None:  # further left than the first line
            self.stack.append(self.root)
            self.root.column = column
            return self.root
        block = OutlineBlock(is_list, column, at)
        if top is None or not top.entries:
            self.root = block if self.root is None else self.root
        else:
            before = top.entries[-1].value
            if isinstance(before, OutlineScalar) and not is_list and self._column(before.start) == column:
                block.entries.append(OutlinePair(before.start, key=before))  # it was a key that is only begun
            top.entries[-1].value = block
        self.stack.append(block)
        return block

    def _column(self, index: int) -> int:
        return index - self.lines[bisect_right(self.lines, (index, len(self.text))) - 1][0]

    def _value(self, entry: OutlinePair, number: int, at: int, column: int) -> int:
        """Read the value of an entry whose block is indented by `column`; return the line after it."""
        end = self.lines[number][1]
        while at < end and self.text[at] in " \t":
            at += 1
        if at >= end or self.text[at] == "#":
            return number + 1
        first = self.text[at]
        if _BLOCK_SCALAR.match(self.text, at, end):
            return self._block_scalar(entry, number, at, column)
        if first in "{[":
            entry.value, after = self._flow(at, column)
            while number < len(self.lines) and self.lines[number][1] < after:
                number += 1
            return number + 1
        if first in "\"'":
            return self._quoted(entry, number, at, column)
        after = _end_of(_PLAIN, self.text, at, end)
        entry.value = OutlineScalar(self.text[at:after], at, after)
        return number + 1

    def _block_scalar(self, entry: OutlinePair, number: int, at: int, column: int) -> int:
        begin = number = number + 1
        while number < len(self.lines):
            start, end = self.lines[number]
            rest = self.text[start:end].lstrip(" ")
            if rest and end - start - len(rest) <= column:
                break
            number += 1
        after = self.lines[number - 1][1]
        text = self.text[self.lines[begin][0] : after] if number > begin else ""
        entry.value = OutlineScalar(text, at, after, "block")
        return number

    def _quoted(self, entry: OutlinePair, number: int, at: int, column: int) -> int:
        """Read a quoted text; it goes on in lines that are indented, and ends with its first line if never closed."""
        last = number
        while last + 1 < len(self.lines) and ((indent := self._indent(last + 1)) is None or indent > column):
            last += 1
        closed = _REST_OF_QUOTED[self.text[at]].match(self.text, at + 1, self.lines[last][1])
        after = self.lines[number][1] if closed is None else closed.end()
        entry.value = OutlineScalar(self.text[at + 1 : after - (closed is not None)], at, after, "quoted")
        while self.lines[number][1] < after:
            number += 1
        return number + 1

    def _flow(self, at: int, column: int) -> tuple[OutlineBlock, int]:
        """Read what stands in brackets; return it and its end: without a closing bracket that of its block."""
        root = OutlineBlock(self.text[at] == "[", -1, at)
        stack, at = [root], at + 1
        while at < len(self.text):
            char, top = self.text[at], stack[-1]
            if char in "\r\n":
                at = _end_of(_BLANK, self.text, at)
                if self._column(at) <= column and self.text[at : at + 1] not in ("]", "}"):
                    break
            elif char in " \t":
                at += 1
            elif char == "#" and self.text[at - 1] in " \t\r\n":
                at = _end_of(_LINE, self.text, at)
            elif char in ",:":
                if top.entries:
                    top.entries[-1].ended |= char == ","
                    top.entries[-1].colon |= char == ":"
                at += 1
            elif char in "{[":
                inner = OutlineBlock(char == "[", -1, at)
                _add(top, inner, at)
                stack += [inner] if len(stack) < DEEPEST else []
                at += 1
            elif char in "}]":
                stack.pop()
                at += 1
                if not stack:
                    break
            else:
                at = self._flow_scalar(top, at)
        return root, at

    def _flow_scalar(self, top: OutlineBlock, at: int) -> int:
        quoted = _QUOTED.match(self.text, at)
        if quoted is not None:
            inner = quoted[0][1:-1] if len(quoted[0]) > 1 and quoted[0][-1] == quoted[0][0] else quoted[0][1:]
            _add(top, OutlineScalar(inner, at, quoted.end(), "quoted"), at)
            return quoted.end()
        end = max(_end_of(_FLOW_PLAIN, self.text, at), at + 1)
        _add(top, OutlineScalar(self.text[at:end], at, end), at)
        return end


def _key_scalar(match: re.Match[str]) -> OutlineScalar:
    quoted = match["quoted"]
    if quoted is not None:
        return OutlineScalar(quoted[1:-1], match.start("quoted"), match.end("quoted"), "quoted")
    return OutlineScalar(match["plain"], match.start("plain"), match.end("plain"))


def _end_of(pattern: re.Pattern[str], text: str, at: int, end: int | None = None) -> int:
    """Return where what a pattern matches at an index ends."""
    match = pattern.match(text, at, len(text) if end is None else end)
    return at if match is None else match.end()


def _add(block: OutlineBlock, node: OutlineScalar | OutlineBlock, at: int) -> None:
    """Add a value to what stands in brackets: of the last key, if that has its colon and no value, else a new one."""
    last = block.entries[-1] if block.entries else None
    if not block.is_list and last is not None and last.colon and not last.ended and last.value is None:
        last.value = node
    elif block.is_list or isinstance(node, OutlineBlock):
        block.entries.append(OutlinePair(at, value=node))
    else:
        block.entries.append(OutlinePair(at, key=node))
