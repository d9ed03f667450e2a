"""Files of any kind as documents: those with one JSON object a line give an item for each line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from posixpath import splitext

from attrs import evolve, frozen

from nexus_core.contract.documents import DocumentMark, DocumentRead
from nexus_core.contract.protocols import Documents


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
