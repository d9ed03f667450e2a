"""Opens a PDF: without a password, repaired where it is damaged, and tells what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from ctypes import c_ushort
from typing import Any

from attrs import define

from nexus_core import Metadata, SourceError
from nexus_core.toolkit import NotReadError
from nexus_readers.pdf.damage import damage_of, repaired

_PASSWORD = 4
"""As pdfium numbers the reasons for which it opens a file not; 5 is an unknown encryption."""
_SECURITY = 5
_DATE = re.compile(r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:Z|([+-])(\d\d)'?(\d\d)?)?")
_NOBODY = frozenset({"anonymous", "unknown", "user", "unspecified", "owner", "author"})
_USUAL, _LONGEST = 512, 200_000
"""Characters of a text that pdfium hands over."""


@define(eq=False)
class OpenFile:
    """A document of pdfium, with the bytes that it reads from."""

    raw: Any
    handle: Any
    data: bytes
    damage: str = ""
    """What was found wrong with it."""
    missing: int | None = None
    """Pages that a repair could not find."""

    def close(self) -> None:
        """Close it; its pages must be closed."""
        self.raw.FPDF_CloseDocument(self.handle)

    def metadata(self) -> Metadata:
        """Return what it says of itself."""
        language = ""
        if hasattr(self.raw, "FPDFCatalog_GetLanguage"):
            language = wide_text(lambda buffer, size: self.raw.FPDFCatalog_GetLanguage(self.handle, buffer, size))
        pages = self.raw.FPDF_GetPageCount(self.handle)
        author, keywords = self._meta(b"Author"), self._meta(b"Keywords")
        return Metadata(
            title=self._meta(b"Title"),
            author="" if author.strip("()").lower() in _NOBODY else author,
            date=iso_date(self._meta(b"ModDate") or self._meta(b"CreationDate")),
            language=language.strip(),
            values={"pages": pages, **({"keywords": keywords} if keywords else {})},
        )

    def label(self, number: int) -> str:
        """Return what the file calls a page, where that is not its number."""
        label = wide_text(lambda buffer, size: self.raw.FPDF_GetPageLabel(self.handle, number - 1, buffer, size))
        return "" if label == str(number) else label[:40]

    def _meta(self, name: bytes) -> str:
        return wide_text(lambda buffer, size: self.raw.FPDF_GetMetaText(self.handle, name, buffer, size))


def wide_text(ask: Callable[[Any, int], int]) -> str:
    """Return a text that pdfium writes as UTF-16 into a buffer, and whose size in bytes it tells."""
    units = (c_ushort * _USUAL)()
    size = ask(units, 2 * _USUAL)
    if size > 2 * _USUAL:
        units = (c_ushort * min(size, _LONGEST))()
        size = min(ask(units, 2 * len(units)), 2 * len(units))
    text = bytes(memoryview(units).cast("B")[: max(0, size - 2)]).decode("utf-16-le", "replace")
    return " ".join(text.replace("\0", "").split())


def open_file(raw: Any, data: bytes) -> OpenFile:
    """Open a document; raises SourceError where nothing can be read of it."""
    damage, missing = damage_of(data), None
    handle = raw.FPDF_LoadMemDocument64(data, len(data), None)
    if not handle:
        reason = raw.FPDF_GetLastError()
        if reason == _PASSWORD:
            raise NotReadError("is a PDF that needs a password; left out: save it without one")
        if reason == _SECURITY:
            raise NotReadError("is a PDF with an encryption that nobody knows here; left out: save it without one")
    if not handle or raw.FPDF_GetPageCount(handle) <= 0:
        if handle:
            raw.FPDF_CloseDocument(handle)
        mended = repaired(data)
        handle = raw.FPDF_LoadMemDocument64(mended.data, len(mended.data), None) if mended is not None else None
        if not handle or mended is None:
            raise SourceError(f"is a PDF that cannot be read ({damage or 'it is damaged'}); left out")
        data, missing, damage = mended.data, mended.missing, damage or "its table of objects is damaged"
    return OpenFile(raw, handle, data, damage, missing)


def iso_date(text: str) -> str:
    """Return a date as PDF writes it, `D:20240501100000+02'00'`, in ISO 8601; empty where it is none."""
    found = _DATE.match(text.strip())
    if found is None:
        return ""
    year, month, day, hour, minute, second, sign, zone, zone_minutes = found.groups()
    date = "-".join(filter(None, (year, month, day)))
    if hour is None or minute is None:
        return date
    offset = f"{sign}{zone}:{zone_minutes or '00'}" if sign else ("Z" if "Z" in text else "")
    return f"{date}T{hour}:{minute}:{second or '00'}{offset}"
