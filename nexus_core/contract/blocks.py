"""The blocks of a document: what every reader makes of a file, whatever its format.

A document is its blocks in the order in which a person reads them. Sections, titles, items and the text for the model
are made from blocks in one place, `nexus_core.toolkit.documents`. Text in a block is one line of prose as Markdown
writes it inline, where the format tells: `10^6` and `H_2O` for raised and lowered characters, `~~50~~` for what is
struck out, `[words](target)` for a link, `[^1]` for the mark of a footnote, `` `code` `` for code. White space is
collapsed, but for code, whose lines stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from nexus_core.contract.values import Value


@frozen(kw_only=True, eq=False, repr=False)
class Place(Value):
    """Where a block stands in its file, as far as the format knows places; all counts begin at 1."""

    line: int | None = None
    """The first line; only LF, CRLF and CR end lines."""
    last_line: int | None = None
    page: int | None = None
    box: tuple[float, float, float, float] | None = None
    """On its page, in points from the upper left corner: left, top, right, bottom."""
    row: int | None = None
    """Of a sheet or a file of records: where the first row stands."""


NOWHERE = Place()
"""The place of a block whose format knows none: one object for all of them."""


@frozen(kw_only=True, eq=False, repr=False)
class Block(Value):
    """A part of a document; its subclasses are all kinds there are."""

    place: Place = NOWHERE


@frozen(kw_only=True, eq=False, repr=False)
class Metadata(Block):
    """What a document says of itself. Stands before its content, so that titles are known when items are made."""

    title: str = ""
    author: str = ""
    date: str = ""
    """ISO 8601, as exact as it is known: `2024`, `2024-05`, `2024-05-01T10:00:00+02:00`."""
    language: str = ""
    """As BCP 47 has it: `de`, `pt-BR`."""
    tags: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(factory=dict)
    """What else it tells: JSON values."""


@frozen(kw_only=True, eq=False, repr=False)
class Heading(Block):
    """The heading of what follows, up to the next one of its level or above."""

    text: str
    level: int = 1
    """From 1, the outermost."""
    anchor: str = ""
    """The name by which a link reaches it, where the document gives one."""
    implied: bool = False
    """It names what follows and is no text of its own, such as the name of a function or of a sheet."""
    values: Mapping[str, Any] = field(factory=dict)
    """What is to be told with each item under it, such as sender and date of a mail in a mailbox: JSON values."""


@frozen(kw_only=True, eq=False, repr=False)
class Paragraph(Block):
    """Sentences that stand together."""

    text: str
    links: tuple[str, ...] = ()
    """Where its links lead, as they are written; of Markdown in the text they need not be repeated here."""


@frozen(kw_only=True, eq=False, repr=False)
class ListItem(Block):
    """One item of a list. What else stands in it (code, a table, another list) comes as blocks after it."""

    text: str
    depth: int = 1
    """From 1, the outermost list."""
    marker: str = "-"
    """`-`, or the number as it is shown: `3.`; a definition list gives its terms as paragraphs."""
    links: tuple[str, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class Quotation(Block):
    """A paragraph that is quoted."""

    text: str
    depth: int = 1
    links: tuple[str, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class Code(Block):
    """Lines of a program, of output, or whatever else must keep its lines."""

    text: str
    language: str = ""


@frozen(kw_only=True, eq=False, repr=False)
class Table(Block):
    """A table without spans: a cell over several columns or rows stands in each of them."""

    rows: tuple[tuple[str, ...], ...]
    """Without the header; a cell is one line of text."""
    header: tuple[str, ...] = ()
    """The name of each column; empty where the table has none."""
    caption: str = ""
    links: tuple[str, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class Figure(Block):
    """A picture, by what is written about it or in it."""

    text: str
    """The alternative text, or what was recognised in it."""
    caption: str = ""


@frozen(kw_only=True, eq=False, repr=False)
class Formula(Block):
    """A formula that stands alone; one within a sentence is `$...$` there."""

    text: str
    notation: Literal["tex", "text"] = "tex"


@frozen(kw_only=True, eq=False, repr=False)
class Footnote(Block):
    """A note; it comes right after the block that has its mark, `[^1]`, wherever the file keeps it."""

    mark: str
    """Without the brackets: `1`."""
    text: str
    links: tuple[str, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class PageBreak(Block):
    """The beginning of a page, the first one included."""

    number: int
    """From 1, in the order of the file."""
    label: str = ""
    """As it is printed where that is something else: `iv`."""


@frozen(kw_only=True, eq=False, repr=False)
class Remark(Block):
    """What a reader tells those who look after the documents; no text of the document."""

    text: str
    """As `page 4 cannot be read (its font is damaged)`: what, where, and what to do if anything helps."""
    lost: bool = False
    """Something that people see in the document is not among its blocks."""
