"""Brings the documents of a source into a context: reads what has changed and nothing else, and goes on after anything.

What is acknowledged stays; a document is in the context as it is now or as it was before, with all its items. One with
more than some thousand items is written in pieces, each item being whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from time import monotonic
from typing import ParamSpec, TypedDict, TypeVar, Unpack

from attrs import define, evolve, field, frozen

from nexus_core.contract.documents import DocumentMark
from nexus_core.contract.errors import UsageError
from nexus_core.contract.protocols import Documents
from nexus_core.contract.values import Value
from nexus_core.store import contexts
from nexus_core.store.ingest.document_writer import DocumentBatch, DocumentWriter, WriteOutcome
from nexus_core.store.ingest.parallel_read import LIMIT_S, read_all
from nexus_core.store.ingest.read_document import DocumentEnd, DocumentPart, DocumentReading, Due
from nexus_core.store.ingest.reader_processes import ReaderProcesses
from nexus_core.store.items.documents import documents_of
from nexus_core.store.items.prepare import ItemPreparer, PreparedItem
from nexus_core.store.records import (
    LONGEST_NAME,
    LONGEST_REASON,
    Added,
    Context,
    StoredDocument,
    checked_name,
    checked_readers,
)
from nexus_core.store.worker_threads import WorkerThreads

_P = ParamSpec("_P")
_T = TypeVar("_T")

BATCH_ITEMS = 2_000
BATCH_DOCUMENTS = 500
BATCH_S = 1.0
"""What is read is written after so many items or documents, or so much time: each batch is one transaction."""
MOST_SAID = 50
"""Problems, and remarks, that are kept of a document; what is reported has them all."""
LARGE = 5_000
"""Items from which a document is written in pieces."""

Seen = Callable[[int, int, str], None]


@frozen(kw_only=True, eq=False, repr=False)
class Ingested(Value):
    """What became of the documents of a source."""

    found: int = 0
    unchanged: int = 0
    written: int = 0
    """Those that were read, and are in the context now as they are."""
    pruned: int = 0
    items: Added = Added()
    failed: tuple[tuple[str, str], ...] = ()
    """Documents, or parts of them, that are not in the context as they should be, with the reason."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Documents that are rightly left out, such as images, with the reason."""
    remarks: tuple[tuple[str, str], ...] = ()
    """What was read with doubt."""
    vanished: tuple[str, ...] = ()
    """Documents of the same origin that are no longer there, and were not pruned."""


class Ingester(TypedDict, total=False):
    """What may be asked of an ingestion."""

    within: str
    """Only documents whose names begin so are looked for; others of the same origin have not vanished."""
    tags: Sequence[str]
    """Of all items, beside their own."""
    within_readers: Sequence[str]
    """The groups that alone may see it; the readers that an item has of its own narrow them."""
    prune: bool
    """Remove the documents of this origin that are no longer there."""
    keep_originals: bool
    """Keep the bytes of each document, too."""
    seen: Seen | None
    """Told of progress: how many documents are done, of how many, and the name of the last one."""
    processes: int
    """How many read at a time; by default as many as there are processors, where there is much to read."""
    limit_s: float
    """The time that one document may take."""
    is_meant: bool
    """Each document was named by itself: where it is left out it has failed, and what was read of it before stays."""


async def ingest(
    threads: WorkerThreads,
    readers: ReaderProcesses,
    name: str,
    source: Documents,
    *,
    origin: str,
    **asked: Unpack[Ingester],
) -> Ingested:
    """Bring the documents of a source into a context; see `Store.ingest`."""
    tags, prune = tuple(dict.fromkeys(asked.get("tags", ()))), asked.get("prune", False)
    for tag in tags:
        checked_name(tag, "a tag")
    granted = checked_readers(tuple(asked.get("within_readers", ())), "what is added")
    context = await threads.read(contexts.find, name)
    reading = DocumentReading(
        source=source,
        preparation=ItemPreparer(context.language, context.encoding),
        tags=tags,
        readers=granted,
        keeps_originals=asked.get("keep_originals", False),
    )
    known = {each.name: each for each in await threads.read(documents_of, context)}
    marks = {mark.name: mark for mark in map(_keepable, await asyncio.to_thread(lambda: list(source.documents())))}
    for name in [mark.name for mark in marks.values() if mark.leads_nowhere]:
        if name in known and not known[name].skipped:
            del marks[name]
    work = _Work(
        threads=threads,
        readers=readers,
        context=context,
        reading=reading,
        origin=origin,
        known=known,
        marks=marks,
        asked=asked,
    )
    mine = [each for each in known.values() if each.origin == origin and each.name.startswith(asked.get("within", ""))]
    gone = [each for each in mine if each.name not in marks]
    vanished = [each.name for each in gone if not each.skipped]
    # What cannot be listed is not gone, and where nothing is left at all, a disk is likelier to be missing.
    sure = not source.problems and any(not mark.left_out for mark in marks.values())
    pruned = vanished if prune and sure else []
    # Of what was skipped there is nothing to lose.
    await work.run(pruned, [each.name for each in gone if each.skipped] if sure else ())
    return work.report([] if pruned else vanished)


def _keepable(mark: DocumentMark) -> DocumentMark:
    """Return the document, or one with its name spelt out that cannot be read, where the name cannot be kept."""
    try:
        checked_name(mark.name, "its name")
    except UsageError as error:
        return DocumentMark(name=ascii(mark.name)[1:-1][:LONGEST_NAME] or "''", problem=str(error))
    return mark


@define(kw_only=True, eq=False, repr=False)
class _Work:
    """One ingestion under way."""

    threads: WorkerThreads
    readers: ReaderProcesses
    context: Context
    reading: DocumentReading
    origin: str
    known: dict[str, StoredDocument]
    marks: dict[str, DocumentMark]
    asked: Ingester
    total: Added = Added()
    written: int = 0
    unchanged: int = 0
    pruned: int = 0
    failed: list[tuple[str, str]] = field(factory=list)
    left_out: list[tuple[str, str]] = field(factory=list)
    remarks: list[tuple[str, str]] = field(factory=list)
    _unwritten: set[str] = field(factory=set)
    """Documents that are done and not in the context."""
    _drafts: list[DocumentBatch] = field(factory=list)
    _restamped: list[StoredDocument] = field(factory=list)
    _pieces: dict[str, list[PreparedItem]] = field(factory=dict)
    _before: dict[str, set[str]] = field(factory=dict)
    _items: int = 0
    """Of the drafts."""
    _written_at: float = field(factory=monotonic)
    _writing: asyncio.Task[None] | None = None
    """The batch before, while the next one is read."""

    async def run(self, vanished: Sequence[str], forgotten: Sequence[str] = ()) -> None:
        """Read what is due, write it, and remove what has vanished; of what was skipped nothing is told."""
        due = self._due()
        self.unchanged = len(self.marks) - len(due) - len(self.failed) - len(self.left_out)
        self.failed += [("", problem) for problem in self.reading.source.problems]
        if not (due or vanished or forgotten or self._drafts or self._restamped):
            return
        present = {*self.marks, *self.known} - {*vanished}
        writer = await self.threads.write_indexed(DocumentWriter, self.context, present)
        limit_s, failed = self.asked.get("limit_s", LIMIT_S), True
        try:
            processes = self.asked.get("processes")
            parts = read_all(self.reading, due, self.readers, processes=processes, limit_s=limit_s)
            async with aclosing(parts):
                async for part in parts:
                    await self._take(part, writer)
            await self._flush(writer)
            await self._until_written()
            if self._drafts or self._restamped:  # what the writer has refused
                await self._flush(writer)
                await self._until_written()
            gone = [*vanished, *forgotten]
            removed = await self._in_writer(writer.remove, gone) if gone else 0
            self.pruned, self.total = len(vanished), self.total + Added(removed=removed)
            if self.written:
                await self._in_writer(writer.finish)
            failed = False
        finally:
            if self._writing is not None:
                self._writing.cancel()
                await asyncio.gather(self._writing, return_exceptions=True)
            await asyncio.shield(self._in_writer(writer.close, has_failed=failed))

    async def _in_writer(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self.threads.write_indexed(lambda _: work(*args, **kwargs))

    def report(self, vanished: Iterable[str]) -> Ingested:
        """Return what became of it all."""
        return Ingested(
            found=len(self.marks),
            unchanged=self.unchanged,
            written=self.written,
            pruned=self.pruned,
            items=self.total,
            failed=tuple(sorted(self.failed)),
            left_out=tuple(sorted(self.left_out)),
            remarks=tuple(sorted(self.remarks)),
            vanished=tuple(vanished),
        )

    def _due(self) -> list[Due]:
        """Return the documents to be read, with the digest that is known of each."""
        due = []
        for mark in self.marks.values():
            if mark.problem:
                self._fail(mark, mark.problem)
                continue
            before = self.known.get(mark.name)
            if mark.left_out:
                self._leave_out(mark, before)
                continue
            same_way = before is not None and before.stamp.startswith(f"{self.reading.variant}:")
            if before is None or not same_way or not mark.stamp or before.stamp != self._stamp(mark):
                due.append((mark, before.digest if before is not None and same_way else ""))
        return due

    def _stamp(self, mark: DocumentMark) -> str:
        return f"{self.reading.variant}:{mark.stamp}"

    async def _take(self, part: DocumentPart, writer: DocumentWriter) -> None:
        """Take up a part: a document goes on to be written when its last part is there."""
        name = part.mark.name
        pieces = self._pieces.setdefault(name, [])
        pieces += part.prepared
        if part.end is not None:
            await self._end(part.mark, self._pieces.pop(name), part.end)
        elif len(pieces) >= LARGE:
            self._draft(DocumentBatch(self._document(part.mark, DocumentEnd()), self._pieces.pop(name)))
            self._before.setdefault(name, set()).update(each.item.id for each in self._drafts[-1].prepared)
        waiting = len(self._drafts) + len(self._restamped)
        if self._items >= BATCH_ITEMS or waiting >= BATCH_DOCUMENTS or monotonic() - self._written_at > BATCH_S:
            await self._flush(writer, name)

    async def _end(self, mark: DocumentMark, prepared: Sequence[PreparedItem], end: DocumentEnd) -> None:
        name = mark.name
        before = self.known.get(name)
        if why := end.failure or (end.left_out if self._keeps(before) else ""):
            self._fail(mark, why)
            self._unwritten.add(name)
            return
        if end.same and before is not None:
            # What was wrong with it was that it could not be read: else its digest would not be known.
            self._restamped.append(evolve(before, stamp=self._stamp(mark), origin=self.origin, problems=()))
            self.unchanged += 1
            return
        self.failed += [(name, problem) for problem in end.problems]
        self.left_out += [(name, end.left_out)] if end.left_out else []
        self.remarks += [(name, remark) for remark in end.remarks]
        document = evolve(
            self._document(mark, end),
            skipped=_reason(end.left_out), problems=_said(end.problems), remarks=_said(end.remarks),
        )  # fmt: skip
        if end.original is not None:
            document = evolve(document, original=await self.threads.keep_original(end.original))
        # Once more next time: somebody may have repaired it, or installed what reads it.
        if end.problems or (end.left_out and not end.digest):
            document = evolve(document, stamp="", digest="")
        self._unwritten |= {name} if end.left_out else set()
        self._draft(DocumentBatch(document, prepared, end, self._before.pop(name, set()), skips=bool(end.left_out)))

    def _fail(self, mark: DocumentMark, why: str) -> None:
        """Note a document that cannot be read; one that was read before stays as it is, and it is said of it."""
        self.failed.append((mark.name, why))
        self._keep_failure(mark, why)

    def _keep_failure(self, mark: DocumentMark, why: str) -> None:
        before = self.known.get(mark.name)
        if before is None or before.skipped:
            self._skip(mark, before, why, stamp="")  # once more next time: somebody may have repaired it
        elif before.problems != (said := _said([f"could not be read again, and is as it was: {why}"])):
            # Read again next time, and known by its digest unless some of what is new was written already.
            is_mixed = mark.name in self._before
            stamp = "" if is_mixed else f"{before.stamp.partition(':')[0]}:"
            digest = "" if is_mixed else before.digest
            self._restamped.append(evolve(before, stamp=stamp, digest=digest, problems=said))

    def _keeps(self, before: StoredDocument | None) -> bool:
        """Tell whether a document stays as it is though it is left out now."""
        return self.asked.get("is_meant", False) and before is not None and not before.skipped

    def _leave_out(self, mark: DocumentMark, before: StoredDocument | None) -> None:
        if self._keeps(before):
            self._fail(mark, mark.left_out)
            return
        self.left_out.append((mark.name, mark.left_out))
        self._skip(mark, before, mark.left_out, stamp=self._stamp(mark))

    def _skip(self, mark: DocumentMark, before: StoredDocument | None, why: str, *, stamp: str) -> None:
        """Let a document be written without items, with the reason, where it does not stand there so."""
        document = evolve(self._document(mark, DocumentEnd()), stamp=stamp, skipped=_reason(why))
        if before is None or (before.skipped, before.origin) != (document.skipped, document.origin):
            self._draft(DocumentBatch(document, (), DocumentEnd(), skips=True))

    def _draft(self, draft: DocumentBatch) -> None:
        self._drafts.append(draft)
        self._items += len(draft.prepared)

    def _document(self, mark: DocumentMark, end: DocumentEnd) -> StoredDocument:
        return StoredDocument(
            name=mark.name,
            origin=self.origin,
            stamp=self._stamp(mark),
            digest=end.digest,
            size=end.size or mark.size,
            reader=end.reader[:LONGEST_NAME],
            readers=self.reading.readers,
        )

    async def _flush(self, writer: DocumentWriter, name: str = "") -> None:
        """Let be written what was read; only the batch before is waited for."""
        await self._until_written()
        drafts, self._drafts, self._items = self._drafts, [], 0
        restamped, self._restamped = self._restamped, []
        self._writing = asyncio.create_task(self._write(writer, drafts, restamped, name))
        self._written_at = monotonic()

    async def _until_written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _write(
        self, writer: DocumentWriter, drafts: Sequence[DocumentBatch], restamped: Sequence[StoredDocument], name: str
    ) -> None:
        if drafts or restamped:
            self._note(await self._in_writer(writer.write, drafts, restamped))
        seen = self.asked.get("seen")
        if seen is not None:
            seen(self.unchanged + self.written + len(self._unwritten), len(self.marks), name)

    def _note(self, outcome: WriteOutcome) -> None:
        self.total += outcome.added
        self.written += len(outcome.written)
        self.failed += outcome.refused
        for name, why in outcome.refused:
            self._keep_failure(self.marks[name], why)
        self.remarks += [each for each in outcome.remarks if each not in self.remarks]
        self._unwritten.update(name for name, _ in outcome.refused)


def _said(texts: Sequence[str]) -> tuple[str, ...]:
    """Return what is said of a document as it can be kept: the first, and how many more there were."""
    more = [f"and {len(texts) - MOST_SAID:,} more"] if len(texts) > MOST_SAID else []
    return tuple(_reason(text) for text in (*texts[:MOST_SAID], *more))


def _reason(why: str) -> str:
    """Return a reason as it can be kept, whatever a reader has said."""
    return why[:LONGEST_REASON].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
