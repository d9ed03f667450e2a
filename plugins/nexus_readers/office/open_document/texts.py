"""Paragraphs of OpenDocument: a line, and the notes, comments, frames and page ends in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from nexus_readers.office.inline import Look, StyledLine
from nexus_readers.office.open_document.styles import OpenStyles
from nexus_readers.office.packages import Package, attribute, child, inner_text, name_of
from nexus_readers.office.word.styles import as_int, roman

_UNSEEN = frozenset({
    "page-number", "page-count", "page-continuation", "bookmark", "bookmark-start", "bookmark-end", "ruby-text",
    "annotation-end", "change", "change-start", "change-end", "index-entry-span", "alphabetical-index-mark",
    "toc-mark-start", "toc-mark-end", "toc-mark", "hidden-text", "hidden-paragraph", "tracked-changes", "forms",
    "event-listeners", "sequence-decls", "variable-decls", "user-field-decls", "presentation-decls",
})  # fmt: skip
SHAPES = frozenset({
    "frame", "custom-shape", "rect", "ellipse", "circle", "line", "connector", "polygon", "polyline", "path", "g",
    "caption", "regular-polygon", "measure", "control", "a", "page-thumbnail",
})  # fmt: skip
_MOST_BLANKS = 1_000


@define(eq=False)
class OpenText:
    """What one paragraph says."""

    styles: OpenStyles
    marks: NoteMarks
    line: StyledLine = field(factory=StyledLine)
    notes: list[tuple[str, Any]] = field(factory=list)
    """Marks of notes, and their bodies."""
    comments: list[Any] = field(factory=list)
    shapes: list[Any] = field(factory=list)
    """Frames and drawn shapes that are anchored in it."""
    breaks_before: int = 0
    breaks_after: int = 0
    page_fields: int = 0

    def read(self, element: Any, look: Look = "", link: str = "") -> None:
        """Take what stands in an element."""
        self._say(element.text, look, link)
        for each in element:
            self._piece(each, name_of(each), look, link)
            self._say(each.tail, look, link)

    def _say(self, text: str | None, look: Look, link: str) -> None:
        if text:
            self.line.add(text, look, link)

    def _piece(self, each: Any, name: str, look: Look, link: str) -> None:
        if name == "span":
            style = self.styles.style("text", attribute(each, "style-name"))
            if not style.is_hidden:
                self.read(each, style.look or ("code" if style.is_code else look), link)
        elif name == "a" and attribute(each, "href"):
            self.read(each, look, _target(attribute(each, "href")) or link)
        elif name in ("s", "tab", "line-break"):
            count = min(as_int(attribute(each, "c", "1"), 1), _MOST_BLANKS)
            self._say({"s": " " * count, "tab": "\t"}.get(name, "\n"), look, link)
        elif name == "note-ref":
            self.read(each, "raised", link)
        elif name == "note":
            self._note(each)
        elif name == "annotation":
            self.comments.append(each)
        elif name == "soft-page-break":
            if self.line.text():
                self.breaks_after += 1
            else:
                self.breaks_before += 1
        elif name in SHAPES:
            self.shapes.append(each)
        elif name in _UNSEEN:
            self.page_fields += name.startswith("page-")
        elif name:
            self.read(each, look, link)

    def _note(self, note: Any) -> None:
        mark = self.marks.take(attribute(note, "note-class"), attribute(note, "id"))
        body = child(note, "note-body")
        if body is not None:
            self.notes.append((mark, body))
            self.line.add(f"[^{mark}]")


@define(eq=False)
class NoteMarks:
    """Counts notes: footnotes in figures, endnotes in Roman ones."""

    _counts: dict[str, int] = field(factory=dict)

    def take(self, kind: str, id: str) -> str:
        """Return the mark of the next note of a kind."""
        number = self._counts[kind] = self._counts.get(kind, 0) + 1
        return roman(min(number, 3999)) if kind == "endnote" else str(number)


def _target(address: str) -> str:
    """Return where a link leads, empty where it leads to a place in the document itself."""
    return "" if address.startswith("#") else address


def described(shape: Any) -> str:
    """Return what is written about a shape or picture."""
    return inner_text(child(shape, "desc")) or inner_text(child(shape, "title"))


def formula_of(package: Package, frame: Any) -> tuple[str, str] | None:
    """Return a formula that a frame holds and its notation; None where it holds none."""
    found = child(frame, "object")
    if found is None:
        return None
    math = next(found.iter("{*}math"), None)
    if math is None:
        name = attribute(found, "href").removeprefix("./").rstrip("/")
        root = package.optional_tree(f"{name}/content.xml") if name else None
        math = next(root.iter("{*}math"), None) if root is not None else None
    if math is None:
        return None
    for annotation in math.iter("{*}annotation"):
        notation = "tex" if "tex" in attribute(annotation, "encoding").lower() else "text"
        return inner_text(annotation), notation
    return " ".join(_math_words(math)), "text"


def _math_words(math: Any) -> Iterator[str]:
    for each in math.iter("{*}mi", "{*}mn", "{*}mo", "{*}mtext"):
        text = inner_text(each)
        if text:
            yield text
