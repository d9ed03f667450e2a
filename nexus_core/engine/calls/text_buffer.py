"""Text that comes in pieces, thousands of them in a stream, kept in little memory."""

from __future__ import annotations

_LOOSE = 2048
"""Pieces that are kept one by one: an object takes 50 bytes, so many short ones are joined."""


class TextBuffer(list[str]):
    """A text in pieces, few of them however many come."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        super().__init__()
        self._blocks = 0

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        self._blocks = 0

    def append(self, piece: str) -> None:
        """Add a piece."""
        super().append(piece)
        if len(self) - self._blocks > _LOOSE:
            self[self._blocks :] = ["".join(self[self._blocks :])]
            self._blocks += 1
