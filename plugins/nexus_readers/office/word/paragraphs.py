"""Paragraphs of Word: runs, fields, links, changes, notes and pictures become a line and what comes after it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define, field

from nexus_core import Block, Figure
from nexus_readers.office.drawings import drawn_blocks
from nexus_readers.office.inline import Look, StyledLine
from nexus_readers.office.omml import tex_of
from nexus_readers.office.packages import Package, Relation, attribute, child, name_of
from nexus_readers.office.word.styles import MONOSPACED, WordStyles, is_on, value

_UNSEEN = frozenset({
    "del", "moveFrom", "pPr", "rPr", "sdtPr", "sdtEndPr", "instrText", "delText", "delInstrText", "annotationRef",
    "footnoteRef", "endnoteRef", "separator", "continuationSeparator", "softHyphen", "rt", "rubyPr", "fldData",
    "proofErr",
})  # fmt: skip
UNSEEN_FIELD = re.compile(r"\s*(?:PAGE|NUMPAGES|SECTIONPAGES|PAGEREF|TC|XE|RD|TOC|TOA|INDEX)\b", re.IGNORECASE)
"""Fields whose results are no text of the document, or repeat it: numbers of pages, tables of contents."""
HYPERLINK_FIELD = re.compile(r'\s*HYPERLINK\s+(?!\\)"?([^"\s]+)', re.IGNORECASE)
_SYMBOLS = {
    "f0b7": "•", "f0a7": "▪", "f0fc": "✓", "f0fb": "✗", "f0fe": "☑", "f0a8": "☐", "f0e0": "→", "f0d8": "➢",
    "f061": "α", "f062": "β", "f067": "γ", "f064": "δ", "f06d": "μ", "f070": "π", "f073": "σ", "f077": "ω",
    "f0b0": "°", "f0b1": "±", "f0b4": "×", "f0a3": "≤", "f0b3": "≥", "f057": "Ω", "f044": "Δ",
}  # fmt: skip
"""Of the fonts Symbol and Wingdings, whose characters have no meaning elsewhere."""


@define(eq=False)
class _Field:
    code: list[str] = field(factory=list)
    is_shown: bool = False
    """Its result has begun."""

    @property
    def is_out(self) -> bool:
        return not self.is_shown or UNSEEN_FIELD.match("".join(self.code)) is not None

    @property
    def link(self) -> str:
        found = HYPERLINK_FIELD.match("".join(self.code))
        return found[1] if found else ""


@define(eq=False, kw_only=True)
class WordContext:
    """What is known of a Word file where a paragraph of one of its parts is read."""

    package: Package
    styles: WordStyles
    relations: Mapping[str, Relation]
    """Of the part."""
    blocks_in: Callable[[Any], Iterator[Block]]
    """Reads what stands in a text box."""
    fields: list[_Field] = field(factory=list)
    """Those that are open; they reach over paragraphs."""
    pictures: int = 0
    """Those without a word about them."""
    pages_by_layout: bool = False
    """The file tells where its pages ended when it was last shown."""


@define(eq=False)
class WordParagraph:
    """What one paragraph says."""

    context: WordContext
    line: StyledLine = field(factory=StyledLine)
    formulas: list[str] = field(factory=list)
    notes: list[tuple[str, str]] = field(factory=list)
    """What notes have their marks in it: `footnote` or `endnote`, and an id."""
    comments: list[str] = field(factory=list)
    after: list[Block] = field(factory=list)
    """Text boxes, pictures, charts, diagrams."""
    breaks_before: int = 0
    """Pages that end before its text."""
    breaks_after: int = 0
    page_fields: int = 0
    has_words: bool = False
    """Something other than formulas is in it."""
    mark_of: Callable[[str, str], str] = lambda kind, id: ""

    def read(self, element: Any, link: str = "") -> None:
        """Take what stands in an element."""
        for each in element:
            name = name_of(each)
            if name in _UNSEEN or not name:
                continue
            if name == "r":
                self._run(each, link)
            elif name == "hyperlink":
                self.read(each, self._target(each) or link)
            elif name == "fldSimple":
                self._simple_field(each, link)
            elif name == "oMathPara" or name == "oMath":
                self._formula(each)
            elif name == "AlternateContent":
                self._alternative(each, link)
            elif name == "sdt" and is_on(child(each, "sdtPr", "showingPlcHdr")):
                continue
            elif name == "commentReference":
                self.comments.append(attribute(each, "id"))
            elif name in ("drawing", "pict", "object", "txbxContent"):
                self._drawing(each)
            else:
                self.read(each, link)

    def _target(self, element: Any) -> str:
        found = self.context.relations.get(attribute(element, "id"))
        return found.target if found is not None and found.is_external else ""

    def _is_hidden(self) -> bool:
        return any(each.is_out for each in self.context.fields)

    def _simple_field(self, element: Any, link: str) -> None:
        made = _Field([attribute(element, "instr")], is_shown=True)
        self.page_fields += made.is_out
        if not made.is_out:
            self.read(element, made.link or link)

    def _formula(self, element: Any) -> None:
        tex = tex_of(element)
        if tex and not self._is_hidden():
            self.formulas.append(tex)
            self.line.add(f"${tex}$")

    def _alternative(self, element: Any, link: str) -> None:
        """Read the first form in which something is written twice."""
        chosen = child(element, "Choice")
        chosen = chosen if chosen is not None and len(chosen) else child(element, "Fallback")
        if chosen is not None:
            for each in chosen:
                if name_of(each) in ("drawing", "pict", "object"):
                    self._drawing(each)
                else:
                    self.read(chosen, link)
                    break

    def _run(self, run: Any, link: str) -> None:
        properties = child(run, "rPr")
        if is_on(child(properties, "vanish")) or self._style_of(properties).is_hidden:
            return
        look = self._look(properties)
        for each in run:
            self._piece(each, look, link)

    def _style_of(self, properties: Any | None) -> Any:
        return self.context.styles.style(value(child(properties, "rStyle")))

    def _look(self, properties: Any | None) -> Look:
        if properties is None or not len(properties):
            return ""
        if is_on(child(properties, "strike")) or is_on(child(properties, "dstrike")):
            return "struck"
        raised = value(child(properties, "vertAlign"))
        if raised in ("superscript", "subscript"):
            return "raised" if raised == "superscript" else "lowered"
        font = child(properties, "rFonts")
        is_code = self._style_of(properties).is_code or (
            font is not None and MONOSPACED.match(attribute(font, "ascii")) is not None
        )
        return "code" if is_code else ""

    def _piece(self, each: Any, look: Look, link: str) -> None:
        name = name_of(each)
        if name == "fldChar":
            self._field_mark(attribute(each, "fldCharType"))
        elif name == "instrText":
            if self.context.fields and not self.context.fields[-1].is_shown:
                self.context.fields[-1].code.append(each.text or "")
        elif name in ("br", "lastRenderedPageBreak"):
            self._break(each, name, look)
        elif self._is_hidden():
            return
        elif name == "t":
            self._add(each.text or "", look, link)
        elif name in ("tab", "ptab", "cr"):
            self._add("\t" if name != "cr" else "\n", look, link)
        elif name == "noBreakHyphen":
            self._add("-", look, link)
        elif name == "sym":
            self._add(_symbol(attribute(each, "char")), look, link)
        elif name in ("footnoteReference", "endnoteReference"):
            self._note(name.removesuffix("Reference"), attribute(each, "id"))
        elif name == "commentReference":
            self.comments.append(attribute(each, "id"))
        elif name in ("drawing", "pict", "object"):
            self._drawing(each)
        elif name == "AlternateContent":
            self._alternative(each, link)
        elif name == "ruby":
            base = child(each, "rubyBase")
            if base is not None:
                self.read(base, link)

    def _add(self, text: str, look: Look, link: str) -> None:
        link = next((each.link for each in reversed(self.context.fields) if each.link), link)
        self.line.add(text, look, link)
        self.has_words = self.has_words or bool(text.strip())

    def _note(self, kind: str, id: str) -> None:
        mark = self.mark_of(kind, id)
        if mark:
            self.notes.append((kind, id))
            self.line.add(f"[^{mark}]")

    def _field_mark(self, kind: str) -> None:
        fields = self.context.fields
        if kind == "begin":
            fields.append(_Field())
        elif fields and kind == "separate":
            fields[-1].is_shown = True
        elif fields and kind == "end":
            closed = fields.pop()
            closed.is_shown = True
            self.page_fields += closed.is_out

    def _break(self, element: Any, name: str, look: Look) -> None:
        is_page = name != "br" or attribute(element, "type") == "page"
        if not is_page:
            self._add("\n", look, "")
        elif self.context.pages_by_layout == (name == "lastRenderedPageBreak"):
            if self.has_words or self.formulas:
                self.breaks_after += 1
                self.line.add(" ")
            else:
                self.breaks_before += 1

    def _drawing(self, element: Any) -> None:
        """Take what a drawing says: its text boxes, charts, diagrams, and what is written about pictures."""
        said: list[Block] = []
        described: dict[str, None] = {}
        has_picture = False
        for each in _drawn(element):
            name = name_of(each)
            if name == "txbxContent":
                said.extend(self.context.blocks_in(each))
            elif name in ("chart", "relIds"):
                said.extend(drawn_blocks(self.context.package, each, self.context.relations))
            elif name in ("docPr", "cNvPr", "shape", "rect"):
                told = attribute(each, "descr") or attribute(each, "alt") or attribute(each, "title")
                described.setdefault(" ".join(told.split()))
            elif name in ("blip", "imagedata", "OLEObject"):
                has_picture = True
            elif name == "textpath" and attribute(each, "string"):
                described.setdefault(attribute(each, "string"))
            elif name == "decorative" and attribute(each, "val") == "1":
                return
        words = [text for text in described if text]
        self.after += [Figure(text=text) for text in words]
        self.after += said
        self.context.pictures += has_picture and not words and not said


def _drawn(element: Any) -> Iterator[Any]:
    """Yield the elements inside of a drawing; not those inside of its text boxes, nor what is there a second time."""
    waiting = [element]
    while waiting:
        each = waiting.pop()
        yield each
        name = name_of(each)
        if name == "AlternateContent":
            waiting.extend(reversed([inner for inner in each if name_of(inner) == "Choice"][:1] or list(each)[:1]))
        elif name != "txbxContent":
            waiting.extend(reversed(each))


def _symbol(code: str) -> str:
    found = _SYMBOLS.get(code.lower())
    if found is not None:
        return found
    try:
        character = chr(int(code[:6], 16))
    except (ValueError, OverflowError):
        return ""
    return "" if "\ue000" <= character <= "\uf8ff" or "\ud800" <= character <= "\udfff" else character
