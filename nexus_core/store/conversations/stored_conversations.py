"""Conversations at rest: what was asked and answered in turns, each owner's apart from those of all others.

A turn is kept in one transaction with its number, so that the numbers of a conversation have no gap however many runs
write to it. What has expired is gone for readers at once, and deleted by the writes that follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from secrets import token_urlsafe
from time import time
from typing import Literal

from attrs import evolve

from nexus_core.contract.errors import UsageError
from nexus_core.contract.optional_protocols import RecalledHistory
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Message
from nexus_core.store.contexts import readers_of
from nexus_core.store.conversations import conversation_rows as rows
from nexus_core.store.conversations.cited_passages import passages_json
from nexus_core.store.conversations.conversation import (
    COMMENT_CHARACTERS,
    TITLE_CHARACTERS,
    CitedPassage,
    Conversation,
    Rating,
    Turn,
    checked_ttl,
)
from nexus_core.store.conversations.conversation_files import (
    FILE_BYTES,
    ConversationFileError,
    ImportedConversation,
    read_conversations,
)
from nexus_core.store.conversations.conversation_rows import Hidden
from nexus_core.store.conversations.conversation_search import FoundConversation, search
from nexus_core.store.conversations.share_links import StoredShareLinks
from nexus_core.store.conversations.turn_sources import TurnVisibility, imported_json, sources_json
from nexus_core.store.records import checked_name
from nexus_core.store.worker_threads import WorkerThreads

_PAGE = 10_000
"""The most that one call lists."""
_AT_ONCE = 500
"""So many are deleted in one transaction: others want to write, too."""


class StoredConversations:
    """The conversations of a store, as `store.conversations`; give it to `Pipeline.load(..., conversations=...)`."""

    file_bytes = FILE_BYTES
    """Of a file that is imported."""

    def __init__(self, threads: WorkerThreads, clock: Callable[[], float] = time) -> None:
        self._threads = threads
        self._clock = clock

    @property
    def links(self) -> StoredShareLinks:
        """The links by which others read these conversations."""
        return StoredShareLinks(self._threads, self._clock)

    # For a run

    async def history(self, id: str, *, owner: str = "", characters: int | None = None) -> tuple[Message, ...]:
        """Return what was said so far, oldest first; nothing where there is no such conversation yet.

        It is the newest 200 turns at most, and of them no more than are needed to come to so many characters. A turn
        whose answer is blank (a call of a tool) is left out, since services refuse messages without text.
        """
        return await self.history_for(None, id, owner=owner, characters=characters)

    async def history_for(
        self, viewer: Viewer | None, id: str, *, owner: str = "", characters: int | None = None
    ) -> tuple[Message, ...]:
        """Return what was said so far, as `history` does, but for the turns made of what a viewer may not see."""
        return (await self.history_before(viewer, id, None, owner=owner, characters=characters)).messages

    async def history_before(
        self, viewer: Viewer | None, id: str, run_id: str | None, *, owner: str = "", characters: int | None = None
    ) -> RecalledHistory:
        """Return what was said before the turn of a run, or so far; UsageError where the viewer sees no such turn."""
        _check(id, owner)
        limit = inf if characters is None else characters
        hidden = self._hidden(viewer)
        return await self._threads.read(rows.read_history, owner, id, self._clock(), limit, hidden, run_id)

    async def add(self, id: str, *, query: str, answer: str, model: str, run_id: str, owner: str = "") -> int:
        """Keep a turn, durably, and return its number; begins the conversation where there is none.

        Of a run that is kept already nothing is written again. Halves of surrogate pairs, as of a model that broke off
        inside one, are kept as U+FFFD.
        """
        return await self.add_turn(None, id, query=query, answer=answer, model=model, run_id=run_id, owner=owner)

    async def add_turn(
        self,
        viewer: Viewer | None,
        id: str,
        *,
        query: str,
        answer: str,
        model: str,
        run_id: str,
        owner: str = "",
        contexts: Sequence[str] = (),
        items: Sequence[PackedItem] = (),
    ) -> int:
        """Keep a turn, as `add` does, with what it was made of: from who may not see that it is hidden from now on."""
        return await self.replace_turn(
            viewer, id, None, query=query, answer=answer, model=model, run_id=run_id, owner=owner, contexts=contexts,
            items=items,
        )  # fmt: skip

    async def replace_turn(
        self,
        viewer: Viewer | None,
        id: str,
        replaces: str | None,
        *,
        query: str,
        answer: str,
        model: str,
        run_id: str,
        owner: str = "",
        contexts: Sequence[str] = (),
        items: Sequence[PackedItem] = (),
        recalled: RecalledHistory | None = None,
        files: Sequence[str] = (),
    ) -> int:
        """Keep a turn, as `add_turn` does, in the place of the one that the run `replaces` has made.

        What stood there is kept as an earlier version, with its rating and the turns after it, to which `show_version`
        goes back. Of several runs that replace one turn, the last one to end stands there. Where the turn is gone
        meanwhile, the new one comes after all others. `recalled` is what its run remembered, which may be hidden by
        now; without it, what the viewer may see now. A turn that was asked after one that is shown no more follows it.
        """
        _check(id, owner)
        texts = (run_id, query, answer, model)
        turn = tuple(_whole(text, takes_nul=not self._threads.folder.is_server) for text in texts)
        if recalled is None:
            recalled = await self._threads.read(rows.read_history, owner, id, self._clock(), 0, self._hidden(viewer))
        there = await self._threads.read(rows.find_row, owner, id, self._clock())
        if recalled.messages and (there is None or there.created != recalled.begun):
            sources = imported_json(viewer)  # those turns are gone, and with them what tells who may see them
        else:
            later = () if there is None else range(recalled.last + 1, there.turns + 1)
            granted = await self._threads.read(readers_of, contexts)
            made_of = [packed.item for packed in items]
            sources = sources_json(contexts, made_of, [*recalled.unseen, *later], granted=granted)
        passages = passages_json(answer, contexts, items, files)
        kept, follows = (*turn, sources, passages), recalled.follows
        return await self._threads.write(rows.add_turn, owner, id, self._clock(), kept, replaces, follows)

    def _hidden(self, viewer: Viewer | None) -> Hidden | None:
        """Return what tells the numbers of the turns that a viewer may not see; `None` where they see all."""
        return None if viewer is None else TurnVisibility(self._threads.opened(), viewer).hidden

    # For those who keep them

    async def new(
        self, id: str | None = None, *, owner: str = "", ttl_s: float | Literal["default"] | None = "default"
    ) -> Conversation:
        """Begin a conversation, under an id that nobody guesses where none is given; UsageError where there is one.

        `ttl_s` is how many seconds it lives after its last turn, `None` for ever; else as the store's default says.
        """
        made = token_urlsafe(16) if id is None else id
        _check(made, owner)
        lives = ttl_s if ttl_s == "default" else checked_ttl(ttl_s)
        return await self._threads.write(rows.make, owner, made, self._clock(), lives)

    async def get(self, id: str, *, owner: str = "", viewer: Viewer | None = None) -> Conversation:
        """Return a conversation, to a viewer as they may see it; UsageError where there is none."""
        _check(id, owner)
        return await self._threads.read(rows.get_seen, owner, id, self._clock(), self._hidden(viewer))

    async def list(
        self,
        *,
        owner: str | None = "",
        after: tuple[float, int] | None = None,
        limit: int = 100,
        viewer: Viewer | None = None,
    ) -> tuple[Conversation, ...]:
        """Return conversations, the last changed first: those of an owner, or with `None` those of all owners.

        The next page comes with `after=page[-1].place`. A conversation that changes meanwhile moves to the front.
        """
        if owner:
            checked_name(owner, "the owner of a conversation")
        place, hidden = after or (inf, 0), self._hidden(viewer)
        return await self._threads.read(rows.list_seen, owner, self._clock(), place, _checked_limit(limit), hidden)

    async def search(
        self,
        words: str,
        *,
        owner: str = "",
        after: tuple[float, int] | None = None,
        limit: int = 100,
        viewer: Viewer | None = None,
    ) -> tuple[tuple[FoundConversation, ...], tuple[float, int] | None]:
        """Return an owner's conversations with words in their title, a question or an answer, the last changed first.

        The words are looked for as they are, in large or small letters. 200 conversations at most are looked at, of
        each its newest 500 turns, and also returned is the place after which the next search goes on, `None` at the
        end: fewer than `limit`, or none, may have been found until there.
        """
        _check_owner(owner)
        if not words or "\0" in words:
            return (), None
        place, hidden = after or (inf, 0), self._hidden(viewer)
        return await self._threads.read(search, owner, self._clock(), words, place, _checked_limit(limit), hidden)

    async def turns(
        self, id: str, *, owner: str = "", after: int = 0, limit: int = 100, viewer: Viewer | None = None
    ) -> tuple[Turn, ...]:
        """Return the next turns after a number, in their order; UsageError where there is no such conversation.

        To a viewer, those that are made of what they may see.
        """
        _check(id, owner)
        return await self._threads.read(
            rows.read_turns,
            owner,
            id,
            self._clock(),
            min(after, rows.LARGEST),
            _checked_limit(limit),
            self._hidden(viewer),
        )

    async def versions(
        self, id: str, run_id: str, *, owner: str = "", viewer: Viewer | None = None
    ) -> tuple[Turn, ...]:
        """Return the versions of the turn that a run has made, the newest last; UsageError where there is no such turn.

        To a viewer, those that are made of what they may see.
        """
        _check(id, owner)
        return await self._threads.read(rows.read_versions, owner, id, self._clock(), run_id, self._hidden(viewer))

    async def show_version(self, id: str, run_id: str, *, owner: str = "", viewer: Viewer | None = None) -> None:
        """Go back to the version of a turn that a run has made: it and what had followed it are the conversation again.

        What stood there is kept likewise. It counts as no change. UsageError where the viewer sees no such version
        beside the turns that are shown.
        """
        _check(id, owner)
        now = self._clock()
        unseen = await self._threads.read(rows.find_hidden, owner, id, now, self._hidden(viewer))
        await self._threads.write(rows.show_version, owner, id, now, run_id, unseen)

    async def rename(self, id: str, title: str | None, *, owner: str = "") -> None:
        """Give a conversation a title of at most 200 characters; without one it is called by its first question again.

        It counts as no change, so that its time to live goes on. UsageError where there is no such conversation.
        """
        _check(id, owner)
        told = _whole((title or "").strip(), takes_nul=not self._threads.folder.is_server)
        if len(told) > TITLE_CHARACTERS:
            raise UsageError(f"the title has {len(told):,} characters: give at most {TITLE_CHARACTERS}")
        await self._threads.write(rows.rename, owner, id, self._clock(), told or None)

    async def rate(
        self,
        id: str,
        run_id: str,
        rating: Rating | None,
        *,
        comment: str | None = None,
        owner: str = "",
        viewer: Viewer | None = None,
    ) -> Turn:
        """Keep with the answer of a run what its owner thinks of it, in place of what was kept; `None` takes it back.

        A comment has at most 2,000 characters. UsageError where the viewer sees no such turn.
        """
        _check(id, owner)
        if rating not in ("up", "down", None):
            raise UsageError(f"the rating is {rating!r}: give 'up', 'down' or None")
        said = _whole((comment or "").strip(), takes_nul=not self._threads.folder.is_server)
        if len(said) > COMMENT_CHARACTERS:
            raise UsageError(f"the comment has {len(said):,} characters: give at most {COMMENT_CHARACTERS:,}")
        now = self._clock()
        unseen = await self._threads.read(rows.find_unseen, owner, id, now, self._hidden(viewer))
        return await self._threads.write(
            rows.rate, owner, id, now, run_id, (rating, (said or None) if rating else None), unseen
        )

    async def take(
        self, file: bytes, *, owner: str | None = "", viewer: Viewer | None = None
    ) -> tuple[tuple[str, Conversation | None], ...]:
        """Keep the conversations of a file, all or none: each by its id there, `None` for one that is the same here.

        They belong to an owner, or with `None` to those whom the file names. What is here is never changed: one whose
        id another has gets a new id. They live on from now, and keep the times of their turns. Raises UsageError for
        a file that is none of conversations, or larger than `file_bytes`.
        """
        told = await asyncio.to_thread(read_conversations, file)
        takes_nul = not self._threads.folder.is_server
        fit = tuple(_fit(each, each.owner if owner is None else owner, takes_nul=takes_nul) for each in told)
        kept = await self._threads.write(rows.take, fit, self._clock(), imported_json(viewer))
        return tuple((each.id, found) for each, found in zip(told, kept, strict=True))

    async def delete(self, id: str, *, owner: str = "") -> None:
        """Delete a conversation with all its turns; UsageError where there is none."""
        _check(id, owner)
        await self._threads.write(rows.delete, owner, id, self._clock())

    async def expire(self, now: float | None = None, *, idle_s: float | None = None) -> int:
        """Delete what has expired by now, of all owners, and what had no turn for `idle_s`; returns how many."""
        moment = self._clock() if now is None else now
        idle_since = -inf if idle_s is None else moment - (checked_ttl(idle_s) or 0.0)
        count = 0
        while gone := await self._threads.write(rows.expire, moment, idle_since, _AT_ONCE):
            count += gone
        return count

    async def default_ttl(self) -> float | None:
        """Return how many seconds conversations live after their last turn that do not say so; `None` is for ever."""
        return await self._threads.read(rows.read_default_ttl)

    async def set_default_ttl(self, seconds: float | None) -> None:
        """Set that for all conversations that are begun from now on, by whatever process."""
        await self._threads.write(rows.set_default_ttl, checked_ttl(seconds))


# What callers give


def _check(id: object, owner: object) -> None:
    checked_name(id, "the id of a conversation")
    _check_owner(owner)


def _check_owner(owner: object) -> None:
    if owner != "":
        checked_name(owner, "the owner of a conversation")


def _fit(conversation: ImportedConversation, owner: str, *, takes_nul: bool) -> ImportedConversation:
    """Return a conversation with its owner, and with texts that can be kept."""

    def whole(text: str | None) -> str | None:
        return None if text is None else _whole(text, takes_nul=takes_nul)

    turns = tuple(
        evolve(
            turn,
            run_id=_whole(turn.run_id, takes_nul=takes_nul),
            query=_whole(turn.query, takes_nul=takes_nul),
            answer=_whole(turn.answer, takes_nul=takes_nul),
            model=_whole(turn.model, takes_nul=takes_nul),
            comment=whole(turn.comment),
            context=whole(turn.context),
            passages=tuple(_fit_passage(each, takes_nul=takes_nul) for each in turn.passages),
            files=tuple(_whole(each, takes_nul=takes_nul) for each in turn.files),
        )
        for turn in conversation.turns
    )
    if len({turn.run_id for turn in turns}) != len(turns):
        raise ConversationFileError(
            f"two turns of the conversation {conversation.id[:80]!r} have ids that cannot be told apart once what is no"
            " text is left out of them: give them other ones"
        )
    return evolve(conversation, owner=owner, title=whole(conversation.title), turns=turns)


def _fit_passage(passage: CitedPassage, *, takes_nul: bool) -> CitedPassage:
    """Return a passage with texts that can be kept."""
    return evolve(
        passage,
        id=_whole(passage.id, takes_nul=takes_nul),
        title=_whole(passage.title, takes_nul=takes_nul),
        source=_whole(passage.source, takes_nul=takes_nul),
        place=_whole(passage.place, takes_nul=takes_nul),
        text=_whole(passage.text, takes_nul=takes_nul),
    )


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= _PAGE:
        raise UsageError(f"limit is {limit}: give a number from 1 to {_PAGE:,}")
    return limit


def _whole(text: str, *, takes_nul: bool = True) -> str:
    """Return a text that can be kept: pairs of surrogates joined, halves replaced, NUL if need be."""
    text = text if takes_nul else text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
