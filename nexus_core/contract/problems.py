"""What is wrong in a configuration, and where."""

from __future__ import annotations

from attrs import frozen


@frozen
class Problem:
    """One mistake: a stable code (see the table in nexus_core/config/README.md), a place, and what to do."""

    code: str
    message: str
    file: str = ""
    line: int = 1
    """From 1."""
    column: int = 1
    """From 1, in characters."""
    severity: str = "error"
    """`error` keeps the pipeline from loading, `warning` does not."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.code} {self.message}"
