"""Reads again what contexts were made from: for `nexus context sync` and for `nexus serve --sync`.

Each origin is read by the settings that `nexus context add` has kept with it. What cannot be listed is not gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from attrs import define, evolve, field, frozen
from filelock import FileLock, Timeout

from nexus_core.cli.commands.context.inputs import ContextInput, InputOptions, place_of
from nexus_core.contract.errors import NexusError, StoreBusyError, describe_error
from nexus_core.store import origins
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.ingest.ingest import Ingested
from nexus_core.store.origins import StoredOrigin
from nexus_core.store.records import StoredDocument
from nexus_core.store.store import Store
from nexus_core.toolkit.suggest import counted

LOOK_S = 2.0
"""How often the files of watched folders are looked at."""
UNKNOWN = (
    "how it is read again is not known: it was sent, piped in or written by a program, or added by an older version; "
    "if there is a folder or address to read, add it again with `nexus context add`"
)

Origins = frozenset[tuple[str, str]]
"""Origins, each with its context before it."""
Seen = Callable[[int, int, str], None]


@frozen(kw_only=True)
class SyncedOrigin:
    """What became of one origin of a context."""

    context: str
    shown: str
    """The origin, as people see it."""
    ingested: Ingested | None = None
    failure: str = ""
    """Why nothing could be read; what is in the context stays."""
    left_alone: str = ""
    """Why nothing was to be read."""

    @property
    def has_failed(self) -> bool:
        """Whether something is not in the context as it should be."""
        return bool(self.failure or (self.ingested is not None and self.ingested.failed))


@define(kw_only=True, eq=False, repr=False)
class ContextSync:
    """Brings contexts up to what they were made from, as often as it is asked."""

    store: Store
    prune: bool = True
    """Remove documents that are no longer there."""
    limit_s: float = 120.0
    """The time that one document may take."""
    seen: Seen | None = None
    _watched: dict[tuple[str, str], tuple[ContextInput, int]] = field(factory=dict)
    """By context and origin: places made of files, and what they looked like."""

    async def run(self, names: Sequence[str] = (), *, only: Origins | None = None) -> list[SyncedOrigin]:
        """Read the origins of some contexts, of all where none is named; raises StoreBusyError, UsageError."""
        chosen = names or [context.name for context in await self.store.contexts()]
        done = []
        with sync_turn(self.store.folder):
            for name in chosen:
                found = await self.store.read(origins.read_all, name)
                known = (*await self.store.documents(name), *await self.store.skipped(name)) if found else ()
                chosen_origins = (each for each in found if only is None or (name, each.origin) in only)
                done += [await self._sync(name, each, known) for each in chosen_origins]
        return done

    async def changed(self) -> Origins:
        """Return the origins, by context, whose files look other than at the last round."""
        looks = {key: await _look(place) for key, (place, _) in self._watched.items()}
        return frozenset(key for key, look in looks.items() if look != self._watched[key][1])

    async def _sync(self, name: str, stored: StoredOrigin, known: Sequence[StoredDocument]) -> SyncedOrigin:
        settings = stored.settings
        if "argument" not in settings:
            return SyncedOrigin(context=name, shown=stored.origin, left_alone=UNKNOWN)
        try:
            manner = InputOptions.of_settings(settings)
            place = place_of(settings["argument"], known, called=settings.get("as"), manner=manner)
            place = evolve(place, origin=stored.origin, shown=stored.origin)
            if "://" not in settings["argument"]:
                self._watched[name, stored.origin] = place, await _look(place)
            ingested = await self.store.ingest(
                name,
                place.source,
                origin=place.origin,
                within=place.within,
                tags=settings.get("tags", ()),
                within_readers=settings.get("granted", ()),
                keep_originals=settings.get("keep_originals", False),
                prune=self.prune,
                limit_s=self.limit_s,
                seen=self.seen,
            )
            await self.store.write(origins.keep, name, stored.origin, settings)
        except StoreBusyError:
            raise
        except NexusError as error:
            return SyncedOrigin(context=name, shown=stored.origin, failure=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a source raises, the others are read
            return SyncedOrigin(context=name, shown=stored.origin, failure=describe_error(error))
        return SyncedOrigin(context=name, shown=stored.origin, ingested=ingested)


async def repeat(
    work: Callable[[Origins | None], Awaitable[None]],
    sync: ContextSync,
    *,
    every_s: float | None,
    watch: bool,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = monotonic,
) -> None:
    """Do the work until cancelled: every so many seconds for all, and with `watch` for what has changed."""
    due = clock() + every_s if every_s is not None else float("inf")
    while True:
        await pause(min(LOOK_S, due - clock()) if watch else max(0.0, due - clock()))
        if clock() >= due:
            await work(None)
            due = clock() + (every_s or 0.0)
        elif watch and (changed := await sync.changed()):
            await work(changed)


@contextmanager
def sync_turn(folder: StorePaths) -> Iterator[None]:
    """Hold the turn of the one process that syncs a store; raises StoreBusyError where another one has it."""
    lock = FileLock(folder.lock("sync"), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreBusyError(
            "another process is syncing the contexts of this store: try again when it is done"
        ) from error
    try:
        yield
    finally:
        lock.release()


async def _look(place: ContextInput) -> int:
    """Return what tells whether the files of a place look as they did; none is opened."""

    def looked() -> int:
        marks = place.source.documents()
        return hash(tuple((mark.name, mark.stamp, mark.size, mark.problem, mark.left_out) for mark in marks))

    try:
        return await asyncio.to_thread(looked)
    except NexusError as error:
        return hash(str(error))


async def serve_sync(
    store: Store,
    every_s: float,
    say: Callable[[str], None],
    *,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Sync all contexts of a server's open store until cancelled; what has changed or failed is said.

    Of several servers of a store one at a time does it.
    """
    sync = ContextSync(store=store)

    async def work(only: Origins | None) -> None:
        try:
            for each in await sync.run(only=only):
                if said := _describe(each):
                    say(said)
        except StoreBusyError:
            return  # another process does it
        except NexusError as error:
            say(f"the contexts could not be synced: {error}")

    await work(None)
    await repeat(work, sync, every_s=every_s, watch=False, pause=pause)


def _describe(each: SyncedOrigin) -> str:
    """Return what is to be said of an origin; nothing where nothing has changed."""
    if each.failure:
        return f"context {each.context}: {each.shown} could not be read: {each.failure}"
    done = each.ingested
    if done is None or not (done.written or done.pruned or done.failed):
        return ""
    failed = f", {len(done.failed):,} failed, such as {done.failed[0][0]}: {done.failed[0][1]}" if done.failed else ""
    read = counted(done.written, "document")
    return f"context {each.context}: {read} read and {done.pruned:,} pruned of {each.shown}{failed}"
