"""Contexts as JSON Lines, to take them elsewhere, and the whole store as a copy. Everything here blocks.

The first line tells of the context, then comes a line for each document, then one for each item. Vectors are in it
where they are asked for: else the first line names the model that made them, for whoever wants them again. Memory is
bounded by the largest item; what changes during an export may be in it as it was or as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.features import vector_key
from nexus_core.contract.values import Item
from nexus_core.store import contexts
from nexus_core.store.database.connection import snapshot, translated
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items import rows
from nexus_core.store.items.fronts import METADATA, hand_over
from nexus_core.store.items.grants import mark_document
from nexus_core.store.items.prepare import ItemPreparer, PreparedItem
from nexus_core.store.items.vectors import vectors_of
from nexus_core.store.records import (
    LONGEST_NAME,
    LONGEST_REASON,
    Added,
    Context,
    Imported,
    StoredDocument,
    check_text,
    checked_item,
    checked_name,
    checked_readers,
)
from nexus_core.store.search.index_updates import IndexUpdater
from nexus_core.store.vectors.vector_model import known_model, vector_problem
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.atomic_file import whole_file
from nexus_core.toolkit.embedding.item_vectors import encode_item_vectors, parse_item_vectors

FORMAT, WITH_VECTORS = 1, 2
"""The second is that of exports with vectors, which older versions cannot read."""
_HEAD = b'{"contextnexus":'
"""How an export begins."""
LONGEST_LINE = 2**29
"""Bytes of a line; the largest item that a store takes is shorter in any spelling."""
TOLD = 1000
"""Lines that are told of, of those that were left out."""
_PAGE = 500
_PAGE_CHARACTERS = 4 * 2**20
_ITEM = (
    f"SELECT key, id, title, text, kind, source, {METADATA},"
    " (SELECT json_group_array(tag) FROM tags WHERE item_key = key),"
    " (SELECT name FROM documents WHERE documents.id = document_id),"
    " (SELECT readers FROM grants WHERE grants.id = grant_id)"
    " FROM items WHERE context_id = ? AND key > ? ORDER BY key LIMIT ?"
)
_DOCUMENT = (
    "SELECT name, origin, stamp, digest, size, skipped, reader, problems, remarks,"
    " (SELECT readers FROM grants WHERE grants.id = grant_id) FROM documents"
    " WHERE context_id = ? AND name > ? ORDER BY name LIMIT ?"
)


# Out


def export(folder: StorePaths, name: str, target: str | os.PathLike[str] | BinaryIO, *, vectors: bool = False) -> int:
    """Write a context to a file, or to what is open for writing bytes; returns how many items it were.

    A file appears as a whole at the end, for its owner alone; what an export that was killed has left of it is deleted.
    """
    connection = folder.connect(writes=False)
    try:
        with translated(folder.database):
            context = contexts.find(connection, name)
            if isinstance(target, str | os.PathLike):
                with _written(Path(target)) as file:
                    return _write(connection, folder, context, file, vectors=vectors)
            return _write(connection, folder, context, target, vectors=vectors)
    finally:
        connection.close()


@contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    """Give the file of an export; raises UsageError where it cannot be made, for which no store is to blame."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(whole_file(target, begins=_HEAD))
        except OSError as error:
            raise UsageError(f"cannot write {target}: {error.strerror or error}") from error
        yield file


def _write(connection: SqlConnection, folder: StorePaths, context: Context, file: BinaryIO, *, vectors: bool) -> int:
    head: dict[str, Any] = {
        "contextnexus": WITH_VECTORS if vectors else FORMAT, "name": context.name, "description": context.description,
        "language": context.language, "encoding": context.encoding,
    }  # fmt: skip
    if context.readers:
        head["readers"] = [*context.readers]
    if context.embedder:
        head["embedder"] = context.embedder
    file.write(_line(head))
    last = ""
    while some := _next_rows(connection, folder, _DOCUMENT, (context.id, last)):
        for name, origin, stamp, digest, size, skipped, reader, problems, remarks, readers in some:
            told = {"name": name, "origin": origin, "stamp": stamp, "digest": digest, "size": size}
            if skipped:
                told["skipped"] = skipped
            if reader:
                told["reader"] = reader
            for key, said in (("problems", problems), ("remarks", remarks), ("readers", readers or "[]")):
                if said != "[]":
                    told[key] = json.loads(said)
            file.write(_line({"document": told}))
        last = some[-1][0]
    after = count = 0
    while some := _next_rows(connection, folder, _ITEM, (context.id, after)):
        own = _vectors(connection, folder, context, [row[0] for row in some]) if vectors else {}
        file.writelines(_line(_item_json(row) | own.get(row[0], {})) for row in some)
        after, count = some[-1][0], count + len(some)
    return count


def _vectors(
    connection: SqlConnection, folder: StorePaths, context: Context, keys: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Return what is told of the vectors of items: those of the context's model by the name that it knows it by."""
    with snapshot(connection, folder.database):
        known, found = known_model(connection, context), vectors_of(connection, keys)
    own: dict[int, dict[str, bytes]] = {}
    for (key, model), data in found.items():
        is_own = known is not None and model == known.model.name
        own.setdefault(key, {})[context.embedder if is_own else model] = data
    return {key: {"vectors": encode_item_vectors(each)} for key, each in own.items()}


def _next_rows(
    connection: SqlConnection, folder: StorePaths, statement: str, place: tuple[object, ...]
) -> list[tuple[Any, ...]]:
    """Return the next rows, as many as are to be in memory at a time; nobody waits for the file they go to."""
    found, characters = [], 0
    with snapshot(connection, folder.database):
        for row in connection.execute(statement, (*place, _PAGE)):
            found.append(row)
            characters += sum(len(value) for value in row if isinstance(value, str))
            if characters > _PAGE_CHARACTERS:
                break
    return found


def _item_json(row: tuple[Any, ...]) -> dict[str, Any]:
    _, name, title, text, kind, source, metadata, tags, document, readers = row
    told = {"id": name, "title": title, "text": text, "kind": kind, "tags": sorted(json.loads(tags)), "source": source}
    told["metadata"] = json.loads(metadata)
    if document is not None:
        told["document"] = document
    if readers:
        told["readers"] = json.loads(readers)
    return told


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


# In


@frozen
class ImportLine:
    """A line that can be imported: an item, or a document."""

    number: int
    item: Item | None = None
    document: StoredDocument | None = None
    part_of: str | None = None
    """The name of the item's document."""


class ImportReader:
    """Reads an export line by line, and notes what is wrong with it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self.problems: list[str] = []
        self.left_out = 0
        self.vector_problem: Callable[[Mapping[str, bytes]], str] = lambda vectors: ""
        """Tells why vectors of an item can be none of the context that they are for."""

    def header(self) -> dict[str, Any]:
        """Return the first line; raises UsageError where it is none of an export."""
        try:
            told = self._read(next(self._raw(), b""))
        except UsageError:
            told = None
        version = told.get("contextnexus") if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(version, int):
            raise UsageError("line 1 is not the head of an export: add other files with `nexus context add NAME PATH`")
        if version > WITH_VECTORS:
            raise UsageError(f"the export was written by a newer version (format {version}): upgrade contextnexus")
        for key in ("name", "description", "language", "encoding"):
            if not isinstance(told.get(key), str):
                raise UsageError(f"line 1 tells no {key}: export the context again")
        check_text(told.get("embedder", ""), "line 1: its embedder", LONGEST_NAME)
        checked_readers(told.get("readers", []), "line 1")  # whoever takes it in may not let others see it
        return told

    def __iter__(self) -> Iterator[ImportLine]:
        for raw in self._raw():
            if not raw.strip():
                continue
            try:
                yield self._parsed(self._read(raw))
            except UsageError as error:
                self.leave_out(self._number, str(error))

    def leave_out(self, number: int, why: str) -> None:
        """Note that a line is not imported."""
        self.left_out += 1
        if len(self.problems) < TOLD:
            self.problems.append(f"line {number}: {why}")

    def _raw(self) -> Iterator[bytes]:
        while raw := self._file.readline(LONGEST_LINE):
            self._number += 1
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                while (rest := self._file.readline(2**20)) and not rest.endswith(b"\n"):
                    continue
                self.leave_out(self._number, f"it is longer than {LONGEST_LINE:,} bytes: divide the item")
                continue
            yield raw

    def _read(self, raw: bytes) -> Any:
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"it is no JSON ({str(error)[:200]}): it may have been cut; export again") from error

    def _parsed(self, told: Any) -> ImportLine:
        if not isinstance(told, dict):
            raise UsageError("it is no map: write a JSON object for each item")
        if isinstance(told.get("document"), dict) and "id" not in told:
            return ImportLine(self._number, document=_document(told["document"]))
        unknown = sorted(told.keys() - _FIELDS)
        if unknown:
            raise UsageError(f"an item has no {ascii(unknown[0])[:80]}: put it into `metadata`")
        part_of = told.pop("document", None)
        tags, readers = told.pop("tags", []), checked_readers(told.pop("readers", []), "the item")
        if "id" not in told or "text" not in told:
            raise UsageError("an item needs `id` and `text`")
        if not isinstance(tags, list):
            raise UsageError("`tags` is no list")
        metadata = told.pop("metadata", {})
        if not isinstance(metadata, dict):
            raise UsageError("`metadata` is no map")
        if part_of is not None:
            checked_name(part_of, "the name of its document")
        vectors = self._vectors(told.pop("vectors", {}))
        item = Item(**told, tags=tuple(tags), metadata=metadata, readers=readers)
        checked_item(item)
        for model, data in vectors.items():
            item.features.put(vector_key(checked_name(model, "the model of its vectors")), data)
        return ImportLine(self._number, item=item, part_of=part_of)

    def _vectors(self, told: Any) -> dict[str, bytes]:
        try:
            vectors = parse_item_vectors(told)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if problem := self.vector_problem(vectors):
            raise UsageError(problem)
        return vectors


_FIELDS = frozenset({"id", "title", "text", "kind", "tags", "source", "metadata", "document", "readers", "vectors"})


def _document(told: dict[str, Any]) -> StoredDocument:
    known = {key: told.get(key, "") for key in ("name", "origin", "stamp", "digest", "reader")}
    size = told.get("size", 0)
    checked_name(known["name"], "the name of a document")
    for key, value in known.items():
        if value:
            checked_name(value, f"the {key} of a document")
    if not isinstance(size, int) or not 0 <= size < 2**63:
        raise UsageError("the size of a document is no number of bytes")
    skipped = told.get("skipped", "")
    check_text(skipped, "why a document was skipped", LONGEST_REASON)
    readers = checked_readers(told.get("readers", []), "the document")
    problems, remarks = (_said(told.get(key, []), key) for key in ("problems", "remarks"))
    return StoredDocument(**known, size=size, skipped=skipped, readers=readers, problems=problems, remarks=remarks)


def _said(told: object, key: str) -> tuple[str, ...]:
    if not isinstance(told, list):
        raise UsageError(f"the {key} of a document are no list")
    for each in told:
        check_text(each, f"the {key} of a document", LONGEST_REASON)
    return tuple(told)


def write_lines(
    connection: SqlConnection,
    context: Context,
    some: Sequence[ImportLine],
    prepare: Callable[[Item], PreparedItem],
) -> Added:
    """Write what lines tell; to be called in a transaction."""
    for line in some:
        if line.document is not None:
            _write_document(connection, context, line.document)
    items = {line.item.id: line for line in some if line.item is not None}
    added = Added()
    for name, lines in groupby(items.values(), key=lambda line: line.part_of):
        found = connection.execute(
            "SELECT id FROM documents WHERE context_id = ? AND name = ?", (context.id, name)
        ).fetchone()
        prepared = [prepare(line.item) for line in lines if line.item]
        added += rows.write_items(connection, context, prepared, found[0] if found else None)[0]
        if found is not None:
            mark_document(connection, context, found[0])
        else:
            hand_over(connection, rows.keys_of(connection, context, [each.item.id for each in prepared]).values(), None)
    return added


def _write_document(connection: SqlConnection, context: Context, document: StoredDocument) -> None:
    known = connection.execute(
        "SELECT digest FROM documents WHERE context_id = ? AND name = ?", (context.id, document.name)
    ).fetchone()
    if known is None or known[0] != document.digest:  # an original that is kept already belongs to the same bytes
        rows.write_document(connection, context, document)


# The whole store


_BATCH = 500
_BATCH_CHARACTERS = 4 * 2**20
_WAIT_S = 60.0


async def take_in(threads: WorkerThreads, source: str | os.PathLike[str] | BinaryIO, name: str | None) -> Imported:
    """Import an export; see `Store.import_`."""
    if not isinstance(source, str | os.PathLike):
        return await _take_in(threads, source, name)
    with translated(threads.folder.database):
        try:
            file = await asyncio.to_thread(Path(source).open, "rb")
        except FileNotFoundError as error:
            raise UsageError(f"there is no file {os.fspath(source)!r} to import: name an export") from error
    with file:
        return await _take_in(threads, file, name)


async def _take_in(threads: WorkerThreads, file: BinaryIO, name: str | None) -> Imported:
    lines = ImportReader(file)
    head = await asyncio.to_thread(lines.header)
    wanted = checked_name(name if name is not None else head["name"], "the name of a context")
    if wanted not in {context.name for context in await threads.read(contexts.everything)}:
        told = {key: head[key] for key in ("description", "language", "encoding")}
        await threads.write(contexts.create, wanted, readers=head.get("readers", ()), **told)
    context = await threads.read(contexts.find, wanted)
    lines.vector_problem = partial(vector_problem, await threads.read(known_model, context), context)
    prepare, added = ItemPreparer(context.language, context.encoding), Added()
    batches = _batches(lines)
    while some := await asyncio.to_thread(next, batches, None):
        added += await threads.write(write_lines, context, some, prepare)
    await threads.write_indexed(catch_up, context)
    embedder = "" if context.embedder else head.get("embedder", "")
    return Imported(
        context=wanted, added=added, problems=tuple(lines.problems), left_out=lines.left_out, embedder=embedder
    )


def catch_up(indexing: IndexUpdater, context: Context) -> None:
    """Bring the index of a context up to the database, after another process if one is at it."""
    indexing.catch_up(context, wait_s=_WAIT_S)


def _batches(lines: ImportReader) -> Iterator[list[ImportLine]]:
    every = iter(lines)
    while first := next(every, None):
        batch, characters = [first], 0
        for line in islice(every, _BATCH - 1):
            batch.append(line)
            characters += len(line.item.text) if line.item is not None else 0
            if characters > _BATCH_CHARACTERS:
                break
        yield batch
