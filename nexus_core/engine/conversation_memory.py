"""What a run remembers: the turns of its conversation before it, and its own turn after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial

from attrs import define, evolve, field

from nexus_core.contract.answers import Answer
from nexus_core.contract.errors import DeadlineError, NexusError, StoreError, describe_error
from nexus_core.contract.optional_protocols import GuardedConversations, RecalledHistory, VersionedConversations
from nexus_core.contract.protocols import Conversations
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Message
from nexus_core.engine.state import State

CHARACTERS_PER_TOKEN = 8
"""More than the densest prose has: what is not loaded would not have fit."""


@define(kw_only=True, eq=False, repr=False)
class ConversationMemory:
    """One conversation, for one run."""

    conversations: Conversations
    id: str
    owner: str
    characters: int
    """No more of the conversation is loaded than comes to so many: the largest window could not hold it."""
    viewer: Viewer | None = None
    """Whose eyes the run looks with."""
    context: str = ""
    """The one that the caller has chosen; empty where the pipeline's sources are its own."""
    replaces: str | None = None
    """The run whose turn this one's takes the place of; its conversations are versioned."""
    files: tuple[str, ...] = ()
    """The names of those that the question is about."""
    _recalled: RecalledHistory | None = field(default=None, init=False)
    """What may be seen can change while the run goes on: what it was made of does not."""

    async def recall(self, state: State, left_s: float | None = None) -> State:
        """Return the state with what was said so far; raises StoreError, DeadlineError after `left_s`."""
        try:
            async with asyncio.timeout(left_s):
                found = tuple(await self._history())
        except NexusError:
            raise
        except Exception as error:
            if left_s is not None and isinstance(error, TimeoutError):
                raise DeadlineError("the caller's time was up before the conversation had been read") from error
            raise self._failed("read", error) from error
        if not all(isinstance(message, Message) for message in found):
            raise StoreError(f"the history of conversation {self.id!r} must be made of messages")
        return evolve(state, history=found)

    async def _history(self) -> Sequence[Message]:
        if isinstance(self.conversations, VersionedConversations):
            self._recalled = await self.conversations.history_before(
                self.viewer, self.id, self.replaces, owner=self.owner, characters=self.characters
            )
            return self._recalled.messages
        if isinstance(self.conversations, GuardedConversations):
            return await self.conversations.history_for(
                self.viewer, self.id, owner=self.owner, characters=self.characters
            )
        return await self.conversations.history(self.id, owner=self.owner, characters=self.characters)

    async def keep(self, answer: Answer) -> None:
        """Keep the turn of a whole answer; raises StoreError with the answer.

        The caller's time is no limit here: the answer is there, and what is lost then is lost for good.
        """
        try:
            await self._add(answer)
        except StoreError as error:
            error.answer = answer
            raise
        except Exception as error:
            failed = self._failed("written", error)
            failed.answer = answer
            raise failed from error

    def _add(self, answer: Answer) -> Awaitable[int]:
        kept = self.conversations
        if not isinstance(kept, GuardedConversations):
            return kept.add(
                self.id, query=answer.query, answer=answer.text, model=answer.model, run_id=answer.id, owner=self.owner
            )
        keep = partial(kept.add_turn, self.viewer, self.id)
        if isinstance(kept, VersionedConversations):
            keep = partial(kept.replace_turn, self.viewer, self.id, self.replaces, recalled=self._recalled)
            if self.files:  # those without are kept also where nobody knows of files
                keep = partial(keep, files=self.files)
        return keep(
            query=answer.query,
            answer=answer.text,
            model=answer.model,
            run_id=answer.id,
            owner=self.owner,
            contexts=tuple(dict.fromkeys([*filter(None, [self.context]), *answer.contexts])),
            items=answer.prompt.items,
        )

    def _failed(self, done: str, error: Exception) -> StoreError:
        return StoreError(f"conversation {self.id!r} could not be {done}: {describe_error(error)}")
