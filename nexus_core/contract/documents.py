"""Documents: how a source tells them one by one (the protocol `Documents`), and how readers make blocks of them.

A module of its own, since no run needs it. A distribution names its readers in the entry-point group
`contextnexus.readers`, by the suffix (`.html`) or the media type (`application/x-acme`) that they read, as
`".acme" = "acme_reader:AcmeReader"`. Only these names are looked at until a file of that kind is read.

    @component
    class AcmeReader:
        version = "1"

        def read(self, file, hints):
            for number, line in enumerate(file, 1):
                yield Paragraph(text=line.decode(hints.encoding or "utf-8").strip(), place=Place(line=number))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Protocol, runtime_checkable

from attrs import frozen

from nexus_core.contract.blocks import Block
from nexus_core.contract.values import Item, Value

READER_GROUP = "contextnexus.readers"


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
    leads_nowhere: bool = False
    """It is there in name only, as a link is whose target is gone: what was read of it before has vanished. Has the
    reason in `left_out`."""
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
    reader: str = ""
    """What made the items, with its version: `contextnexus html 3`; they are made anew by another one."""


def _nothing_inside(name: str, data: bytes, media_type: str = "", level: int = 1) -> Iterator[Block]:
    return iter(())


@frozen(kw_only=True, eq=False, repr=False)
class ReadHints(Value):
    """What is known of a file beside its bytes."""

    name: str
    """As people see it, with slashes."""
    suffix: str = ""
    """With its dot, in lower case: by it the reader was chosen."""
    encoding: str = ""
    """Of text, where whoever hands on the file knows it, such as a server's `charset`; empty where nobody does."""
    default_encoding: str = "utf-8"
    """Of text that tells nothing of its encoding."""
    max_bytes: int = 20_000_000
    """Of what is taken from a file, and from all that is packed into it, unpacked; of one record where they stream."""
    read_inner: Callable[..., Iterator[Block]] = _nothing_inside
    """`read_inner(name, data, media_type="", level=1)` yields the blocks of a file inside this one, such as a mail's
    attachment, by the reader for that: an implied heading of this level with its name, and its own headings below; or
    a `Remark` where nothing reads it, or where it is too deep inside or too large."""


@runtime_checkable
class Reader(Protocol):
    """Turns a file of its format into blocks. Runs in a reader process, which has a limit of time and memory.

    One with the class attribute `streams = True` reads record by record, such as a mailbox: each of them begins with a
    heading of the first level, and is all that is in memory. Files of any size are handed to it, opened from the disk.
    """

    version: str
    """Another one whenever the same file gives other blocks: documents are read again then."""

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks, in reading order, as they are read.

        Raises SourceError with the reason where the file as a whole cannot be read. What is lost of it is told by a
        `Remark` in its place. Time and memory are in proportion to the size of the file, whatever is in it.
        """
