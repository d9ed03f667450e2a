"""The values of sources that can tell their documents one by one; see the protocol `Documents`.

A module of its own, since no run needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from nexus_core.contract.values import Item, Value


@frozen(kw_only=True, eq=False, repr=False)
class DocumentMark(Value):
    """A document that a source has found and not yet read."""

    name: str
    """Unique within the source, and the same with every look; what people see."""
    place: str = ""
    """By which the source reads it, such as a path or a URL."""
    stamp: str = ""
    """Surely changes with the document and is told without reading it; empty where nothing does."""
    size: int = 0
    """In bytes, where that is known."""
    problem: str = ""
    """Why it cannot be read; then nobody tries."""
    left_out: str = ""
    """Why it is rightly left out without being read, such as a link that leads elsewhere."""
    apart: bool = False
    """It is to be read in a process of its own, since what reads it may crash or never end."""


@frozen(kw_only=True, eq=False, repr=False)
class DocumentRead(Value):
    """What came of reading a document."""

    items: Iterable[Item] = ()
    """May be read on while they are taken."""
    digest: str = ""
    """Tells whether the content is another, such as the SHA-256 of its bytes."""
    size: int = 0
    """In bytes."""
    same: bool = False
    """The digest is the one that the caller knows; there are no items then."""
    left_out: str = ""
    """Why it is rightly left out, such as an image; empty where it is not."""
    problems: Sequence[str] = ()
    """What is missing of it and why; complete once the items are taken."""
    remarks: Sequence[str] = ()
    """What was read with doubt."""
    original: bytes | None = None
    """Its bytes, where they are at hand."""
