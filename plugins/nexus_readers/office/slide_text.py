"""Paragraphs of DrawingML, the text of slides, charts and shapes: runs, links, bullets and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from nexus_core import Block, ListItem, Paragraph
from nexus_readers.office.inline import Look, StyledLine
from nexus_readers.office.omml import tex_of
from nexus_readers.office.packages import Relation, attribute, child, name_of
from nexus_readers.office.word.styles import as_int, numbered

_UNSEEN_FIELDS = ("slidenum", "datetime", "footer", "header")
_NUMBERED = {"ParenBoth": "({})", "ParenR": "{})", "Period": "{}.", "Plain": "{}"}


@define(eq=False)
class SlideText:
    """Reads the text of shapes of one slide."""

    relations: Mapping[str, Relation]
    _counts: dict[int, int] = field(factory=dict)

    def blocks(self, body: Any | None, *, bulleted: bool = False) -> Iterator[Block]:
        """Yield the paragraphs of a shape; with `bulleted` they are items of a list where they do not say otherwise."""
        self._counts = {}
        for each in body if body is not None else ():
            if name_of(each) == "p":
                yield from self._paragraph(each, bulleted)

    def line(self, paragraph: Any) -> StyledLine:
        """Return one paragraph as a line."""
        line = StyledLine()
        for each in paragraph:
            self._add(line, each)
        return line

    def text(self, body: Any | None) -> str:
        """Return all paragraphs of a shape on one line."""
        lines = [self.line(each).text() for each in body if name_of(each) == "p"] if body is not None else []
        return " ".join(filter(None, lines))

    def _add(self, line: StyledLine, each: Any) -> None:
        name = name_of(each)
        if name == "r" or (name == "fld" and not attribute(each, "type").startswith(_UNSEEN_FIELDS)):
            properties = child(each, "rPr")
            line.add(_text(child(each, "t")), _look(properties), self._link(properties))
        elif name == "br":
            line.add("\n")
        elif name in ("oMath", "oMathPara"):
            line.add(f"${tex_of(each)}$")
        elif name in ("m", "AlternateContent", "Choice"):
            for inner in list(each)[: 1 if name == "AlternateContent" else None]:
                self._add(line, inner)

    def _link(self, properties: Any | None) -> str:
        click = child(properties, "hlinkClick")
        found = self.relations.get(attribute(click, "id")) if click is not None else None
        return found.target if found is not None and found.is_external else ""

    def _paragraph(self, element: Any, bulleted: bool) -> Iterator[Block]:
        line = self.line(element)
        text, links = line.text(), tuple(line.links)
        if not text:
            return
        properties = child(element, "pPr")
        level = as_int(attribute(properties, "lvl", "0")) if properties is not None else 0
        marker = self._marker(properties, level, bulleted)
        if marker:
            yield ListItem(text=text, depth=max(1, min(level, 8) + 1), marker=marker, links=links)
        else:
            self._counts = {}
            yield Paragraph(text=text, links=links)

    def _marker(self, properties: Any | None, level: int, bulleted: bool) -> str:
        kinds = {name_of(each): each for each in properties} if properties is not None else {}
        numbering = kinds.get("buAutoNum")
        self._counts = {at: count for at, count in self._counts.items() if at <= level}
        if numbering is None:
            self._counts.pop(level, None)
            return "-" if "buNone" not in kinds and (bulleted or "buChar" in kinds or "buBlip" in kinds) else ""
        start = as_int(attribute(numbering, "startAt", "1"), 1)
        self._counts[level] = self._counts.get(level, start - 1) + 1
        told = attribute(numbering, "type")
        shape = next((shape for word, shape in _NUMBERED.items() if told.endswith(word)), "{}.")
        format = f"upper{told}" if told.endswith("UcPeriod") or "Uc" in told else told
        format = format.replace("alpha", "Letter")
        return shape.format(numbered(self._counts[level], format))


def _text(element: Any | None) -> str:
    return "" if element is None else (element.text or "").replace("\v", "\n")


def _look(properties: Any | None) -> Look:
    if properties is None:
        return ""
    if properties.get("strike", "noStrike") != "noStrike":
        return "struck"
    baseline = as_int(properties.get("baseline", "0").rstrip("%"))
    return "raised" if baseline > 0 else "lowered" if baseline < 0 else ""
