"""The rows of a page into blocks: headings, paragraphs, list items, code, tables, notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from attrs import define, evolve, field

from nexus_core import Block, Code, Footnote, Heading, ListItem, Paragraph, Place, Table
from nexus_readers.pdf.aligned import aligned_table, has_leaders, table_end, without_leaders
from nexus_readers.pdf.hyphens import LineJoiner
from nexus_readers.pdf.order import PageRow
from nexus_readers.pdf.outline import PageOutline
from nexus_readers.pdf.spans import HYPHEN
from nexus_readers.pdf.style import PageStyle

_BULLET = re.compile(r"([•◦▪▫‣⁃∙·●○■□➢➤►✓✔❖\uf0a7\uf0b7\uf0d8]|[*–—-](?= ))\s*(?=\S)")
_NUMBER = re.compile(r"((?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]|\([\da-zA-Z]{1,3}\))\s+(?=\S)")
_BARE = re.compile(r"(\d{1,2}) (?=\S)")
_NOTE = re.compile(r"\^(\d{1,3}(?!\d)|[*†‡]|[a-z](?!\w))\s*(?=\S)")
_CAPTION = re.compile(
    r"(?:table|tab\.|tabelle|tableau|tabla|tabela|tabell|taulukko|таблица|表)\s*[\dIVXA-Z]", re.IGNORECASE
)
_LONGEST_CAPTION = 400
_MOST_TRIES = 4
_AFTER_MARKS = frozenset(").")
_SENTENCE = re.compile(r"[.!?:;…。！？][)\]»”\"'’]*$")
_FEW_LINES = 6
_PITCH = 1.28
"""A paragraph ends where the next line is so much further down than lines usually are."""


@define(eq=False)
class PageFlow:
    """Makes the blocks of one page."""

    number: int
    width: float
    style: PageStyle
    joiner: LineJoiner
    outline: PageOutline
    blocks: list[Block] = field(factory=list)
    _notes: list[Footnote] = field(factory=list)
    _depths: list[float] = field(factory=list)
    """Where the items of the lists begin that are open, from the outermost."""
    _stretch: tuple[int, int] = (0, 0)
    """Rows of which some may be a table."""
    _failed: int = 0
    """How often they turned out to be none."""

    def read(self, regions: Sequence[Sequence[PageRow]]) -> list[Block]:
        """Return the blocks of a page."""
        for rows in regions:
            self._region(rows)
        self.blocks += self.outline.passed(None)
        self._place_notes()
        return self.blocks

    def _region(self, rows: Sequence[PageRow]) -> None:
        at = 0
        self._stretch = (0, 0)
        column = _Column.of(rows, self.width)
        while at < len(rows):
            row = rows[at]
            self.blocks += self.outline.passed(row)
            if row.first.table is not None:
                self._add_table(row.first.table)
                at += 1
                continue
            at = (
                self._heading(rows, at, column)
                or self._code(rows, at)
                or self._table(rows, at)
                or self._text(rows, at, column)
            )

    def _heading(self, rows: Sequence[PageRow], at: int, column: _Column) -> int:
        """Add a heading that begins at a row; returns where it ends, 0 if there is none."""
        listed = self.outline.take(rows, at)
        if listed is not None:
            self._add_heading(rows[at : listed[1]], listed[0].level)
            return listed[1]
        row = rows[at]
        if not self.style.is_heading(row) or _BULLET.match(row.text):
            return 0
        end = at + 1
        while end < len(rows) and end - at < 4 and self._is_one_heading(rows[end - 1], rows[end], column):
            end += 1
        if end - at > 3 or (end < len(rows) and self._runs_on(rows[end - 1], rows[end])):
            return 0
        self._add_heading(rows[at:end], self.outline.outline.below() or self.style.level(row.first))
        return end

    def _is_one_heading(self, row: PageRow, following: PageRow, column: _Column) -> bool:
        """Tell whether a heading goes on in the next row: its first word had no room on the row above."""
        one, other = row.first, following.first
        word = (following.right - following.left) * following.text.find(" ") / max(1, len(following.text))
        return (
            column.right - column.left - (row.right - row.left) < max(word, 0) + 3 * one.size
            and self.style.is_heading(following)
            and abs(one.size - other.size) < 0.5
            and one.bold == other.bold
            and 0 < following.top - row.top < 1.6 * one.size
            and not self.outline.is_entry(following)
        )

    def _runs_on(self, row: PageRow, following: PageRow) -> bool:
        """Tell whether a bold line is the beginning of a paragraph."""
        if row.first.size > 1.13 * self.style.body:
            return False
        close = 0 < following.top - row.top < 1.5 * row.first.size
        return close and not row.text.endswith(":") and following.text[:1].islower()

    def _add_heading(self, rows: Sequence[PageRow], level: int) -> None:
        self._depths.clear()
        text = without_leaders(self.joiner.join(row.text for row in rows))
        self.blocks.append(Heading(text=text, level=level, place=self._place(rows)))

    def _code(self, rows: Sequence[PageRow], at: int) -> int:
        if self.style.is_mono:
            return 0
        end = at
        while end < len(rows) and all(span.mono for span in rows[end].spans):
            if end > at and not 0 < rows[end].top - rows[end - 1].top < 4 * rows[end].first.size:
                break
            end += 1
        if end == at:
            return 0
        left = min(row.left for row in rows[at:end])
        lines: list[str] = []
        pitch = min((b.top - a.top for a, b in pairwise(rows[at:end])), default=0.0)
        for number in range(at, end):
            if number > at and pitch > 0:
                lines += [""] * min(3, round((rows[number].top - rows[number - 1].top) / pitch) - 1)
            lines.append(_code_line(rows[number], left))
        self.blocks.append(Code(text="\n".join(lines), place=self._place(rows[at:end])))
        return end

    def _table(self, rows: Sequence[PageRow], at: int) -> int:
        if len(rows[at].spans) < 2:
            return 0
        end = self._table_end(rows, at)
        if end <= at or self._failed >= _MOST_TRIES:
            return 0
        table = aligned_table(rows[at:end], self.number, self.joiner)
        if table is None:
            self._failed += 1
            return 0
        self._add_table(table)
        return end

    def _table_end(self, rows: Sequence[PageRow], at: int) -> int:
        """Return where a table ends that may begin at a row; rows of one stretch are looked at once for all of them."""
        begin, end = self._stretch
        if not begin < at < end:
            end = table_end(rows, at)
            self._stretch, self._failed = (at, end), 0
        return end

    def _add_table(self, table: Table) -> None:
        """Add a table, with the caption that stands above it; one that a column has cut goes on with its first half."""
        last = self.blocks[-1] if self.blocks else None
        if isinstance(last, Table) and last.place.page == self.number and _is_rest(last, table):
            rows = table.rows if table.header else (table.rows[1:] if table.rows[:1] == (last.header,) else table.rows)
            self.blocks[-1] = evolve(last, rows=last.rows + rows)
            return
        if isinstance(last, Paragraph) and _CAPTION.match(last.text) and len(last.text) < _LONGEST_CAPTION:
            self.blocks.pop()
            table = evolve(table, caption=last.text)
        self.blocks.append(table)

    def _text(self, rows: Sequence[PageRow], at: int, column: _Column) -> int:
        """Add the paragraph, list item or note that begins at a row; returns where it ends."""
        note = _NOTE.match(rows[at].text) if rows[at].text[0] == "^" else None
        item = None if note else self._marker(rows, at)
        end = at + 1
        while end < len(rows) and self._goes_on(rows, at, end, column, item is not None):
            end += 1
        if has_leaders(rows[at].text):
            end = at + 1
        text = self.joiner.join([without_leaders(row.text) for row in rows[at:end]])
        place = self._place(rows[at:end])
        if note is not None and (self.style.is_small(rows[at].first) or rows[at].first.size <= self.style.body):
            self._notes.append(Footnote(mark=note.group(1), text=text[note.end() :], place=place))
        elif item is not None:
            marker, length = item
            self.blocks.append(
                ListItem(text=text[length:].strip(), marker=marker, depth=self._depth(rows[at].left), place=place)
            )
        else:
            self._depths.clear()
            self._add_paragraph(text, place, at == 0)
        return end

    def _add_paragraph(self, text: str, place: Place, begins: bool) -> None:
        """Add a paragraph; one that a column has cut goes on with its first half."""
        last = self.blocks[-1] if self.blocks else None
        if begins and isinstance(last, Paragraph) and last.place.page == self.number and _is_cut(last.text, text):
            self.blocks[-1] = Paragraph(text=self.joiner.join([last.text, text]), place=last.place)
            return
        self.blocks.append(Paragraph(text=text, place=place))

    def _marker(self, rows: Sequence[PageRow], at: int) -> tuple[str, int] | None:
        text = rows[at].text
        if text[0].isalpha() and text[1:2] not in _AFTER_MARKS and text[0] not in "ivx":
            return None
        found = _BULLET.match(text)
        if found is not None:
            return "-", found.end()
        found = _NUMBER.match(text) or (_BARE.match(text) if self._is_counted(rows, at) else None)
        if found is None:
            return None
        mark = found.group(1)
        if len(mark) == 2 and mark[0].isupper() and not self._is_counted(rows, at):
            return None  # an initial: `J. Smith`
        return (mark if mark[0].isalnum() and not mark.isdigit() else f"{mark.strip('()')}."), found.end()

    def _is_counted(self, rows: Sequence[PageRow], at: int) -> bool:
        """Tell whether a number at the beginning of a row is one of several that count on."""
        own = _counted(rows[at].text)
        if own is None:
            return False
        for near in (*range(at - 1, max(-1, at - 8), -1), *range(at + 1, min(len(rows), at + 8))):
            other = _counted(rows[near].text)
            if other is not None and abs(other - own) == 1 and (other > own) == (near > at):
                return True
        last = self.blocks[-1] if self.blocks else None
        return isinstance(last, ListItem) and _counted(last.marker + " x") == own - 1

    def _depth(self, left: float) -> int:
        while self._depths and left < self._depths[-1] - 4:
            self._depths.pop()
        if not self._depths or left > self._depths[-1] + 4:
            self._depths.append(left)
        return len(self._depths)

    def _goes_on(self, rows: Sequence[PageRow], begin: int, at: int, column: _Column, is_item: bool) -> bool:
        """Tell whether a row belongs to the paragraph of the row above it."""
        row, above = rows[at], rows[at - 1]
        size = row.first.size
        down = row.top - above.top
        if down <= 0 or abs(size - above.first.size) > 0.1 * size + 0.2:
            return False
        if down > max(_PITCH * column.pitch(size), 1.05 * size) or row.first.table is not None:
            return False
        if above.text.endswith(HYPHEN):
            return True
        if row.first.mono != above.first.mono or row.text[0] == "^" or self._marker(rows, at) is not None:
            return False
        if (row.first.bold and not above.first.bold and self.style.is_heading(row)) or self.outline.is_entry(row):
            return False
        if (len(row.spans) > 1 and self._table_end(rows, at) > at) or (".." in row.text and has_leaders(row.text)):
            return False
        if is_item:
            return row.left > rows[begin].left + 0.3 * size or (
                row.text[0].islower() and not _SENTENCE.search(above.text)
            )
        indented = row.left - above.left
        if 0.8 * size < indented < 5 * size and abs(above.left - column.left) < 0.5 * size:
            return not _SENTENCE.search(above.text) and row.text[:1].islower()
        return row.text[0].islower() or not self._ends(above, row, column)

    def _ends(self, above: PageRow, row: PageRow, column: _Column) -> bool:
        """Tell whether the row above ended a paragraph: the first word of this one would have had room on it."""
        word = row.text.split(" ", 1)[0]
        width = (row.right - row.left) * (len(word) + 1) / max(1, len(row.text))
        room = column.right - above.right
        if _SENTENCE.search(above.text):
            return room > width + 1.5 * row.first.size
        return room > max(width + 3 * row.first.size, 0.35 * (column.right - column.left))

    def _place(self, rows: Sequence[PageRow]) -> Place:
        box = (
            min(row.left for row in rows), min(row.top for row in rows),
            max(row.right for row in rows), max(row.bottom for row in rows),
        )  # fmt: skip
        return Place(page=self.number, box=(round(box[0], 1), round(box[1], 1), round(box[2], 1), round(box[3], 1)))

    def _place_notes(self) -> None:
        """Put each note after the block that has its mark; one without a mark stays where it was, at the end."""
        for note in self._notes:
            mark = re.compile(rf"\^{re.escape(note.mark)}(?!\w)")
            for number, block in enumerate(self.blocks):
                if isinstance(block, Paragraph | ListItem) and mark.search(block.text):
                    text = mark.sub(f"[^{note.mark}]", block.text, count=1)
                    self.blocks[number : number + 1] = [*_with_text(block, text), note]
                    break
            else:
                self.blocks.append(Paragraph(text=f"^{note.mark} {note.text}", place=note.place))


@define(eq=False)
class _Column:
    """The edges of a column, and how far its lines are from each other."""

    left: float
    right: float
    pitches: dict[int, float]

    @classmethod
    def of(cls, rows: Sequence[PageRow], width: float) -> _Column:
        steps: dict[int, list[float]] = {}
        for above, row in pairwise(rows):
            size = row.first.size
            if abs(size - above.first.size) < 0.5 and 0.5 * size < row.top - above.top < 2.2 * size:
                steps.setdefault(round(size), []).append(row.top - above.top)
        pitches = {size: sorted(found)[len(found) // 4] for size, found in steps.items()}
        plain = [row for row in rows if row.first.table is None] or rows
        if not plain:
            return cls(0, 0, {})
        left, right = min(row.left for row in plain), max(row.right for row in plain)
        if len(plain) < _FEW_LINES:  # they may all be short: the margins are the same on both sides
            right = max(right, width - left)
        return cls(left, right, pitches)

    def pitch(self, size: float) -> float:
        return self.pitches.get(round(size), 1.3 * size)


def _with_text(block: Block, text: str) -> Iterator[Block]:
    if isinstance(block, ListItem):
        yield ListItem(text=text, depth=block.depth, marker=block.marker, place=block.place, links=block.links)
    elif isinstance(block, Paragraph):
        yield Paragraph(text=text, place=block.place, links=block.links)


def _counted(text: str) -> int | None:
    found = re.match(r"\(?(?:(\d{1,3})|([a-zA-Z]))[.) ]", text)
    if found is None:
        return None
    return int(found.group(1)) if found.group(1) else 1000 + ord(found.group(2).lower())


def _code_line(row: PageRow, left: float) -> str:
    """Return a line of code with the spaces that indent it."""
    first = row.first
    width = (first.right - first.left) / max(1.0, len(first.text) - 0.2)
    if len(first.text) < 12 or not 0.45 * first.size < width < 0.75 * first.size:
        width = 0.6 * first.size
    line = ""
    for span in row.spans:
        line = line.ljust(max(len(line) + bool(line), min(200, round((span.left - left) / width)))) + span.text
    return line.replace(HYPHEN, "-").rstrip()


def _is_rest(table: Table, following: Table) -> bool:
    """Tell whether a table goes on with the one above it: in the next column, with the same names or none."""
    width = len(table.header or (table.rows or ((),))[0])
    same = following.header == table.header if following.header else len((following.rows or ((),))[0]) == width
    below = table.place.box is not None and following.place.box is not None
    return same and below and following.place.box[1] < table.place.box[3]  # type: ignore[index]


def _is_cut(text: str, following: str) -> bool:
    return not _SENTENCE.search(text) and following[:1].islower()
