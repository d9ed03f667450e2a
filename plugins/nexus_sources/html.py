"""Reads HTML: what people see of the page, as Markdown, in sections by h1 to h6, without navigation and scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from attrs import define, field

from nexus_sources.sections import Document, Headed, Section, headed_sections

_UNSEEN = frozenset({
    "audio", "button", "canvas", "footer", "head", "iframe", "input", "math", "nav", "noscript", "object", "script",
    "select", "style", "svg", "template", "textarea", "title", "video",
})  # fmt: skip
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "caption", "details", "div", "dl", "fieldset", "figcaption", "figure",
    "form", "header", "hr", "legend", "main", "ol", "p", "section", "summary", "table", "tr", "ul",
})  # fmt: skip
_LINES = frozenset({"br", "li", "dt", "dd"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_MANY_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_TRAILING = re.compile(r"[ \t]+(?=\n)|(?<=\n) (?=\S)|(?<=\S) +(?= )")
_WHITE = re.compile(r"\s+")
_FENCED = re.compile(r"(^(?:```\n.*?^```|~~~\n.*?^~~~)$)", re.DOTALL | re.MULTILINE)


@define(eq=False, repr=False)
class _Stretch:
    level: int = 0
    heading: str = ""
    anchor: str = ""
    line: int | None = None
    pieces: list[str] = field(factory=list)
    links: list[str] = field(factory=list)

    @cached_property
    def text(self) -> str:
        """What was collected, tidied; fences stay as they are."""
        parts = _FENCED.split("".join(self.pieces))
        parts[::2] = [_MANY_LINES.sub("\n\n", _TRAILING.sub("", part)) for part in parts[::2]]
        return "".join(parts).strip()


def read(text: str) -> Document:
    """Return a page with its sections."""
    # Imported with the first page: it takes a tenth of a second.
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(text, "html.parser")
    mains = soup.select("main, [role=main]")
    root = mains[0] if len(mains) == 1 and mains[0].get_text(strip=True) else soup.body or soup
    stretches = _stretches(root)
    tops = [stretch for stretch in stretches if stretch.level == 1]
    title = tops[0].heading if len(tops) == 1 else _WHITE.sub(" ", soup.title.get_text()).strip() if soup.title else ""
    return Document(text=_whole(stretches), sections=tuple(_sections(stretches)), title=title, kind="markdown")


def _sections(stretches: list[_Stretch]) -> Iterator[Section]:
    first, *headed = stretches
    if first.text:
        yield Section(text=first.text, line=1, links=tuple(first.links))
    yield from headed_sections(
        [
            Headed(
                level=one.level,
                heading=one.heading,
                text=one.text,
                anchor=one.anchor,
                line=one.line,
                links=tuple(one.links),
            )
            for one in headed
        ]
    )


def _whole(stretches: list[_Stretch]) -> str:
    parts = [stretches[0].text]
    for stretch in stretches[1:]:
        if stretch.level > 1 or any(parts):  # the title of the page is not repeated in its text
            parts.append("#" * stretch.level + " " + stretch.heading)
        parts.append(stretch.text)
    return "\n\n".join(filter(None, parts))


def _stretches(root: Any) -> list[_Stretch]:
    stretches = [_Stretch()]
    lists: list[list[int]] = []
    for node, opening in _walk(root):
        pieces = stretches[-1].pieces
        if not hasattr(node, "children"):
            pieces.append(_WHITE.sub(" ", str(node)))
        elif node.name in _HEADINGS and opening:
            heading = _WHITE.sub(" ", _words(node)).strip()
            if heading:
                anchor = node.get("id") or node.parent.get("id") or ""
                stretches.append(_Stretch(int(node.name[1]), heading, str(anchor), node.sourceline))
                stretches[-1].links += _links_in(node)
        elif node.name in ("ul", "ol"):
            pieces.append("" if lists[1:] or (opening and lists) else "\n\n")
            if opening:
                lists.append([0, node.name == "ol"])
            elif lists:
                lists.pop()
        else:
            pieces.append(_mark(node, opening, lists))
            if opening and node.name in ("a", "pre", "table"):
                stretches[-1].links += _links_in(node)
    return stretches


def _links_in(node: Any) -> list[str]:
    """Return where an element leads to; of what is not walked into, where all in it does."""
    if node.name == "table" and _is_layout(node):
        return []
    anchors = [node] if node.name == "a" else node.find_all("a")
    return [str(anchor["href"]) for anchor in anchors if anchor.get("href")]


def _walk(root: Any, *, every_text: bool = False) -> Iterator[tuple[Any, bool]]:
    """Yield what is seen of a tree, each element when it opens and when it closes; a stack, since trees may be deep."""
    from bs4.element import PreformattedString, Tag

    waiting: list[tuple[Any, bool]] = [(root, True)]
    while waiting:
        node, opening = waiting.pop()
        if isinstance(node, PreformattedString) or (isinstance(node, Tag) and _hidden(node)):
            continue
        yield node, opening
        if opening and isinstance(node, Tag) and (every_text or node.name not in _HEADINGS):
            waiting.append((node, False))
            if every_text or (node.name != "pre" and (node.name != "table" or _is_layout(node))):
                waiting.extend((child, True) for child in reversed(node.contents))


def _hidden(node: Any) -> bool:
    return node.name in _UNSEEN or node.has_attr("hidden") or "headerlink" in (node.get("class") or ())


def _is_layout(table: Any) -> bool:
    """Tell whether a table is there for the look of the page, or holds no cells at all."""
    if table.find("tr") is None or table.find(["td", "th"]) is None:
        return True
    return table.find("th") is None and table.find(["table", "p", "ul", "ol", *_HEADINGS]) is not None


def _mark(node: Any, opening: bool, lists: list[list[int]]) -> str:
    """Return the Markdown that stands for an element where it opens or closes."""
    name = node.name
    if name == "pre":
        code = node.get_text().strip("\n")
        fence = "~~~" if "```" in code else "```"
        return f"\n\n{fence}\n{code}\n{fence}\n\n" if opening else ""
    if name == "table" and not _is_layout(node):
        return "\n\n" + _table(node) + "\n\n" if opening else ""
    if name == "li" and opening:
        depth = "  " * (len(lists) - 1)
        if lists and lists[-1][1]:
            lists[-1][0] += 1
            return f"\n{depth}{lists[-1][0]}. "
        return f"\n{depth}- "
    if name == "code":
        return "`"
    if name in _LINES:
        return "\n" if opening else ""
    # The first paragraph of a list item stands beside its bullet.
    inside = name in _BLOCKS and node.parent is not None and node.parent.name in ("li", "dd", "td")
    return ("" if opening else "\n") if inside else "\n\n" if name in _BLOCKS else ""


def _table(table: Any) -> str:
    rows = [[_cell(cell) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
    lines = ["| " + " | ".join(row) + " |" for row in rows if any(row)]
    if lines and table.find("th") is not None:
        lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def _cell(node: Any) -> str:
    return _WHITE.sub(" ", _words(node)).strip().replace("|", "\\|")


def _words(node: Any) -> str:
    return "".join(str(piece) for piece, _ in _walk_inside(node))


def _walk_inside(node: Any) -> Iterator[tuple[Any, bool]]:
    for child in node.contents:
        for piece, opening in _walk(child, every_text=True):
            if not hasattr(piece, "children"):
                yield piece, opening
            elif piece.name in ("br", "p", "div", "li") and opening:
                yield " ", opening
