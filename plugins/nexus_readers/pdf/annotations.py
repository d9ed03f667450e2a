"""What lies over a page: values of form fields, notes, and where links lead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import byref, c_int, c_ushort, create_string_buffer
from functools import partial
from typing import Any

from attrs import define, field, frozen

from nexus_readers.pdf.document import wide_text
from nexus_readers.pdf.spans import PageFrame, PageSpan

_MOST = 2_000
"""Annotations of a page that are looked at."""
_MOST_LINKS = 200
"""Links of a page whose words are looked for."""
_WITH_TEXT = frozenset({1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
"""Notes, free text, shapes, marks, stamps, carets."""
_FREE_TEXT, _WIDGET = 3, 20
_CHECK_BOX, _RADIO, _COMBO, _LIST, _TEXT = 2, 3, 4, 5, 6
"""As pdfium numbers the kinds of fields."""


@frozen(eq=False)
class PageLink:
    """A link to an address, and its words on the page."""

    target: str
    words: str


@define(eq=False)
class Overlay:
    """What lies over a page."""

    fields: list[PageSpan] = field(factory=list)
    notes: list[PageSpan] = field(factory=list)
    links: list[PageLink] = field(factory=list)


class OverlayReader:
    """Reads the annotations of the pages of one document."""

    def __init__(self, raw: Any, document: Any) -> None:
        self._raw = raw
        self._document = document
        self._form: Any = None
        self._info: Any = None

    def close(self) -> None:
        """Free what pdfium keeps of forms."""
        if self._form:
            self._raw.FPDFDOC_ExitFormFillEnvironment(self._form)
            self._form = None

    def read(self, page: Any, text_page: Any, frame: PageFrame) -> Overlay | None:
        """Return what lies over a page; None where nothing does."""
        raw = self._raw
        count = min(raw.FPDFPage_GetAnnotCount(page), _MOST)
        if count <= 0:
            return None
        overlay = Overlay()
        has_links = False
        for number in range(count):
            annotation = raw.FPDFPage_GetAnnot(page, number)
            if not annotation:
                continue
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            has_links = has_links or kind == raw.FPDF_ANNOT_LINK
            if kind == _WIDGET:
                overlay.fields += self._field(page, annotation, frame)
            elif kind in _WITH_TEXT:
                overlay.notes += self._note(annotation, kind, frame)
            raw.FPDFPage_CloseAnnot(annotation)
        if has_links:
            overlay.links += self._links(page, text_page)
        return overlay

    def _note(self, annotation: Any, kind: int, frame: PageFrame) -> Iterator[PageSpan]:
        text = " ".join(self._string(annotation, b"Contents").split())
        if text:
            yield self._span(annotation, text if kind == _FREE_TEXT else f"[Note: {text}]", frame)

    def _field(self, page: Any, annotation: Any, frame: PageFrame) -> Iterator[PageSpan]:
        raw, form = self._raw, self._filled(page)
        kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
        if raw.FPDFAnnot_GetFlags(annotation) & 2:
            return
        text = ""
        if kind in (_CHECK_BOX, _RADIO):
            state = wide_text(lambda b, n: raw.FPDFAnnot_GetStringValue(annotation, b"AS", b, n))
            text = "[x]" if raw.FPDFAnnot_IsChecked(form, annotation) or state not in ("", "Off") else "[ ]"
        elif kind in (_TEXT, _COMBO, _LIST):
            text = wide_text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size))
            if kind == _LIST and not text:
                text = ", ".join(self._selected(form, annotation))
        text = " ".join(text.split())
        if text:
            span = self._span(annotation, text, frame)
            span.name = self._name_of(form, annotation)
            yield span

    def _selected(self, form: Any, annotation: Any) -> Iterator[str]:
        raw = self._raw
        for number in range(min(raw.FPDFAnnot_GetOptionCount(form, annotation), _MOST)):
            if raw.FPDFAnnot_IsOptionSelected(form, annotation, number):
                yield wide_text(partial(raw.FPDFAnnot_GetOptionLabel, form, annotation, number))

    def _name_of(self, form: Any, annotation: Any) -> str:
        raw = self._raw
        told = wide_text(lambda b, n: raw.FPDFAnnot_GetFormFieldAlternateName(form, annotation, b, n))
        return told or wide_text(lambda b, n: raw.FPDFAnnot_GetFormFieldName(form, annotation, b, n))

    def _filled(self, page: Any) -> Any:
        raw = self._raw
        if self._form is None:
            self._info = raw.FPDF_FORMFILLINFO(version=2)
            self._form = raw.FPDFDOC_InitFormFillEnvironment(self._document, byref(self._info))
        return self._form

    def _span(self, annotation: Any, text: str, frame: PageFrame) -> PageSpan:
        box = self._raw.FS_RECTF()
        self._raw.FPDFAnnot_GetRect(annotation, byref(box))
        left, top, right, bottom = (
            box.left - frame.left,
            frame.top - box.top,
            box.right - frame.left,
            frame.top - box.bottom,
        )
        top, bottom = min(top, bottom), max(top, bottom)
        return PageSpan(text, min(left, right), top, max(left, right), bottom, max(1.0, min(10.0, bottom - top)))

    def _string(self, annotation: Any, key: bytes) -> str:
        return wide_text(lambda buffer, size: self._raw.FPDFAnnot_GetStringValue(annotation, key, buffer, size))

    def _links(self, page: Any, text_page: Any) -> Iterator[PageLink]:
        raw = self._raw
        place, link = c_int(0), raw.FPDF_LINK()
        box = raw.FS_RECTF()
        for _ in range(_MOST_LINKS):
            if not raw.FPDFLink_Enumerate(page, byref(place), byref(link)):
                return
            action = raw.FPDFLink_GetAction(link)
            if not action or raw.FPDFAction_GetType(action) != raw.PDFACTION_URI:
                continue
            size = min(raw.FPDFAction_GetURIPath(self._document, action, None, 0), 8_192)
            buffer = create_string_buffer(max(1, size))
            raw.FPDFAction_GetURIPath(self._document, action, buffer, size)
            target = buffer.value.decode("utf-8", "replace").strip()
            if target and raw.FPDFLink_GetAnnotRect(link, byref(box)):
                yield PageLink(target, self._words(text_page, box))

    def _words(self, text_page: Any, box: Any) -> str:
        units = (c_ushort * 1024)()
        top, bottom = max(box.top, box.bottom), min(box.top, box.bottom)
        written = self._raw.FPDFText_GetBoundedText(text_page, box.left, top, box.right, bottom, units, 1023)
        text = bytes(memoryview(units).cast("B")[: 2 * max(0, written)]).decode("utf-16-le", "replace")
        return " ".join(text.replace("\0", "").split())


def with_fields(spans: list[PageSpan], fields: Sequence[PageSpan]) -> list[PageSpan]:
    """Return the spans of a page with the values of its fields, each beside what labels it."""
    loose: list[PageSpan] = []
    for value in fields:
        label = _label(spans, value)
        if label is None:
            value.text = f"{value.name}: {value.text}" if value.name else value.text
            loose.append(value)
        elif value.text in ("[x]", "[ ]") and label.left > value.left:
            label.text = f"{value.text} {label.text}"
        else:
            label.text = f"{label.text} {value.text}"
            label.right = max(label.right, value.right)
    return _inserted(spans, loose)


def _label(spans: Sequence[PageSpan], value: PageSpan) -> PageSpan | None:
    """Return what stands left of a field, or right of a box, or right above it."""
    middle = (value.top + value.bottom) / 2
    is_box = value.text in ("[x]", "[ ]")
    best: tuple[float, PageSpan] | None = None
    for span in spans:
        distance = None
        if span.top - 2 < middle < span.bottom + 2:
            if is_box and span.left >= value.right - 2:
                distance = span.left - value.right
            elif span.right <= value.left + 4:
                distance = value.left - span.right + 30 * is_box
        elif not is_box and span.left - 6 < value.left < span.right and 0 <= value.top - span.bottom + 4 < 16:
            distance = 100 + value.top - span.bottom
        if distance is not None and distance < 150 and (best is None or distance < best[0]):
            best = (distance, span)
    return best[1] if best is not None else None


def _inserted(spans: list[PageSpan], others: Sequence[PageSpan]) -> list[PageSpan]:
    """Return spans with others among them, each before the first that stands lower."""
    for other in others:
        other.size = min(other.size, 10.0)
        at = next((at for at, span in enumerate(spans) if span.base > other.base), len(spans))
        spans.insert(at, other)
    return spans
