"""What the styles of a page say of an element: whether it is seen, how it is set, whether it is struck out.

Only what stands in the page itself is looked at: `style` attributes, and rules of `<style>` for one class, one id, or
an element with one class. Rules under a condition, such as those for printing, do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

Attributes = Mapping[str, str | None]

_DECLARATION = re.compile(r"(?:^|;)\s*(display|visibility|text-decoration(?:-line)?)\s*:\s*([^;]*)", re.IGNORECASE)
_SIMPLE = re.compile(r"[a-z][\w-]*\.[\w-]+|\.[\w-]+|#[\w-]+", re.IGNORECASE)
_COMMENT = re.compile(r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/)?")
_BRACE = re.compile(r"[{}]")
_LONGEST_STYLE = 2_000
_NEVER_HIDDEN = frozenset({"html", "body"})
"""Scripts hide and show the whole page."""
INLINE = frozenset({"inline", "contents", "ruby", "ruby-base"})
BESIDE = frozenset({"inline-block", "inline-flex", "inline-grid", "inline-table", "table-cell"})
_SPACED = re.compile(r"\b(?:width|margin|padding)", re.IGNORECASE)
_FLEX = frozenset({"flex", "grid", "inline-flex", "inline-grid"})


@frozen
class Look:
    """How an element is shown, as far as its styles say."""

    display: str = ""
    hidden: bool = False
    struck: bool = False
    spaced: bool = False
    """It stands apart from what is beside it, though on one line."""

    @property
    def parts_inside(self) -> bool:
        """Whether each element inside stands apart from the others."""
        return self.display in _FLEX


PLAIN = Look()


@define(eq=False)
class Styles:
    """The rules of a page."""

    controlled: frozenset[str] = frozenset()
    """The ids of what a button shows and hides: people can see it."""
    _rules: dict[str, list[tuple[int, str, str]]] = field(factory=dict)
    _count: int = 0

    @classmethod
    def of(cls, sheets: Iterable[str], controlled: Iterable[str] = ()) -> Styles:
        """Return what some style sheets say."""
        styles = cls(frozenset(controlled))
        for sheet in sheets:
            if any(word in sheet for word in ("display", "visibility", "line-through")):
                styles._read(_COMMENT.sub(" ", sheet) if "/*" in sheet else sheet)
        return styles

    @property
    def is_empty(self) -> bool:
        """Whether there are no rules."""
        return not self._rules

    def _read(self, sheet: str) -> None:
        depth = begin = 0
        selectors = ""
        for brace in _BRACE.finditer(sheet):
            if brace[0] == "{":
                if depth == 0:
                    selectors = sheet[begin : brace.start()]
                    begin = brace.end()
                depth += 1
            elif depth:
                depth -= 1
                if depth == 0:
                    if "@" not in selectors:
                        self._add(selectors, sheet[begin : brace.start()])
                    begin = brace.end()
            else:
                begin = brace.end()

    def _add(self, selectors: str, declarations: str) -> None:
        said = _said(declarations)
        if not said:
            return
        for selector in selectors.split(";")[-1].split(","):
            name = selector.strip()
            if _SIMPLE.fullmatch(name):
                self._count += 1
                self._rules.setdefault(name.lower() if name[0] not in ".#" else name, []).extend(
                    (self._count + 1_000_000 * (name[0] == "#"), key, value) for key, value in said
                )

    def look(self, tag: str, attributes: Attributes) -> Look:
        """Return how an element is shown."""
        style = attributes.get("style")
        said = self._by_rules(tag, attributes) if self._rules else None
        hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
        if not style and not said and not hidden:
            return PLAIN
        values = said or {}
        if style:
            values.update(_said(style[:_LONGEST_STYLE]))
        display = values.get("display", "")
        hidden = hidden or display == "none" or values.get("visibility", "") in ("hidden", "collapse")
        return Look(
            display="" if display == "none" else display,
            hidden=hidden and not self._shown(tag, attributes),
            struck="line-through" in values.get("text-decoration", ""),
            spaced=display == "table-cell" or (display in BESIDE and bool(_SPACED.search(style or ""))),
        )

    def _by_rules(self, tag: str, attributes: Attributes) -> dict[str, str] | None:
        found: list[tuple[int, str, str]] = []
        rules = self._rules
        for name in (attributes.get("class") or "").split():
            found += rules.get(f".{name}", ())
            found += rules.get(f"{tag}.{name}", ())
        found += rules.get(f"#{attributes.get('id')}", ())
        if not found:
            return None
        found.sort()
        return {key: value for _, key, value in found}

    def _shown(self, tag: str, attributes: Attributes) -> bool:
        """Tell whether what is hidden now is shown nevertheless: by a click, or as soon as scripts run."""
        return (
            tag in _NEVER_HIDDEN
            or attributes.get("id") in self.controlled
            or attributes.get("role") == "tabpanel"
            or attributes.get("hidden") == "until-found"
            or "mwe-math-mathml" in (attributes.get("class") or "")
        )


def _said(declarations: str) -> list[tuple[str, str]]:
    found = []
    for declaration in _DECLARATION.finditer(declarations):
        value = declaration[2].replace("!important", "").strip().lower()
        found.append((declaration[1].lower().removesuffix("-line"), value))
    return found
