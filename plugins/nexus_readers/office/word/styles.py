"""Styles and numbers of a Word file: which paragraphs are headings, list items, code, and what number stands before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from nexus_readers.office.packages import attribute, child, name_of

HEADING_NAME = re.compile(r"heading ([1-9])")
_CODE = re.compile(r"\b(?:code|source|listing|verbatim|console|terminal|preformatted|programlisting)\b")
_DEPTH = re.compile(r"list (?:bullet|number|continue)? ?([2-9])")
MONOSPACED = re.compile(
    r"(?:courier|consolas|menlo|monaco|fira code|source code|.*\bmono\b|lucida console|cascadia)", re.IGNORECASE
)
_FORMAT_OF_LEVEL = re.compile(r"%([1-9])")
_DEEPEST_STYLE = 20
_LARGEST_ROMAN = 4000


@frozen(kw_only=True)
class Style:
    """What a paragraph or a run gets from its style and those that this one is based on."""

    name: str = ""
    id: str = ""
    level: int = 0
    """Of a heading, from 1; 0 where it is none."""
    is_code: bool = False
    is_hidden: bool = False
    list_id: str = ""
    list_level: int | None = None

    @property
    def is_contents(self) -> bool:
        """Whether it is a line of a table of contents, which repeats the headings."""
        return self.name.startswith(("toc ", "table of figures", "contents ")) and self.name != "toc heading"

    @property
    def depth(self) -> int:
        """How deep a list item of it stands, from 1."""
        found = _DEPTH.match(self.name)
        return int(found[1]) if found else 1


PLAIN = Style()


class WordStyles:
    """The styles of a file by their ids."""

    def __init__(self, root: Any | None) -> None:
        self._elements = (
            {attribute(each, "styleId"): each for each in root if name_of(each) == "style"}
            if (root is not None)
            else {}
        )
        self._made: dict[str, Style] = {"": PLAIN}
        default = next((each for each in self._elements.values() if _is_default(each)), None)
        self.default = self.style(attribute(default, "styleId")) if default is not None else PLAIN
        language = child(root, "docDefaults", "rPrDefault", "rPr", "lang")
        self.language = attribute(language, "val") if language is not None else ""

    def style(self, id: str, depth: int = 0) -> Style:
        """Return a style with all that it inherits."""
        found = self._made.get(id)
        if found is None:
            element = self._elements.get(id)
            if element is None or depth > _DEEPEST_STYLE:
                return PLAIN
            based = child(element, "basedOn")
            parent = self.style(attribute(based, "val"), depth + 1) if based is not None else PLAIN
            found = self._made[id] = _style(id, element, parent)
        return found


def _is_default(element: Any) -> bool:
    return attribute(element, "default") in ("1", "true") and attribute(element, "type") == "paragraph"


def _style(id: str, element: Any, parent: Style) -> Style:
    name = value(child(element, "name")).lower()
    found = evolve(parent, name=name, id=id)
    level = outline_level(child(element, "pPr"))
    heading = HEADING_NAME.match(name)
    if level is not None or heading or name == "title":
        found = evolve(found, level=int(heading[1]) if heading else 1 if level is None else level)
    runs = child(element, "rPr")
    font = child(runs, "rFonts")
    if _CODE.search(name) or (font is not None and MONOSPACED.match(attribute(font, "ascii"))):
        found = evolve(found, is_code=not name.startswith("html acronym"))
    if is_on(child(runs, "vanish")):
        found = evolve(found, is_hidden=True)
    number = child(element, "pPr", "numPr")
    if number is not None:
        level_element = child(number, "ilvl")
        found = evolve(
            found,
            list_id=value(child(number, "numId")) or found.list_id,
            list_level=as_int(value(level_element)) if level_element is not None else found.list_level,
        )
    return found


def value(element: Any | None) -> str:
    """Return the attribute `val` of an element, if there is one."""
    return "" if element is None else attribute(element, "val")


def is_on(element: Any | None) -> bool:
    """Tell whether a property that is on or off is on."""
    return element is not None and attribute(element, "val", "1") not in ("0", "false", "off", "none")


def as_int(text: str, default: int = 0) -> int:
    """Return a number as files have it, or the default where it is none."""
    return int(text) if text.isascii() and text.lstrip("-").isdigit() and len(text) < 10 else default


def outline_level(properties: Any | None) -> int | None:
    """Return the level of a heading that the properties of a paragraph give: 0 for plain text, None for nothing."""
    element = child(properties, "outlineLvl")
    if element is None:
        return None
    level = as_int(value(element), 9)
    return level + 1 if 0 <= level < 9 else 0


@frozen
class _Level:
    format: str = "bullet"
    text: str = ""
    start: int = 1


@frozen
class _List:
    family: str = ""
    """Lists of one family count on."""
    levels: Mapping[int, _Level] = field(factory=dict)
    starts: Mapping[int, int] = field(factory=dict)
    """Where it begins anew, by level."""


class Numbers:
    """The lists of a file; counts their items as they come."""

    def __init__(self, root: Any | None) -> None:
        families: dict[str, dict[int, _Level]] = {}
        self._lists: dict[str, _List] = {}
        self._levels_of_style: dict[tuple[str, str], int] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._begun: set[str] = set()
        for each in root if root is not None else ():
            if name_of(each) == "abstractNum":
                families[attribute(each, "abstractNumId")] = dict(map(_level, _levels(each)))
                for level in _levels(each):
                    style = value(child(level, "pStyle"))
                    if style:
                        key = (attribute(each, "abstractNumId"), style)
                        self._levels_of_style[key] = as_int(attribute(level, "ilvl"))
            elif name_of(each) == "num":
                family = value(child(each, "abstractNumId"))
                overrides = [inner for inner in each if name_of(inner) == "lvlOverride"]
                starts = {
                    as_int(attribute(inner, "ilvl")): as_int(value(child(inner, "startOverride")), 1)
                    for inner in overrides
                    if child(inner, "startOverride") is not None
                }
                own = dict(_level(level) for inner in overrides for level in _levels(inner))
                self._lists[attribute(each, "numId")] = _List(family, {**families.get(family, {}), **own}, starts)

    def level_of(self, style: Style) -> int:
        """Return the level of a list, from 0, on which paragraphs of a style stand."""
        family = self._lists.get(style.list_id, _List()).family
        return self._levels_of_style.get((family, style.id), style.list_level or 0)

    def take(self, list_id: str, level: int) -> str | None:
        """Count an item, and return what stands before it: `-`, `3.`, `1.2`; None where nothing does."""
        found = self._lists.get(list_id)
        if found is None:
            return "-"
        counts = self._counts.setdefault(found.family, {})
        if list_id not in self._begun:
            self._begun.add(list_id)
            for restarted, start in found.starts.items():
                counts[restarted] = start - 1
        own = found.levels.get(level, _Level())
        counts[level] = counts.get(level, own.start - 1) + 1
        for deeper in [other for other in counts if other > level]:
            del counts[deeper]
        if own.format == "bullet":
            return "-"
        if own.format == "none" or not own.text:
            return None

        def number(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            shown = found.levels.get(at, _Level("decimal"))
            return numbered(counts.get(at, shown.start), shown.format)

        return _FORMAT_OF_LEVEL.sub(number, own.text).strip() or None


def _levels(element: Any) -> list[Any]:
    return [inner for inner in element if name_of(inner) == "lvl"]


def _level(element: Any) -> tuple[int, _Level]:
    start = child(element, "start")
    made = _Level(
        value(child(element, "numFmt")) or "decimal",
        value(child(element, "lvlText")),
        as_int(value(start), 1) if start is not None else 1,
    )
    return as_int(attribute(element, "ilvl")), made


def numbered(number: int, format: str) -> str:
    """Return a number as a list shows it: `c`, `iv`, `3`; the names of formats are those of Office Open XML."""
    lower = format.lower()
    if "letter" in lower and number > 0:
        shown = chr(97 + (number - 1) % 26) * min(1 + (number - 1) // 26, 10)
    elif "roman" in lower and 0 < number < _LARGEST_ROMAN:
        shown = roman(number)
    else:
        return f"{number:02}" if lower == "decimalzero" else str(number)
    return shown.upper() if format.startswith("upper") else shown


def roman(number: int) -> str:
    """Return a number in small Roman letters."""
    shown = ""
    for size, letters in (
        (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
        (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
    ):  # fmt: skip
        times, number = divmod(number, size)
        shown += letters * times
    return shown
