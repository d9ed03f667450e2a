"""From blocks to the text that models, indexes and people read: Markdown, in which a row of a table can stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from nexus_core.contract.blocks import (
    Block,
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    ListItem,
    Paragraph,
    Quotation,
    Remark,
    Table,
)

GRID_CHARACTERS = 230
"""A table up to the size of a passage is a grid with its header once; each row of a larger one names its columns."""
_DEEPEST_LIST = 16
"""The levels of lists that are told apart by how far they are indented."""
_BACKTICKS = re.compile(r"`{3,}")


def block_text(block: Block, *, grids: bool = False) -> str:
    """Return the text of a block: Markdown; empty for what is no text, such as a page break.

    With `grids`, large tables are grids, too, whose rows cannot be read alone.
    """
    if isinstance(block, Paragraph):
        return block.text
    if isinstance(block, ListItem):
        return _list_item(block)
    if isinstance(block, Heading):
        return "" if block.implied else f"{'#' * min(block.level, 6)} {block.text}"
    if isinstance(block, Table):
        return "\n".join(filter(None, [block.caption and block.caption + "\n", *table_lines(block, grids=grids)]))
    if isinstance(block, Code):
        return fenced(block.text, block.language)
    if isinstance(block, Quotation):
        mark = "> " * max(1, min(block.depth, _DEEPEST_LIST))
        return "\n".join(mark + line for line in block.text.split("\n"))
    if isinstance(block, Figure):
        return "\n".join(filter(None, [block.text and f"[Figure: {block.text}]", block.caption]))
    if isinstance(block, Formula):
        return f"$$\n{block.text}\n$$" if block.notation == "tex" else block.text
    if isinstance(block, Footnote):
        return f"[^{block.mark}]: {block.text}"
    return ""


def length_of(block: Block) -> int:
    """Return about how many characters a block has, without writing it; 0 where it is no text."""
    if isinstance(block, Heading):
        return 0 if block.implied else len(block.text)
    if isinstance(block, Table):
        cells = sum([sum(map(len, row)) for row in block.rows])
        return cells + sum(map(len, block.header)) + len(block.caption)
    if isinstance(block, Figure):
        return len(block.text) + len(block.caption)
    return 0 if isinstance(block, Remark) else len(getattr(block, "text", ""))


def blocks_text(blocks: Sequence[Block], *, grids: bool = False) -> str:
    """Return the text of some blocks, as `block_text` does; of nothing but code, its lines alone."""
    if is_code(blocks):
        return "\n\n".join(block.text for block in blocks if isinstance(block, Code))
    pieces: list[str] = []
    before: Block | None = None
    for block in blocks:
        text = block_text(block, grids=grids)
        if text.strip():
            if pieces:
                pieces.append("\n" if _stays_close(before, block) else "\n\n")
            pieces.append(text)
            before = block
    return "".join(pieces)


def is_code(blocks: Sequence[Block]) -> bool:
    """Tell whether blocks are nothing but code, and implied headings over it."""
    code = False
    for block in blocks:
        if isinstance(block, Code):
            code = True
        elif length_of(block):
            return False
    return code


def kind_of(blocks: Sequence[Block]) -> str:
    """Return the kind of an item with these blocks: how its text is cut into sentences."""
    if is_code(blocks):
        return "code"
    plain = all(isinstance(block, Paragraph) or not length_of(block) for block in blocks)
    return "text" if plain else "markdown"


def table_lines(table: Table, *, grids: bool = False) -> Iterator[str]:
    """Yield the lines of a table: a grid, or a line for each row that names its columns."""
    rows = [row for row in table.rows if any(row)]
    size = sum(sum(map(len, row)) + 3 * len(row) + 2 for row in (table.header, *rows))
    if grids or not any(table.header) or size <= GRID_CHARACTERS or not rows:
        yield from _grid(table.header, rows)
    else:
        yield from (f"- {record_text(table.header, row)}" for row in rows)


def record_text(header: Sequence[str], row: Sequence[str]) -> str:
    """Return a row that can be read alone: `Name: Ada; Room: 12`."""
    names = [*header, *[""] * (len(row) - len(header))]
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=False) if cell)


def _grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    if any(header):
        yield _grid_row(header)
        yield "|" + " --- |" * len(header)
    yield from map(_grid_row, rows)


def _grid_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _list_item(item: ListItem) -> str:
    indent = "  " * (min(item.depth, _DEEPEST_LIST) - 1)
    first, *more = item.text.split("\n")
    return "\n".join([f"{indent}{item.marker} {first}", *(f"{indent}  {line}" for line in more)])


def fenced(code: str, language: str = "") -> str:
    """Return code in a fence that nothing in it ends."""
    longest = max((len(run) for run in _BACKTICKS.findall(code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _stays_close(before: Block | None, block: Block) -> bool:
    """Tell whether a block follows the one before without a blank line: list items, lines of one quotation, notes."""
    if isinstance(block, Footnote):
        return isinstance(before, Footnote)
    return isinstance(block, ListItem) and isinstance(before, ListItem)
