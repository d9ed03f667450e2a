"""What the styles of a page say of an element: whether it is seen, how it is set, whether it is struck out.

Only what stands in the page itself is looked at: `style` attributes, and rules of `<style>` for one class, one id, or
an element with one class. Rules under a condition, such as those for printing, do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from attrs import define, field, frozen
from selectolax.lexbor import LexborNode

Attributes = Mapping[str, str | None]

_DECLARATION = re.compile(
    r"(?:^|;)\s*(display|visibility|vertical-align|text-decoration(?:-line)?)\s*:\s*([^;]*)", re.IGNORECASE
)
_SIMPLE = re.compile(r"[a-z][\w-]*\.[\w-]+|\.[\w-]+|#[\w-]+", re.IGNORECASE)
_COMMENT = re.compile(r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/)?")
_BRACE = re.compile(r"[{}]")
_LONGEST_STYLE = 2_000
_NEVER_HIDDEN = frozenset({"html", "body"})
"""Scripts hide and show the whole page."""
INLINE = frozenset({"inline", "contents", "ruby", "ruby-base"})
BESIDE = frozenset({"inline-block", "inline-flex", "inline-grid", "inline-table", "table-cell"})
_SPACED = re.compile(r"\b(?:width|margin|padding)", re.IGNORECASE)
_APART = re.compile(
    r"(?:^|[\s_-])(?:badge|lozenge|chip|pill|selected-value|screen-reader-text|sr-only|visually-?hidden)(?=$|[\s_-])",
    re.IGNORECASE,
)
"""Classes of words on a label of their own, or that are only read aloud."""
_RAISED = frozenset({"span", "a", "font", "small", "b", "strong", "i", "em", "u"})
_FOLDABLE = frozenset("div section article p ul ol dl dd table tr blockquote".split())
_FOLDED = re.compile(
    r"(?:^|[\s_-])(?:accordion|collaps\w*|expand\w*|faq|answer|toggle|tab-?content|tab-?pane|tab-?panel|spoiler)(?=$|[\s_-])",
    re.IGNORECASE,
)
"""Classes of what a click shows."""
_NO_FOLD = re.compile(r"modal|dialog|popup|popover|tooltip|toast|alert|error|spinner|loading|nav|menu", re.IGNORECASE)
_TOGGLES = "[aria-expanded], [data-toggle], [data-bs-toggle], [role=tab], summary"
_LONGEST_QUESTION = 400
_HEADS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "dt"})
_QUESTIONS = frozenset({"button", "a", "label"})
_FLEX = frozenset({"flex", "grid", "inline-flex", "inline-grid"})


@frozen
class Look:
    """How an element is shown, as far as its styles say."""

    display: str = ""
    hidden: bool = False
    struck: bool = False
    spaced: bool = False
    """It stands apart from what is beside it, though on one line."""
    raised: str = ""
    """`super` or `sub`."""

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
            if any(word in sheet for word in ("display", "visibility", "line-through", "vertical-align")):
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
            return _BESIDE_OTHERS if _stands_apart(attributes.get("class")) else PLAIN
        values = said or {}
        if style:
            values.update(_said(style[:_LONGEST_STYLE]))
        display = values.get("display", "")
        hidden = hidden or display == "none" or values.get("visibility", "") in ("hidden", "collapse")
        return Look(
            display="" if display == "none" else display,
            hidden=hidden and not self._shown(tag, attributes),
            struck="line-through" in values.get("text-decoration", ""),
            spaced=display == "table-cell"
            or (display in BESIDE and ("spaced" in values or bool(_SPACED.search(style or ""))))
            or _stands_apart(attributes.get("class")),
            raised=values.get("vertical-align", "") if tag in _RAISED else "",
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
        if value in BESIDE and _SPACED.search(declarations):
            found.append(("spaced", value))
    return found


_BESIDE_OTHERS = Look(spaced=True)


@lru_cache(maxsize=1000)
def _stands_apart(classes: str | None) -> bool:
    return classes is not None and _APART.search(classes) is not None


def is_folded(node: LexborNode, attributes: Attributes) -> bool:
    """Tell whether a click shows what is hidden now: the answer of a question, what a button unfolds, a tab."""
    classes = f"{attributes.get('class') or ''} {attributes.get('role') or ''}"
    if node.tag not in _FOLDABLE or _NO_FOLD.search(classes):
        return False
    if _FOLDED.search(classes):
        return True
    above = node.parent
    if above is not None and (above.tag == "details" or (above.parent is not None and above.parent.tag == "details")):
        return True
    before = node.prev
    while before is not None and (before.tag or "-").startswith("-"):
        if before.tag == "-text" and (before.text_content or "").strip():
            return False
        before = before.prev
    return before is not None and _unfolds(before)


def _unfolds(node: LexborNode) -> bool:
    """Tell whether a click on an element shows what comes after it: it says so, or is a question."""
    said = node.attributes
    if "aria-expanded" in said or said.get("role") == "tab" or _FOLDED.search(said.get("class") or ""):
        return True
    words = node.text().strip() if node.tag in _QUESTIONS else ""
    if words and len(words) <= _LONGEST_QUESTION and words.endswith(("?", "？", "؟")):
        return True
    heads = "button, [role=button]" if node.tag in _HEADS else _TOGGLES
    return node.css_first(heads) is not None and len(node.text().strip()) <= _LONGEST_QUESTION
