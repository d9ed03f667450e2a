"""What stands in environments of LaTeX, tables above all: rows by `\\\\`, cells by `&`, and cells that span."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from nexus_core import Block, Code, Formula, Place, Table
from nexus_core.toolkit import Cell, table_rows
from nexus_readers.text.latex_signs import CODE, FORMULAS, TABLES

_RULE = re.compile(
    r"\\(?:hline|toprule|midrule|bottomrule|endhead|endfirsthead|endfoot|endlastfoot|(?:cline|cmidrule)(?:\([^()]*\))?\{[^{}]*\})"
)
_BOUND = re.compile(r"\\\\(?:\[[^\[\]]{0,40}\])?|\\tabularnewline|\\[^\\]|[{}&]", re.DOTALL)
_LABEL = re.compile(r"\\label\{[^{}]*\}")
_WIDE = re.compile(r"\s*\\multicolumn\s*\{(\d{1,4})\}\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\s*")
_HIGH = re.compile(r"\s*\\multirow\s*(?:\[[^\[\]]*\])?\{(\d{1,4})\}\s*\{[^{}]*\}\s*")
_COLUMNS = re.compile(r"\s*(?:\[[^\[\]]*\]\s*)?(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\s*){0,3}")

Rows = tuple[tuple[str, ...], ...]


def table_cells(content: str, inline: Callable[[str], str]) -> tuple[tuple[str, ...], Rows]:
    """Return the header and the rows of what stands in a `tabular`; a rule below the first row makes it a header."""
    columns = _COLUMNS.match(content)
    content = content[columns.end() :] if columns else content
    written: list[list[str]] = [[]]
    begin = depth = 0
    for bound in _BOUND.finditer(content):
        sign = bound[0]
        if sign in "{}":
            depth = max(0, depth + (1 if sign == "{" else -1))
        elif depth == 0 and (sign == "&" or sign.startswith(("\\\\", "\\tabularnewline"))):
            written[-1].append(content[begin : bound.start()])
            begin = bound.end()
            if sign != "&":
                written.append([])
    written[-1].append(content[begin:])
    ruled = [bool(row) and _RULE.match(row[0].strip()) is not None for row in written]
    cells = [[_cell(cell, inline) for cell in row] for row in written]
    kept = [number for number, row in enumerate(cells) if any(cell.text for cell in row)]
    rows = list(_reaching(cells[number] for number in kept))
    width = max(map(len, rows), default=0)
    full = [row + ("",) * (width - len(row)) for row in rows]
    is_headed = len(kept) > 1 and kept[0] + 1 < len(ruled) and ruled[kept[0] + 1]
    return (full[0], tuple(full[1:])) if is_headed else ((), tuple(full))


def _reaching(rows: Iterable[list[Cell]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows, with cells that are several rows high in each: LaTeX has an empty cell where they reach into."""
    carried: dict[int, tuple[str, int]] = {}
    for cells in rows:
        row = list(next(table_rows([[Cell(cell.text, cell.columns) for cell in cells]])))
        for column, (text, left) in list(carried.items()):
            if left <= 0:
                del carried[column]
            elif column < len(row):
                row[column] = row[column] or text
                carried[column] = text, left - 1
        column = 0
        for cell in cells:
            if cell.rows > 1:
                carried[column] = cell.text, cell.rows - 1
            column += cell.columns
        yield tuple(row)


def _cell(written: str, inline: Callable[[str], str]) -> Cell:
    written = _RULE.sub(" ", written)
    columns = rows = 1
    if wide := _WIDE.match(written):
        columns, written = int(wide[1]), written[wide.end() :]
    if high := _HIGH.match(written.lstrip("{ \n")):
        rows, written = int(high[1]), written.lstrip("{ \n")[high.end() :]
    return Cell(inline(written), max(1, columns), max(1, rows))


def block_of(name: str, content: str, place: Place, inline: Callable[[str], str]) -> Block | None:
    """Return what stands in an environment of code, a table or a formula."""
    if name in CODE:
        head = re.match(r"[ \t]*(\[[^\]\n]*\])?[ \t]*(?:\{(\w+)\})?", content) if name != "verbatim" else None
        named = re.search(r"language=\{?(\w+)", head[1] or "") if head else None
        code = content[head.end() if head else 0 :].strip("\n")
        language = named[1] if named else (head[2] or "") if head else ""
        return Code(text=code, language=language, place=place) if code.strip() else None
    if name in TABLES:
        header, rows = table_cells(content, inline)
        return Table(header=header, rows=rows, place=place) if header or rows else None
    tex = " ".join(_LABEL.sub("", content).split())
    return Formula(text=tex, place=place) if name in FORMULAS and tex else None
