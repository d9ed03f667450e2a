"""From blocks to sections: what stands under one heading, with the path of headings above it; long ones in parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

from attrs import evolve, field, frozen

from nexus_core.contract.blocks import Block, Code, Footnote, Heading, PageBreak, Paragraph, Place, Table
from nexus_core.toolkit.documents.block_text import block_text, blocks_text, length_of
from nexus_core.toolkit.text.segmentation import passages

LONGEST_SLUG = 80
"""Characters of an anchor: long enough to tell headings apart, short enough for an id."""
LONGEST_HEADING = 200
"""Characters of a heading in titles and paths, which each section under it repeats."""
DEEPEST = 6
"""The levels of headings; what is deeper is a sibling of the sixth."""
LONG = 6000
"""Characters beyond which a section is cut into parts."""
PART = 4000
"""Characters of a part, about."""
_BEGINS_RECORD = frozenset("[<{(")
SHORT = 1200
"""Characters up to which a document, or the pages of a section, stay one item: some 250 tokens."""
_PART_TOKENS = 550
"""Of a piece of a text, about half a part: a sentence of up to two stays whole."""
_NO_SLUG = re.compile(r"[^\w\- ]+")


@frozen(kw_only=True, eq=False, repr=False)
class Section:
    """The blocks under one heading, without the heading itself, or a part of them."""

    blocks: Sequence[Block]
    headings: tuple[str, ...] = ()
    """From the outermost to its own; empty for what stands before the first heading."""
    heading: Heading | None = None
    values: Mapping[str, Any] = field(factory=dict)
    """What the headings tell of all that is under them."""
    page: int | None = None
    """On which it begins."""
    label: str = ""
    """Of that page, as it is printed, where that is something else."""
    last_page: int | None = None
    part: int = 0
    """From 1; 0 where the section is in one piece."""
    by_page: bool = False
    """It was cut where pages end."""

    @cached_property
    def text(self) -> str:
        """What it says; a heading with nothing under it stands for itself."""
        return blocks_text(self.blocks)

    @property
    def rows(self) -> tuple[int, int] | None:
        """The first and last row that it holds, where it holds nothing but one table, whose place is known."""
        spans = self.row_spans
        others = (block for block in self.blocks if not isinstance(block, Table | Heading))
        return spans[0] if len(spans) == 1 and not any(map(length_of, others)) else None

    @property
    def row_spans(self) -> tuple[tuple[int, int], ...]:
        """The first and last row of each table in it, in order; empty where the place of one is not known."""
        spans: list[tuple[int, int]] = []
        for table in (block for block in self.blocks if isinstance(block, Table) and block.rows):
            if table.place.row is None:
                return ()
            first, last = table.place.row, table.place.row + len(table.rows) - 1
            if spans and first == spans[-1][1] + 1:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
        return tuple(spans)

    @property
    def line(self) -> int | None:
        """Where its heading, or else its text, begins in the file."""
        if self.heading is not None and self.part <= 1 and self.heading.place.line is not None:
            return self.heading.place.line
        return next((block.place.line for block in self.blocks if block.place.line is not None), None)


def sections_of(blocks: Iterable[Block]) -> Iterator[Section]:
    """Yield the sections of a document as its blocks come."""
    above: list[tuple[int, str, Mapping[str, Any]]] = []
    heading: Heading | None = None
    under: list[Block] = []
    page = label = last_page = None
    begins: tuple[int | None, str | None] = (None, None)

    def section(*, followed_by: int) -> Iterator[Section]:
        path = tuple(name for _, name, _ in above)
        held: Sequence[Block] = under
        if not any(map(length_of, under)):
            if heading is None or heading.implied or followed_by > heading.level:
                return
            held = (heading_text(heading),)
        elif heading is not None and len(heading.text) > LONGEST_HEADING:
            held = (heading_text(heading), *under)  # the path has only its beginning
        values = {name: value for _, _, told in above for name, value in told.items()}
        yield Section(
            blocks=held, headings=path, heading=heading, values=values, page=begins[0], label=begins[1] or "",
            last_page=last_page,
        )  # fmt: skip

    for block in blocks:
        if isinstance(block, Heading):
            yield from section(followed_by=block.level)
            level = min(block.level, DEEPEST)
            above = [each for each in above if each[0] < level]
            above.append((level, shortened(block.text), block.values))
            heading, under = block, []
            page = block.place.page or page
            begins, last_page = (page, label), page
            continue
        if isinstance(block, PageBreak):
            page, label = block.number, block.label
            if not under and heading is None:
                begins = page, label
        elif length_of(block):  # a break at the end belongs to what follows
            last_page = page
        under.append(block)
    yield from section(followed_by=0)


def heading_text(heading: Heading) -> Block:
    """Return a heading as a paragraph of the text under it."""
    return Paragraph(text=heading.text, place=heading.place)


def parts_of(section: Section) -> Iterator[Section]:
    """Yield a section in parts that can be read alone: by pages where it has several, and none too long."""
    if section.page is not None and (not section.headings or len(section.text) > SHORT):
        pages = list(_pages(section))
        if len(pages) > 1:
            for page in pages:
                yield from _sized(page)
            return
    yield from _sized(section)


def _pages(section: Section) -> Iterator[Section]:
    page, label, held = section.page, section.label, list[Block]()
    for block in (*section.blocks, PageBreak(number=-1)):
        if not isinstance(block, PageBreak):
            held.append(block)
            continue
        if any(map(length_of, held)):
            yield evolve(section, blocks=held, page=page, label=label, last_page=page, by_page=True)
        page, label, held = block.number, block.label, []


def _sized(section: Section) -> Iterator[Section]:
    """Yield the parts of a section that is too long, itself where it is not."""
    if len(section.text) <= LONG:
        yield section
        return
    pieces = list(_grouped(section.blocks))
    for number, blocks in enumerate(pieces, 1):
        yield evolve(section, blocks=blocks, part=number if len(pieces) > 1 else 0)


def _grouped(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Yield blocks together up to the size of a part; notes stay with what they belong to."""
    held: list[Block] = []
    size = 0
    for block in (piece for whole in blocks for piece in split_block(whole)):
        length = len(block_text(block)) + 2
        if held and size + length > PART and not isinstance(block, Footnote):
            yield held
            held, size = [], 0
        held.append(block)
        size += length
    if held:
        yield held


def split_block(block: Block) -> Iterator[Block]:
    """Yield a block in pieces up to the size of a part: a table by its rows, code by its lines, text by sentences."""
    if isinstance(block, Table):
        yield from _split_table(block)
    elif isinstance(block, Code):
        yield from _split_code(block)
    elif len(getattr(block, "text", "")) > PART and not isinstance(block, Heading):
        text: str = block.text  # type: ignore[attr-defined]
        if isinstance(block, Paragraph) and (lines := text.split("\n")) and _are_records(lines):
            yield from _split_records(block, lines)
            return
        spans = [(found[0][0], found[-1][1]) for found in passages(text, "text", _PART_TOKENS)]
        for (begin, end), place in zip(spans, _places_within(block.place, text, spans), strict=True):
            yield evolve(block, text=text[begin:end], place=place)  # type: ignore[call-arg]
    else:
        yield block


def _places_within(place: Place, text: str, spans: Sequence[tuple[int, int]]) -> Iterator[Place]:
    """Yield where the parts of a text stand: by lines of their own, where each line of it is one of the file."""
    line, last, counted = place.line, place.last_line, 0
    is_as_in_file = line is not None and last is not None and last - line == text.count("\n")
    for begin, end in spans:
        if not is_as_in_file or line is None:
            yield place
            continue
        line, counted = line + text.count("\n", counted, begin), begin
        yield evolve(place, line=line, last_line=line + text.count("\n", begin, end))


def _are_records(lines: list[str]) -> bool:
    """Tell whether each line is one of its own, as in a log: it begins with a number, a date or a bracket."""
    begun = sum(line[:1].isdigit() or line[:1] in _BEGINS_RECORD for line in lines if line)
    return len(lines) > 2 and begun >= 0.8 * len(lines) and max(map(len, lines)) <= PART


def _split_records(block: Paragraph, lines: list[str]) -> Iterator[Block]:
    for first, last in cut(lines, [*range(len(lines))], PART):
        line = block.place.line
        place = block.place if line is None else Place(line=line + first, last_line=line + last - 1)
        yield evolve(block, text="\n".join(lines[first:last]), place=place)


def _split_table(table: Table) -> Iterator[Table]:
    if len(block_text(table)) <= PART:
        yield table
        return
    names = sum(map(len, table.header)) + 2 * len(table.header)
    begin = size = 0
    for number, row in enumerate(table.rows):
        length = sum(map(len, row)) + 2 * len(row) + names
        if number > begin and size + length > PART:
            yield _rows_between(table, begin, number)
            begin, size = number, 0
        size += length
    yield _rows_between(table, begin, len(table.rows))


def _rows_between(table: Table, first: int, last: int) -> Table:
    row = table.place.row
    place = table.place if row is None else evolve(table.place, row=row + first)
    return evolve(table, rows=table.rows[first:last], place=place)


def _split_code(code: Code) -> Iterator[Code]:
    if len(code.text) <= PART:
        yield code
        return
    pieces = [
        (number, line[at : at + PART])
        for number, line in enumerate(code.text.split("\n"))
        for at in range(0, max(1, len(line)), PART)
    ]
    lines = [piece for _, piece in pieces]
    for first, last in cut(lines, block_starts(lines), PART):
        text = "\n".join(lines[first:last]).strip("\n")
        if text.strip():
            line = code.place.line
            yield evolve(code, text=text, place=code.place if line is None else Place(line=line + pieces[first][0]))


def slug(heading: str) -> str:
    """Return a heading as hosts of Markdown write it in a link: `Sick leave?` becomes `sick-leave`.

    It has at most 80 characters, whatever the heading.
    """
    return anchored(_NO_SLUG.sub("", heading[: 4 * LONGEST_SLUG].strip().lower()).replace(" ", "-"))


def anchored(name: str) -> str:
    """Return the name of a place in a document as ids and links have it: its first 80 characters."""
    return name if len(name) <= LONGEST_SLUG else name[:LONGEST_SLUG].rstrip("-")


def shortened(heading: str) -> str:
    """Return a heading as titles and paths have it: its first 200 characters."""
    return heading if len(heading) <= LONGEST_HEADING else heading[: LONGEST_HEADING - 1].rstrip() + "…"


def block_starts(lines: list[str]) -> list[int]:
    """Return the indices of the lines after a blank one."""
    return [0, *(at for at in range(1, len(lines)) if lines[at].strip() and not lines[at - 1].strip())]


def cut(lines: list[str], starts: list[int], size: int) -> list[tuple[int, int]]:
    """Return spans of lines of about `size` characters at most, cut at `starts`; a longer block is cut at any line."""
    total = [0, *accumulate(len(line) + 1 for line in lines)]
    pieces: list[tuple[int, int]] = []
    for first, last in _blocks(starts, total, size):
        if pieces and total[last] - total[pieces[-1][0]] <= size:
            pieces[-1] = (pieces[-1][0], last)
        else:
            pieces.append((first, last))
    if len(pieces) > 1 and total[pieces[-1][1]] - total[pieces[-1][0]] < size // 8:
        pieces[-2:] = [(pieces[-2][0], pieces[-1][1])]  # a crumb at the end is no part of its own
    return pieces


def _blocks(starts: list[int], total: list[int], size: int) -> Iterator[tuple[int, int]]:
    for first, last in pairwise((*starts, len(total) - 1)):
        begin = first
        for number in range(first + 1, last + 1):
            if total[number] - total[begin] > size and number - 1 > begin:
                yield begin, number - 1
                begin = number - 1
        if begin < last:
            yield begin, last
