"""`Pipeline`: what users hold. Load it, open it, run it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import count
from math import inf
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from nexus_core.contract.answers import Answer, Event
from nexus_core.contract.components import injected_fields
from nexus_core.contract.errors import DeadlineError, NexusError, RankerError, UsageError
from nexus_core.contract.optional_protocols import ContextSource, EmbeddingRanker, TracingSink, VersionedConversations
from nexus_core.contract.protocols import AnswerCache, Conversations, Sink
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import Approve, PipelineInput, TraceContext, Viewer
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Item, Message, Part
from nexus_core.engine.calls.call import allow_run
from nexus_core.engine.component_models import check_vectors, find_embedding_ranker
from nexus_core.engine.composition.called_pipelines import complete_inputs, declared_inputs
from nexus_core.engine.composition.traversal import inner_steps
from nexus_core.engine.conversation_memory import CHARACTERS_PER_TOKEN, ConversationMemory
from nexus_core.engine.explain import explain, prepare, warm_up
from nexus_core.engine.interceptors import Interceptor
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import ModelRegistry
from nexus_core.engine.packing.message_order import check_attachments
from nexus_core.engine.plan import Plan, load_plan
from nexus_core.engine.plugin_guard import PluginGuard, watch_task
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.engine.runner import Request, Runner
from nexus_core.engine.sinks import Fanout
from nexus_core.engine.state import NO_ITEMS, Scope, State
from nexus_core.engine.steps import Gather, Generate, Rank
from nexus_core.toolkit.shared_resources import SharedResources

if TYPE_CHECKING:
    from nexus_core.engine.explain import Explanation, PreparedRun


class RunOptions(TypedDict, total=False):
    """What a caller may ask of a pipeline beside the query."""

    items: Sequence[Item]
    """There before the first step. With them no context need be named: then sources whose context the caller chooses
    are not asked."""
    history: Sequence[Message]
    """The conversation so far."""
    continuation: Sequence[Message]
    """What came after the query: calls of tools that the model asked for, and their results."""
    attachments: Sequence[Part]
    """Images and files that the query is about: they go into the prompt that is answered."""
    files: Sequence[str]
    """The names of the files that the query is about, which a conversation keeps with the turn."""
    inputs: Mapping[str, Any] | None
    """By the names that the pipeline declares."""
    model: str | None
    """For the step that gives the answer."""
    options: CallOptions | None
    """For that step, over those of the pipeline."""
    context_id: str | None
    """Of the context that is asked, for sources that name none of their own."""
    conversation_id: str | None
    """Of the conversation that goes on: its turns are the history, and a run's own turn is added to them."""
    replaces: str | None
    """The id of the run whose turn of that conversation is asked again: the turns before it are the history, and the
    new one takes its place once it is whole. UsageError where there is no such turn."""
    owner: str
    """Who asks, where there are several users: conversations and kept answers of others are not for them."""
    viewer: Viewer | None
    """Whose eyes the run looks with: what they may not see is not there; `None` sees all."""
    fresh: bool
    """Take no answer from a cache: models are asked, and what they answer is kept."""


class StreamOptions(RunOptions, total=False):
    """What a caller may ask of a run."""

    run_id: str | None
    """Ties together the events; by default one that nobody else has."""
    deadline_s: float | None
    """The most that the run may take: it shortens the deadlines of the pipeline's calls and never lengthens them."""
    approve: Approve | None
    """Asked before each call of a tool that changes something, those of called pipelines included. Without it, what the
    pipeline has under `allow` is called."""
    traceparent: str | None
    """W3C's header of the caller's trace, which goes on in the run where a sink traces it; what is malformed is not."""


class Pipeline:
    """A pipeline, ready to run; an async context manager that opens its sinks and closes whatever was opened.

    async with Pipeline.load("pipelines/qa.yaml") as pipeline:
        answer = await pipeline.run("How many days of leave do I have?")
    """

    def __init__(self, plan: Plan, conversations: Conversations | None = None) -> None:
        self._plan = plan
        self._conversations = conversations
        self._runner: Runner | None = None
        self._fanout = Fanout()
        self._tracing: TracingSink | None = None
        self._streams: set[AsyncGenerator[Event, None]] = set()
        """Those that have begun and not ended."""
        # A random prefix and a number: unique, and no system call for each run.
        self._ids = (f"{prefix}{number:08x}" for prefix in (token_hex(12),) for number in count())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        overrides: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        catalogue: PluginRegistry | None = None,
        shared: SharedResources | None = None,
        conversations: Conversations | None = None,
        interceptor: Interceptor | None = None,
        answers: AnswerCache | None = None,
    ) -> Pipeline:
        """Read and check a pipeline file; raises ConfigError with every problem found.

        `overrides` are texts such as `steps[2].prompt.budget=500`. Pipelines that are given one `shared` share the
        connections of the process. `conversations` remembers, such as `store.conversations` of an open store; it is
        needed by those who ask with a `conversation_id`. Every request of a connector goes through `interceptor`.
        `answers` keeps the answers of models with a `cache`, such as `store.answers`; without it they are asked each
        time, and a warning says so. Touches no network and opens no component.
        """
        known = catalogue if catalogue is not None else PluginRegistry.installed()
        variables = os.environ if environment is None else environment
        plan = load_plan(Path(path), known, variables, overrides, ComponentLifecycle(shared), interceptor, answers)
        return cls(plan, conversations)

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self._plan.name

    @property
    def files(self) -> tuple[Path, ...]:
        """What it was read from: its own file first, then plugin files and templates beside it."""
        return self._plan.files

    @property
    def models(self) -> ModelRegistry:
        """Its models, their figures, and the default that can be changed."""
        return self._plan.registry

    @property
    def description(self) -> str:
        """What it is for, by its author."""
        return self._plan.description

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that it declares."""
        return tuple(spec.name for spec in self._plan.inputs)

    @property
    def declared_inputs(self) -> tuple[PipelineInput, ...]:
        """The inputs that it declares, with their defaults."""
        return declared_inputs(self._plan.inputs)

    @property
    def history_characters(self) -> int:
        """More of a conversation than its newest turns that come to so many characters fits into no prompt."""
        return max((model.info.window for model in self.models.list()), default=0) * CHARACTERS_PER_TOKEN

    @property
    def takes_context(self) -> bool:
        """Whether the caller chooses the context: a source names none of its own."""
        return any(
            isinstance(step := planned.step, Gather)
            and isinstance(step.source, ContextSource)
            and step.source.takes_context
            for planned in self._plan.all_steps()
        )

    @property
    def named_model(self) -> str | None:
        """The model that the file names for the answer; `None` where it is the default, or not the same on each way."""
        named = {last.model for last in self._answering()}
        name = named.pop() if len(named) == 1 else None
        return None if name is None else self.models.get(name).name

    @property
    def takes_tools(self) -> bool:
        """Whether callers may offer tools to the model that gives the answer: the pipeline says so, and a model can."""
        return any(
            "tools" in model.info.capabilities
            for last in self._answering()
            if last.client_tools
            for model in self.models.chain(last.model)
        )

    @property
    def may_change(self) -> bool:
        """Whether a run may call a tool that changes something: it is under `allow`, here or in a called pipeline."""
        return any(
            isinstance(step := planned.step, Generate) and step.toolbox is not None and bool(step.toolbox.allow)
            for planned in self._plan.all_steps()
        )

    @property
    def embeds(self) -> bool:
        """Whether it has an embedder: one of its rankers, or of those within them, makes vectors."""
        return self._embedding_ranker() is not None

    def targets(self) -> Mapping[str, str]:
        """Return the state of each model's breaker: `closed`, `open`, `half_open`, or `parked` on purpose.

        A connector that is an option of a component stands there by its place, such as `steps[1].rank.model`; what
        belongs to a pipeline that is called has its name and `/` before it.
        """
        callers = [self._plan.attempts, *(called.attempts for called in self._plan.called.plans.values())]
        return {name: state for caller in callers for name, state in caller.states().items()}

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Its sinks, in the order of the file."""
        return tuple(sink for _, sink in self._plan.sinks)

    @property
    def dropped_events(self) -> Mapping[str, int]:
        """Per sink, how many events found its queue full; sinks of one name count together."""
        found: dict[str, int] = {}
        for queue in self._fanout.queues:
            found[queue.name] = found.get(queue.name, 0) + queue.dropped
        return found

    async def __aenter__(self) -> Self:
        """Open the sinks; models, sources and rankers are opened by the first run that needs them."""
        for sink in self.sinks:
            if "pipeline" in injected_fields(type(sink)):
                sink.pipeline = self  # type: ignore[attr-defined]  # it declares the field
        self._fanout = await self._plan.open_sinks()
        self._tracing = next((sink for sink in self.sinks if isinstance(sink, TracingSink)), None)
        self._runner = Runner(
            pipeline=self._plan.name,
            steps=self._plan.steps,
            fanout=self._fanout,
            following=self._plan.following,
            content=self._plan.content or self._fanout.content,
            calling=self._plan.calling,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the streams that nobody reads, let the sinks take what is queued and close everything that was opened."""
        self._runner = None
        try:
            if self._streams:
                await self._end_streams()
        finally:
            await self._plan.close(self._fanout)

    async def run(
        self, query: str, *, on_event: Callable[[Event], None] | None = None, **asked: Unpack[StreamOptions]
    ) -> Answer:
        """Return the whole answer; raises the error of the step that failed, whose `attempts` are those of the run.

        What else may be asked is in `RunOptions` and `StreamOptions`: `items`, `history`, `attachments`, `files`,
        `inputs`, `model`, `options`, `conversation_id`, `replaces`, `owner`, `viewer`, `run_id`, `deadline_s`,
        `approve`, `traceparent`. `on_event` is called with each event as it happens and must not block. Where a
        conversation could not be written, a StoreError carries the whole answer as `answer`.
        """
        answer = await self._opened().answer(self._request(query, **asked), on_event)
        if answer is None:
            raise UsageError(f"pipeline {self.name!r} has no generate step that ran, so it has no answer")
        return answer

    async def stream(
        self, query: str, *, on_event: Callable[[Event], None] | None = None, **asked: Unpack[StreamOptions]
    ) -> AsyncIterator[Event]:
        """Yield the events of a run as they happen, the answer's text in `Delta`s; asked for in the words of `run`.

        The last event is `RunFinished`, with the whole answer, or `RunFailed`: then what came before is not an answer.
        Nothing is read ahead of the consumer; leaving early (with `contextlib.aclosing`) closes the upstream at once.
        `on_event` hears of all but the deltas and the last event, also of those that come when the reader has left.
        """
        request = self._request(query, **asked)
        events = self._opened().events(request, on_event)
        self._streams.add(events)
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
            if events not in self._streams:
                raise UsageError(f"pipeline {self.name!r} was closed before this stream had come to its end")
        finally:
            self._streams.discard(events)

    def check(self, query: str, **asked: Unpack[RunOptions]) -> None:
        """Raise the UsageError that a run would be refused with, asked for in the words of `run`; nothing runs."""
        self._request(query, **asked)

    async def explain(self, query: str, **asked: Unpack[RunOptions]) -> Explanation:
        """Return what a run would send, and why, asking no model for an answer; asked for in the words of `run`."""
        request = self._request(query, **asked)
        return await explain(self._plan, request)

    async def prepare(self, query: str, **asked: Unpack[RunOptions]) -> PreparedRun:
        """Run every step before the answering call and return what would be packed, and for whom; no sink hears of it.

        A step before it that asks a model does ask it.
        """
        request = self._request(query, **asked)
        return await prepare(self._plan, request, call_models=True)

    async def warm_up(self, query: str, *, context_id: str | None = None) -> Sequence[NexusError]:
        """Do once what the first run would do besides, and return what failed: a run would tell of it, too.

        Opens connectors, sources and rankers, loads encodings and embedders, and takes the query as far as the answer
        without asking any service; see `nexus_core.engine.explain.warm_up`.
        """
        self._opened()
        problems = await self._plan.open_components()
        try:
            await warm_up(self._plan, self._request(query, context_id=context_id))
        except NexusError as error:
            problems.append(error)
        return problems

    async def embed(
        self,
        texts: Sequence[str],
        *,
        on_event: Callable[[Event], None] | None = None,
        owner: str = "",
        deadline_s: float | None = None,
    ) -> Sequence[Sequence[float]]:
        """Return a vector for each text by the embedder of the pipeline, which is that of its first ranker with one.

        Raises UsageError where it has none. Its requests are rows of the ledger, and belong to no run.
        """
        self._opened()
        watch_task()
        found = self._embedding_ranker()
        if found is None:
            raise UsageError(f"pipeline {self.name!r} has no embedder: give it a step such as `rank: semantic`")
        step, ranker = found

        def emit(event: Event) -> None:
            self._fanout.put(event)
            if on_event is not None:
                on_event(event)

        ends_at = None if deadline_s is None else perf_counter() + deadline_s
        scope = Scope(run_id=next(self._ids), owner=owner, ends_at=ends_at, emit=emit)
        try:
            async with asyncio.timeout(deadline_s):
                with PluginGuard(f"ranker {step.name!r}", RankerError):
                    await step.resources.open(step.ranker)
                    vectors = await ranker.embed_texts(texts, scope)
        except TimeoutError as error:
            raise DeadlineError("the vectors were not there within the time that the caller gave") from error
        return check_vectors(step.name, len(texts), vectors)

    def _embedding_ranker(self) -> tuple[Rank, EmbeddingRanker] | None:
        for planned in inner_steps(self._plan.steps):
            step = planned.step
            if isinstance(step, Rank) and (found := find_embedding_ranker(step.ranker)) is not None:
                return step, found
        return None

    async def _end_streams(self) -> None:
        """Close the streams that somebody holds and does not read, while the sinks still take their rows."""
        for _ in range(2):  # what was dropped is closed by tasks that the event loop has yet to make and to begin
            await asyncio.sleep(0)
        for events in tuple(self._streams):
            try:
                await events.aclose()
            except RuntimeError:  # somebody reads it in this very moment, and will hear from its connector
                continue
            self._streams.discard(events)

    def _opened(self) -> Runner:
        if self._runner is None:
            raise UsageError("the pipeline is not open: use `async with Pipeline.load(...) as pipeline`")
        return self._runner

    def _request(
        self,
        query: str,
        *,
        items: Sequence[Item] = (),
        history: Sequence[Message] = (),
        continuation: Sequence[Message] = (),
        attachments: Sequence[Part] = (),
        files: Sequence[str] = (),
        inputs: Mapping[str, Any] | None = None,
        model: str | None = None,
        options: CallOptions | None = None,
        run_id: str | None = None,
        deadline_s: float | None = None,
        context_id: str | None = None,
        conversation_id: str | None = None,
        replaces: str | None = None,
        owner: str = "",
        viewer: Viewer | None = None,
        fresh: bool = False,
        approve: Approve | None = None,
        traceparent: str | None = None,
    ) -> Request:
        if not query.strip():
            raise UsageError("the query is empty")
        if deadline_s is not None and not 0 < deadline_s < inf:
            raise UsageError(f"deadline_s is {deadline_s}: give a number of seconds above 0, or none")
        if model is not None:
            self.models.get(model)
        given = items if isinstance(items, tuple) else tuple(items)
        state = State(
            query=query,
            ranking=Ranking(self._plan.merger.merge((), given)) if given else NO_ITEMS,
            history=tuple(history),
            continuation=tuple(continuation),
            inputs=complete_inputs(self.name, self._plan.inputs, inputs or {}),
        )
        scope = Scope(
            run_id=run_id or next(self._ids),
            query=query,
            context_id=context_id,
            asks_items_alone=bool(given) and context_id is None,
            conversation_id=conversation_id,
            owner=owner,
            viewer=viewer,
            fresh=fresh,
            approve=approve,
            trace=self._tracing.begin_trace(TraceContext.parse(traceparent)) if self._tracing is not None else None,
            model=model,
            options=options or NOTHING_ASKED,
            attachments=self.check_attachments(tuple(attachments), model) if attachments else (),
            allowance=allow_run(self.name, self._plan.attempts.policy),
        )
        memory = self._open_conversation(conversation_id, owner, history, context_id, viewer, replaces, tuple(files))
        return Request(scope=scope, state=state, deadline_s=deadline_s, memory=memory)

    def check_attachments(self, attachments: tuple[Part, ...], model: str | None = None) -> tuple[Part, ...]:
        """Return attachments that a model of the answering step takes; raises UsageError where none does."""
        answering = self._answering()
        if not answering:
            raise UsageError(f"pipeline {self.name!r} has no generate step, so that nothing would read the attachments")
        chains = [self.models.chain(model or last.model) for last in answering]
        check_attachments(attachments, {each.name: each.info for chain in chains for each in chain})
        return attachments

    def _answering(self) -> list[Generate]:
        """Return the steps that give the answer: one, or one for each way that may be chosen."""
        steps = [planned.step for planned in inner_steps(self._plan.steps)]
        return [step for step in steps if isinstance(step, Generate) and step.last]

    def _open_conversation(
        self,
        id: str | None,
        owner: str,
        history: Sequence[Message],
        context_id: str | None,
        viewer: Viewer | None,
        replaces: str | None,
        files: tuple[str, ...],
    ) -> ConversationMemory | None:
        if id is None:
            if replaces is not None:
                raise UsageError("replaces is given without conversation_id: say which conversation the turn is of")
            return None
        if self._conversations is None:
            raise UsageError(
                "conversation_id needs a memory: use `Pipeline.load(..., conversations=store.conversations)` within "
                "`async with Store() as store`"
            )
        if history:
            raise UsageError("history and conversation_id are given, and the conversation is the history: give one")
        if replaces is not None and not isinstance(self._conversations, VersionedConversations):
            raise UsageError("replaces needs conversations that keep versions of turns, as those of a store do")
        context = context_id if context_id is not None and self.takes_context else ""
        return ConversationMemory(
            conversations=self._conversations,
            id=id,
            owner=owner,
            characters=self.history_characters,
            viewer=viewer,
            context=context,
            replaces=replaces,
            files=files,
        )
