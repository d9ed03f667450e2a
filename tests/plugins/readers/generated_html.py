"""Generated documents as HTML, in ten ways in which people and programs write it."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from attrs import define, field

from nexus_core.toolkit import Cell
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
    TreeQuote,
    TreeTable,
    notes_of,
)

_INLINE = {"bold": "b", "italic": "em", "code": "code", "raised": "sup", "lowered": "sub", "struck": "del"}


@define
class HtmlPage:
    """Writes a document as HTML; what other styles write in another way are methods."""

    notes: list[Span] = field(factory=list)

    def page(self, tree: TreeDocument) -> str:
        """Return the page."""
        body = "\n".join(map(self.node, tree.nodes)) + self.endnotes()
        head = f"<!DOCTYPE html>\n<html><head><title>{tree.title}</title></head>\n<body>\n"
        return f"{head}{self.around(body)}\n</body></html>\n"

    def around(self, body: str) -> str:
        """Return the body with what is around it."""
        return body

    def node(self, node: TreeNode) -> str:
        """Return one block."""
        if isinstance(node, TreeHeading):
            return self.heading(node)
        if isinstance(node, TreeParagraph):
            return self.paragraph(node)
        if isinstance(node, TreeQuote):
            return f"<blockquote>{self.tag('p', self.spans(node.spans))}</blockquote>"
        if isinstance(node, TreeList):
            return self.list(node)
        if isinstance(node, TreeTable):
            return self.table(node)
        return self.code(node) if isinstance(node, TreeCode) else self.figure(node)

    def tag(self, name: str, inside: str, attributes: str = "") -> str:
        """Return an element."""
        return f"<{name}{attributes}>{inside}</{name}>"

    def heading(self, node: TreeHeading) -> str:
        return self.tag(f"h{node.level}", node.text)

    def paragraph(self, node: TreeParagraph) -> str:
        return self.tag("p", self.spans(node.spans))

    def list(self, node: TreeList) -> str:
        return self.tag("ol" if node.ordered else "ul", "\n".join(map(self.item, node.items)))

    def item(self, item: TreeItem) -> str:
        return self.tag("li", self.spans(item.spans) + (self.list(item.inner) if item.inner else ""))

    def table(self, node: TreeTable) -> str:
        caption = self.tag("caption", node.caption) if node.caption else ""
        head = self.tag("thead", self.row("th", node.header))
        return self.tag("table", caption + head + self.tag("tbody", "".join(self.row("td", row) for row in node.rows)))

    def row(self, name: str, cells: tuple[Cell, ...]) -> str:
        return self.tag("tr", "\n".join(self.cell(name, cell) for cell in cells))

    def cell(self, name: str, cell: Cell) -> str:
        spans = f' colspan="{cell.columns}"' * (cell.columns > 1) + f' rowspan="{cell.rows}"' * (cell.rows > 1)
        return self.tag(name, cell.text, spans)

    def code(self, node: TreeCode) -> str:
        return f'<pre><code class="language-{node.language}">' + escape("\n".join(node.lines)) + "</code></pre>"

    def figure(self, node: TreeFigure) -> str:
        return f'<figure><img src="a.png" alt="{node.alt}"><figcaption>{node.caption}</figcaption></figure>'

    def spans(self, spans: tuple[Span, ...]) -> str:
        self.notes += notes_of(spans)
        return "".join(map(self.span, spans))

    def span(self, span: Span) -> str:
        if span.kind == "note":
            return f'<sup><a href="#fn{span.text}" id="ref{span.text}">{span.text}</a></sup>'
        if span.kind == "link":
            return f'<a href="{span.target}">{span.text}</a>'
        return self.tag(_INLINE[span.kind], span.text) if span.kind in _INLINE else span.text

    def endnotes(self) -> str:
        notes = (
            f'<li id="fn{note.text}"><p>{note.target} <a href="#ref{note.text}">↩</a></p></li>' for note in self.notes
        )
        return f"<hr><ol>{''.join(notes)}</ol>" if self.notes else ""


@define
class MinifiedPage(HtmlPage):
    """No end tag that may be left out, no white space that is not needed, no quotes."""

    def page(self, tree: TreeDocument) -> str:
        body = "".join(map(self.node, tree.nodes)) + self.endnotes()
        return f"<!doctype html><title>{tree.title}</title>{body}"

    def tag(self, name: str, inside: str, attributes: str = "") -> str:
        open_ended = name in ("p", "li", "td", "th", "tr", "thead", "tbody")
        return f"<{name}{attributes.replace(chr(34), '')}>{inside}" + ("" if open_ended else f"</{name}>")

    def list(self, node: TreeList) -> str:
        return HtmlPage.list(self, node).replace("\n", "")

    def row(self, name: str, cells: tuple[Cell, ...]) -> str:
        return HtmlPage.row(self, name, cells).replace("\n", "")


@define
class LayoutPage(HtmlPage):
    """Tables in tables hold the parts of the page in their places."""

    def around(self, body: str) -> str:
        for width in (600, 640, 700):
            body = (
                f'<table width="{width}"><tr><td width="10"><img src="dot.gif" alt=""></td>\n'
                f'<td valign="top">{body}</td></tr></table>'
            )
        return body


@define
class DivisionPage(HtmlPage):
    """Nothing but divisions and spans, whose roles say what they are."""

    def tag(self, name: str, inside: str, attributes: str = "") -> str:
        roles = {
            "table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "td": "cell", "th": "columnheader",
            "ul": "list", "li": "listitem", "caption": "caption",
        }  # fmt: skip
        if name in ("p", *roles):
            said = attributes.replace("colspan", "aria-colspan").replace("rowspan", "aria-rowspan")
            return f"<div{f' role={roles[name]}' if name in roles else ''}{said}>{inside}</div>"
        return HtmlPage.tag(self, name, inside, attributes)

    def heading(self, node: TreeHeading) -> str:
        return f'<div role="heading" aria-level="{node.level}"><span>{node.text}</span></div>'


@define
class UppercasePage(HtmlPage):
    """Tags in capitals, formatting by elements of the nineties."""

    def tag(self, name: str, inside: str, attributes: str = "") -> str:
        if name in ("td", "p"):
            inside = f'<FONT FACE="Arial" SIZE=2>{inside}</FONT>'
        return f"<{name.upper()}{attributes.upper()}>{inside}</{name.upper()}>"

    def around(self, body: str) -> str:
        return f"<CENTER>{body}</CENTER>"


@define
class XhtmlPage(HtmlPage):
    """XML: empty elements are closed in their start tag, text may stand in CDATA."""

    def page(self, tree: TreeDocument) -> str:
        head = '<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head><script src="a.js"/>'
        return HtmlPage.page(self, tree).replace("<!DOCTYPE html>\n<html><head>", head).replace("<hr>", "<hr/>")

    def paragraph(self, node: TreeParagraph) -> str:
        return '<a id="x"/><div class="empty"/>' + HtmlPage.paragraph(self, node)

    def code(self, node: TreeCode) -> str:
        return "<pre><![CDATA[" + "\n".join(node.lines) + "]]></pre>"

    def figure(self, node: TreeFigure) -> str:
        return HtmlPage.figure(self, node).replace('"><fig', '"/><fig')


@define
class AccordionPage(HtmlPage):
    """Headings are buttons that show and hide what is below; code stands line by line, with numbers."""

    _panels: int = 0

    def heading(self, node: TreeHeading) -> str:
        self._panels += 1
        button = (
            f'<button aria-expanded="false" aria-controls="panel{self._panels}">{node.text}<svg><path/></svg></button>'
        )
        return f'<h{node.level}>{button}</h{node.level}><div id="panel{self._panels}" hidden></div>'

    def paragraph(self, node: TreeParagraph) -> str:
        return f'<div id="panel{self._panels}" hidden role="tabpanel">{HtmlPage.paragraph(self, node)}</div>'

    def code(self, node: TreeCode) -> str:
        rows = (
            f'<tr><td class="blob-num" data-line-number="{number}">{number}</td>'
            f'<td class="blob-code js-file-line">{escape(line)}</td></tr>'
            for number, line in enumerate(node.lines, 1)
        )
        return f'<table class="highlight js-file-line-container">{"".join(rows)}</table>'


@define
class StyledPage(HtmlPage):
    """Spans become blocks, and blocks become inline, by styles; code stands in a division for each line."""

    def tag(self, name: str, inside: str, attributes: str = "") -> str:
        if name == "p":
            return f'<span style="display: block; margin: 4px">{inside}</span>'
        if name == "del":
            return f'<span style="text-decoration: line-through">{inside}</span>'
        if name in ("b", "em"):
            return f'<div style="display:inline;font-weight:bold">{inside}</div>'
        return HtmlPage.tag(self, name, inside, f'{attributes} style="color: #333"')

    def code(self, node: TreeCode) -> str:
        return "<pre>" + "".join(f"<div>{escape(line)}</div>" for line in node.lines) + "</pre>"


@define
class JunkPage(HtmlPage):
    """Hidden things everywhere."""

    def node(self, node: TreeNode) -> str:
        return f'<p style="display:none">hidden one</p><p class="gone">hidden two</p>{HtmlPage.node(self, node)}' + (
            "<template><p>hidden three</p></template><script>var hidden = 'four';</script>"
            '<div hidden><p>hidden five</p></div><dialog>hidden six</dialog><input type="hidden" value="hidden seven">'
        )

    def span(self, span: Span) -> str:
        return (
            HtmlPage.span(self, span) + '<i aria-hidden="true">hidden</i><span style="visibility:hidden">eight</span>'
        )

    def around(self, body: str) -> str:
        rules = "@media print { p { display: none } } .gone, .away { color: red; display: none }"
        return f"<style>{rules}</style>{body}"


@define
class SitePage(HtmlPage):
    """What sites put around their text, each part under a name of its own."""

    def around(self, body: str) -> str:
        menu = '<nav><ul><li><a href="/">stranger</a></li><li><a href="/a">stranger</a></li></ul></nav>'
        return f"<header>{menu}</header><main><article>{body}</article></main><footer>stranger<p>stranger</p></footer>"


@define
class CommentedPage(HtmlPage):
    """Comments of all kinds between everything, and line ends in all places."""

    def tag(self, name: str, inside: str, attributes: str = "") -> str:
        comment = "<!-- stranger <p>stranger --><![CDATA[ stranger ]]><!--[if IE]><p>stranger</p><![endif]-->"
        return f"<{name}\n{attributes}\n>{comment}{inside}<!-- > stranger --!></{name}\n>"


STYLES: dict[str, Callable[[], HtmlPage]] = {
    "plain": HtmlPage,
    "minified": MinifiedPage,
    "layout": LayoutPage,
    "divisions": DivisionPage,
    "uppercase": UppercasePage,
    "xhtml": XhtmlPage,
    "accordion": AccordionPage,
    "styled": StyledPage,
    "junk": JunkPage,
    "site": SitePage,
    "comments": CommentedPage,
}
