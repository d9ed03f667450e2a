"""Generated documents as Word files, OpenDocument texts and books."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import docx
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import parse_xml

from tests.plugins.readers.generated import (
    Span,
    TreeCode,
    TreeDocument,
    TreeFigure,
    TreeHeading,
    TreeItem,
    TreeList,
    TreeNode,
    TreeParagraph,
    TreeTable,
    notes_of,
)
from tests.plugins.readers.office.office_files import W, epub, open_document

_PICTURE = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
_FOOTNOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
_FOOTNOTES_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"


class WordFile:
    """Writes a tree with python-docx; notes, which it does not write, are added to its file."""

    def __init__(self) -> None:
        self._document = docx.Document()
        self._notes: list[Span] = []
        code = self._document.styles.add_style("Source Code", WD_STYLE_TYPE.PARAGRAPH)
        code.font.name = "Consolas"

    def write(self, tree: TreeDocument) -> bytes:
        """Return the file."""
        for node in tree.nodes:
            self._node(node)
        file = BytesIO()
        self._document.save(file)
        return self._with_notes(file)

    def _node(self, node: TreeNode) -> None:
        document = self._document
        if isinstance(node, TreeHeading):
            document.add_heading(node.text, node.level)
        elif isinstance(node, TreeList):
            self._list(node, 1)
        elif isinstance(node, TreeTable):
            self._table(node)
        elif isinstance(node, TreeCode):
            for line in node.lines:
                document.add_paragraph(line, style="Source Code")
        elif isinstance(node, TreeFigure):
            picture = document.add_picture(BytesIO(_PICTURE))
            picture._inline.docPr.set("descr", node.alt)
            document.add_paragraph(node.caption, style="Caption")
        else:
            style = None if isinstance(node, TreeParagraph) else "Quote"
            self._spans(document.add_paragraph(style=style), node.spans)

    def _list(self, node: TreeList, depth: int) -> None:
        kind = "List Number" if node.ordered else "List Bullet"
        for item in node.items:
            style = kind if depth == 1 else f"{kind} {depth}"
            self._spans(self._document.add_paragraph(style=style), item.spans)
            if item.inner is not None:
                self._list(item.inner, depth + 1)

    def _table(self, node: TreeTable) -> None:
        if node.caption:
            self._document.add_paragraph(node.caption, style="Caption")
        rows = [node.header, *node.rows]
        table = self._document.add_table(len(rows), len(node.header))
        table.rows[0]._tr.get_or_add_trPr().append(parse_xml(f"<w:tblHeader {W}/>"))
        taken: set[tuple[int, int]] = set()
        for at, row in enumerate(rows):
            column = 0
            for cell in row:
                while (at, column) in taken:
                    column += 1
                area = [(at + down, column + right) for down in range(cell.rows) for right in range(cell.columns)]
                taken.update(area)
                table.cell(*area[0]).text = cell.text
                if len(area) > 1:
                    table.cell(*area[0]).merge(table.cell(*area[-1]))

    def _spans(self, paragraph: Any, spans: Sequence[Span]) -> None:
        for span in spans:
            if span.kind == "note":
                self._notes.append(span)
                number = len(self._notes) + 1
                paragraph._p.append(parse_xml(f'<w:r {W}><w:footnoteReference w:id="{number}"/></w:r>'))
                continue
            if span.kind == "link":
                self._link(paragraph, span)
                continue
            run = paragraph.add_run(span.text)
            run.bold, run.italic = span.kind == "bold" or None, span.kind == "italic" or None
            if span.kind in ("raised", "lowered", "struck"):
                name = {"raised": "superscript", "lowered": "subscript", "struck": "strike"}[span.kind]
                setattr(run.font, name, True)
            run.font.name = "Consolas" if span.kind == "code" else None

    def _link(self, paragraph: Any, span: Span) -> None:
        kind = _FOOTNOTES.replace("footnotes", "hyperlink")
        id = self._document.part.relate_to(span.target, kind, is_external=True)
        relations = _FOOTNOTES.removesuffix("/footnotes")
        words = f'<w:r><w:t xml:space="preserve">{span.text}</w:t></w:r>'
        paragraph._p.append(parse_xml(f'<w:hyperlink {W} xmlns:r="{relations}" r:id="{id}">{words}</w:hyperlink>'))

    def _with_notes(self, file: BytesIO) -> bytes:
        made = BytesIO()
        notes = "".join(
            f'<w:footnote w:id="{number}"><w:p><w:r><w:t>{span.target}</w:t></w:r></w:p></w:footnote>'
            for number, span in enumerate(self._notes, 2)
        )
        with ZipFile(file) as old, ZipFile(made, "w", ZIP_DEFLATED) as new:
            for name in old.namelist():
                part = old.read(name)
                if name == "[Content_Types].xml":
                    added = f'<Override PartName="/word/footnotes.xml" ContentType="{_FOOTNOTES_TYPE}"/></Types>'
                    part = part.replace(b"</Types>", added.encode())
                elif name == "word/_rels/document.xml.rels":
                    added = f'<Relationship Id="notes" Type="{_FOOTNOTES}" Target="footnotes.xml"/></Relationships>'
                    part = part.replace(b"</Relationships>", added.encode())
                new.writestr(name, part)
            new.writestr("word/footnotes.xml", f"<w:footnotes {W}>{notes}</w:footnotes>")
        return made.getvalue()


_LOOKS = {
    "raised": 'style:text-position="super 58%"',
    "lowered": 'style:text-position="sub 58%"',
    "struck": 'style:text-line-through-style="solid"',
    "code": 'style:font-name="Courier New"',
    "bold": 'fo:font-weight="bold"',
    "italic": 'fo:font-style="italic"',
}


def open_text(tree: TreeDocument) -> bytes:
    """Return a tree as an OpenDocument text."""
    styles = "".join(
        f'<style:style style:name="{name}" style:family="text"><style:text-properties {look}/></style:style>'
        for name, look in _LOOKS.items()
    )
    number = '<text:list-level-style-number text:level="{0}" style:num-format="1" style:num-suffix="."/>'
    bullet = '<text:list-level-style-bullet text:level="{0}" text:bullet-char="-"/>'
    for name, level in (("numbers", number), ("bullets", bullet)):
        levels = "".join(level.format(at) for at in (1, 2, 3))
        styles += f'<text:list-style style:name="{name}">{levels}</text:list-style>'
    return open_document("".join(map(_open_node, tree.nodes)), automatic=styles)


def _open_node(node: TreeNode) -> str:
    if isinstance(node, TreeHeading):
        return f'<text:h text:outline-level="{node.level}">{node.text}</text:h>'
    if isinstance(node, TreeList):
        items = "".join(map(_open_item, node.items))
        return f'<text:list text:style-name="{"numbers" if node.ordered else "bullets"}">{items}</text:list>'
    if isinstance(node, TreeTable):
        caption = f'<text:p text:style-name="Caption">{node.caption}</text:p>' if node.caption else ""
        header = f"<table:table-header-rows>{_open_row(node.header)}</table:table-header-rows>"
        return f"{caption}<table:table>{header}{''.join(map(_open_row, node.rows))}</table:table>"
    if isinstance(node, TreeCode):
        lines = (
            line.replace("    ", '<text:s text:c="4"/>').replace("  ", '<text:s text:c="2"/>') for line in node.lines
        )
        return "".join(f'<text:p text:style-name="Preformatted_20_Text">{line}</text:p>' for line in lines)
    if isinstance(node, TreeFigure):
        frame = f'<draw:frame><draw:image xlink:href="a.png"/><svg:desc>{node.alt}</svg:desc></draw:frame>'
        return f'<text:p>{frame}</text:p><text:p text:style-name="Caption">{node.caption}</text:p>'
    style = "Standard" if isinstance(node, TreeParagraph) else "Quotations"
    return f'<text:p text:style-name="{style}">{"".join(map(_open_span, node.spans))}</text:p>'


def _open_item(item: TreeItem) -> str:
    inner = _open_node(item.inner) if item.inner is not None else ""
    return f"<text:list-item><text:p>{''.join(map(_open_span, item.spans))}</text:p>{inner}</text:list-item>"


def _open_row(cells: Sequence[Any]) -> str:
    return "<table:table-row>" + "".join(
        f'<table:table-cell table:number-columns-spanned="{cell.columns}" table:number-rows-spanned="{cell.rows}">'
        f"<text:p>{cell.text}</text:p></table:table-cell>{'<table:covered-table-cell/>' * (cell.columns - 1)}"
        for cell in cells
    ) + "</table:table-row>"  # fmt: skip


def _open_span(span: Span) -> str:
    if span.kind == "text":
        return span.text
    if span.kind == "link":
        return f'<text:a xlink:href="{span.target}">{span.text}</text:a>'
    if span.kind == "note":
        mark = f"<text:note-citation>{span.text}</text:note-citation>"
        body = f"<text:note-body><text:p>{span.target}</text:p></text:note-body>"
        return f'<text:note text:note-class="footnote">{mark}{body}</text:note>'
    return f'<text:span text:style-name="{span.kind}">{span.text}</text:span>'


def book(tree: TreeDocument) -> bytes:
    """Return a tree as a book: a chapter for each heading."""
    chapters: list[str] = []
    for node in tree.nodes:
        if isinstance(node, TreeHeading):
            chapters.append("")
        chapters[-1] += _page_node(node)
    return epub({f"chapter-{number}.xhtml": body for number, body in enumerate(chapters)})


def _page_node(node: TreeNode) -> str:
    if isinstance(node, TreeHeading):
        return f"<h{node.level}>{node.text}</h{node.level}>"
    if isinstance(node, TreeList):
        name = "ol" if node.ordered else "ul"
        return f"<{name}>{''.join(map(_page_item, node.items))}</{name}>"
    if isinstance(node, TreeTable):
        rows = "".join(f"<tr>{''.join(_page_cell(cell, 'td') for cell in row)}</tr>" for row in node.rows)
        header = "".join(_page_cell(cell, "th") for cell in node.header)
        return f"<table><caption>{node.caption}</caption><tr>{header}</tr>{rows}</table>"
    if isinstance(node, TreeCode):
        return f"<pre><code>{escape(chr(10).join(node.lines))}</code></pre>"
    if isinstance(node, TreeFigure):
        return f'<figure><img src="a.png" alt="{node.alt}"/><figcaption>{node.caption}</figcaption></figure>'
    name = "p" if isinstance(node, TreeParagraph) else "blockquote"
    notes = "".join(f"<p>{note.target}</p>" for note in notes_of(node.spans))
    return f"<{name}>{''.join(map(_page_span, node.spans))}</{name}>{notes}"


def _page_item(item: TreeItem) -> str:
    inner = _page_node(item.inner) if item.inner is not None else ""
    return f"<li>{''.join(map(_page_span, item.spans))}{inner}</li>"


def _page_cell(cell: Any, name: str) -> str:
    return f'<{name} colspan="{cell.columns}" rowspan="{cell.rows}">{cell.text}</{name}>'


def _page_span(span: Span) -> str:
    names = {"bold": "b", "italic": "i", "code": "code", "raised": "sup", "lowered": "sub", "struck": "del"}
    if span.kind == "link":
        return f'<a href="{span.target}">{span.text}</a>'
    if span.kind in names:
        return f"<{names[span.kind]}>{span.text}</{names[span.kind]}>"
    return "" if span.kind == "note" else span.text
