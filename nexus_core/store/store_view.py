"""`StoreView`: a store as one viewer may see it. What they may not see is not there, by whatever way it is asked for.

Whoever answers to others, such as the routes of a server, holds a view and never the store: there is no method here
that shows, counts or changes what the viewer may not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Unpack

from attrs import evolve

from nexus_core.contract.errors import UsageError
from nexus_core.contract.protocols import Documents
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Item
from nexus_core.store import origins
from nexus_core.store.contexts import NewContext, everything, find
from nexus_core.store.conversations.conversation import Conversation, Rating, Turn
from nexus_core.store.conversations.conversation_search import FoundConversation
from nexus_core.store.conversations.share_links import SharedConversation, ShareLink
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.documents import (
    Among,
    DocumentTotals,
    ListedDocument,
    document_totals,
    documents_named,
    page_of_documents,
)
from nexus_core.store.records import LINKS, Added, Context, StoredDocument, checked_readers, links_of
from nexus_core.store.runs import StoredRun
from nexus_core.store.store import Store
from nexus_core.store.usage import ModelTotal, read_totals
from nexus_core.store.vectors.embedders import SearchBy
from nexus_core.store.vectors.vector_model import VectorState
from nexus_core.toolkit.filters import EVERYTHING, Filter
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.ingest import read_aside
    from nexus_core.store.ingest.ingest import Ingested, Ingester
    from nexus_core.store.ingest.read_aside import AsideDocument, AsideReading
else:  # what reads documents, for those who send some
    read_aside = LazyModule("nexus_core.store.ingest.read_aside")

DIGITS = 2
"""Of the scores that a viewer is told: word statistics count all items, and finer scores would tell of hidden ones."""
_HALF, _MASK = 26, 2**26 - 1
"""Of a place in a list: JavaScript reads no larger numbers than 2**53 exactly."""
OWN_DIGITS = 4
"""Of those that who sees everything is told."""


class StoreView:
    """The contexts, items, documents and conversations that a viewer may see, and what they may change of these."""

    def __init__(self, store: Store, viewer: Viewer | None) -> None:
        """Look at a store with a viewer's eyes; `None` sees all."""
        self._store = store
        self._viewer = viewer

    @property
    def sees_all(self) -> bool:
        """Whether nothing is hidden, and grants may be told."""
        return self._viewer is None

    @property
    def digits(self) -> int:
        """How many digits of scores may be told."""
        return OWN_DIGITS if self._viewer is None else DIGITS

    def rounded(self, score: float) -> float:
        """Return a score as it may be told."""
        return round(score, self.digits)

    # What is there

    async def contexts(self) -> tuple[Context, ...]:
        """Return the contexts, by name, each with the number of its items."""
        return await self._store.contexts(viewer=self._viewer)

    async def names(self) -> tuple[Context, ...]:
        """Return the contexts, by name; their items are not counted."""
        return await self._store.read(everything, self._viewer)

    async def context(self, name: str) -> Context:
        """Return a context; raises UsageError where there is none."""
        return await self._store.context(name, viewer=self._viewer)

    async def vector_state(self, name: str) -> VectorState | None:
        """Return how many items of a context have vectors; only who sees everything is told."""
        return await self._store.vector_state(name) if self._viewer is None else None

    async def check(self, name: str) -> None:
        """Raise UsageError where there is no context of this name."""
        await self._store.read(find, name, self._viewer)

    async def items(
        self, name: str, *, after: int = 0, limit: int = 100, tag: str | None = None, where: Filter = EVERYTHING
    ) -> list[tuple[int, Item]]:
        """Return the next items after a place, each with its own.

        The places that a viewer is given tell nothing: a key of the store is a count of all that was ever added to it.
        """
        secret = b"" if self._viewer is None else await self._store.read_secret()
        start = _place_of(after, secret) if after and secret else after
        found = await self._store.items(name, after=start, limit=limit, tag=tag, where=where, viewer=self._viewer)
        items = await self._without_hidden_links(name, [item for _, item in found])
        return [(_place_of(key, secret) if secret else key, item) for (key, _), item in zip(found, items, strict=True)]

    async def get(self, name: str, ids: Sequence[str]) -> tuple[Item, ...]:
        """Return the items with these ids, as many as there are."""
        return await self._without_hidden_links(name, await self._store.get(name, ids, viewer=self._viewer))

    async def search(
        self, name: str, query: str, *, limit: int, tags: Sequence[str] = (), where: Filter = EVERYTHING,
        by: SearchBy | None = None, like: str | None = None, typos: bool = False,
    ) -> list[tuple[float, Item]]:  # fmt: skip
        """Return the best items for a query, best first, each with its score as it may be told."""
        ranking: Ranking = await self._store.search(
            name, query, limit=limit, tags=tags, where=where, viewer=self._viewer, by=by, like=like, typos=typos
        )
        best = ranking.top(limit)
        items = await self._without_hidden_links(name, [candidate.item for candidate in best])
        return [(self.rounded(each.score), item) for each, item in zip(best, items, strict=True)]

    async def counts(self, name: str, field: str, *, where: Filter = EVERYTHING) -> dict[str, int]:
        """Return how many items have each value of a field, the most first."""
        counts = await self._store.counts(name, field, where=where, viewer=self._viewer)
        if self._viewer is None or field != LINKS:
            return counts
        seen = await self._store.visible_ids(name, [*counts], viewer=self._viewer)
        return {target: count for target, count in counts.items() if target in seen}

    async def documents(self, name: str) -> tuple[StoredDocument, ...]:
        """Return the documents of a context that were read, by name."""
        return await self._store.documents(name, viewer=self._viewer)

    async def page_of_documents(
        self, name: str, *, among: Among = "read", after: str = "", limit: int = 100, words: str = ""
    ) -> tuple[ListedDocument, ...]:
        """Return the next documents after a name, by name, each with the figures of its items.

        With words, those whose names have them as they are, in any case.
        """

        def read_page(connection: SqlConnection) -> tuple[ListedDocument, ...]:
            context = find(connection, name, self._viewer)
            return page_of_documents(
                connection, context, self._viewer, among=among, after=after, limit=limit, words=words
            )

        return await self._store.read(read_page)

    async def documents_named(self, name: str, documents: Sequence[str]) -> dict[str, StoredDocument]:
        """Return those of some documents that were read, by name."""

        known = await self._known(name, documents)
        return {each.name: each for each in known.values() if not each.skipped}

    async def _known(self, name: str, documents: Sequence[str]) -> dict[str, StoredDocument]:
        """Return those of some documents that were read or skipped, by name."""

        def find_documents(connection: SqlConnection) -> dict[str, StoredDocument]:
            return documents_named(connection, find(connection, name, self._viewer), documents, self._viewer)

        return await self._store.read(find_documents)

    async def document_totals(self, name: str) -> DocumentTotals:
        """Return how many documents a context has."""
        return await self._store.read(lambda it: document_totals(it, find(it, name, self._viewer), self._viewer))

    async def model_totals(self, since: str) -> tuple[ModelTotal, ...]:
        """Return what each model of each pipeline has used from a day on, such as `2026-11-01`, whoever asked."""
        return await self._store.read(read_totals, since)

    async def _without_hidden_links(self, name: str, items: Sequence[Item]) -> tuple[Item, ...]:
        """Return items whose metadata name no others than may be seen: where one links to tells what is there."""
        targets = [*dict.fromkeys(target for item in items for target in links_of(item))]
        if self._viewer is None or not targets:
            return tuple(items)
        seen = await self._store.visible_ids(name, targets, viewer=self._viewer)
        return tuple(_with_links(item, seen) if links_of(item) else item for item in items)

    # Conversations

    async def conversations(
        self, owner: str, *, after: tuple[float, int] | None = None, limit: int = 100
    ) -> tuple[Conversation, ...]:
        """Return conversations of an owner, the last changed first."""
        return await self._store.conversations.list(owner=owner, after=after, limit=limit, viewer=self._viewer)

    async def search_conversations(
        self, words: str, owner: str, *, after: tuple[float, int] | None = None, limit: int = 100
    ) -> tuple[tuple[FoundConversation, ...], tuple[float, int] | None]:
        """Return conversations with words that may be seen, and after which place the next search goes on."""
        kept = self._store.conversations
        return await kept.search(words, owner=owner, after=after, limit=limit, viewer=self._viewer)

    async def conversation(self, id: str, owner: str) -> Conversation:
        """Return a conversation; raises UsageError where there is none."""
        return await self._store.conversations.get(id, owner=owner, viewer=self._viewer)

    async def turns(self, id: str, owner: str, *, after: int = 0, limit: int = 100) -> tuple[Turn, ...]:
        """Return the next turns of a conversation, but for those made of what may not be seen."""
        kept = self._store.conversations
        return await kept.turns(id, owner=owner, after=after, limit=limit, viewer=self._viewer)

    async def turn_versions(self, id: str, owner: str, run_id: str) -> tuple[Turn, ...]:
        """Return the versions of a turn that may be seen, the newest last; raises UsageError where there is none."""
        return await self._store.conversations.versions(id, run_id, owner=owner, viewer=self._viewer)

    async def show_version(self, id: str, owner: str, run_id: str) -> Conversation:
        """Go back to a version of a turn, and return the conversation; raises UsageError where there is none."""
        await self._store.conversations.show_version(id, run_id, owner=owner, viewer=self._viewer)
        return await self.conversation(id, owner)

    async def rename_conversation(self, id: str, owner: str, title: str | None) -> Conversation:
        """Give a conversation a title, and return it; raises UsageError where there is none."""
        await self._store.conversations.rename(id, title, owner=owner)
        return await self.conversation(id, owner)

    async def rate_turn(self, id: str, owner: str, run_id: str, rating: Rating | None, comment: str | None) -> Turn:
        """Keep what its owner thinks of an answer; raises UsageError where there is none that may be seen."""
        kept = self._store.conversations
        return await kept.rate(id, run_id, rating, comment=comment, owner=owner, viewer=self._viewer)

    async def delete_conversation(self, id: str, owner: str) -> None:
        """Delete a conversation with all its turns; raises UsageError where there is none."""
        await self._store.conversations.delete(id, owner=owner)

    async def take_conversations(self, file: bytes, owner: str) -> tuple[tuple[str, Conversation | None], ...]:
        """Keep the conversations of a file for an owner, all or none; `None` for one that is there as it is."""
        return await self._store.conversations.take(file, owner=owner, viewer=self._viewer)

    async def share_link(self, id: str, owner: str) -> ShareLink | None:
        """Return the link to a conversation, if there is one; raises UsageError where there is no conversation."""
        return await self._store.conversations.links.get(id, owner=owner, viewer=self._viewer)

    async def share(self, id: str, owner: str, ttl_s: float | None) -> tuple[ShareLink, str]:
        """Make a link to a conversation as it is now, and return it with its token; raises UsageError."""
        return await self._store.conversations.links.make(id, owner=owner, ttl_s=ttl_s, viewer=self._viewer)

    async def withdraw_link(self, id: str, owner: str) -> None:
        """End the link to a conversation; raises UsageError where there is no conversation."""
        await self._store.conversations.links.withdraw(id, owner=owner)

    async def shared(self, token: str, *, after: int = 0, limit: int = 100) -> SharedConversation:
        """Return what a link shows, but for the turns made of what may not be seen; raises UsageError."""
        return await self._store.conversations.links.open(token, after=after, limit=limit, viewer=self._viewer)

    # Runs

    async def run(self, id: str, owner: str) -> StoredRun:
        """Return a run of an owner; raises UsageError where there is none, or none that may be seen any more."""
        return await self._store.runs.get(id, owner=owner, viewer=self._viewer)

    async def run_events(self, id: str, owner: str, after: int) -> tuple[StoredRun, tuple[tuple[int, int, bytes], ...]]:
        """Return a run of an owner and its next events after a number; raises UsageError as `run` does."""
        run = await self.run(id, owner)
        return run, await self._store.runs.events(id, after)

    async def delete_run(self, id: str, owner: str) -> None:
        """Delete a run of an owner that has ended; raises UsageError where there is none."""
        await self.run(id, owner)
        await self._store.runs.delete(id, owner=owner)

    # Changes: of what is there for the viewer, and nowhere else

    async def create(self, name: str, **told: Unpack[NewContext]) -> Context:
        """Make an empty context; raises UsageError where there is one of its name, or the viewer is bound to others."""
        if self._viewer is not None and not self._viewer.may_ask(name):
            raise UsageError(f"{name[:200]!r} is none of the contexts that this key is bound to")
        return await self._store.create(name, **told)

    async def grant(self, name: str, readers: Sequence[str]) -> None:
        """Let some groups alone see a context from now on; without any, everyone who may ask it."""
        await self.check(name)
        await self._store.grant(name, readers)

    async def delete(self, name: str) -> None:
        """Delete a context with all that is in it."""
        await self.check(name)
        await self._store.delete(name)

    async def add(self, name: str, items: Iterable[Item]) -> Added:
        """Add items to a context, or their new states."""
        await self.check(name)
        return await self._store.add(name, items)

    async def remove(self, name: str, ids: Sequence[str]) -> int:
        """Remove those of some items that are there; returns how many."""
        there = ids if self._viewer is None else [item.id for item in await self.get(name, ids)]
        return await self._store.remove(name, there)

    async def tag(self, name: str, ids: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
        """Add and remove tags of those of some items that are there; returns how many have changed."""
        there = ids if self._viewer is None else [item.id for item in await self.get(name, ids)]
        return await self._store.tag(name, there, add=add, remove=remove)

    async def settle_readers(self, name: str, origin: str, readers: Sequence[str]) -> tuple[str, ...]:
        """Return who alone may see what is added as part of an origin, and remember it: without readers, as before."""
        if not readers:
            return await self._store.read(origins.readers_of, name, origin)
        granted = checked_readers(tuple(readers), origin)
        await self._store.write(origins.keep, name, origin, {"granted": list(granted)})
        return granted

    async def ingest(self, name: str, source: Documents, *, origin: str, **asked: Unpack[Ingester]) -> Ingested:
        """Bring the documents of a source into a context."""
        await self.check(name)
        return await self._store.ingest(name, source, origin=origin, **asked)

    async def read_aside(self, source: Documents, **asked: Unpack[AsideReading]) -> AsideDocument:
        """Return the items of the one document of a source, which the viewer gave: they see all of it."""
        viewer = self._viewer
        tags = () if viewer is None or viewer.tags is None else tuple(sorted(viewer.tags))
        marked: AsideReading = {**asked, "tags": tags}
        return await read_aside.read_aside(self._store.readers, source, **marked)

    async def remove_documents(self, name: str, documents: Sequence[str]) -> int:
        """Remove documents with their items; returns how many items that were."""
        await self.check(name)
        return await self._store.remove_documents(name, documents)

    async def forget_skipped(self, name: str, documents: Sequence[str]) -> int:
        """Forget those of some documents that were found and not read; returns how many."""
        skipped = [each.name for each in (await self._known(name, documents)).values() if each.skipped]
        if skipped:
            await self._store.remove_documents(name, skipped)
        return len(skipped)


def _place_of(number: int, secret: bytes) -> int:
    """Return another number for each below 2**52, and from that the first again: a Feistel network of four rounds.

    Its halves are swapped at the end, so that the same rounds in the other order undo it: here the rounds are the same
    read from either end.
    """
    left, right = number >> _HALF & _MASK, number & _MASK
    for step in (0, 1, 1, 0):
        told = blake2b(right.to_bytes(4, "big") + bytes([step]), key=secret, digest_size=4).digest()
        left, right = right, left ^ (int.from_bytes(told, "big") & _MASK)
    return right << _HALF | left


def _with_links(item: Item, seen: frozenset[str]) -> Item:
    links = [target for target in links_of(item) if target in seen]
    metadata = {name: told for name, told in item.metadata.items() if name != LINKS}
    return evolve(item, metadata={**metadata, LINKS: links} if links else metadata)
