"""From the text of a page to blocks: what a text is depends on what it stands in, such as a heading or a list item."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from nexus_core import Block, Figure, Footnote, Formula, Heading, ListItem, Paragraph, Place, Quotation, Table
from nexus_readers.web.formulas import FoundFormula
from nexus_readers.web.inline import BREAK, InlineText, Line
from nexus_readers.web.notes import Note
from nexus_readers.web.source import Lines
from nexus_readers.web.tables import TableBuilder, cell_text

LONGEST_HEADING = 500
"""Characters beyond which a heading is no heading, but text whose tag is wrong or was never closed."""
_UNCLOSED_HEADING = 200
"""Characters after which a part of the page that begins in a heading ends it."""
MOST_FIGURES = 8
"""Figures in each other; deeper ones are like any other part of the page."""
_TEX_ALONE = re.compile(r"(?:\\\[(.+)\\\]|\$\$(.+)\$\$)", re.DOTALL)
_TEX = re.compile(r"\\\((.{1,500}?)\\\)", re.DOTALL)


@define(eq=False)
class Frame:
    """What a text stands in."""

    kind: str = ""
    """`item`, `quotation`, or nothing in particular."""
    depth: int = 1
    marker: str = "-"
    used: bool = False
    """The item has its text; what comes now stands below it."""


@define(eq=False)
class OpenHeading:
    """A heading that is being read."""

    level: int
    anchor: str


@define(eq=False)
class OpenFigure:
    """A figure that is being read."""

    begin: int
    caption: str = ""
    caption_first: bool = False


@define(eq=False)
class Flow:
    """Takes text and where blocks begin and end; gives blocks."""

    lines: Lines
    note_block: Callable[[Note], Footnote | None]
    blocks: list[Block] = field(factory=list)
    text: InlineText = field(factory=InlineText)
    frames: list[Frame] = field(factory=lambda: [Frame()])
    heading: OpenHeading | None = None
    tables: list[TableBuilder] = field(factory=list)
    figures: list[OpenFigure] = field(factory=list)
    captions: int = 0
    """How many captions are being read."""
    notes: list[Note] = field(factory=list)
    """Whose marks were read, and that come as soon as the block with the mark is complete."""
    _told: set[int] = field(factory=set)

    def boundary(self, soft: bool = False) -> None:
        """Begin or end a block; a soft one, such as a division, does not end a heading that it stands in."""
        if self.heading is None:
            if self.text.pieces:
                self.flush()
        elif not self.text.is_blank:
            if not soft or sum(map(len, self.text.pieces)) > _UNCLOSED_HEADING:
                self.end_heading()
            else:
                self.text.add(" ")

    def begin_heading(self, level: int, anchor: str) -> OpenHeading:
        """Begin a heading."""
        self.boundary()
        self.heading = OpenHeading(level, anchor)
        return self.heading

    def end_heading(self) -> None:
        """End the heading that is open."""
        self.flush()
        self.heading = None

    def flush(self) -> None:
        """Make a block of the text so far."""
        if not self.text.pieces:
            return
        line = self.text.take()
        if not line.text:
            return
        place = Place(line=self.lines.line(line.first))
        if self.heading is not None and len(line.text) <= LONGEST_HEADING:
            text = line.text.replace("\n", " ")
            self.blocks.append(Heading(text=text, level=self.heading.level, anchor=self.heading.anchor, place=place))
        elif line.pictures:
            for words in dict.fromkeys(line.pictures):
                self.add_figure(" ".join(words.split()), place)
        else:
            self.blocks.append(self._block(line, place))
        self.end_block()

    def _block(self, line: Line, place: Place) -> Block:
        text, frame = line.text, self.frames[-1]
        if text.startswith(("\\[", "$$")) and (alone := _TEX_ALONE.fullmatch(text)):
            return Formula(text=" ".join((alone[1] or alone[2]).split()), place=place)
        if "\\(" in text:
            text = _TEX.sub(r"$\1$", text)
        if frame.kind == "item" and not frame.used:
            frame.used = True
            return ListItem(text=text, depth=frame.depth, marker=frame.marker, links=line.links, place=place)
        if frame.kind == "quotation":
            return Quotation(text=text, depth=frame.depth, links=line.links, place=place)
        return Paragraph(text=text, links=line.links, place=place)

    def end_block(self) -> None:
        """Add the notes whose marks stand in what was just added, unless it is part of something larger."""
        while self.notes and not self.figures and not self.captions:
            note = self.notes.pop(0)
            if note.body.mem_id not in self._told:
                self._told.add(note.body.mem_id)
                block = self.note_block(note)
                if block is not None:
                    self.blocks.append(block)

    def add_figure(self, words: str, place: Place | None = None) -> None:
        """Add a picture; the same one twice, once for pages without scripts, stands once."""
        last = self.blocks[-1] if self.blocks else None
        if not isinstance(last, Figure) or last.text != words:
            self.blocks.append(Figure(text=words, place=place or Place(line=self.lines.line(words))))

    def add_formula(self, formula: FoundFormula) -> None:
        """Add a formula, as a block where it stands alone."""
        if not formula.text:
            return
        if not formula.display or self.heading is not None:
            self.text.add(formula.inline if formula.tex else f" {formula.inline} ")
            return
        self.boundary()
        place = Place(line=self.lines.line(formula.text))
        self.blocks.append(Formula(text=formula.text, notation="tex" if formula.tex else "text", place=place))

    def add_break(self) -> None:
        """Add a line break; two of them begin a new paragraph."""
        pieces = self.text.pieces
        if self.heading is not None:
            self.text.add(" ")
        elif pieces and (pieces[-1] if not pieces[-1].isspace() else pieces[-2:-1] and pieces[-2]) == BREAK:
            self.flush()
        else:
            pieces.append(BREAK)

    def take_blocks(self, begin: int) -> str:
        """Take back what was added since, as one line of text: a caption."""
        if self.text.pieces:
            self.flush()
        text = cell_text(self.blocks[begin:])
        del self.blocks[begin:]
        return text

    def begin_table(self, presentation: bool) -> TableBuilder:
        """Begin a table."""
        self.boundary()
        builder = TableBuilder(len(self.blocks), presentation)
        self.tables.append(builder)
        self.frames.append(Frame())
        return builder

    def end_table(self) -> None:
        """End the table that was begun last: its cells become one block, or stay what they are."""
        self.boundary()
        self.frames.pop()
        builder = self.tables.pop()
        inside = self.blocks[builder.begin :]
        table = builder.block(self.blocks, builder.place or (inside[0].place if inside else Place()))
        if table is not None:
            self.blocks[builder.begin :] = [table, *(block for block in inside if isinstance(block, Footnote))]
        elif builder.has_plain_cells or builder.caption:
            caption = [Paragraph(text=builder.caption)] if builder.caption else []
            self.blocks[builder.begin :] = [*caption, *builder.layout(self.blocks)]
        self.end_block()

    def end_figure(self) -> None:
        """End the figure that was begun last: its caption goes to the picture or table in it."""
        self.boundary()
        figure = self.figures.pop()
        if figure.caption:
            inside = self.blocks[figure.begin :]
            self.blocks[figure.begin :] = _captioned(inside, figure.caption, figure.caption_first)
        self.end_block()


def _captioned(inside: Sequence[Block], caption: str, first: bool) -> list[Block]:
    pictures = all(isinstance(block, Figure) for block in inside)
    if not inside:
        return [Figure(text="", caption=caption)]
    last = inside[-1]
    if (pictures and isinstance(last, Figure)) or (len(inside) == 1 and isinstance(last, Table) and not last.caption):
        return [*inside[:-1], evolve(last, caption=caption)]
    text = Paragraph(text=caption, place=inside[0].place)
    return [text, *inside] if first else [*inside, text]
