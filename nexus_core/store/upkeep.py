"""What keeps a store in order, and what takes it elsewhere: the longer methods of `Store`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, BinaryIO

from nexus_core.contract.errors import StoreDamagedError, UsageError
from nexus_core.store import contexts
from nexus_core.store.checking import mend, problems_of
from nexus_core.store.database import translated
from nexus_core.store.originals import GRACE_S, SMALLEST
from nexus_core.store.preparing import Preparation
from nexus_core.store.transfer import Line, Lines, write_lines
from nexus_core.store.values import Added, Context, Imported, checked_name

if TYPE_CHECKING:
    from nexus_core.store.indexing import Indexing
    from nexus_core.store.store import Store

_BATCH = 500
_BATCH_CHARACTERS = 4 * 2**20
_WAIT_S = 60.0


async def check(store: Store, name: str | None, *, repair: bool) -> tuple[str, ...]:
    """Return what is wrong, each in one sentence; with `repair` what is left of it."""

    def look() -> tuple[str, ...]:
        return tuple(problems_of(store.folder, name, store.originals))

    found = await asyncio.to_thread(look)
    if not repair:
        return found
    if found:
        for context in (await store.context(name),) if name is not None else await store.contexts():
            with suppress(StoreDamagedError):  # which the next look tells
                await store.write(mend, context)
                await store.write_indexed(_catch_up, context)
    await collect(store)
    return await asyncio.to_thread(look) if found else found


async def collect(store: Store) -> int:
    """Delete the originals that no document refers to any more; returns how many they were."""
    count, before = 0, time() - GRACE_S
    while some := await store.write(store.originals.collect, before):
        count += some
    return count


async def keep_original(store: Store, data: bytes) -> str | None:
    """Keep bytes, if they are many enough, and return their key."""
    if len(data) <= SMALLEST:
        return None
    key = await asyncio.to_thread(lambda: sha256(data).hexdigest())
    await store.write(store.originals.note, key, len(data))
    await asyncio.to_thread(store.originals.put, key, data)
    return key


async def take_in(store: Store, source: str | os.PathLike[str] | BinaryIO, name: str | None) -> Imported:
    """Import an export; see `Store.import_`."""
    if not isinstance(source, str | os.PathLike):
        return await _take_in(store, source, name)
    with translated(store.folder.database):
        try:
            file = await asyncio.to_thread(Path(source).open, "rb")
        except FileNotFoundError as error:
            raise UsageError(f"there is no file {os.fspath(source)!r} to import: name an export") from error
    with file:
        return await _take_in(store, file, name)


async def _take_in(store: Store, file: BinaryIO, name: str | None) -> Imported:
    lines = Lines(file)
    head = await asyncio.to_thread(lines.header)
    wanted = checked_name(name if name is not None else head["name"], "the name of a context")
    if wanted not in {context.name for context in await store.contexts()}:
        told = {key: head[key] for key in ("description", "language", "encoding")}
        await store.create(wanted, **told)
    context = await store.read(contexts.find, wanted)
    prepare, added = Preparation(context.language, context.encoding), Added()
    batches = _batches(lines)
    while some := await asyncio.to_thread(next, batches, None):
        added += await store.write(write_lines, context, some, prepare)
    await store.write_indexed(_catch_up, context)
    return Imported(context=wanted, added=added, problems=tuple(lines.problems), left_out=lines.left_out)


def _catch_up(indexing: Indexing, context: Context) -> None:
    indexing.catch_up(context, wait_s=_WAIT_S)


def _batches(lines: Lines) -> Iterator[list[Line]]:
    every = iter(lines)
    while first := next(every, None):
        batch, characters = [first], 0
        for line in islice(every, _BATCH - 1):
            batch.append(line)
            characters += len(line.item.text) if line.item is not None else 0
            if characters > _BATCH_CHARACTERS:
                break
        yield batch
