"""The fold: a run's steps, one after the other, and the events that leave at each point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import perf_counter, time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import field, frozen

from nexus_core.contract.answers import Answer, AttemptFinished, Event, ToolFinished, sum_costs
from nexus_core.contract.errors import ConnectorError, NexusError, RunError
from nexus_core.contract.events import Delta, PromptPacked, RunFailed, RunFinished, RunStarted, StreamRestarted
from nexus_core.contract.values import Chunk, Usage
from nexus_core.engine.calls.text_buffer import TextBuffer
from nexus_core.engine.composition.planned_steps import (
    Choose,
    PlannedStep,
    execute,
    run_steps,
    stream_step,
    tell_step,
)
from nexus_core.engine.plugin_guard import watch_task
from nexus_core.engine.sinks import Fanout
from nexus_core.engine.state import PipelineCaller, Scope, State
from nexus_core.engine.steps import Generate

if TYPE_CHECKING:
    from nexus_core.engine.conversation_memory import ConversationMemory
    from nexus_core.engine.query_rewriting import QueryRewriter

Listener = Callable[[Event], None]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Request:
    """What a caller asks of a pipeline."""

    scope: Scope
    """What the steps see of the run: of one run, which is heard from its beginning on."""
    state: State
    """Before the first step."""
    deadline_s: float | None = None
    """How long the run may take, calls included."""
    memory: ConversationMemory | None = None
    """What was said in the conversation that the run belongs to."""


@frozen(kw_only=True, eq=False, repr=False)
class Runner:
    """Executes the steps of one pipeline; gets all it needs as arguments."""

    pipeline: str
    steps: Sequence[PlannedStep]
    fanout: Fanout
    following: QueryRewriter | None = None
    """Finds what is searched for where a question follows others."""
    content: bool
    """Whether sinks see queries and answers."""
    calling: PipelineCaller | None = None
    """Runs the pipelines that this one calls."""

    async def answer(self, request: Request, on_event: Listener | None = None) -> Answer | None:
        """Return the whole answer, or `None` if no generate step ran; raises the error of the step that failed."""
        watch_task()
        listens = on_event is not None
        is_heard, tells_steps = listens or bool(self.fanout.queues), listens or self.fanout.hears_steps
        state, scope = request.state, request.scope
        run = _Run(runner=self, run_id=scope.run_id, on_event=on_event, is_heard=is_heard)
        with run.of(request, tells_steps=tells_steps):
            if request.memory is not None:
                state = await request.memory.recall(state, scope.left_s())
            if self.following is not None and state.history:
                state = await self.following(state, scope)
            state = await run_steps(self.steps, state, scope)
            answer = run.answer(state, scope)
            if request.memory is not None and answer is not None:
                await request.memory.keep(answer)
            return run.finish(answer)

    async def events(self, request: Request, on_event: Listener | None = None) -> AsyncGenerator[Event, None]:
        """Yield the events of one run as they happen; the last one is RunFinished or RunFailed.

        Closing the generator early cancels the run and closes its upstream.
        """
        watch_task()
        unread: list[Event] = []
        state, scope = request.state, request.scope
        run = _Run(runner=self, run_id=scope.run_id, unread=unread, on_event=on_event, is_heard=True)
        try:
            with run.of(request, tells_steps=True):
                if request.memory is not None:
                    state = await request.memory.recall(state, scope.left_s())
                if self.following is not None and state.history:
                    state = await self.following(state, scope)
                ahead = [*reversed(self.steps)]
                while ahead:
                    planned = ahead.pop()
                    began = perf_counter()
                    skipped, step = planned.is_skipped(state), planned.step
                    if not skipped and isinstance(step, Generate) and step.last:
                        async with aclosing(stream_step(planned, step, state, scope)) as parts:  # type: ignore[type-var]
                            async for part in parts:
                                while unread:
                                    yield unread.pop(0)
                                if isinstance(part, str):
                                    if part:
                                        run.parts.append(part)
                                        yield Delta(run_id=scope.run_id, time=time(), text=part)
                                elif isinstance(part, Chunk):
                                    yield run.delta(part)
                                else:
                                    state = part
                    elif not skipped and isinstance(step, Choose):
                        ahead += reversed(step.choose(state, scope))
                    elif not skipped:
                        state = await execute(planned, step, state, scope)  # type: ignore[arg-type]  # no Choose
                    tell_step(planned, state, scope, perf_counter() - began, skipped=skipped)
                    while unread:
                        yield unread.pop(0)
                answer = run.answer(state, scope)
                if request.memory is not None and answer is not None:
                    await request.memory.keep(answer)
                run.finish(answer)
        except NexusError as error:
            unread.append(run.failed(error, partial=run.parts.text() or None, error=error))
            run.parts.clear()
        else:
            unread.append(run.finished(answer, content=None, answer=answer))
        # Not kept here: the error's traceback holds this frame, and the two would hold each other until a collection.
        while unread:
            yield unread.pop(0)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class _Run:
    """One run in progress: what is noted of it beside the state. As a context manager it tells the sinks of its end."""

    runner: Runner
    run_id: str
    unread: list[Event] | None = None
    """Events for the reader of a stream."""
    on_event: Listener | None = None
    is_heard: bool
    """Whether somebody listens: where nobody does, only the rows of the ledger are made."""
    started: float = field(factory=perf_counter)
    attempts: list[AttemptFinished] = field(factory=list)
    tools: list[ToolFinished] = field(factory=list)
    parts: TextBuffer = field(factory=TextBuffer)
    """The text that a stream has shown so far."""

    def of(self, request: Request, *, tells_steps: bool) -> Self:
        """Begin to hear of a run; its scope is not kept, since the two would hold each other until a collection."""
        scope, limit = request.scope, request.deadline_s
        ends_at = None if limit is None else self.started + limit
        scope.begin(
            self.emit, is_heard=self.is_heard, tells_steps=tells_steps, ends_at=ends_at, calling=self.runner.calling
        )
        if self.is_heard:
            query = scope.query if self.runner.content else None
            name = self.runner.pipeline
            self.emit(RunStarted(run_id=self.run_id, time=time(), pipeline=name, content=query, trace=scope.trace))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, RunError):
            error.attempts = tuple(self.attempts)
        if error is not None:
            partial = self.parts.text() if self.runner.content and self.parts else None
            self.runner.fanout.put(self.failed(error, partial))

    def emit(self, event: Event) -> None:
        """Note an event for the reader and hand it to the sinks."""
        kind = type(event)
        if kind is AttemptFinished:
            self.attempts.append(event)  # type: ignore[arg-type]
        elif kind is StreamRestarted:
            self.parts.clear()
        elif kind is ToolFinished:
            self.tools.append(event)  # type: ignore[arg-type]
        if self.unread is not None:
            self.unread.append(event)
        if self.on_event is not None:
            self.on_event(event)
        if queues := self.runner.fanout.queues:
            if kind is PromptPacked:
                event = _without_prompt(event)
            for queue in queues:
                queue.put(event)

    def delta(self, chunk: Chunk) -> Delta:
        """Note the text of a chunk that holds more than text, and return it for the reader."""
        if chunk.text:
            self.parts.append(chunk.text)
        return Delta(
            run_id=self.run_id,
            time=time(),
            text=chunk.text,
            reasoning=chunk.reasoning,
            tool_calls=chunk.tool_calls,
        )

    def finish(self, answer: Answer | None) -> Answer | None:
        """Tell the sinks that the run is done, and return its answer."""
        if self.runner.fanout.queues:
            content = answer.text if answer and self.runner.content else None
            self.runner.fanout.put(self.finished(answer, content))
        return answer

    def finished(self, told: Answer | None, content: str | None, answer: Answer | None = None) -> RunFinished:
        """Return the last event of a good run, for the sinks (with `content`) or for the reader (with `answer`)."""
        usage = told.usage if told else Usage()
        return RunFinished(
            run_id=self.run_id,
            time=time(),
            duration_s=perf_counter() - self.started,
            model=told.model if told else None,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost=sum_costs(told.attempts)[0] if told else None,
            content=content,
            answer=answer,
        )

    def failed(self, why: BaseException, partial: str | None, error: NexusError | None = None) -> RunFailed:
        """Return the last event of a failed run, for the sinks or (with `error`) for the reader."""
        kind, message = _describe_failure(why)
        return RunFailed(
            run_id=self.run_id,
            time=time(),
            duration_s=perf_counter() - self.started,
            kind=kind,
            message=message,
            partial=partial,
            error=error,
        )

    def answer(self, state: State, asked: Scope) -> Answer | None:
        """Return the answer to what was asked, or `None` if no generate step ran."""
        answered = state.answered
        if answered is None:
            return None
        return Answer(
            id=asked.run_id,
            query=asked.query,
            text=answered.completion.text,
            finish_reason=answered.completion.finish_reason,
            model=answered.model.name,
            model_id=answered.completion.model or answered.model.info.id,
            usage=answered.completion.usage,
            reasoning=answered.completion.reasoning,
            tool_calls=answered.completion.tool_calls,
            duration_s=perf_counter() - self.started,
            prompt=answered.prompt,
            attempts=tuple(self.attempts),
            tools=tuple(self.tools),
            variables=state.vars,
            context_id=asked.context_id,
            conversation_id=asked.conversation_id,
            contexts=tuple(asked.contexts),
            native_finish_reason=answered.completion.native_finish_reason,
            has_value=(found := answered.structured) is not None,
            value=None if found is None else found.value,
            repaired=found is not None and found.repaired,
        )


def _describe_failure(why: BaseException) -> tuple[str, str]:
    """Return the kind and message of a failure as events tell them."""
    match why:
        case ConnectorError():
            return why.kind, str(why)
        case NexusError():
            return type(why).__name__, str(why)
        case GeneratorExit() | asyncio.CancelledError() | KeyboardInterrupt():
            return "cancelled", "the reader left before the end"
    return type(why).__name__, "an error inside ContextNexus"


def _without_prompt(event: Event) -> Event:
    """Return the event of a packed prompt as sinks get it; in each run, so without looking at its fields one by one."""
    told = object.__new__(PromptPacked)
    told.__dict__.update(event.__dict__, prompt=None)
    return told
