"""From a document to items that are ready to be written: in a thread of this process, or in another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from itertools import chain, islice
from posixpath import splitext

from attrs import evolve, frozen

from nexus_core.contract.documents import DocumentMark, DocumentRead
from nexus_core.contract.errors import NexusError, UsageError, describe_error
from nexus_core.contract.optional_protocols import VersionedDocuments
from nexus_core.contract.protocols import Documents
from nexus_core.contract.run_context import narrow_readers
from nexus_core.contract.values import Item, Value
from nexus_core.store.items.prepare import ItemPreparer, PreparedItem
from nexus_core.toolkit.text.languages import detect_language

_AT_ONCE = 250
"""Items that are handed on together."""
_FIRST, _BEGINNING = 8, 400
"""Items of a document, and characters of each, by which its language is told."""
_VERSION = 3
"""Of what is made of a document: all are read again when this changes."""

Due = tuple[DocumentMark, str]
"""A document that is to be read, and the digest that is known of it."""


@frozen(kw_only=True, eq=False, repr=False)
class DocumentEnd(Value):
    """What is to be said of a document once all its items are there."""

    failure: str = ""
    """Why nothing is to be taken of it."""
    left_out: str = ""
    same: bool = False
    digest: str = ""
    size: int = 0
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    original: bytes | None = None
    reader: str = ""


@frozen(eq=False, repr=False)
class DocumentPart:
    """Some items of a document, in order; the last part has its end."""

    mark: DocumentMark
    prepared: tuple[PreparedItem, ...] = ()
    end: DocumentEnd | None = None


@frozen(kw_only=True, eq=False)
class DocumentReading:
    """How the documents of one source are read for one context."""

    source: Documents
    preparation: ItemPreparer
    tags: tuple[str, ...] = ()
    """Of all items, beside their own."""
    readers: tuple[str, ...] = ()
    """The groups that alone may see its items, which the readers of an item's own narrow."""
    keeps_originals: bool = False

    @cached_property
    def variant(self) -> str:
        """Tells whether the same document would give the same items as before."""
        kind = type(self.source)
        own = self.source.variant if isinstance(self.source, VersionedDocuments) else ""
        parts = (str(_VERSION), f"{kind.__module__}.{kind.__qualname__}", str(self.keeps_originals), *self.tags)
        parts += (f"\0{own}",) if own else ()
        parts += ("\0\0readers", *self.readers) if self.readers else ()
        return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]

    def parts(self, mark: DocumentMark, known: str = "") -> Iterator[DocumentPart]:
        """Yield a document in parts; whatever goes wrong with it is said in its end."""
        try:
            yield from self._parts(mark, known)
        except NexusError as error:
            yield DocumentPart(mark, end=DocumentEnd(failure=str(error)))
        except Exception as error:  # noqa: BLE001 - one document that a source chokes on does not stop the others
            yield DocumentPart(mark, end=DocumentEnd(failure=f"cannot be read ({describe_error(error)})"))

    def _parts(self, mark: DocumentMark, known: str) -> Iterator[DocumentPart]:
        read = self.source.read(mark, known)
        items = iter(read.items)
        refused: list[str] = []
        language = ""
        while len(some := list(islice(items, _AT_ONCE))) == _AT_ONCE:
            language = language or _language_of(some)
            yield DocumentPart(mark, self._prepared(some, refused, language))
        last = self._prepared(some, refused, language or _language_of(some))
        end = DocumentEnd(
            left_out=read.left_out,
            same=read.same,
            digest=read.digest,
            size=read.size,
            problems=(*read.problems, *refused),
            remarks=tuple(read.remarks),
            reader=read.reader,
            original=read.original if self.keeps_originals and not read.same else None,
        )
        yield DocumentPart(mark, last, end)

    def _prepared(self, items: Sequence[Item], refused: list[str], language: str) -> tuple[PreparedItem, ...]:
        """Return the items that can be kept, and say of the others why they cannot."""
        prepared = []
        for item in items:
            try:
                prepared.append(self.preparation(self._tagged(item), language))
            except UsageError as error:
                refused.append(str(error))
        for each in prepared:
            each.item.features.clear()  # what is kept of it is in the figures
        return tuple(prepared)

    def _tagged(self, item: Item) -> Item:
        if not self.tags and not self.readers:
            return item
        tags = tuple(dict.fromkeys((*item.tags, *self.tags)))
        return evolve(item, tags=tags, readers=narrow_readers(item.readers, self.readers))


def _language_of(items: Sequence[Item]) -> str:
    """Return the language of a document, by the beginnings of its first items: some say too little alone."""
    return detect_language("\n".join([item.text[:_BEGINNING] for item in items[:_FIRST]]))


@frozen(eq=False, repr=False)
class MixedFiles:
    """Files, of which those with one JSON object a line yield an item for each line; it can be sent to processes."""

    files: Documents
    jsonl: type
    """The component that reads those."""
    name: str = ""
    """Of the one document, where it is to go by another name than its own."""
    variant: str = ""
    """What else decides what is made of a file, such as an encoding: read in another way, all are read again."""

    @property
    def problems(self) -> Sequence[str]:
        """What was found wrong with looking for files."""
        return self.files.problems

    def documents(self) -> Iterable[DocumentMark]:
        """Yield the files, unread."""
        for mark in self.files.documents():
            yield evolve(mark, name=self.name) if self.name else mark

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of a file."""
        if splitext(mark.place)[1].lower() not in (".jsonl", ".ndjson"):
            return self.files.read(mark, known)
        lines: Documents = self.jsonl(path=mark.place)
        read = lines.read(mark, known)
        items = iter(read.items)
        first = list(islice(items, 1))
        if not (first or read.same or self.name):
            return self.files.read(mark, known)  # lines of something else, such as a log: text like any other
        return evolve(read, items=chain(first, items))
