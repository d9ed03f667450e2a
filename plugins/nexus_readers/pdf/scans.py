"""Pages that are pictures, by text recognition, where the extra `ocr` is installed."""

from __future__ import annotations

from typing import Any

from nexus_readers.pdf.spans import PageSpan
from nexus_readers.recognition import ADVICE, Recognition

_SCALE = 200 / 72
"""Pixels for a point: scans are read well from 200 to the inch on."""
_MOST_PIXELS = 16_000_000
"""Of a picture; a larger page is shown smaller."""
_MOST_PAGES = 500
"""Of one document: each takes a second or more."""


class ScanReader:
    """Recognises the text of the pages of one document."""

    def __init__(self, raw: Any, *, wanted: bool) -> None:
        self._raw = raw
        self._wanted = wanted
        self._pages = 0

    @property
    def advice(self) -> str:
        """What helps with pages that were not recognised."""
        if not self._wanted:
            return "; `ocr: auto` would recognise their text"
        if Recognition.is_installed():
            return "; text recognition finds none" + (f" or had {_MOST_PAGES} pages" * (self._pages >= _MOST_PAGES))
        return f"; {ADVICE}"

    def read(self, page: Any, width: float, height: float) -> list[PageSpan] | None:
        """Return the lines of a page; None where nobody can recognise them."""
        if not self._wanted or self._pages >= _MOST_PAGES or not Recognition.is_installed():
            return None
        self._pages += 1
        scale = min(_SCALE, (_MOST_PIXELS / max(1.0, width * height)) ** 0.5)
        size = max(1, int(width * scale)), max(1, int(height * scale))
        raw = self._raw
        bitmap = raw.FPDFBitmap_Create(*size, 0)
        if not bitmap:
            return None
        try:
            raw.FPDFBitmap_FillRect(bitmap, 0, 0, *size, 0xFFFFFFFF)
            raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, *size, 0, raw.FPDF_ANNOT)
            stride = raw.FPDFBitmap_GetStride(bitmap)
            address = raw.FPDFBitmap_GetBuffer(bitmap)
            lines = Recognition.shared().lines_of_bitmap(address, size, stride)
        finally:
            raw.FPDFBitmap_Destroy(bitmap)
        return [
            PageSpan(
                line.text, line.left / scale, line.top / scale, line.right / scale, line.bottom / scale,
                max(1.0, 0.8 * (line.bottom - line.top) / scale), name="scan",
            )
            for line in lines
        ]  # fmt: skip
