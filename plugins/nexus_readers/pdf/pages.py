"""The pages of a document one by one: their spans, tables with lines, fields; scans by text recognition."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ctypes import byref, c_float
from itertools import pairwise
from typing import Any

from attrs import define, field

from nexus_readers.pdf.annotations import OverlayReader, PageLink, with_fields
from nexus_readers.pdf.damage import PageContents
from nexus_readers.pdf.document import OpenFile
from nexus_readers.pdf.hyphens import LineJoiner
from nexus_readers.pdf.rulings import grids_of, ruled_table
from nexus_readers.pdf.scans import ScanReader
from nexus_readers.pdf.spans import PageFrame, PageSpan, SpanReader

_IMAGE, _FORM = 3, 5
_LITTLE = 100
"""Characters of a page that may be a scan all the same, with a stamp on it."""
_COVERS = 0.5
"""The part of a page that a picture of its text covers."""
_NO_LETTER = re.compile(r"[\x00-\x08\x0e-\x1f\ufffd\ue000-\uf8ff]")
_ILLEGIBLE = 0.3
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd]")


@define(eq=False)
class PageContent:
    """What is on one page."""

    number: int
    width: float
    height: float
    label: str
    text: str
    spans: list[PageSpan]
    links: list[PageLink] = field(factory=list)


class PageLoader:
    """Reads the pages of one document, and keeps which of them gave nothing."""

    def __init__(self, file: OpenFile, *, ocr: bool) -> None:
        self._file = file
        self._raw: Any = file.raw
        self._spans = SpanReader(file.raw)
        self._overlay = OverlayReader(file.raw, file.handle)
        self._contents = PageContents(file.data)
        self._scans = ScanReader(file.raw, wanted=ocr)
        self.unread: list[int] = []
        """Pages that are damaged."""
        self.scanned: list[int] = []
        """Pages that are pictures."""
        self.illegible: list[int] = []
        """Pages of whose text much cannot be told."""

    @property
    def advice(self) -> str:
        """What can be done about pages that are pictures."""
        return self._scans.advice

    def close(self) -> None:
        """Free what belongs to the document."""
        self._overlay.close()

    def pages(self) -> Iterator[PageContent]:
        """Yield the pages that can be read."""
        raw = self._raw
        for number in range(1, raw.FPDF_GetPageCount(self._file.handle) + 1):
            page = raw.FPDF_LoadPage(self._file.handle, number - 1)
            if not page:
                self.unread.append(number)
                continue
            text_page = raw.FPDFText_LoadPage(page)
            try:
                if text_page:
                    yield self._page(page, text_page, number)
                else:
                    self.unread.append(number)
            finally:
                if text_page:
                    raw.FPDFText_ClosePage(text_page)
                raw.FPDF_ClosePage(page)

    def _page(self, page: Any, text_page: Any, number: int) -> PageContent:
        frame, width, height = self._frame(page)
        text = self._spans.text(text_page)
        spans = self._spans.spans(text_page, text, frame) if text else []
        overlay = self._overlay.read(page, text_page, frame)
        if len(spans) > 1 and _may_have_tables(spans):
            spans = self._with_tables(page, text_page, number, frame, spans)
        if overlay is not None:
            spans = with_fields(spans, overlay.fields)
            spans = with_fields(spans, overlay.notes) if overlay.notes else spans
        if len(text) < _LITTLE:
            spans = self._scan(page, number, frame, spans)
        if not text.isascii() or _NO_TEXT.search(text):
            spans = self._clean(number, text, spans)
        label = self._file.label(number)
        return PageContent(number, width, height, label, text, spans, overlay.links if overlay is not None else [])

    def _clean(self, number: int, text: str, spans: list[PageSpan]) -> list[PageSpan]:
        """Take out what is no letter, and note a page most of which cannot be read."""
        if len(text) >= _LITTLE and len(_NO_LETTER.findall(text)) > _ILLEGIBLE * len(text):
            self.illegible.append(number)
        for span in spans:
            if _NO_TEXT.search(span.text):
                span.text = " ".join(_NO_TEXT.sub(" ", span.text).split())
        return [span for span in spans if span.text]

    def _frame(self, page: Any) -> tuple[PageFrame, float, float]:
        box = self._raw.FS_RECTF()
        if self._raw.FPDF_GetPageBoundingBox(page, byref(box)) and box.top > box.bottom:
            return PageFrame(box.left, box.top), box.right - box.left, box.top - box.bottom
        height = self._raw.FPDF_GetPageHeightF(page)
        return PageFrame(0.0, height), self._raw.FPDF_GetPageWidthF(page), height

    def _with_tables(
        self, page: Any, text_page: Any, number: int, frame: PageFrame, spans: list[PageSpan]
    ) -> list[PageSpan]:
        """Return the spans of a page with those in grids put together as tables."""
        joiner = LineJoiner()
        for grid in grids_of(self._raw, page, frame):
            inside: list[PageSpan] = []
            others: list[PageSpan] = []
            at = None
            for span in spans:
                pieces = self._spans.split_at(text_page, span, frame, grid.xs) if span.table is None else []
                if pieces and any(grid.cell(piece) is not None for piece in pieces):
                    at = len(others) if at is None else at
                    inside += [piece for piece in pieces if grid.cell(piece) is not None]
                    others += [piece for piece in pieces if grid.cell(piece) is None]
                else:
                    others.append(span)
            if at is not None and inside:
                others.insert(at, ruled_table(grid, inside, number, joiner))
                spans = others
        return spans

    def _scan(self, page: Any, number: int, frame: PageFrame, spans: list[PageSpan]) -> list[PageSpan]:
        """Return the spans of a page with hardly any text: what is recognised on it, if it is a picture."""
        raw = self._raw
        count = raw.FPDFPage_CountObjects(page)
        if count <= 0:
            if not spans and self._contents.is_lost(number):
                self.unread.append(number)
            return spans
        width, height = raw.FPDF_GetPageWidthF(page), raw.FPDF_GetPageHeightF(page)
        covered = 0.0
        bounds = [c_float() for _ in range(4)]
        for at in range(min(count, 1000)):
            shape = raw.FPDFPage_GetObject(page, at)
            if raw.FPDFPageObj_GetType(shape) in (_IMAGE, _FORM):
                raw.FPDFPageObj_GetBounds(shape, *map(byref, bounds))
                x0, y0, x1, y1 = (each.value for each in bounds)
                covered += max(0.0, x1 - x0) * max(0.0, y1 - y0)
        is_picture = covered > _COVERS * width * height or (not spans and covered > 0)
        if not is_picture:
            return spans
        recognised = self._scans.read(page, width, height)
        if not recognised:
            self.scanned.append(number)
            return spans
        return recognised


def _may_have_tables(spans: list[PageSpan]) -> bool:
    """Tell whether spans stand beside each other, or are not drawn from top to bottom: then lines are looked for."""
    beside = 0
    for span, following in pairwise(spans):
        if following.top < span.top + 0.5 * span.size and following.left > span.left and len(span.text) > 2:
            beside += 1
            if beside > 1 or following.top < span.top - span.size:
                return True
    return False
