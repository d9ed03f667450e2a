"""The lists of a page: how deep an item is, and with which number or letter it is shown."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_MOST_ROMAN = 3999
_MOST = 10**9


@define(eq=False)
class OpenList:
    """A list that is being read."""

    ordered: bool
    kind: str = "1"
    """As the attribute `type` has it: `1`, `a`, `A`, `i`, `I`."""
    next: int = 1
    step: int = 1

    def marker(self, value: str | None) -> str:
        """Return what the next item is shown with; `value` is the number that the item asks for."""
        if not self.ordered:
            return "-"
        number = whole(value, self.next)
        self.next = number + self.step
        return f"{_written(number, self.kind)}."


def open_list(ordered: bool, attributes: Mapping[str, str | None], items: int = 0) -> OpenList:
    """Return a list as its attributes describe it; `items` is how many it has, where it counts down."""
    kind = (attributes.get("type") or "1").strip()
    reverse = ordered and "reversed" in attributes
    start = whole(attributes.get("start"), items if reverse else 1)
    return OpenList(ordered, kind if kind in ("a", "A", "i", "I") else "1", start, -1 if reverse else 1)


def whole(written: str | None, otherwise: int) -> int:
    """Return the number that an attribute gives, another one where it gives none."""
    if not written:
        return otherwise
    try:
        number = int(written[:12])
    except ValueError:
        return otherwise
    return number if abs(number) < _MOST else otherwise


def _written(number: int, kind: str) -> str:
    if kind in ("i", "I") and 0 < number <= _MOST_ROMAN:
        roman = ""
        for value, letters in _ROMAN:
            roman += letters * (number // value)
            number %= value
        return roman.upper() if kind == "I" else roman
    if kind in ("a", "A") and number > 0:
        letters = ""
        while number > 0:
            number, letter = divmod(number - 1, 26)
            letters = chr(ord(kind) + letter) + letters
        return letters
    return str(number)
