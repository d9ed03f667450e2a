"""What pipelines gather of a source that tells its documents one by one: the changed ones are read, in another process.

A store keeps this in its tables; here it is kept in memory.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import TypeAlias

from attrs import define, evolve, field, frozen

from nexus_core import DocumentMark, Documents, Item, NexusError, SourceError
from nexus_core.toolkit import ApartError, ApartStartError, SharedWork, counted, in_thread, stream_apart

_MOST_WARNINGS = 10

Due: TypeAlias = "tuple[DocumentMark, str]"
"""A document that is to be read, and the digest that is known of it."""

logger = logging.getLogger("nexus_sources")


@frozen(kw_only=True, eq=False, repr=False)
class GatheredDocument:
    """What came of a document."""

    items: tuple[Item, ...] = ()
    problem: str = ""
    digest: str = ""
    same: bool = False
    """The digest is the one that was known: what was read before holds."""


@define(eq=False, repr=False)
class GatheredDocuments:
    """The items of all documents of a source: the same tuple while nothing has changed."""

    name: str
    """Of the source, for messages."""
    source: Documents
    refresh_s: float
    """How long a look holds."""
    read_s: float
    """The time that one document may take in another process."""
    clock: Callable[[], float] = time.monotonic
    problems: tuple[str, ...] = ()
    """What the last look found wrong, one text each."""
    _kept: dict[str, tuple[DocumentMark, GatheredDocument]] = field(factory=dict)
    _items: tuple[Item, ...] = ()
    _looked_at: float | None = None
    _work: SharedWork[tuple[Item, ...]] = field(factory=SharedWork)

    async def items(self) -> tuple[Item, ...]:
        """Return the items of all documents, in the order in which the source tells them; raises SourceError."""
        if not self._work.running:
            if self._looked_at is not None and self.clock() - self._looked_at < self.refresh_s:
                return self._outcome()
            self._work.begin(self._look())
        return await self._work.result()

    async def _look(self) -> tuple[Item, ...]:
        began = self.clock()
        marks = await self._work.stoppable(in_thread(lambda: list(self.source.documents())))
        due = [(mark, self._digest(mark)) for mark in marks if self._is_due(mark)]
        fresh = await self._work.stoppable(self._read(due)) if due else {}
        known = self._kept
        self._kept = {mark.name: self._merged(mark, fresh.get(mark.name), known.get(mark.name)) for mark in marks}
        self._note_problems(marks)
        items = tuple(item for _, document in self._kept.values() for item in document.items)
        # A document that was only read again to be sure has given the same items: then the tuple stays, too.
        if [*map(id, items)] != [*map(id, self._items)]:
            self._items = items
        self._looked_at = began
        return self._outcome()

    def _is_due(self, mark: DocumentMark) -> bool:
        if mark.problem or mark.left_out:
            return False
        before = self._kept.get(mark.name)
        return before is None or not mark.stamp or before[0].stamp != mark.stamp

    def _digest(self, mark: DocumentMark) -> str:
        before = self._kept.get(mark.name)
        return before[1].digest if before is not None else ""

    async def _read(self, due: Sequence[Due]) -> dict[str, GatheredDocument]:
        if not _is_portable(self.source):
            found = await in_thread(lambda: list(read_each(self.source, due)))
            return {mark.name: document for (mark, _), document in zip(due, found, strict=True)}
        async with aclosing(self._read_apart(due)) as results:
            return {name: document async for name, document in results}

    async def _read_apart(self, due: Sequence[Due]) -> AsyncGenerator[tuple[str, GatheredDocument], None]:
        """Yield what came of each; one that ends its process or takes too long is to blame, and another reads on."""
        waiting = deque(due)
        while waiting:
            try:
                async with aclosing(stream_apart(self.read_s, read_each, self.source, list(waiting))) as results:
                    async for document in results:
                        yield waiting.popleft()[0].name, document
            except ApartStartError as error:
                raise SourceError(f"{self.name}: no process that reads documents can be started: {error}") from error
            except ApartError as error:
                mark, _ = waiting.popleft()
                yield mark.name, GatheredDocument(problem=f"cannot be read ({error}); left out")

    def _merged(
        self,
        mark: DocumentMark,
        fresh: GatheredDocument | None,
        before: tuple[DocumentMark, GatheredDocument] | None,
    ) -> tuple[DocumentMark, GatheredDocument]:
        """Return what is kept of a document; of one that cannot be read now, nothing."""
        if mark.problem or mark.left_out:
            return mark, GatheredDocument(problem=mark.problem or mark.left_out)
        if fresh is None or (fresh.same and before is not None):
            assert before is not None
            return mark, before[1]
        if before is not None and before[1].items:  # of what has no stamp, unchanged items stay the same objects
            known = {item.id: item for item in before[1].items}
            kept = tuple(known[item.id] if known.get(item.id) == item else item for item in fresh.items)
            fresh = evolve(fresh, items=kept)
        return mark, fresh

    def _note_problems(self, marks: Sequence[DocumentMark]) -> None:
        """Warn of what is newly wrong, of no more than a few."""
        unread = (f"{name}: {document.problem}" for name, (_, document) in self._kept.items() if document.problem)
        known, self.problems = self.problems, (*self.source.problems, *unread)
        new = [problem for problem in self.problems if problem not in known]
        for problem in new[:_MOST_WARNINGS]:
            logger.warning("%s: %s", self.name, problem)
        if new[_MOST_WARNINGS:]:
            logger.warning("%s: and %d more problems, see `problems`", self.name, len(new) - _MOST_WARNINGS)

    def _outcome(self) -> tuple[Item, ...]:
        if not self._items:
            seen = (
                "; ".join(self.problems[:_MOST_WARNINGS])
                or f"{counted(len(self._kept), 'document')}, all of them empty"
            )
            raise SourceError(f"{self.name}: there is no item: {seen}")
        return self._items


def read_each(source: Documents, due: Sequence[Due]) -> Iterator[GatheredDocument]:
    """Yield what comes of each document, whatever goes wrong with it."""
    for mark, known in due:
        try:
            read = source.read(mark, known)
            items = tuple(read.items)
        except NexusError as error:
            yield GatheredDocument(problem=str(error))
        except Exception as error:  # noqa: BLE001 - one document that a library chokes on does not stop the others
            yield GatheredDocument(problem=f"cannot be read ({type(error).__name__}: {error}); left out")
        else:
            problem = read.left_out or "; ".join((*read.problems, *read.remarks))
            yield GatheredDocument(items=items, problem=problem, digest=read.digest, same=read.same)


def _is_portable(source: Documents) -> bool:
    try:
        pickle.dumps(source)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    return True
