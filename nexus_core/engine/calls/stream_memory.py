"""Stream memory budget: what the running streams of a pipeline may hold of their answers together.

Each may hold as much as nearly every answer has. What goes beyond it is shared, so that many endless streams at once
take little memory, whatever their models may give, while a few answers may be very long.
"""

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
