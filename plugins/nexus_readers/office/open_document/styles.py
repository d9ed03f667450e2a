"""Styles of OpenDocument: how texts look, which paragraphs are headings or code, how lists are numbered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from attrs import evolve, field, frozen

from nexus_readers.office.inline import Look
from nexus_readers.office.packages import attribute, child, name_of
from nexus_readers.office.word.styles import MONOSPACED, as_int, numbered

_CODE = re.compile(r"\b(?:preformatted|code|source|listing|verbatim|teletype)")
_DEEPEST_STYLE = 20
_FORMATS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}


@frozen(kw_only=True)
class OpenStyle:
    """What a text gets from its style and those above it."""

    name: str = ""
    """As people see it, in lower case; of automatic styles that of the one above."""
    look: Look = ""
    is_code: bool = False
    is_hidden: bool = False
    is_bold: bool = False
    starts_page: bool = False
    list_name: str = ""


PLAIN = OpenStyle()


@frozen
class ListLevel:
    """How the items of one level of a list are marked."""

    format: str = ""
    """Empty for bullets."""
    before: str = ""
    after: str = ""
    start: int = 1
    shown: int = 1
    """How many levels a number shows: `1.2` shows two."""


@frozen
class OpenStyles:
    """The styles of a document, from both of its parts."""

    _elements: dict[tuple[str, str], Any] = field(factory=dict)
    _made: dict[tuple[str, str], OpenStyle] = field(factory=dict)
    _lists: dict[str, dict[int, ListLevel]] = field(factory=dict)

    def add(self, roots: Iterable[Any | None]) -> None:
        """Take the styles that stand in some elements."""
        for root in roots:
            for each in root if root is not None else ():
                name = attribute(each, "name")
                if name_of(each) == "style":
                    self._elements.setdefault((attribute(each, "family"), name), each)
                elif name_of(each) == "list-style":
                    self._lists.setdefault(name, dict(map(_level, each)))

    def style(self, family: str, name: str, depth: int = 0) -> OpenStyle:
        """Return a style with all that it inherits."""
        found = self._made.get((family, name))
        if found is None:
            element = self._elements.get((family, name))
            if element is None or depth > _DEEPEST_STYLE:
                return evolve(PLAIN, name=_as_seen(name), is_code=bool(_CODE.search(_as_seen(name))))
            above = attribute(element, "parent-style-name")
            parent = self.style(family, above, depth + 1) if above else PLAIN
            found = self._made[family, name] = _style(element, name, parent)
        return found

    def hides_slides(self, name: str) -> bool:
        """Tell whether the slides of a style are not shown."""
        properties = child(self._elements.get(("drawing-page", name)), "drawing-page-properties")
        return properties is not None and attribute(properties, "visibility") == "hidden"

    def level(self, list_name: str, depth: int) -> ListLevel:
        """Return how the items of a list are marked on a level, from 1."""
        return self._lists.get(list_name, {}).get(depth, ListLevel())

    def number(self, list_name: str, counts: list[int]) -> str:
        """Return what stands before an item, by the counts of its level and those above; `-` for a bullet."""
        depth = len(counts)
        level = self.level(list_name, depth)
        if not level.format:
            return "-"
        first = max(1, depth - level.shown + 1)
        numbers = [
            numbered(counts[at - 1], _FORMATS.get(self.level(list_name, at).format, "decimal"))
            for at in range(first, depth + 1)
            if self.level(list_name, at).format
        ]
        return f"{level.before}{'.'.join(numbers)}{level.after}".strip()


def _as_seen(name: str) -> str:
    return name.replace("_20_", " ").replace("_", " ").lower()


def _style(element: Any, name: str, parent: OpenStyle) -> OpenStyle:
    is_automatic = parent.name and not attribute(element, "display-name")
    seen = parent.name if is_automatic else _as_seen(attribute(element, "display-name") or name)
    text = child(element, "text-properties")
    paragraph = child(element, "paragraph-properties")
    found = evolve(
        parent,
        name=seen,
        list_name=attribute(element, "list-style-name") or parent.list_name,
        is_code=parent.is_code or bool(_CODE.search(seen)),
        starts_page=paragraph is not None and attribute(paragraph, "break-before") == "page",
    )
    if text is None:
        return found
    font = attribute(text, "font-name") or attribute(text, "font-family").strip("'\"")
    return evolve(
        found,
        look=_look(text) or found.look,
        is_code=found.is_code or MONOSPACED.match(font) is not None,
        is_hidden=attribute(text, "display") == "none" or found.is_hidden,
        is_bold=attribute(text, "font-weight") in ("bold", "700", "800", "900") or found.is_bold,
    )


def _look(text: Any) -> Look:
    if attribute(text, "text-line-through-style", "none") != "none":
        return "struck"
    position = attribute(text, "text-position").partition(" ")[0]
    if position == "super" or (position.rstrip("%").isdigit() and as_int(position.rstrip("%")) > 0):
        return "raised"
    return "lowered" if position == "sub" or position.startswith("-") else ""


def _level(element: Any) -> tuple[int, ListLevel]:
    format = attribute(element, "num-format") if "number" in name_of(element) else ""
    made = ListLevel(
        format,
        attribute(element, "num-prefix"),
        attribute(element, "num-suffix"),
        as_int(attribute(element, "start-value", "1"), 1),
        as_int(attribute(element, "display-levels", "1"), 1),
    )
    return as_int(attribute(element, "level")), made
