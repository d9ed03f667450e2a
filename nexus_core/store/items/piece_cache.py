"""What is worked out of each piece of text once for all items: its stems, their codes for the packer, and its tokens.

The pieces of text between white space repeat: an item is prepared by a look-up for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nexus_core.toolkit.text.bm25 import codes
from nexus_core.toolkit.text.stemming import PieceTable, stems
from nexus_core.toolkit.tokens.counter import token_counter

_CODED = "english"
"""The language whose stems the packer compares, whatever the context's."""

Piece = tuple[str, bytes, int]
"""Its stems with a space after each, their codes, and the tokens it takes after a space."""


class PieceCache(PieceTable[Piece]):
    """The pieces met so far, for one language and one encoding: about 60 MB at most, while items are added."""

    def __init__(self, language: str, encoding: str) -> None:
        super().__init__(self._piece, self._joined)
        self.language = language
        self.encoding = encoding
        counter = token_counter(encoding)
        self.count: Callable[[str], int] = counter.count
        self.adds_up = counter.exact
        """Whether the tokens of pieces with one space before each are those of the whole."""

    def _piece(self, piece: str) -> Piece:
        spaced = "".join([f"{stem} " for stem in stems(piece, self.language)])
        return spaced, codes(piece, _CODED), self.count(f" {piece}")

    def _joined(self, piece: str, parts: Sequence[Piece]) -> Piece:
        return "".join([part[0] for part in parts]), b"".join([part[1] for part in parts]), self.count(f" {piece}")

    def tokens_of(self, text: str, found: list[str]) -> int:
        """Return the tokens of a text, its pieces given, that does not end with white space."""
        if not self.adds_up or not found:
            return self.count(text)
        first = len(text) - len(text.lstrip()) + len(found[0])
        between = len(found) - 1
        # Where there is no more white between the pieces than that, it is one for each; of other kinds than a space it
        # may share a word with what is beside it.
        if text.count(" ", first) != between or len(text) - first - between != sum(map(len, found)) - len(found[0]):
            return self.count(text)
        if first == len(found[0]) + 1 and text[0] == " ":
            return sum([self[piece][2] for piece in found])
        return self.count(text[:first]) + sum([self[piece][2] for piece in found[1:]])
