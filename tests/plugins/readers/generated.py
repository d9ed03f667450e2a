"""Generated documents: a tree of what a document can hold, made from a seed, and how much of it a reader gives back.

A format's tests write the tree in their format, read the file, and compare:

    for seed in range(20):
        tree = document(seed)
        found = compare(read(render(tree)), tree)
        assert found.share >= 0.99 and not found.twice and not found.strangers and not found.tables

Each word of a tree is there once and is made of the letters a to z, so that what is lost, doubled or in the wrong place
is told by the words alone. Inline marks are `Span`s; `grid` gives the rows of a table as they are expected (a cell over
several columns or rows in each of them), for formats that know no spans. Footnotes are expected right after the block
that has their mark. `HtmlPage` in `generated_html` shows how a tree is written.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from attrs import frozen

from nexus_core import (
    Block,
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    ListItem,
    Metadata,
    PageBreak,
    Paragraph,
    Quotation,
    Remark,
    Table,
)
from nexus_core.toolkit import Cell, table_rows

SpanKind = Literal["text", "bold", "italic", "code", "raised", "lowered", "struck", "link", "note"]

MARKS: tuple[SpanKind, ...] = ("bold", "italic", "code", "raised", "lowered", "struck", "link", "note")


@frozen
class Span:
    """A stretch of a sentence: its words, and how they are marked."""

    kind: SpanKind
    text: str
    target: str = ""
    """Of a link: its address. Of a note: its text; `text` is the mark then, a number."""


@frozen
class TreeHeading:
    level: int
    text: str


@frozen
class TreeParagraph:
    spans: tuple[Span, ...]


@frozen
class TreeQuote:
    spans: tuple[Span, ...]


@frozen
class TreeItem:
    spans: tuple[Span, ...]
    inner: TreeList | None = None


@frozen
class TreeList:
    ordered: bool
    items: tuple[TreeItem, ...]


@frozen
class TreeTable:
    rows: tuple[tuple[Cell, ...], ...]
    """As they are written: a cell that spans stands once."""
    header: tuple[Cell, ...] = ()
    caption: str = ""


@frozen
class TreeCode:
    lines: tuple[str, ...]
    """Indented ones and an empty one among them."""
    language: str


@frozen
class TreeFigure:
    alt: str
    caption: str


TreeNode = TreeHeading | TreeParagraph | TreeQuote | TreeList | TreeTable | TreeCode | TreeFigure


@frozen
class TreeDocument:
    """A document: its title is the first heading, too."""

    title: str
    nodes: tuple[TreeNode, ...]


@frozen(kw_only=True)
class Comparison:
    """What a reader made of a document."""

    share: float
    """Of the words of the tree that came back in order."""
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    """Words that came back more than once; copies in spanned cells do not count."""
    strangers: tuple[str, ...]
    """Words that are not in the tree: hidden things, navigation, marks that were read as words."""
    tables: tuple[str, ...]
    """How the tables differ; empty where each cell stands in its place."""


# The tree


class _Writer:
    def __init__(self, seed: int, marks: Sequence[SpanKind]) -> None:
        self.chance = random.Random(seed)
        self._marks = marks
        self._used: set[str] = set()
        self._notes = 0

    def word(self) -> str:
        while True:
            syllables = (self.chance.choice("bdfgklmnprstvz") + self.chance.choice("aeiou") for _ in range(3))
            word = "".join(syllables) + self.chance.choice("lnrst")
            if word not in self._used:
                self._used.add(word)
                return word

    def words(self, least: int, most: int) -> str:
        return " ".join(self.word() for _ in range(self.chance.randint(least, most)))

    def sentence(self, notes: bool = True) -> tuple[Span, ...]:
        """Return a sentence of several spans, with a full stop at its end."""
        spans = [Span("text", self.words(2, 8))]
        for _ in range(self.chance.randint(0, 3) if self._marks else 0):
            spans += self._marked(notes)
            spans.append(Span("text", " " + self.words(1, 8)))
        return (*spans, Span("text", "."))

    def _marked(self, notes: bool) -> Iterator[Span]:
        kind = self.chance.choice(self._marks)
        if kind == "note" and not notes:
            kind = "text"
        if kind == "note":
            self._notes += 1
            yield Span("note", str(self._notes), self.words(3, 8) + ".")
            return
        if kind not in ("raised", "lowered"):
            yield Span("text", " ")
        target = f"https://example.org/{self.chance.randint(1, 99)}" if kind == "link" else ""
        yield Span(kind, self.word() if kind in ("raised", "lowered", "code") else self.words(1, 3), target)

    def nested_list(self, depth: int = 1) -> TreeList:
        items = []
        for _ in range(self.chance.randint(2, 4)):
            deeper = depth < 3 and self.chance.random() < 0.3
            items.append(TreeItem(self.sentence(notes=False), self.nested_list(depth + 1) if deeper else None))
        return TreeList(self.chance.random() < 0.5, tuple(items))

    def table(self) -> TreeTable:
        width, height = self.chance.randint(2, 5), self.chance.randint(2, 6)
        free = [[True] * width for _ in range(height)]
        rows = tuple(tuple(self._cells(free, row)) for row in range(height))
        header = tuple(Cell(self.words(1, 2)) for _ in range(width))
        return TreeTable(rows, header, self.words(2, 5) if self.chance.random() < 0.5 else "")

    def _cells(self, free: list[list[bool]], row: int) -> Iterator[Cell]:
        """Yield the cells of a row; some are two columns wide or two rows high, none covers its row alone."""
        width = len(free[row])
        for column in range(width):
            if not free[row][column]:
                continue
            wide = 1 + (self.chance.random() < 0.1 and column + 2 < width and free[row][column + 1])
            high = 1 + (self.chance.random() < 0.1 and row + 1 < len(free) and column > 0)
            for below in range(row, row + high):
                free[below][column : column + wide] = [False] * wide
            yield Cell(self.words(1, 3), columns=wide, rows=high)

    def node(self) -> TreeNode:
        """Return anything but a heading."""
        kind = self.chance.choices(range(6), (10, 3, 3, 2, 2, 2))[0]
        if kind == 0:
            return TreeParagraph((*self.sentence(), Span("text", " "), *self.sentence()))
        if kind == 1:
            return self.nested_list()
        if kind == 2:
            return self.table()
        if kind == 3:
            return TreeCode(
                (self.words(1, 3), "    " + self.word(), "", "  " + self.words(1, 2)), self.chance.choice(_LANGUAGES)
            )
        if kind == 4:
            return TreeQuote(self.sentence(notes=False))
        return TreeFigure(self.words(2, 6), self.words(2, 6))


_LANGUAGES = ("python", "java", "bash")


def document(seed: int, sections: int = 5, marks: Sequence[SpanKind] = MARKS) -> TreeDocument:
    """Return a document; the same for the same seed. `marks` are the inline marks that its format can write."""
    writer = _Writer(seed, marks)
    title = writer.words(2, 4)
    nodes: list[TreeNode] = [TreeHeading(1, title)]
    level = 1
    for _ in range(sections):
        nodes += [writer.node() for _ in range(writer.chance.randint(1, 5))]
        level = writer.chance.randint(2, min(4, level + 1))
        nodes.append(TreeHeading(level, writer.words(1, 4)))
    nodes.append(TreeParagraph(writer.sentence()))
    return TreeDocument(title, tuple(nodes))


def notes_of(spans: Iterable[Span]) -> list[Span]:
    """Return the notes whose marks stand in a sentence."""
    return [span for span in spans if span.kind == "note"]


def grid(table: TreeTable) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a table without its header and without spans."""
    return tuple(table_rows(table.rows))


# The comparison

_WORD = re.compile(r"[^\W\d_]+")
_MARKS = re.compile(r"\[\^\d+\]|\]\([^()\s]*\)")


def compare(blocks: Iterable[Block], tree: TreeDocument) -> Comparison:
    """Return how much of a tree is in the blocks that were read."""
    held = [block for block in blocks if not isinstance(block, Metadata | Remark | PageBreak)]
    wanted = [word for node in tree.nodes for word in _node_words(node)]
    place = {word: number for number, word in enumerate(wanted)}
    found = [word for block in held for word in _block_words(block)]
    counted = Counter(found)
    return Comparison(
        share=_longest_rise([place[word] for word in found if word in place]) / len(wanted),
        lost=tuple(word for word in wanted if word not in counted),
        twice=tuple(word for word, times in counted.items() if times > 1),
        strangers=tuple(word for word in counted if word not in place),
        tables=tuple(_table_differences(held, tree)),
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(_MARKS.sub(" ", text).replace("_", " "))


def _spans_words(spans: Sequence[Span]) -> Iterator[str]:
    for span in spans:
        if span.kind != "note":
            yield from _words(span.text)


def _node_words(node: TreeNode) -> Iterator[str]:
    if isinstance(node, TreeHeading):
        yield from _words(node.text)
    elif isinstance(node, TreeParagraph | TreeQuote):
        yield from _spans_words(node.spans)
        for note in notes_of(node.spans):
            yield from _words(note.target)
    elif isinstance(node, TreeList):
        for item in node.items:
            yield from _spans_words(item.spans)
            if item.inner is not None:
                yield from _node_words(item.inner)
    elif isinstance(node, TreeTable):
        for text in (node.caption, *(cell.text for row in (node.header, *node.rows) for cell in row)):
            yield from _words(text)
    elif isinstance(node, TreeCode):
        yield from _words(" ".join(node.lines))
    else:
        yield from _words(f"{node.alt} {node.caption}")


def _block_words(block: Block) -> Iterator[str]:
    if isinstance(block, Table):
        cells = (cell for row in (block.header, *block.rows) for cell in row)
        words = (word for text in (block.caption, *cells) for word in _words(text))
        yield from dict.fromkeys(words)  # a cell that spans stands in several places
    elif isinstance(block, Figure):
        yield from _words(f"{block.text} {block.caption}")
    elif isinstance(block, Heading | Paragraph | ListItem | Quotation | Code | Formula | Footnote):
        yield from _words(block.text)


def _longest_rise(numbers: Iterable[int]) -> int:
    """Return the length of the longest rising subsequence."""
    ends: list[int] = []
    for number in numbers:
        at = bisect_left(ends, number)
        ends[at : at + 1] = [number]
    return len(ends)


def _table_differences(blocks: Iterable[Block], tree: TreeDocument) -> Iterator[str]:
    found = [block for block in blocks if isinstance(block, Table)]
    wanted = [node for node in tree.nodes if isinstance(node, TreeTable)]
    if len(found) != len(wanted):
        yield f"{len(found)} tables instead of {len(wanted)}"
    for number, (table, node) in enumerate(zip(found, wanted, strict=False), 1):
        header = tuple(cell.text for cell in node.header)
        for what, ours, theirs in (
            ("caption", table.caption, node.caption),
            ("header", table.header, header),
            ("rows", table.rows, grid(node)),
        ):
            if ours != theirs:
                yield f"table {number}: {what} {ours} instead of {theirs}"
