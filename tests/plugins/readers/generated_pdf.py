"""Writes generated documents as PDF, in styles: one or two columns, tables with lines and without, running lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from attrs import evolve, frozen
from reportlab.lib import colors
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.platypus import (
    BaseDocTemplate,
    Frame,
    ListFlowable,
    ListItem,
    PageTemplate,
    Paragraph,
    Preformatted,
    Spacer,
    Table as DrawnTable,
)

from nexus_core import Block, PageBreak, Table
from nexus_core.toolkit import Cell
from tests.plugins.readers.generated import (
    Span,
    SpanKind,
    TreeCode,
    TreeDocument,
    TreeFigure,
    TreeHeading,
    TreeList,
    TreeNode,
    TreeParagraph,
    TreeQuote,
    TreeTable,
)

MARKS: tuple[SpanKind, ...] = ("bold", "italic", "code", "raised", "lowered", "struck", "link")
_TAGS = {
    "bold": "<b>{}</b>", "italic": "<i>{}</i>", "code": '<font face="Courier">{}</font>',
    "raised": "<super>{}</super>", "lowered": "<sub>{}</sub>", "struck": "<strike>{}</strike>",
}  # fmt: skip


@frozen(kw_only=True)
class PdfStyle:
    """How a document is set."""

    size: float = 10
    columns: int = 1
    lines: bool = True
    """Around the cells of tables."""
    justified: bool = False
    running: bool = False
    """Each page has a header, and its number."""
    leading: float = 1.2
    font: str = "Helvetica"
    margin: float = 72
    indent: float = 0
    """Of the first line of a paragraph."""


STYLES = {
    "plain": PdfStyle(),
    "justified": PdfStyle(justified=True, font="Times-Roman", size=11),
    "running": PdfStyle(running=True),
    "two columns": PdfStyle(columns=2, size=9, margin=50),
    "small": PdfStyle(size=8, leading=1.4),
    "wide": PdfStyle(size=13, leading=1.5, margin=60),
    "no lines": PdfStyle(lines=False),
    "no lines, justified": PdfStyle(lines=False, justified=True, font="Times-Roman"),
    "indented": PdfStyle(indent=14, font="Times-Roman", justified=True, running=True),
    "columns and running": PdfStyle(columns=2, size=9, margin=50, running=True, justified=True),
}


def pdf_of_tree(tree: TreeDocument, style: PdfStyle) -> bytes:
    """Return a document as PDF."""
    data = BytesIO()
    template = BaseDocTemplate(data, title=tree.title)
    width, height = template.pagesize
    room = (width - 2 * style.margin - 20 * (style.columns - 1)) / style.columns
    frames = [
        Frame(style.margin + column * (room + 20), 60, room, height - 130, leftPadding=0, rightPadding=0)
        for column in range(style.columns)
    ]
    template.addPageTemplates(PageTemplate(frames=frames, onPage=_running if style.running else _nothing))
    template.build([flowable for node in tree.nodes for flowable in _Writer(style, room).node(node)])
    return data.getvalue()


def _nothing(canvas: Any, template: Any) -> None:
    """Draw nothing but the text."""


def _running(canvas: Any, template: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.drawString(72, 815, "1234 5678")
    canvas.drawCentredString(300, 30, str(template.page))


class _Writer:
    def __init__(self, style: PdfStyle, width: float) -> None:
        self._style = style
        self._width = width
        sheet = getSampleStyleSheet()
        self._body = ParagraphStyle(
            "body", fontName=style.font, fontSize=style.size, leading=style.leading * style.size, spaceAfter=6,
            firstLineIndent=style.indent, alignment=TA_JUSTIFY if style.justified else 0,
        )  # fmt: skip
        self._flush = ParagraphStyle("flush", parent=self._body, firstLineIndent=0)
        self._quote = ParagraphStyle("quote", parent=self._flush, leftIndent=24, rightIndent=24)
        self._bold = ParagraphStyle("head", parent=self._flush, fontName=sheet["Heading1"].fontName, alignment=0)
        small = {"fontSize": 7, "leading": 8.5} if style.columns > 1 else {}  # the longest words fit into a cell
        self._cell = ParagraphStyle("cell", parent=self._flush, alignment=0, spaceAfter=0, **small)
        self._head = ParagraphStyle("name", parent=self._cell, fontName=self._bold.fontName)
        self._code = ParagraphStyle("code", fontName="Courier", fontSize=style.size - 1, leading=1.2 * style.size)

    def node(self, node: TreeNode) -> Iterator[Any]:
        if isinstance(node, TreeHeading):
            size = self._style.size * (2.2 - 0.3 * node.level)
            yield Paragraph(node.text, ParagraphStyle(
                f"h{node.level}", parent=self._bold, fontSize=size, leading=1.2 * size, spaceBefore=10, keepWithNext=1,
            ))  # fmt: skip
        elif isinstance(node, TreeParagraph):
            yield Paragraph(_marked(node.spans), self._body)
        elif isinstance(node, TreeQuote):
            yield Paragraph(_marked(node.spans), self._quote)
        elif isinstance(node, TreeList):
            yield self._list(node)
            yield Spacer(1, 6)
        elif isinstance(node, TreeTable):
            yield from self._table(node)
        elif isinstance(node, TreeCode):
            yield Preformatted("\n".join(node.lines), self._code)
            yield Spacer(1, 6)
        elif isinstance(node, TreeFigure):
            yield Paragraph(f"{node.alt}. {node.caption}.", self._flush)

    def _list(self, node: TreeList) -> Any:
        items = []
        for item in node.items:
            inner = [self._list(item.inner)] if item.inner is not None else []
            items.append(ListItem([Paragraph(_marked(item.spans), self._flush), *inner]))
        kind = {"bulletType": "1", "bulletFormat": "%s."} if node.ordered else {"bulletType": "bullet", "start": "•"}
        return ListFlowable(items, bulletFontSize=self._style.size, **kind)

    def _table(self, node: TreeTable) -> Iterator[Any]:
        if node.caption:
            yield Paragraph(node.caption + ".", self._flush)
        width = len(node.header)
        rows: list[list[Any]] = [[Paragraph(cell.text, self._head) for cell in node.header]]
        commands: list[Any] = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("SPAN", (0, 0), (0, 0))]
        if self._style.lines:
            commands.append(("GRID", (0, 0), (-1, -1), 0.5, colors.black))
        rows += [[""] * width for _ in node.rows]
        for row, column, cell in _placed(node.rows, width):
            rows[row + 1][column] = Paragraph(cell.text, self._cell)
            if cell.columns > 1 or cell.rows > 1:
                commands.append(("SPAN", (column, row + 1), (column + cell.columns - 1, row + cell.rows)))
        yield DrawnTable(rows, colWidths=[self._width / width] * width, style=commands, repeatRows=1)
        yield Spacer(1, 8)


def _placed(rows: Sequence[Sequence[Cell]], width: int) -> Iterator[tuple[int, int, Cell]]:
    """Yield each cell with the row and column where it begins."""
    taken: set[tuple[int, int]] = set()
    for row, cells in enumerate(rows):
        free = (column for column in range(width) if (row, column) not in taken)
        for cell in cells:
            column = next(free)
            taken |= {(row + down, column + right) for down in range(cell.rows) for right in range(cell.columns)}
            free = (column for column in range(width) if (row, column) not in taken)
            yield row, column, cell


def _marked(spans: Sequence[Span]) -> str:
    """Return spans in the markup of paragraphs."""
    written = ""
    for span in spans:
        text = escape(span.text)
        if span.kind == "link":
            written += f'<link href="{span.target}">{text}</link>'
        else:
            written += _TAGS.get(span.kind, "{}").format(text)
    return written


def without_repeats(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks with the tables that a page has cut put together again, as a reader of the pages would."""
    held: Table | None = None
    breaks: list[Block] = []
    for block in blocks:
        if isinstance(block, PageBreak) and held is not None:
            breaks.append(block)
        elif isinstance(block, Table) and held is not None and breaks and block.header == held.header:
            held = evolve(held, rows=held.rows + block.rows)
        else:
            yield from [held] if held is not None else []
            yield from breaks
            held, breaks = (block, []) if isinstance(block, Table) else (None, [])
            yield from [block] if held is None else []
    yield from [held] if held is not None else []
