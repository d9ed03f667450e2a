"""Writes documents with their items, in the thread that writes: each is there as a whole, or as it was before."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from attrs import define, evolve, field

from nexus_core.store.database.connection import transaction
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.ingest.links import LinkResolver
from nexus_core.store.ingest.read_document import DocumentEnd
from nexus_core.store.ingest.successors import note_moved, successors, was_read_otherwise
from nexus_core.store.items import rows
from nexus_core.store.items.fronts import drop_unused
from nexus_core.store.items.grants import mark_document
from nexus_core.store.items.prepare import ItemPreparer, PreparedItem
from nexus_core.store.records import Added, Context, StoredDocument
from nexus_core.store.search.index_updates import IndexUpdate, IndexUpdater
from nexus_core.store.search.indexes import IndexDamagedError
from nexus_core.store.vectors.vector_model import known_model, vector_problem

INDEXED_AT_ONCE = 20_000
"""After so many items the index is committed, and others find them."""
_AT_ONCE = 500

_log = logging.getLogger(__name__)


@define(eq=False, repr=False)
class DocumentBatch:
    """A document on its way into the store: some of its items, or the last of them with its end."""

    document: StoredDocument
    """As it is to stand there in the end."""
    prepared: Sequence[PreparedItem]
    end: DocumentEnd | None = None
    """None for a piece of one that is too large to be written at once."""
    before: Collection[str] = ()
    """The ids of the pieces before."""
    skips: bool = False
    """It was not read, and is not counted as written."""


@define(eq=False, repr=False)
class WriteOutcome:
    """What became of the documents that were written."""

    added: Added = Added()
    written: list[str] = field(factory=list)
    refused: list[tuple[str, str]] = field(factory=list)
    """Documents that were left as they are, with the reason."""
    remarks: list[tuple[str, str]] = field(factory=list)
    """What is to be said of documents that were written."""


class DocumentWriter:
    """Writes the documents of one ingestion and its index."""

    def __init__(self, indexing: IndexUpdater, context: Context, present: Collection[str]) -> None:
        """Take the names of all documents that will be there when it is done."""
        self._indexing = indexing
        self._connection = indexing.connection
        self._context = context
        self._present = present
        self._model = known_model(self._connection, context)
        self._preparation = ItemPreparer(context.language, context.encoding)
        self._linking = LinkResolver(self._connection, context, present)
        self._turn = ExitStack()
        self._ours = self._turn.enter_context(indexing.turn(context, 0.0))
        self._update: IndexUpdate | None = None

    def write(self, drafts: Sequence[DocumentBatch], restamped: Sequence[StoredDocument] = ()) -> WriteOutcome:
        """Write documents, and the new stamps of those whose content is as it was, all in one transaction."""
        outcome = WriteOutcome()
        fresh = {_escaped(draft.document.name): [each.item.id for each in draft.prepared] for draft in drafts}
        written: list[tuple[int, PreparedItem]] = []
        with self._transaction():
            owners = self._owners(drafts)
            for draft in drafts:
                self._write_one(draft, fresh, owners, outcome, written)
            for document in restamped:
                rows.write_document(self._connection, self._context, document)
        self._index(written)
        return outcome

    def finish(self) -> None:
        """Let links lead to documents that came after them, now or in an addition before."""
        with self._transaction():
            late = self._linking.late()
        for start in range(0, len(late), _AT_ONCE):
            written: list[tuple[int, PreparedItem]] = []
            with self._transaction():
                for number, items in self._linking.by_document(late[start : start + _AT_ONCE]).items():
                    prepared = self._linking.resolved(self._preparation.all(items), {})
                    written += rows.write_items(self._connection, self._context, prepared, number)[1]
            self._index(written)

    def remove(self, names: Iterable[str]) -> int:
        """Remove documents with their items; returns how many items that were."""
        with self._transaction() as connection:
            return sum(rows.remove_document(connection, self._context, name) for name in names)

    def _transaction(self) -> AbstractContextManager[SqlConnection]:
        return transaction(self._connection, self._indexing.folder.database)

    def _write_one(
        self,
        draft: DocumentBatch,
        fresh: Mapping[str, Sequence[str]],
        owners: dict[str, str],
        outcome: WriteOutcome,
        written: list[tuple[int, PreparedItem]],
    ) -> None:
        name, ids = draft.document.name, [each.item.id for each in draft.prepared]
        taken = next((id for id in ids if owners.get(id, name) != name and owners[id] in self._present), None)
        if taken is not None:
            outcome.refused.append((name, f"has the id {taken!r}, which is in {owners[taken]} already"))
            return
        problem = next(
            filter(None, (vector_problem(self._model, self._context, e.vectors) for e in draft.prepared)), ""
        )
        if problem:
            outcome.refused.append((name, problem))
            return
        owners.update(dict.fromkeys(ids, name))
        is_read_anew = was_read_otherwise(self._connection, self._context, name, draft.document.reader)
        number = rows.write_document(self._connection, self._context, self._row(draft))
        before = rows.keys_of_document(self._connection, number) if draft.end is not None else {}
        prepared = self._in_their_places(number, draft.prepared) if is_read_anew and before else draft.prepared
        added, new = rows.write_items(self._connection, self._context, self._linking.resolved(prepared, fresh), number)
        gone = [key for id, key in before.items() if id not in {*ids} and id not in draft.before]
        removed = rows.remove_keys(self._connection, self._context, gone)
        mark_document(self._connection, self._context, number)
        if before:
            drop_unused(self._connection, number)
        outcome.added += evolve(added, removed=removed, remarks=())
        outcome.remarks += [(name, remark) for remark in added.remarks]
        written += new
        if draft.end is not None and not draft.skips:
            outcome.written.append(name)

    def _in_their_places(self, number: int, prepared: Sequence[PreparedItem]) -> Sequence[PreparedItem]:
        """Return what another reader has made of a document, with what belonged to the items before."""
        found = successors(self._connection, number, prepared)
        note_moved(self._connection, self._context, found.moved)
        self._linking.moved.update(found.moved)
        return found.prepared

    def _row(self, draft: DocumentBatch) -> StoredDocument:
        if draft.end is None:  # whoever finds it so reads it again
            return evolve(draft.document, stamp="", digest="")
        return draft.document

    def _owners(self, drafts: Sequence[DocumentBatch]) -> dict[str, str]:
        """Return for each item that is to be written, and belongs to a document, which one that is."""
        ids = [each.item.id for draft in drafts for each in draft.prepared]
        return dict(
            self._connection.execute(
                "SELECT items.id, documents.name FROM items JOIN documents ON documents.id = items.document_id"
                " WHERE items.context_id = ? AND items.id IN (SELECT value FROM json_each(?) AS texts)",
                (self._context.id, json.dumps(ids)),
            ).fetchall()
        )

    # The index

    def _index(self, written: list[tuple[int, PreparedItem]]) -> None:
        if not (self._ours and written):
            return
        try:
            if self._update is None or not self._update.is_open:
                self._update = IndexUpdate(self._indexing, self._context)
            self._update.add(written)
            self._update.publish(INDEXED_AT_ONCE)
        except IndexDamagedError as error:  # it is built anew at the end
            _log.warning("the index of %r is built anew: %s", self._context.name, error)
            self._update = None

    def close(self, *, has_failed: bool = False) -> None:
        """Bring the index up to what is written, however the ingestion has ended; after a failure as far as it goes."""
        update, self._update = self._update, None
        try:
            self._indexing.complete(self._context, update, ours=self._ours, has_failed=has_failed)
        finally:
            self._turn.close()


def _escaped(name: str) -> str:
    """Return a document's name as it stands in links."""
    return name.replace("#", "%23")
