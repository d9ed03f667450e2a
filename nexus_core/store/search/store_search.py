"""The search of an open store: asks for it in the thread that reads, and has the index mended where it is behind."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypedDict, Unpack

from attrs import evolve

from nexus_core.contract.errors import StoreBusyError, StoreError, StoreFullError, UsageError
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Item
from nexus_core.store import contexts
from nexus_core.store.database.connection import translated
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.ingest.successors import find_items, find_visible
from nexus_core.store.items.rows import read_items
from nexus_core.store.records import Context
from nexus_core.store.search.search import SearchRequest
from nexus_core.store.search.value_counts import count_page, most_first
from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.store.vectors.embedders import SearchBy, StoreEmbedders
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.toolkit.filters import EVERYTHING, Filter, tag_conditions

INDEX_WAIT_S = 30.0
"""How long a search waits for another process that is building the index."""
_LOOK_AGAIN_S = 0.05
LONGEST_LIKE = 4_000
"""Characters of an item that others are to be like."""

_log = logging.getLogger(__name__)

_UNREADABLE = (
    "the index of {name!r} cannot be read, nor mended by who may not write here: run `nexus context check --repair` as "
    "who owns the store"
)


class SearchOptions(TypedDict, total=False):
    """What may be said of a search besides its query."""

    limit: int
    """How many items are returned at most; 10 where nothing is said."""
    tags: Sequence[str]
    """Only items that have all of them."""
    where: Filter
    """Only items that it lets through."""
    viewer: Viewer | None
    """Who asks: only what they may see is found."""
    by: SearchBy | None
    """`words`, `meaning` or `both`; by default `both` where the context has vectors."""
    like: str | None
    """The id of an item: its text is what is searched for, and the query comes first in it."""
    typos: bool
    """A word of five letters and more that no item holds stands for one that is a typing error away."""
    note: Callable[[str], None] | None
    """Told why a search goes by words alone that was to go by meaning, too."""


class StoreSearch:
    """Searches the contexts of one store."""

    def __init__(self, threads: WorkerThreads, embedders: StoreEmbedders) -> None:
        self._threads = threads
        self._embedders = embedders
        self._written = 0
        self._bulk = 0

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Leave the index to a long addition of this process: searches do not wait for it."""
        self._bulk += 1
        try:
            yield
        finally:
            self._bulk -= 1

    async def note_written(self) -> None:
        """Note the largest key of all that this process may have written: its own searches are to find that."""

        def largest() -> int:
            with translated(self._threads.folder.database):
                found = self._threads.connection().execute("SELECT value FROM settings WHERE name = 'next_key'")
                row = found.fetchone()
            return int(row[0]) - 1 if row else 0

        self._written = await self._threads.writing(largest)

    async def search(self, name: str, query: str, **options: Unpack[SearchOptions]) -> Ranking:
        """Return the best items for a query; see `Store.search`."""
        searching, give_up = self._threads.opened(), monotonic() + INDEX_WAIT_S
        asked = await self._request(name, query, options)

        async def attempt(written: int | None = None) -> Ranking | None:
            nonlocal asked
            while True:
                found = await self._threads.reading(searching.search, name, asked, written=written)
                if not isinstance(found, Context):
                    return found
                by, note = options.get("by"), options.get("note")
                meaning = await self._embedders.query_vector(found, asked.query, by, note)
                asked = evolve(asked, meaning=meaning, embedder=found.embedder)

        found = await attempt()
        if found is None and searching.suspect:  # or somebody has just changed it
            found = await attempt()
        while found is None:  # the index is behind or damaged, and the writer's to mend
            if self._threads.may_write and not (self._bulk and not searching.suspect):
                await self._threads.writing(self._mend, name, searching.suspect)
            found = await attempt(self._written)
            if found is None and not self._threads.may_write:
                raise StoreError(_UNREADABLE.format(name=name))
            if found is None and monotonic() > give_up:
                raise StoreBusyError(f"another process is building the index of {name!r}: try again when it is done")
            if found is None:
                await asyncio.sleep(_LOOK_AGAIN_S)
        return found

    async def _request(self, name: str, query: str, options: SearchOptions) -> SearchRequest:
        """Return what is searched for, without the vector of the query: the search tells whether it needs one."""
        viewer, by, like = options.get("viewer"), options.get("by"), options.get("like")
        if like is not None:
            query = _like(query, await self.get(name, [like], viewer), like)
        where = options.get("where", EVERYTHING)
        return SearchRequest(
            query=query,
            limit=options.get("limit", 10),
            where=Filter((*where.conditions, *tag_conditions(options.get("tags", ())))),
            viewer=viewer,
            by_words=by != "meaning",
            by_meaning=by != "words",
            embedder="" if by is None else None,
            typos=options.get("typos", False),
            without=like or "",
        )

    async def get(self, name: str, ids: Sequence[str], viewer: Viewer | None) -> tuple[Item, ...]:
        """Return the items with these ids that a viewer may see; see `Store.get`."""

        def find(connection: SqlConnection) -> tuple[Item, ...]:
            context = contexts.find(connection, name, viewer)
            if viewer is None:
                return find_items(connection, context, ids)
            # Looked up among what is visible first: no row of an item that is hidden is read.
            keys = find_visible(connection, context, ids, self._threads.opened().visible(context, viewer))
            found = read_items(connection, [*dict.fromkeys(keys.values())])
            return tuple(found[keys[each]] for each in ids if keys.get(each) in found)

        return await self._threads.read(find)

    async def counts(self, name: str, field: str, where: Filter, viewer: Viewer | None) -> dict[str, int]:
        """Return how many items have each value of a field; see `Store.counts`."""

        def begin(connection: SqlConnection) -> tuple[Context, VisibleKeys | None]:
            context = contexts.find(connection, name, viewer)
            return context, self._threads.opened().visible(context, viewer, where)

        context, visible = await self._threads.read(begin)
        counts, after = Counter[str](), 0
        while True:  # page by page, so that searches go on between them
            some, following = await self._threads.read(count_page, context, field, visible, after)
            counts.update(some)
            if following is None:
                return most_first(counts)
            after = following

    def _mend(self, name: str, suspect: str) -> None:
        """Bring an index up to the database; where there is no space for that, it is searched as it is."""
        indexing = self._threads.indexing()
        with translated(self._threads.folder.database):
            context = contexts.find(self._threads.connection(), name)
        try:
            with indexing.turn(context, 0.0) as ours:
                if ours and suspect and indexing.state(context).generation == suspect:
                    indexing.rebuild(context)
                elif ours:
                    indexing.bring_up(context)
        except StoreFullError as error:
            if suspect:
                raise
            _log.warning("the index of %r lacks what was added last: %s", name, error)


def _like(query: str, found: Sequence[Item], name: str) -> str:
    """Return what is searched for where something like an item is."""
    if not found:
        raise UsageError(f"there is no item {name[:200]!r}: name one that others are to be like")
    return "\n".join(filter(None, (query, found[0].title, found[0].text[:LONGEST_LIKE])))
