"""Reads a page from its beginning to its end, each element once, however deep it stands."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

from nexus_core import Block, Footnote, Place, Remark
from nexus_readers.web.elements import HANDLERS, Handler, block
from nexus_readers.web.flow import Flow
from nexus_readers.web.inline import Mark
from nexus_readers.web.notes import Note, without_mark
from nexus_readers.web.page import Page
from nexus_readers.web.progress import Attributes, Close, Opened, Progress
from nexus_readers.web.styles import BESIDE, INLINE, PLAIN, Look, is_folded
from nexus_readers.web.tables import cell_text

_ROLES = {
    "heading": "h2", "list": "ul", "listitem": "li", "table": "table", "grid": "table", "treegrid": "table",
    "row": "tr", "cell": "td", "gridcell": "td", "columnheader": "th", "rowheader": "th", "rowgroup": "tbody",
    "navigation": "nav", "contentinfo": "footer", "banner": "header", "separator": "hr", "figure": "figure",
    "blockquote": "blockquote", "paragraph": "p", "term": "dt", "definition": "dd", "article": "article",
    "main": "main", "deletion": "del", "superscript": "sup", "subscript": "sub",
}  # fmt: skip
_TABLE_DISPLAY = {"table": "table", "table-row": "tr", "table-cell": "td", "table-caption": "caption"}
_GENERIC = frozenset({"div", "span", "p", "section", "li", "ul", "ol", "dl", "dt", "dd", "label"})
"""Elements that take another part where their role or style says so."""
_PARTS = frozenset({"td", "th", "tr", "table"})
_NEVER_SEEN = re.compile(
    r"(?:^|\s)(?:mw-editsection|mw-cite-backlink|MathJax_Preview|mwe-math-fallback-image-\w+)(?=$|\s)"
)
_RAISED: dict[str, Mark] = {"super": "raised", "sub": "lowered"}
_MATHJAX = re.compile(r"(?:^|\s)MathJax(?:_\w+)?(?=$|\s)")


def blocks_of(page: Page) -> tuple[list[Block], list[Remark]]:
    """Return the blocks of a page, and what is to be told about it."""
    walk = PageWalk(page)
    if page.root is not None:
        walk.inside(page.root)
    return walk.finished(), walk.progress.remarks


class PageWalk:
    """Walks through a page; calls what each element means where it begins, and where it ends."""

    def __init__(self, page: Page, outer: Progress | None = None) -> None:
        self._flow = Flow(page.lines, self._footnote)
        self.progress = Progress(page=page, flow=self._flow, walk=self.inside, read_page=self._inner_page)
        if outer is not None:
            self.progress.inner, self.progress.in_note = outer.inner, True
            self._flow.captions = 1  # its own notes come after it, not within

    def finished(self) -> list[Block]:
        """Return the blocks, once everything was read."""
        self._flow.boundary()
        if self._flow.heading is not None:
            self._flow.end_heading()
        self._flow.end_block()
        return self._flow.blocks

    def inside(self, root: LexborNode) -> None:
        """Read all that is inside of an element."""
        progress, add, open_element, handlers = self.progress, self._flow.text.add, self._open, HANDLERS.get
        above: list[tuple[LexborNode, Close | bool, bool]] = []
        node, apart = root.first_child, False
        bodies = progress.page.notes.bodies
        while True:
            if node is None:
                if not above:
                    return
                parent, close, apart = above.pop()
                if close is not True:
                    close()  # type: ignore[operator]
                if apart:
                    add(" ")
                node = parent.next
                continue
            tag = node.tag
            if tag == "-text":
                add(node.text_content or "")
                node = node.next
                continue
            if bodies and node.mem_id in bodies:
                node = node.next
                continue
            if apart:
                add(" ")
            attributes = node.attributes
            if attributes:
                opened, spread = open_element(node, tag or "", attributes)
            else:
                handler = handlers(tag or "")
                opened, spread = handler(progress, node, attributes) if handler is not None else True, False
            child = node.first_child if opened else None
            if child is not None:
                above.append((node, opened, apart))
                node, apart = child, spread
                continue
            if opened and opened is not True:
                opened()
            node = node.next

    def _open(self, node: LexborNode, tag: str, attributes: Attributes) -> tuple[Opened, bool]:
        """Begin an element; tell what its end does, and whether what is inside of it stands apart."""
        page = self.progress.page
        look = page.styles.look(tag, attributes)
        if (look.hidden and not is_folded(node, attributes)) or (
            page.marked_unseen and self._is_never_seen(attributes)
        ):
            return False, False
        handler = self._handler(tag, attributes, look)
        opened: Opened = handler(self.progress, node, attributes) if handler else True
        if look is not PLAIN and opened:
            opened = self._styled(look, opened)
        return opened, look.parts_inside

    def _is_never_seen(self, attributes: Attributes) -> bool:
        classes = attributes.get("class")
        if not classes:
            return False
        if _NEVER_SEEN.search(classes):
            return True
        return self.progress.page.scripted_formulas and bool(_MATHJAX.search(classes))

    def _handler(self, tag: str, attributes: Attributes, look: Look) -> Handler | None:
        heading = self._flow.heading
        if heading is not None and not heading.anchor:
            heading.anchor = attributes.get("id") or ""
        if tag in _GENERIC:
            role = attributes.get("role")
            if role in _ROLES:
                return HANDLERS[_ROLES[role]]
            if role == "caption":
                return HANDLERS["caption" if self._flow.tables else "figcaption"]
            if look.display in _TABLE_DISPLAY and (look.display == "table" or self._flow.tables):
                return HANDLERS[_TABLE_DISPLAY[look.display]]
            if look.display in INLINE or look.display in BESIDE:
                return None
        handler = HANDLERS.get(tag)
        if handler is None and look.display and look.display not in INLINE and look.display not in BESIDE:
            return block
        return handler

    def _styled(self, look: Look, opened: Opened) -> Opened:
        text = self._flow.text
        if look.spaced:
            text.add(" ")
        mark: Mark | None = "struck" if look.struck else _RAISED.get(look.raised)
        if mark:
            text.open(mark)

        def close() -> None:
            if mark:
                text.close()
            if callable(opened):
                opened()
            if look.spaced:
                text.add(" ")

        return close if mark or look.spaced else opened

    def _footnote(self, note: Note) -> Footnote | None:
        """Return the note that a mark stands for, read from where the page has it."""
        walk = PageWalk(self.progress.page, self.progress)
        walk.inside(note.body)
        told = walk._flow.notes
        blocks = walk.finished()
        self._flow.notes += told
        text = without_mark(cell_text(blocks), note.mark)
        links = tuple(link for each in blocks for link in getattr(each, "links", ()))
        if not text:
            return None
        return Footnote(
            mark=note.mark, text=text, links=links, place=Place(line=self.progress.page.lines.line_ahead(text))
        )

    def _inner_page(self, source: str) -> None:
        """Read a page inside of this one as a part of it."""
        page = Page.of(source, self.progress.page.options)
        outer, self.progress.page = self.progress.page, page
        self.progress.remarks += [Remark(text=f"a page inside: {remark}") for remark in page.source.remarks]
        if page.root is not None:
            self.inside(page.root)
            self._flow.boundary()
        self.progress.page = outer
