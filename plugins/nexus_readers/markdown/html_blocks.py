"""The HTML that stands between the blocks of Markdown: headings, paragraphs, lists, tables, details, pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import define, field
from selectolax.lexbor import LexborHTMLParser

from nexus_core import Block, Code, Figure, Heading, ListItem, Paragraph, Place, Quotation, Table
from nexus_core.toolkit import Cell, table_rows

_UNSEEN = frozenset({"head", "iframe", "noscript", "object", "script", "style", "svg", "template", "audio", "video"})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "form", "header", "hr", "li", "main", "nav", "ol", "p", "section", "summary", "tbody", "td",
    "th", "thead", "tr", "ul",
})  # fmt: skip
_FEW_TAGS = 2_000
_NESTING = re.compile(r"<(/?)(?!(?:h[1-6]|p|li|caption|tr|t[hd]|a|img|br|script|style)\b)([A-Za-z]\w*)[^<>]*>")
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_MARKS = {"sup": ("^", ""), "sub": ("_", ""), "del": ("~~", "~~"), "s": ("~~", "~~"), "strike": ("~~", "~~"),
          "code": ("`", "`"), "kbd": ("`", "`"), "br": (" ", "")}  # fmt: skip


def html_blocks(text: str, place: Place) -> Iterator[Block]:
    """Yield the blocks of a stretch of HTML; comments, scripts and what is hidden are none."""
    body = LexborHTMLParser(_flattened(text) if text.count("<") > _FEW_TAGS else text).body
    if body is not None:
        yield from _Walker(place).blocks(body)


def _flattened(text: str) -> str:
    """Return HTML without the tags that only nest: a parser takes a time with the square of how deep they are."""
    opened = dict.fromkeys(("table", "pre"), 0)

    def write(found: re.Match[str]) -> str:
        name = found[2].lower()
        if name not in opened:
            return " "
        outermost = opened[name] == bool(found[1])
        opened[name] = max(0, opened[name] + (-1 if found[1] else 1))
        return found[0] if outermost else " "

    return _NESTING.sub(write, text)


def _events(root: Any) -> Iterator[tuple[Any, bool]]:
    """Yield each node below a root where it opens and where it closes, whatever its depth."""
    node = root.first_child
    while node is not None:
        yield node, True
        if node.first_child is not None and node.tag not in _UNSEEN and node.tag not in ("pre", "table"):
            node = node.first_child
            continue
        while True:
            yield node, False
            if node.next is not None:
                node = node.next
                break
            node = node.parent
            if node is None or node.mem_id == root.mem_id:
                return


@define(eq=False)
class _Walker:
    place: Place
    pieces: list[str] = field(factory=list)
    lists: list[int] = field(factory=list)
    """Of each open list the number of its next item; 0 where it has bullets."""
    item: str = ""
    """The mark of the list item that begins here."""
    quotes: int = 0
    pictures: int = 0
    """In what was collected; it is a figure where there is nothing else."""

    def blocks(self, root: Any) -> Iterator[Block]:
        """Yield what stands below an element."""
        for node, opens in _events(root):
            tag = node.tag
            if tag == "-text":
                if opens:
                    self.pieces.append(node.text_content or "")
            elif tag in _HEADINGS:
                if opens:
                    yield from self._flush()
                elif text := self._collected():
                    anchor = node.attributes.get("id") or ""
                    yield Heading(text=text, level=int(tag[1]), anchor=anchor, place=self.place)
            elif tag in ("pre", "table"):
                yield from self._flush()
                if opens:
                    yield from self._code(node) if tag == "pre" else self._table(node)
            elif tag in _BLOCKS:
                yield from self._flush()
                self._structure(node, opens)
            else:
                self._mark(node, opens)
        yield from self._flush()

    def _collected(self) -> str:
        """Return the text since the last block, and forget it."""
        text = " ".join("".join(self.pieces).split())
        self.pieces, self.pictures = [], 0
        return text

    def _flush(self) -> Iterator[Block]:
        is_figure = self.pictures == 1 and len([piece for piece in self.pieces if piece.strip()]) == 1
        text = self._collected()
        if not text:
            return
        if self.item:
            yield ListItem(text=text, depth=len(self.lists), marker=self.item, place=self.place)
            self.item = ""
        elif self.quotes:
            yield Quotation(text=text, depth=self.quotes, place=self.place)
        elif is_figure:
            yield Figure(text=text, place=self.place)
        else:
            yield Paragraph(text=text, place=self.place)

    def _structure(self, node: Any, opens: bool) -> None:
        tag = node.tag
        if tag in ("ul", "ol"):
            start = str(node.attributes.get("start") or "1")
            if opens:
                self.lists.append(0 if tag == "ul" else int(start) if start.isdecimal() and len(start) < 10 else 1)
            elif self.lists:
                self.lists.pop()
        elif tag == "li" and self.lists:
            number = self.lists[-1]
            self.item = ("-" if not number else f"{number}.") if opens else ""
            self.lists[-1] += bool(number and opens)
        elif tag == "blockquote":
            self.quotes += 1 if opens else -1

    def _mark(self, node: Any, opens: bool) -> None:
        tag = node.tag
        if tag in _MARKS:
            self.pieces.append(_MARKS[tag][not opens])
        elif tag == "a" and (target := node.attributes.get("href")):
            self.pieces.append("[" if opens else f"]({target})")
        elif tag == "img" and opens and (words := node.attributes.get("alt")):
            self.pieces.append(words)
            self.pictures += 1

    def _code(self, node: Any) -> Iterator[Block]:
        text = node.text(deep=True).strip("\n")
        if text.strip():
            yield Code(text=text, place=self.place)

    def _table(self, node: Any) -> Iterator[Block]:
        rows, headed, caption = [], False, ""
        for part in node.css("tr, caption"):
            if part.tag == "caption":
                caption = _words(part)
                continue
            cells = [cell for cell in _children(part) if cell.tag in ("td", "th")]
            headed = headed or (not rows and bool(cells) and all(cell.tag == "th" for cell in cells))
            rows.append([Cell(_words(cell), _span(cell, "colspan"), _span(cell, "rowspan")) for cell in cells])
        plain = list(table_rows(rows))
        if any(map(any, plain)):
            header = plain[0] if headed else ()
            yield Table(rows=tuple(plain[headed:]), header=header, caption=caption, place=self.place)


def _children(node: Any) -> Iterator[Any]:
    child = node.first_child
    while child is not None:
        yield child
        child = child.next


def _span(node: Any, name: str) -> int:
    written = str(node.attributes.get(name) or "1").strip()
    return int(written) if written.isdecimal() and len(written) < 6 else 1


def _words(node: Any) -> str:
    """Return what stands in a cell, on one line."""
    walker = _Walker(Place())
    for inner, opens in _events(node):
        if inner.tag == "-text":
            if opens:
                walker.pieces.append(inner.text_content or "")
        elif inner.tag in _BLOCKS or inner.tag in _HEADINGS:
            walker.pieces.append(" ")
        elif inner.tag in ("pre", "table"):
            walker.pieces.append(f" {inner.text(deep=True)} " if opens else "")
        else:
            walker._mark(inner, opens)
    return " ".join("".join(walker.pieces).split())
