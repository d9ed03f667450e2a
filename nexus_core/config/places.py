"""Where something stands: what every node, specification and problem carries."""

from __future__ import annotations

from attrs import frozen


@frozen
class Place:
    """A point in a file."""

    file: str
    line: int = 1
    """From 1."""
    column: int = 1
    """From 1, in characters."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"
