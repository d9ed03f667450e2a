"""What the fields of a form show."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

from nexus_readers.web.inline import BREAK
from nexus_readers.web.progress import Attributes, Opened, Progress

_SHOWN_VALUES = frozenset(
    "text search email url number tel date time month week datetime-local button submit reset".split()
)
_LONGEST_LABEL = 400


def field_value(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read what a form's field shows."""
    kind = (said.get("type") or "text").lower()
    words = ""
    if kind in ("checkbox", "radio"):
        words = "[x]" if "checked" in said else "[ ]"
    elif kind in _SHOWN_VALUES:
        words = said.get("value") or ""
    elif kind == "image":
        words = said.get("alt") or ""
    if words:
        at.flow.text.add(f" {words} ")
    return False


def gauge(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read what a gauge tells in words, apart from what is beside it."""
    at.flow.text.add(" ")
    return lambda: at.flow.text.add(" ")


def choice(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read what can be chosen."""
    options = (" ".join((option.attributes.get("label") or option.text()).split()) for option in node.css("option"))
    at.flow.text.add(f" {', '.join(filter(None, options))} ")
    return False


def text_area(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read the text of a field of several lines."""
    at.flow.boundary()
    at.flow.text.add((node.text() or "").strip().replace("\n", BREAK))
    at.flow.boundary()
    return False


def button(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a button's words, apart from what is beside them."""
    at.flow.text.add(" ")
    label = said.get("aria-label")
    if at.flow.heading is not None and label and not (node.text() or "").strip():
        at.flow.text.add(label[:_LONGEST_LABEL])

    def close() -> None:
        at.flow.text.add(" ")

    return close
