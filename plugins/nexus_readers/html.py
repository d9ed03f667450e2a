"""Reads HTML: what people see of the page, as Markdown, in sections by h1 to h6, without navigation and scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import BinaryIO

from attrs import define, field

from nexus_core import Block, ReadHints, Remark, component
from nexus_core.toolkit import decode
from nexus_readers.legacy import Headed, OldSection, ReadResult, blocks_of, headed_sections
from nexus_readers.markup import Node, parse
from nexus_readers.tables import OldTable, tables_in

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
_BLANKS = re.compile(r"(?<=\S) {2,}+")
_BLANKS_AT_ENDS = re.compile(r"(?<=\S)[ \t]++(?=\n)|(?<=\n) (?=\S)")
_MANY_LINES = re.compile(r"\n(?:[ \t]*+\n)++")
_WHITE = re.compile(r"\s+")

_LONGEST_HEADING = 500
"""Characters beyond which a heading is no heading, but text whose tag is wrong or was never closed."""
_MOST_IN_HEADING = 1000
"""Elements and texts of a heading, for the same reason."""
_DEEPEST_LIST = 16
"""The levels of lists that are told apart by how far they are indented."""


@define(eq=False, repr=False)
class _Stretch:
    level: int = 0
    heading: str = ""
    anchor: str = ""
    line: int | None = None
    pieces: list[str] = field(factory=list)
    code: dict[int, str] = field(factory=dict)
    """By their places among the pieces, fences that stay as they are."""
    links: list[str] = field(factory=list)

    def add_code(self, code: str) -> None:
        """Add what stands in a fence."""
        longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
        fence = "`" * (longest + 1) if longest > 2 else "```"
        self.pieces += ["\n\n", "", "\n\n"]
        self.code[len(self.pieces) - 2] = f"{fence}\n{code}\n{fence}"

    @cached_property
    def text(self) -> str:
        """What was collected, tidied."""
        parts, begin = [], 0
        for place, code in self.code.items():
            parts += [_tidied("".join(self.pieces[begin:place])), code]
            begin = place + 1
        parts.append(_tidied("".join(self.pieces[begin:])))
        return "".join(parts).strip()


def _tidied(text: str) -> str:
    return _MANY_LINES.sub("\n\n", _BLANKS_AT_ENDS.sub("", _BLANKS.sub(" ", text)))


def read(text: str) -> ReadResult:
    """Return a page with its sections."""
    tree = parse(text)
    nodes = list(tree.walk())
    mains = [node for node in nodes if node.name == "main" or node.attributes.get("role") == "main"]
    root = mains[0] if len(mains) == 1 and _has_words(mains[0]) else tree
    stretches = _Writer(tables_in(root)).stretches(root)
    tops = [stretch for stretch in stretches if stretch.level == 1]
    named = next((node for node in nodes if node.name == "title"), None)
    title = tops[0].heading if len(tops) == 1 else _WHITE.sub(" ", text_in(named)).strip() if named else ""
    return ReadResult(text=_whole(stretches), sections=tuple(_sections(stretches)), title=title, kind="markdown")


def text_in(node: Node) -> str:
    """Return all text inside of an element, hidden or not."""
    found = []
    waiting: list[Node | str] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        else:
            waiting.extend(reversed(one.children))
    return "".join(found)


def _has_words(node: Node) -> bool:
    return bool(text_in(node).strip())


def _sections(stretches: list[_Stretch]) -> Iterator[OldSection]:
    first, *headed = stretches
    if first.text:
        yield OldSection(text=first.text, line=1, links=tuple(first.links))
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
    parts = [stretches[0].text] if stretches[0].text else []
    for stretch in stretches[1:]:
        if stretch.level > 1 or parts:  # the title of the page is not repeated in its text
            parts.append("#" * stretch.level + " " + stretch.heading)
        if stretch.text:
            parts.append(stretch.text)
    return "\n\n".join(parts)


class _Writer:
    """Writes a tree as Markdown, each element once."""

    def __init__(self, tables: Mapping[Node, OldTable]) -> None:
        self._tables = tables
        self._lists: list[_List] = []
        self._found = [_Stretch()]

    def stretches(self, root: Node) -> list[_Stretch]:
        """Return what stands under each heading, and before the first."""
        waiting: list[tuple[Node | str, bool]] = [(root, True)]
        while waiting:
            node, opening = waiting.pop()
            if isinstance(node, str):
                self._found[-1].pieces.append(_WHITE.sub(" ", node))
            elif is_seen(node) and self._write(node, opening) and opening:
                waiting.append((node, False))
                waiting.extend((child, True) for child in reversed(node.children))
        return self._found

    def _write(self, node: Node, opening: bool) -> bool:
        """Write what stands for an element where it opens or closes; tell whether what is inside comes next."""
        here = self._found[-1]
        if node.name in _HEADINGS:
            if opening and not self._is_no_heading(node):
                return False
            here.pieces.append("\n\n")
            return True
        if node.name == "pre":
            here.add_code(text_in(node).strip("\n"))
            here.links += _links_in(node)
            return False
        table = self._tables.get(node)
        if table is not None and not table.is_layout:
            here.pieces += ["\n\n", table.markdown(cell_text), "\n\n"]
            here.links += _links_in(node)
            return False
        if node.name == "a" and opening and node.attributes.get("href"):
            here.links.append(node.attributes["href"])
        if node.name in ("ul", "ol"):
            here.pieces.append("" if len(self._lists) > 1 or (opening and self._lists) else "\n\n")
            if opening:
                self._lists.append(_List(numbered=node.name == "ol"))
            elif self._lists:
                self._lists.pop()
        else:
            here.pieces.append(self._mark(node, opening))
        return True

    def _is_no_heading(self, node: Node) -> bool:
        """Begin a stretch where a heading has words, not too many; tell whether it is a text like any other."""
        words = words_in(node, _LONGEST_HEADING, _MOST_IN_HEADING)
        if words is None:
            return True
        heading = _WHITE.sub(" ", words).strip()
        if heading:
            above = node.parent.attributes if node.parent else {}
            anchor = node.attributes.get("id") or above.get("id", "")
            self._found.append(_Stretch(int(node.name[1]), heading, anchor, node.line, links=_links_in(node)))
        return False

    def _mark(self, node: Node, opening: bool) -> str:
        name = node.name
        if name == "li" and opening:
            depth = "  " * (min(len(self._lists), _DEEPEST_LIST) - 1)
            return f"\n{depth}{self._lists[-1].mark() if self._lists else '-'} "
        if name == "code":
            return "`"
        if name in _LINES:
            return "\n" if opening else ""
        # The first paragraph of a list item stands beside its bullet.
        inside = name in _BLOCKS and node.parent is not None and node.parent.name in ("li", "dd", "td")
        return ("" if opening else "\n") if inside else "\n\n" if name in _BLOCKS else ""


@define(eq=False, repr=False)
class _List:
    numbered: bool
    last: int = 0

    def mark(self) -> str:
        """Return what the next entry begins with."""
        self.last += 1
        return f"{self.last}." if self.numbered else "-"


def is_seen(node: Node) -> bool:
    """Tell whether people see an element of a page and want it read."""
    return (
        node.name not in _UNSEEN
        and "hidden" not in node.attributes
        and "headerlink" not in node.attributes.get("class", "").split()
    )


def _links_in(node: Node) -> list[str]:
    return [inner.attributes["href"] for inner in node.walk() if inner.name == "a" and inner.attributes.get("href")]


def cell_text(node: Node) -> str:
    """Return what stands in a cell, on one line."""
    return _WHITE.sub(" ", words_in(node) or "").strip().replace("|", "\\|")


def words_in(node: Node, most: int | None = None, parts: int | None = None) -> str | None:
    """Return what is seen of an element as one text; `None` where it has more characters or parts than asked for."""
    found: list[str] = []
    characters = seen = 0
    waiting: list[Node | str] = list(reversed(node.children))
    while waiting:
        one = waiting.pop()
        seen += 1
        if isinstance(one, str):
            found.append(one)
            characters += len(one)
        elif is_seen(one):
            if one.name in ("br", "p", "div", "li", "td", "th"):
                found.append(" ")
            waiting.extend(reversed(one.children))
        if (most is not None and characters > most) or (parts is not None and seen > parts):
            return None
    return "".join(found)


@component
class HtmlReader:
    """Reads html."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        decoded = decode(file.read(), hints.default_encoding)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        yield from blocks_of(read(decoded.text))
