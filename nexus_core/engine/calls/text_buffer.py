"""Text buffer: a text that comes in pieces, thousands of them in a stream, held in little memory."""

from __future__ import annotations

OWN_BYTES = 2**19
"""What each stream may hold whatever the others do: about 120,000 tokens of English."""
SHARED_BYTES = 16 * 2**20
"""What all streams of a pipeline may hold beyond that, together."""


class StreamMemory:
    """Counts what the streams hold beyond their own share."""

    __slots__ = ("left",)

    def __init__(self, shared: int = SHARED_BYTES) -> None:
        self.left = shared
        """Bytes that are free."""

    def take(self, size: int) -> bool:
        """Take so many more bytes, and tell whether they were free."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give_back(self, size: int) -> None:
        """Give bytes back."""
        self.left += size


_LOOSE = 1024
"""Pieces that are held one by one: an object takes 50 bytes beside its text."""
_LOOSE_CHARACTERS = 2**15


class TextBuffer:
    """A text in pieces, held as UTF-8.

    A single character outside of the usual ones makes Python hold a whole text at two or four bytes for each.
    """

    __slots__ = ("_held", "_loose", "_loose_characters")

    def __init__(self) -> None:
        self._held = bytearray()
        self._loose: list[str] = []
        self._loose_characters = 0

    def __bool__(self) -> bool:
        return bool(self._loose or self._held)

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
        self._loose.clear()
        self._loose_characters = 0

    def append(self, piece: str) -> None:
        """Add a piece."""
        self._loose.append(piece)
        self._loose_characters += len(piece)
        if self._loose_characters > _LOOSE_CHARACTERS or len(self._loose) > _LOOSE:
            self._pack()

    def text(self) -> str:
        """Return the whole text."""
        if not self._held:
            return "".join(self._loose)
        self._pack()
        return self._held.decode(errors="surrogatepass")

    def size(self) -> int:
        """Return how many bytes the text takes."""
        self._pack()
        return len(self._held)

    def _pack(self) -> None:
        # What a service sends may hold half of a character's two surrogates; it comes out as it went in.
        self._held += "".join(self._loose).encode(errors="surrogatepass")
        self._loose.clear()
        self._loose_characters = 0
