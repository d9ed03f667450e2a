"""What stands in a table: its caption, groups of rows, rows and cells."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

from nexus_core import Place
from nexus_readers.web.code import tells_numbers
from nexus_readers.web.flow import Frame
from nexus_readers.web.inline import one_line
from nexus_readers.web.progress import Attributes, Opened, Progress
from nexus_readers.web.tables import TableCell, span


def table_caption(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read the caption of a table."""
    at.flow.boundary()
    if not at.flow.tables:
        return at.flow.boundary
    builder, begin = at.flow.tables[-1], len(at.flow.blocks)
    at.flow.captions += 1

    def close() -> None:
        builder.caption = at.flow.take_blocks(begin)
        at.flow.captions -= 1

    return close


def row_group(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a group of rows."""
    at.flow.boundary()
    if at.flow.tables:
        at.flow.tables[-1].begin_group(node.tag if node.tag in ("thead", "tfoot") else "tbody")
    return True


def row(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a row of a table."""
    at.flow.boundary()
    if at.flow.tables:
        at.flow.tables[-1].begin_row()
    return at.flow.boundary


def cell(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a cell of a table."""
    at.flow.boundary()
    if not at.flow.tables:
        return at.flow.boundary
    if tells_numbers(said.get("class")):
        return False
    role = said.get("role")
    made = TableCell(
        header=node.tag == "th" or role in ("columnheader", "rowheader"),
        scope="row" if role == "rowheader" else (said.get("scope") or "").lower(),
        columns=span(said.get("colspan") or said.get("aria-colspan"), 1),
        rows=span(said.get("rowspan") or said.get("aria-rowspan"), 0),
        begin=len(at.flow.blocks),
    )
    builder = at.flow.tables[-1]
    builder.add(made)
    child = node.first_child
    if child is None or (child.tag == "-text" and child.next is None and at.flow.heading is None):
        made.text, made.end = one_line((child.text_content or "") if child is not None else ""), made.begin
        if made.text:
            builder.has_plain_cells = True
            builder.place = builder.place or Place(line=at.flow.lines.line(made.text))
        return False
    close_frame = at.framed(Frame())

    def close() -> None:
        close_frame()
        made.end = len(at.flow.blocks)

    return close
