"""The tables of a page: which are there for the look of it, and the others as Markdown, each cell once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from nexus_readers.markup import Node

_OF_LAYOUT = frozenset({"table", "p", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6"})
"""What stands in a table without header cells that holds parts of a page, not figures."""


@define(eq=False, repr=False)
class OldTable:
    """What belongs to a table itself, and not to one inside it."""

    node: Node
    rows: list[list[Node]] = field(factory=list)
    """The cells of each row."""
    others: list[Node] = field(factory=list)
    """What stands outside of the cells and has words of its own, such as a caption."""
    headed: bool = False
    _holds_blocks: bool = False
    _row: Node | None = None
    """The one that the last cell is in; None where it is in none."""

    @property
    def is_layout(self) -> bool:
        """Whether it is there for the look of the page, or holds no cells at all."""
        return not self.rows or (not self.headed and self._holds_blocks)

    def take(self, node: Node, row: Node | None) -> None:
        """Take note of an element inside, and of the row that it is in."""
        if node.name in ("td", "th"):
            if not self.rows or row is not self._row:
                self.rows.append([])
            self._row = row
            self.rows[-1].append(node)
            self.headed = self.headed or node.name == "th"
        elif node.name == "caption":
            self.others.append(node)
        self._holds_blocks = self._holds_blocks or node.name in _OF_LAYOUT

    def markdown(self, text_of: Callable[[Node], str]) -> str:
        """Return the table, a line for each row that is not empty, with its caption before."""
        rows = [[text_of(cell) for cell in row] for row in self.rows]
        lines = ["| " + " | ".join(row) + " |" for row in rows if any(row)]
        if lines and self.headed:
            lines.insert(1, "|" + " --- |" * len(next(row for row in rows if any(row))))
        captions = [caption for caption in map(text_of, self.others) if caption]
        return "\n\n".join([*captions, "\n".join(lines)])


def tables_in(root: Node) -> dict[Node, OldTable]:
    """Return the tables of a tree, each with what is its own; each element is looked at once."""
    found: dict[Node, OldTable] = {}
    waiting: list[tuple[Node, OldTable | None, Node | None]] = [(root, None, None)]
    while waiting:
        node, table, row = waiting.pop()
        if table is not None:
            table.take(node, row)
        if node.name == "table":
            table, row = OldTable(node), None
            found[node] = table
        elif node.name == "tr":
            row = node
        elif node.name in ("td", "th"):
            row = None
        waiting.extend((child, table, row) for child in reversed(node.children) if isinstance(child, Node))
    return found
