"""Reads a document into items that no context keeps, in the processes that read what contexts keep."""

from __future__ import annotations

from contextlib import aclosing
from typing import Required, TypedDict, Unpack

from attrs import evolve, frozen

from nexus_core.contract.protocols import Documents
from nexus_core.contract.values import Item, Value
from nexus_core.store.ingest.parallel_read import read_all
from nexus_core.store.ingest.read_document import DocumentEnd, DocumentReading
from nexus_core.store.ingest.reader_processes import ReaderProcesses
from nexus_core.store.items.passage_codec import give
from nexus_core.store.items.prepare import ItemPreparer, PreparedItem
from nexus_core.toolkit.text.languages import AUTO

ENCODING = "o200k_base"
"""The tokens that figures are made for; a model of another encoding makes its own."""


@frozen(kw_only=True, eq=False, repr=False)
class AsideDocument(Value):
    """What was read of one document."""

    items: tuple[Item, ...] = ()
    """With the figures of their sentences, so that whoever packs them need not work them out."""
    failure: str = ""
    """Why nothing of it was read."""
    remarks: tuple[str, ...] = ()
    """What of it was left out, or read with doubt."""
    is_whole: bool = True
    """Whether no more items of it are there than were to be read."""


class AsideReading(TypedDict, total=False):
    """How a document is read."""

    most: Required[int]
    """Items that are read of it."""
    limit_s: Required[float]
    """The time that its next items may take to come."""
    prefix: str
    """Stands before the ids of its items, which are unlike those of any context then."""
    tags: tuple[str, ...]
    """Of its items, which have no others: those of a document are for contexts."""


async def read_aside(readers: ReaderProcesses, source: Documents, **asked: Unpack[AsideReading]) -> AsideDocument:
    """Return what was read of the one document of a source; whatever goes wrong with it is told in that.

    Whoever gives a document may see all of it: its items have no readers.
    """
    most, prefix, tags = asked["most"], asked.get("prefix", ""), asked.get("tags", ())
    mark = next(iter(source.documents()), None)
    if mark is None or mark.problem or mark.left_out:
        why = "; ".join(source.problems) if mark is None else mark.problem or mark.left_out
        return AsideDocument(failure=why or "is not there")
    reading = DocumentReading(source=source, preparation=ItemPreparer(AUTO, ENCODING))
    items: list[Item] = []
    end = DocumentEnd()
    async with aclosing(read_all(reading, [(mark, "")], readers, processes=1, limit_s=asked["limit_s"])) as parts:
        async for part in parts:
            items += [_restored(each, prefix, tags) for each in part.prepared]
            if part.end is not None:
                end = part.end
            if len(items) > most:
                return AsideDocument(items=tuple(items[:most]), is_whole=False)
    failure = end.failure or end.left_out
    if failure and not items:
        return AsideDocument(failure=failure)
    said = (*filter(None, [failure]), *end.problems, *end.remarks)
    if not items:
        return AsideDocument(failure="; ".join(said) or "holds no text")
    return AsideDocument(items=tuple(items), remarks=said)


def _restored(prepared: PreparedItem, prefix: str, tags: tuple[str, ...]) -> Item:
    item = evolve(prepared.item, id=prefix + prepared.item.id, tags=tags, readers=())
    give(item, ENCODING, prepared.figures, prepared.language)
    return item
