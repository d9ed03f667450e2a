"""Chat session: one conversation of the store, answered by a pipeline that stays open between the questions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from datetime import datetime
from secrets import token_hex
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

from nexus_core.cli.chat.background_loop import BackgroundLoop
from nexus_core.contract.answers import Answer, Event
from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import Approve
from nexus_core.contract.values import Value
from nexus_core.engine.explain import Explanation
from nexus_core.engine.pipeline import Pipeline, RunOptions
from nexus_core.store.conversations.conversation import Turn
from nexus_core.store.store import Store


@frozen(eq=False, repr=False)
class LoadedPipeline(Value):
    """A pipeline that is not open yet, and the model that is asked; `None` is the pipeline's own."""

    pipeline: Pipeline
    model: str | None


_PAGE = 1000
Load = Callable[[Store, str | None], LoadedPipeline]
"""Loads the pipeline of a chat for a model, by the name that the user gives it."""


@define(eq=False, repr=False)
class ChatSession:
    """A chat: its questions and answers are turns of a conversation; a context manager."""

    load: Load
    context: str | None
    model: str | None
    """As the user named it."""
    conversation: str = ""
    """The id; a new one where it is empty."""
    last: Answer | None = None
    """The last whole answer of this session."""
    sources: dict[str, list[str]] = field(factory=dict)
    """By the id of a run, what its answer cites."""
    _store: Store = field(init=False, factory=Store)
    _loaded: LoadedPipeline = field(init=False)
    _loop: BackgroundLoop = field(init=False, factory=BackgroundLoop)
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack)
    _opened: AsyncExitStack = field(init=False, factory=AsyncExitStack)

    def __enter__(self) -> Self:
        """Open the store and the pipeline; raises what they raise."""
        self._loaded = self._load(self.model)
        self.conversation = self.conversation or new_id()
        self._loop.__enter__()
        try:
            self._loop.call(self._open())
        except BaseException:
            self._loop.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close both."""
        try:
            self._loop.call(self._close())
        finally:
            self._loop.__exit__(kind, error, traceback)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, open."""
        return self._loaded.pipeline

    @property
    def asked_model(self) -> str | None:
        """The model that is asked, as the pipeline names it; `None` is the one of its last step."""
        return self._loaded.model

    def ask(
        self, question: str, approve: Approve | None = None, replaces: str | None = None
    ) -> Generator[Event, None, None]:
        """Yield the events of a run; closing it early cancels that, and nothing of it is kept.

        `approve` asks before a tool changes something, in the thread of the loop. `replaces` is the id of the run whose
        turn is asked again: the answer takes its place, and is not one that a model's cache has.
        """
        options = self._options()
        if replaces is not None:
            options |= {"replaces": replaces, "fresh": True}
        return self._loop.iterate(self.pipeline.stream(question, approve=approve, **options))

    def explain(self, question: str) -> Explanation:
        """Return what would be sent with a question now; no model is asked for an answer."""
        return self._loop.call(self.pipeline.explain(question, **self._options()))

    def switch_model(self, name: str) -> None:
        """Ask this model from now on; raises UsageError and goes on with the one before where there is none such."""
        self._loop.call(self._switch(self._load(name)))
        self.model = name

    def begin_anew(self) -> None:
        """Begin another conversation; the one before stays in the store."""
        self.conversation, self.last = new_id(), None

    def turns(self) -> tuple[Turn, ...]:
        """Return the turns of the conversation so far."""
        return self._loop.call(self._turns())

    def last_changed(self) -> str:
        """Return the id of the conversation that was changed last; raises UsageError where there is none."""
        found = self._loop.call(self._store.conversations.list(limit=1))
        if not found:
            raise UsageError("there is no conversation yet: leave --continue out, and one begins")
        return found[0].id

    def _load(self, model: str | None) -> LoadedPipeline:
        loaded = self.load(self._store, model)
        if loaded.model is not None:
            loaded.pipeline.models.get(loaded.model)
        return loaded

    async def _open(self) -> None:
        try:
            await self._stack.enter_async_context(self._store)
            await self._opened.enter_async_context(self.pipeline)
        except BaseException:
            await self._close()
            raise

    async def _close(self) -> None:
        try:
            await self._opened.aclose()
        finally:
            await self._stack.aclose()

    async def _switch(self, loaded: LoadedPipeline) -> None:
        opened = AsyncExitStack()
        await opened.enter_async_context(loaded.pipeline)
        before, self._opened, self._loaded = self._opened, opened, loaded
        await before.aclose()

    async def _turns(self) -> tuple[Turn, ...]:
        found: tuple[Turn, ...] = ()
        try:
            while page := await self._store.conversations.turns(
                self.conversation, after=found[-1].number if found else 0, limit=_PAGE
            ):
                found += page
        except UsageError:  # it begins with its first turn
            return ()
        return found

    def _options(self) -> RunOptions:
        return {"model": self.asked_model, "conversation_id": self.conversation, "context_id": self.context}


def new_id() -> str:
    """Return the id of a new conversation: its day, and what nobody else has."""
    return f"chat-{datetime.now().astimezone():%Y-%m-%d}-{token_hex(4)}"
