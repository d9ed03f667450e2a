"""The directives of reStructuredText and Sphinx: what of them people read."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Protocol

from attrs import evolve

from nexus_core import Block, Code, Figure, Formula, ListItem, Paragraph, Place, Table
from nexus_readers.text.source_text import one_line

_ROW = re.compile(r"[*+-][ ]+[*+-](?:[ ]+|$)(.*)$")
_CELL = re.compile(r"[ ]+[*+-](?:[ ]+|$)(.*)$")
_OPTION = re.compile(r":([\w-]+):(?:[ \t]+(.*))?$")
_CODE = frozenset({"code", "code-block", "sourcecode", "highlight", "parsed-literal", "literalinclude", "doctest",
                   "testcode", "testoutput", "prompt", "ipython", "productionlist", "graphviz", "mermaid"})  # fmt: skip
_TOLD = frozenset({
    "note", "warning", "tip", "hint", "important", "caution", "danger", "error", "attention", "seealso", "todo",
})  # fmt: skip
_VERSIONS = {
    "versionadded": "Added in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since",
}
_UNSEEN = frozenset({
    "contents", "raw", "include", "index", "highlight", "module", "currentmodule", "py:module", "py:currentmodule",
    "default-role", "role", "meta", "sectnum", "automodule", "autoclass", "autofunction", "automethod",
    "tabularcolumns", "title", "class", "target-notes", "header", "footer",
})  # fmt: skip


class Body(Protocol):
    """The lines around a directive, as what is in it needs them."""

    def inline(self, text: str) -> str:
        """Return a line as blocks have it."""

    def place(self, at: int) -> Place:
        """Return where a line stands in the file."""

    def inner(self, lines: list[str], at: int) -> Iterator[Block]:
        """Yield the blocks of lines inside, which begin at a line of these."""


def directive_blocks(
    body: Body, name: str, argument: str, lines: list[str], places: tuple[int, int]
) -> Iterator[Block]:
    """Yield the blocks of a directive with its argument and the lines below it, which begin at the second place."""
    options, lines, after = _options(lines)
    begin, at = places[0], places[1] + after
    inline, place = body.inline, body.place(places[0])
    if name in _UNSEEN:
        return
    if name in _CODE:
        text = "\n".join(lines).strip("\n")
        if text:
            yield Code(text=text, language=argument.split(" ")[0] if name != "parsed-literal" else "", place=place)
    elif name in ("image", "figure"):
        inner = list(body.inner(lines, at))
        caption = _take_text(inner)
        if options.get("alt") or caption:
            yield Figure(text=options.get("alt", ""), caption=caption, place=place)
        yield from inner
    elif name == "math":
        yield Formula(text=" ".join([argument, *lines]).strip(), place=place)
    elif name in ("table", "csv-table", "list-table"):
        yield from _tables(body, name, argument, options, lines, (begin, at))
    elif name == "toctree":
        for number, line in enumerate(lines):
            if line.strip() and "*" not in line:
                words = line.partition("<")[0].strip() or line.strip()
                yield ListItem(text=inline(words), place=body.place(at + number))
    elif name == "rubric":
        yield Paragraph(text=inline(argument), place=place)
    else:
        yield from _labelled(body, name, argument, lines, (begin, at))


def _labelled(body: Body, name: str, argument: str, lines: list[str], places: tuple[int, int]) -> Iterator[Block]:
    """Yield what a directive holds, with its name before it where readers see that: `Note: ...`."""
    inline = body.inline
    inner = list(body.inner(lines, places[1]))
    label = name.capitalize() if name in _TOLD else ""
    if name in _VERSIONS:
        version, _, argument = argument.partition(" ")
        label = f"{_VERSIONS[name]} {version}"
    if name == "seealso":
        label = "See also"
    words = inline(argument)
    if label:
        words = words or _take_text(inner)
        yield Paragraph(text=f"{label}: {words}" if words else label, place=body.place(places[0]))
    elif words and name not in ("only", "container", "rst-class", "tab-set", "grid", "ifconfig", "class"):
        yield Paragraph(text=words, place=body.place(places[0]))
    yield from inner


def _take_text(inner: list[Block]) -> str:
    """Take the paragraph that some blocks begin with, and return its text; nothing where they begin otherwise."""
    first = inner[0] if inner else None
    if not isinstance(first, Paragraph):
        return ""
    del inner[0]
    return first.text


def _options(lines: list[str]) -> tuple[dict[str, str], list[str], int]:
    """Return the options that a directive begins with, the lines after them, and how many lines they take."""
    options: dict[str, str] = {}
    after = 0
    while after < len(lines) and (found := _OPTION.match(lines[after])):
        options[found[1].lower()] = found[2] or ""
        after += 1
        while after < len(lines) and lines[after].startswith(" "):
            options[found[1].lower()] += " " + lines[after].strip()
            after += 1
    while after < len(lines) and not lines[after]:
        after += 1
    return options, lines[after:], after


def _tables(
    body: Body, name: str, argument: str, options: dict[str, str], lines: list[str], places: tuple[int, int]
) -> Iterator[Block]:
    inline, place = body.inline, body.place(places[0])
    caption = inline(argument)
    if name == "table":
        for block in body.inner(lines, places[1]):
            yield evolve(block, caption=caption) if isinstance(block, Table) and not block.caption else block
        return
    written = options.get("header-rows", "0").strip()
    headed = int(written) if written.isdecimal() and len(written) < 4 else 0
    if name == "csv-table":
        names = next(csv.reader([options["header"]], skipinitialspace=True), []) if "header" in options else []
        rows = [[inline(one_line([cell])) for cell in row] for row in csv.reader(lines, skipinitialspace=True) if row]
        rows = [*([[inline(cell) for cell in names]] if names else []), *rows]
        headed = headed or bool(names)
    else:
        rows = [[inline(one_line(cell)) for cell in row] for row in _list_rows(lines)]
    width = max(map(len, rows), default=0)
    full = [tuple(row) + ("",) * (width - len(row)) for row in rows]
    if full:
        header = tuple(one_line(cells) for cells in zip(*full[:headed], strict=True)) if headed else ()
        yield Table(header=header, rows=tuple(full[headed:]), caption=caption, place=place)


def _list_rows(lines: list[str]) -> Iterator[list[list[str]]]:
    """Yield the rows of a table that is written as a list of lists, each cell as its lines."""
    row: list[list[str]] = []
    for line in lines:
        if begins := _ROW.match(line):
            if row:
                yield row
            row = [[begins[1]]]
        elif row and (cell := _CELL.match(line)) and len(line) - len(line.lstrip()) <= 4:
            row.append([cell[1]])
        elif row:
            row[-1].append(line)
    if row:
        yield row
