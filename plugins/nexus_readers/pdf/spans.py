"""What pdfium knows of a page into spans: pieces of a line with their place, size and style.

pdfium gives the text of a page at once; asking it for each character would take longer than reading the page. So lines
are asked for (five calls each), and characters only where a line has gaps, or raised and lowered characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ctypes import byref, c_double, c_int, c_ushort, create_string_buffer
from statistics import median
from typing import Any

from attrs import define

from nexus_core import Table
from nexus_readers.pdf.scripts import Character, marked

HYPHEN = "\ufffe"
"""What pdfium writes for a hyphen at the end of a line, in the place of the hyphen and of the line's end."""
GAP = 0.9
"""From so much space between words on, in sizes of the font, they may be cells."""
_ENDS = re.compile("\r\n|\ufffe|\n|\r")
_MARKER = re.compile(r"\s*(?:[^\w\s\"'(\[]|\d{1,3}[.)])\s+(?=\S)")
"""The bullet or number of a list item: the style of its line is that of what follows."""
_BOLD = re.compile(rb"bold|black|heavy|demi|cmbx|cmb1|-bd|,bd|sfbx|bx\d", re.IGNORECASE)
_MONO = re.compile(rb"cour|mono|consol|typewriter|cmtt|sftt|menlo|inconsolata|lettergothic|txtt|fixed", re.IGNORECASE)
_WIDE = 1.3
"""How much wider than others of its page a line is that may have gaps which pdfium does not tell."""


@define(eq=False)
class PageSpan:
    """A piece of a line without gaps; counted from the upper left corner of the page, in points."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    size: float
    """Of its font, as it is shown."""
    bold: bool = False
    mono: bool = False
    first: int = 0
    """The index of its first character in pdfium's text of the page."""
    last: int = 0
    """After its last one."""
    scripted: bool = False
    """It may hold raised or lowered characters."""
    table: Table | None = None
    """What stands here instead of a line."""
    name: str = ""
    """Of the form field whose value this is, or `scan`: its size tells nothing."""

    @property
    def base(self) -> float:
        """The line that its letters stand on."""
        return self.bottom - 0.25 * self.size


@define(eq=False)
class PageFrame:
    """How a place on a page is told from its upper left corner."""

    left: float
    top: float
    """Of the page's upper edge, counted upwards."""


class SpanReader:
    """Reads the spans of the pages of one document; its buffers are used for all of them."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._box = [c_double() for _ in range(4)]
        self._refs = [byref(each) for each in self._box]
        self._matrix = raw.FS_MATRIX()
        self._name = create_string_buffer(128)
        self._flags = c_int()
        self._fonts: dict[bytes, tuple[bool, bool]] = {}
        self._units: Any = (c_ushort * 4096)()

    def text(self, text_page: Any) -> str:
        """Return the text of a page as pdfium puts it together."""
        count = self._raw.FPDFText_CountChars(text_page)
        if count <= 0:
            return ""
        if count >= len(self._units):
            self._units = (c_ushort * (2 * count + 2))()
        written = self._raw.FPDFText_GetText(text_page, 0, count, self._units) - 1
        return bytes(memoryview(self._units).cast("B")[: 2 * max(0, written)]).decode("utf-16-le", "replace")

    def spans(self, text_page: Any, text: str, frame: PageFrame) -> list[PageSpan]:
        """Return the spans of a page, in the order in which the file draws them."""
        same = len(text) == self._raw.FPDFText_CountChars(text_page)
        index_of = (lambda at: at) if same else self._index_of(text_page, text)
        lines: list[tuple[PageSpan, bool]] = []
        start = 0
        for end in _ENDS.finditer(text):
            stop = end.end() if end.group() == HYPHEN else end.start()
            self._line(text_page, text, start, stop, index_of, frame, lines)
            start = end.end()
        self._line(text_page, text, start, len(text), index_of, frame, lines)
        self._mark_wide(lines)
        spans: list[PageSpan] = []
        for span, gaps in lines:
            pieces = self._split(text_page, span, frame) if gaps and same else [span]
            for piece in pieces:
                if spans and _goes_on(spans[-1], piece):
                    spans[-1] = _joined(spans[-1], piece)
                else:
                    spans.append(piece)
        for span in spans:
            if span.scripted and same:
                self._mark_scripts(text_page, span, text, frame)
            span.text = span.text.strip()
        return [span for span in spans if span.text]

    def _line(
        self, page: Any, text: str, start: int, stop: int, index_of: Any, frame: PageFrame, lines: list[Any]
    ) -> None:
        """Add the line of some characters, and whether it seems to have gaps."""
        line = text[start:stop]
        if not line.strip():
            return
        raw, (x0, x1, x2, x3), (r0, r1, r2, r3) = self._raw, self._box, self._refs
        lead = len(line) - len(line.lstrip())
        first, last = index_of(start + lead), index_of(stop)
        marker = _MARKER.match(line)
        letter = first if marker is None else index_of(start + marker.end())
        size = self._size(page, letter)
        bold, mono = self._style(page, letter)
        if bold and stop - start > 1:
            bold = self._style(page, max(first, last - 1 - (text[stop - 1] in " \ufffe")))[0]
        raw.FPDFText_GetCharOrigin(page, letter, r0, r1)
        base, origin = x1.value, x0.value
        left = right = before = float("nan")
        count = 0
        gaps = scripted = False
        for count in range(1, raw.FPDFText_CountRects(page, first, last - first) + 1):
            raw.FPDFText_GetRect(page, count - 1, r0, r1, r2, r3)
            begin, end = x0.value, x2.value
            if count == 1:
                left, right = begin, end
            else:
                gaps = gaps or begin - before > GAP * size or begin < before - size
                left, right = min(left, begin), max(right, end)
                if not scripted:
                    high, low = (x1.value - base) / size, (x3.value - base) / size  # of letters on the line: 0.5 and 0
                    scripted = (low > 0.18 and high - low > 0.33) or (low < -0.08 and 0.15 < high < 0.5) or low < -0.32
            before = end
        if not count:
            return
        gaps = gaps or (not mono and "   " in line)
        left = min(left, origin)
        under = frame.top - base
        span = PageSpan(
            line, left - frame.left, under - 0.75 * size, right - frame.left, under + 0.25 * size, size, bold, mono,
            first, last, scripted,
        )  # fmt: skip
        lines.append((span, gaps))

    def _size(self, page: Any, index: int) -> float:
        """Return the size of a character as it is shown."""
        matrix = self._matrix
        self._raw.FPDFText_GetMatrix(page, index, byref(matrix))
        scale = (matrix.c * matrix.c + matrix.d * matrix.d) ** 0.5 or 1.0
        return float(self._raw.FPDFText_GetFontSize(page, index) * scale) or 1.0

    def _style(self, page: Any, index: int) -> tuple[bool, bool]:
        self._raw.FPDFText_GetFontInfo(page, index, self._name, 127, byref(self._flags))
        name = self._name.value
        style = self._fonts.get(name)
        if style is None:
            style = self._fonts[name] = (_BOLD.search(name) is not None, _MONO.search(name) is not None)
        return style

    def _index_of(self, page: Any, text: str) -> Any:
        """Return how an index in the text becomes one of pdfium's: where it left characters out of the text."""
        units = [0]
        for letter in text:
            units.append(units[-1] + 1 + (letter > "\uffff"))
        ask, count = self._raw.FPDFText_GetCharIndexFromTextIndex, self._raw.FPDFText_CountChars(page)

        def index(at: int) -> int:
            found = ask(page, units[at]) if at < len(text) else count
            return int(found) if found >= 0 else count

        return index

    @staticmethod
    def _mark_wide(lines: list[tuple[PageSpan, bool]]) -> None:
        """Let lines be looked at that are far wider than their letters, as one text may be drawn with gaps in it."""
        widths = [(span.right - span.left) / (len(span.text) * span.size) for span, _ in lines]
        long = [width for width, (span, _) in zip(widths, lines, strict=True) if len(span.text) > 30]
        usual = min(median(long), 0.6) if long else 0.5
        for number, (span, gaps) in enumerate(lines):
            if not gaps and " " in span.text and widths[number] > _WIDE * usual and not span.mono:
                lines[number] = (span, True)

    def split_at(self, page: Any, span: PageSpan, frame: PageFrame, places: Sequence[float]) -> list[PageSpan]:
        """Cut a span between its words where upright lines cross it."""
        crossed = [place for place in places if span.left + 1 < place < span.right - 1]
        return self._split(page, span, frame, crossed) if crossed and " " in span.text else [span]

    def _split(self, page: Any, span: PageSpan, frame: PageFrame, places: Sequence[float] = ()) -> list[PageSpan]:
        """Cut a line at its gaps, or at some places."""
        raw, (x0, x1, _, _), (r0, r1, r2, r3) = self._raw, self._box, self._refs
        ask = raw.FPDFText_GetCharBox  # left, right, bottom, top
        lead = len(span.text) - len(span.text.lstrip())
        line = span.text[lead:]
        gaps: list[tuple[int, int, float, float]] = []
        for gap in re.finditer(r" +", line.rstrip()):
            ask(page, span.first + gap.start() - 1, r0, r1, r2, r3)
            right = x1.value - frame.left
            ask(page, span.first + gap.end(), r0, r1, r2, r3)
            gaps.append((gap.start(), gap.end(), right, x0.value - frame.left))
        if not places and _are_equal(gaps, span.size):
            return [span]
        begin, left, pieces = 0, span.left, []
        for start, end, right, following in gaps:
            if places:
                apart = any(right <= place + 1 and following >= place - 1 for place in places)
            else:
                apart = following - right > GAP * span.size or following < left - span.size
            if apart:
                pieces.append((begin, start, left, right))
                begin, left = end, following
        if not pieces:
            return [span]
        ask(page, span.first + len(line.rstrip()) - 1, r0, r1, r2, r3)
        pieces.append((begin, len(line), left, x1.value - frame.left))
        return [self._piece(page, span, line, piece, frame) for piece in pieces]

    def _piece(
        self, page: Any, span: PageSpan, line: str, piece: tuple[int, int, float, float], frame: PageFrame
    ) -> PageSpan:
        begin, end, left, right = piece
        first = span.first + begin
        bold, mono = self._style(page, first)
        size = self._size(page, first)
        return PageSpan(
            line[begin:end], left, span.base - 0.75 * size, max(left, right), span.base + 0.25 * size, size, bold, mono,
            first, span.first + end, span.scripted,
        )  # fmt: skip

    def _mark_scripts(self, page: Any, span: PageSpan, text: str, frame: PageFrame) -> None:
        """Mark the raised and lowered characters of a span, and measure it by the others."""
        raw, y, (r0, r1, _, _) = self._raw, self._box[1], self._refs
        characters = []
        for index in range(span.first, span.last):
            letter = text[index]
            if letter not in "\r\n":
                raw.FPDFText_GetCharOrigin(page, index, r0, r1)
                characters.append(Character(letter, raw.FPDFText_GetFontSize(page, index), y.value))
        if characters:
            span.text, size, base = marked(characters)
            scale = self._size(page, span.first) / (characters[0].size or 1.0)
            span.size = size * scale or span.size
            span.top, span.bottom = frame.top - base - 0.75 * span.size, frame.top - base + 0.25 * span.size


def _are_equal(gaps: Sequence[tuple[int, int, float, float]], size: float) -> bool:
    """Tell whether the gaps of a line are the wide spaces of justified text."""
    marked = bool(gaps) and gaps[0][0] <= 3  # the bullet of an item stands before them
    widths = [following - right for _, _, right, following in gaps[marked:]]
    return len(widths) > 2 and max(widths) < 2.5 * size and max(widths) - min(widths) < 0.25 * max(widths)


def _goes_on(span: PageSpan, following: PageSpan) -> bool:
    """Tell whether pdfium has cut a line where only characters are raised or lowered."""
    size = max(span.size, following.size)
    gap = following.left - span.right
    return (
        not span.text.endswith(HYPHEN)
        and abs(span.base - following.base) < 0.6 * size
        and -0.2 * size < gap < GAP * size
        and span.first < following.first
    )


def _joined(span: PageSpan, following: PageSpan) -> PageSpan:
    main = span if len(span.text) >= len(following.text) or span.size >= following.size else following
    apart = following.left - span.right > 0.15 * main.size and not span.text.endswith(" ")
    glue = " " if apart and not following.text.startswith(" ") else ""
    return PageSpan(
        span.text + glue + following.text, span.left, main.top, max(span.right, following.right), main.bottom,
        main.size, span.bold and following.bold, span.mono and following.mono, span.first, following.last, True,
    )  # fmt: skip
