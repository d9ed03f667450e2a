"""Memo table of words: what is worked out once for each piece of text between white space.

Few pieces make up most of any text. A look-up in a dictionary takes half the time of a call of a cached function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

LONGEST_PIECE = 64
"""In characters; what is longer is not remembered."""
PIECES_KEPT = 1 << 17
"""In each table: for the stems of one language about 50 MB at most."""

# A number keeps its points and commas; a possessive s belongs to no word; a run of over 64 letters is data and comes
# in several words, so that no word can grow with the text.
WORD = re.compile(r"(\d{1,32}(?:[.,]\d{1,32}){1,8}|\w{1,64})(?:['’][sS]\b)?")

_Value = TypeVar("_Value")


def pieces(text: str) -> list[str]:
    """Return `text` cut at white space, as `stems` wants it: a piece longer than 64 characters comes as its words."""
    found = text.split()
    if max(map(len, found), default=0) <= LONGEST_PIECE:
        return found
    return [short for piece in found for short in ([piece] if len(piece) <= LONGEST_PIECE else WORD.findall(piece))]


class PieceTable(dict[str, _Value], Generic[_Value]):
    """The values of the pieces met so far, computed by `compute`; a full table is emptied."""

    def __init__(
        self, compute: Callable[[str], _Value], join: Callable[[str, Sequence[_Value]], _Value] | None = None
    ) -> None:
        """Take what computes a value, and what joins those of the words of a piece that is too long to be kept."""
        super().__init__()
        self._compute, self._join = compute, join

    def __missing__(self, piece: str) -> _Value:
        if self._join is not None and len(piece) > LONGEST_PIECE:
            return self._join(piece, [self[short] for short in pieces(piece)])
        value = self._compute(piece)
        if len(self) >= PIECES_KEPT:
            self.clear()
        self[piece] = value
        return value
