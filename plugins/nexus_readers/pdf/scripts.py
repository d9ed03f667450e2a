"""Raised and lowered characters of a line: `10^6`, `H_2O`, by the sizes and the lines that letters stand on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from attrs import define

_SMALLER = 0.86
"""A raised or lowered character is at most so large as the others of its line."""
_RAISED = 0.12
_LOWERED = 0.06
"""How far from the line of the others, in sizes of the font."""
_ORDINALS = frozenset({"st", "nd", "rd", "th", "er", "re", "o", "a", "tm", "®", "™"})
_LONGEST = 24
_WORD = re.compile(r"[\w+\-−]", re.UNICODE)


@define(eq=False)
class Character:
    """One character of a line."""

    letter: str
    size: float
    base: float
    """The line that it stands on, counted upwards."""


def marked(characters: Sequence[Character]) -> tuple[str, float, float]:
    """Return the text of a line, with `^` before what is raised and `_` before what is lowered in it.

    Also the size of the other characters, and the line that they stand on.
    """
    weights: Counter[tuple[float, float]] = Counter()
    for each in characters:
        if not each.letter.isspace() and each.size > 0:
            weights[round(each.size, 1), round(each.base, 1)] += 1
    if not weights:
        return "".join(each.letter for each in characters), characters[0].size, characters[0].base
    largest = max(size for size, _ in weights)
    main = max(weights, key=lambda place: (weights[place] * (place[0] > 0.9 * largest), weights[place]))
    pieces: list[str] = []
    for mark, group in groupby(characters, lambda each: _mark(each, *main)):
        text = "".join(each.letter for each in group)
        pieces.append(_with_mark(mark, text))
    return "".join(pieces), *main


def _mark(character: Character, size: float, base: float) -> str:
    if character.letter.isspace() or character.size > _SMALLER * size:
        return ""
    if character.base > base + _RAISED * size:
        return "^"
    return "_" if character.base < base - _LOWERED * size else ""


def _with_mark(mark: str, text: str) -> str:
    if not mark or len(text) > _LONGEST or not _WORD.search(text) or text.strip().lower() in _ORDINALS:
        return text
    return mark + text
