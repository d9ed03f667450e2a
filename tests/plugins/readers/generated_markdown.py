"""Generated documents as Markdown, in several styles of writing it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from attrs import evolve

from nexus_core.toolkit import Cell
from tests.plugins.readers.generated import (
    Span,
    TreeCode,
    TreeDocument,
    TreeFigure,
    TreeHeading,
    TreeList,
    TreeNode,
    TreeParagraph,
    TreeQuote,
    TreeTable,
    grid,
    notes_of,
)

STYLES = ("plain", "underlined", "wrapped", "starred", "html tables", "references")


def for_markdown(tree: TreeDocument, style: str) -> TreeDocument:
    """Return a tree without what Markdown cannot write: captions, and cells that span."""
    return TreeDocument(tree.title, tuple(_written(node, style) for node in tree.nodes))


def _written(node: TreeNode, style: str) -> TreeNode:
    if not isinstance(node, TreeTable) or style == "html tables":
        return node
    seen: set[str] = set()
    rows = tuple(tuple(Cell(_once(text, seen)) for text in row) for row in grid(node))
    return evolve(node, rows=rows, caption="")


def _once(text: str, seen: set[str]) -> str:
    """Return a text where it comes first, and nothing in its copies."""
    if text in seen:
        return ""
    seen.add(text)
    return text


class MarkdownPage:
    """Writes a tree as Markdown."""

    def __init__(self, style: str, seed: int) -> None:
        self._style = style
        self._chance = random.Random(seed)
        self._notes: list[str] = []
        self._addresses: list[str] = []

    def text(self, tree: TreeDocument) -> str:
        """Return the document, its notes and addresses at its end."""
        parts = [part for node in tree.nodes for part in self._node(node)]
        return "\n\n".join([*parts, *self._notes, *self._addresses]) + "\n"

    def _node(self, node: TreeNode) -> Iterator[str]:
        if isinstance(node, TreeHeading):
            yield self._heading(node)
        elif isinstance(node, TreeParagraph):
            yield self._wrapped(self._spans(node.spans))
        elif isinstance(node, TreeQuote):
            yield "\n".join("> " + line for line in self._wrapped(self._spans(node.spans)).split("\n"))
        elif isinstance(node, TreeList):
            yield "\n".join(self._list(node, ""))
        elif isinstance(node, TreeTable):
            yield self._html_table(node) if self._style == "html tables" else self._table(node)
        elif isinstance(node, TreeCode):
            fence = "~~~~" if self._style == "starred" else "```"
            yield "\n".join([fence + node.language, *node.lines, fence])
        else:
            yield self._figure(node)

    def _heading(self, node: TreeHeading) -> str:
        if self._style == "underlined" and node.level < 3:
            return f"{node.text}\n{'=-'[node.level - 1] * 8}"
        closing = " " + "#" * node.level if self._style == "starred" else ""
        return f"{'#' * node.level} {node.text}{closing}"

    def _wrapped(self, text: str) -> str:
        if self._style != "wrapped":
            return text
        lines, line = [], ""
        for word in text.split(" "):
            if len(line) + len(word) > 60:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else word
        return "\n".join([*lines, line])

    def _list(self, node: TreeList, indent: str) -> Iterator[str]:
        for number, item in enumerate(node.items, 1):
            mark = f"{number}. " if node.ordered else "* " if self._style == "starred" else "- "
            yield indent + mark + self._spans(item.spans)
            if item.inner is not None:
                yield from self._list(item.inner, indent + " " * len(mark))

    def _table(self, node: TreeTable) -> str:
        rows = [[cell.text for cell in node.header], ["---"] * len(node.header), *map(list, grid(node))]
        if self._style == "starred":
            return "\n".join(" | ".join(row) for row in rows)
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def _html_table(self, node: TreeTable) -> str:
        rows = ["".join(f"<th>{cell.text}</th>" for cell in node.header)]
        rows += [
            "".join(f'<td colspan="{cell.columns}" rowspan="{cell.rows}">{cell.text}</td>' for cell in row)
            for row in node.rows
        ]
        caption = f"<caption>{node.caption}</caption>\n" if node.caption else ""
        return f"<table>\n{caption}" + "\n\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"

    def _figure(self, node: TreeFigure) -> str:
        return f'![{node.alt}](picture.png "{node.caption}")'

    def _spans(self, spans: Sequence[Span]) -> str:
        self._notes += [f"[^{span.text}]: {span.target}" for span in notes_of(spans)]
        return "".join(map(self._span, spans))

    def _span(self, span: Span) -> str:
        if span.kind == "link" and self._style == "references":
            self._addresses.append(f"[{span.text}]: {span.target}")
            return self._chance.choice((f"[{span.text}]", f"[{span.text}][]"))
        if span.kind == "link":
            return f"[{span.text}]({span.target})"
        if span.kind == "note":
            return f"[^{span.text}]"
        begin, end = {
            "bold": ("**", "**"),
            "italic": ("_", "_"),
            "code": ("`", "`"),
            "raised": ("<sup>", "</sup>"),
            "lowered": ("<sub>", "</sub>"),
            "struck": ("~~", "~~"),
        }.get(span.kind, ("", ""))
        return begin + span.text + end
