"""What a run would send, and why, without any call to a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import perf_counter, process_time

from attrs import define, evolve, field, frozen

from nexus_core.contract.answers import AttemptFinished, Event
from nexus_core.contract.errors import NotConfiguredError, PromptTooLongError, UsageError
from nexus_core.contract.events import QueryExpanded
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import CallOptions, Usage
from nexus_core.engine.calls.call import Call
from nexus_core.engine.calls.prompt_fitting import merge_options, pack_for, reserve
from nexus_core.engine.component_models import holds_model
from nexus_core.engine.composition.called_pipelines import CallPipeline, enter, result_of
from nexus_core.engine.composition.planned_steps import Choose, PlannedStep
from nexus_core.engine.composition.traversal import change_steps, inner_steps, without_expansion
from nexus_core.engine.models import Model
from nexus_core.engine.packing.message_tokens import (
    count_message_tokens,
    count_option_tokens,
    further_tokens,
    is_exact,
)
from nexus_core.engine.plan import Plan
from nexus_core.engine.plugin_guard import watch_task
from nexus_core.engine.query_rewriting import QueryRewriter
from nexus_core.engine.runner import Request
from nexus_core.engine.state import Scope, State
from nexus_core.engine.steps import Gather, Generate, Rank, Step, keep_variable
from nexus_core.toolkit.tokens.counter import token_counter


@frozen(kw_only=True, eq=False, repr=False)
class WindowPart:
    """A share of the window."""

    name: str
    """`instructions`, `question`, `attachments` (images, files), `tools` (definitions and schemas), `history`,
    `context`, `answer` (reserved) or `free`."""
    tokens: int
    at_most: bool = False
    """The service may count fewer: what nobody publishes, or cannot be read, is counted by a bound."""


@frozen(kw_only=True, eq=False, repr=False)
class ExplainedTarget:
    """One model of the chain, and the prompt it would get."""

    model: Model
    reserved: int
    prompt: Prompt | None
    problem: str = ""
    """Why this target would get no prompt."""

    @property
    def prompt_cost(self) -> float | None:
        """What the prompt costs to send, in US dollars, nothing of it cached; `None` where nobody knows the price."""
        prices = self.model.prices
        if self.prompt is None or prices is None:
            return None
        return prices.cost(Usage(prompt_tokens=self.prompt.tokens_at_most, completion_tokens=0))


@frozen(kw_only=True, eq=False, repr=False)
class Explanation:
    """The prompt of the answering step for the first target, where its tokens go, and the chain behind it."""

    pipeline: str
    query: str
    """As it reaches the prompt."""
    searched: str
    """What the items are searched and ranked by."""
    prompt: Prompt
    model: Model
    parts: tuple[WindowPart, ...]
    """They add up to the window."""
    targets: tuple[ExplainedTarget, ...]
    options: CallOptions
    exact: bool
    """Whether the counts are by the model's own encoding or approximate."""
    notes: tuple[str, ...] = ()
    """What could not be shown without a call."""


@frozen(kw_only=True, eq=False, repr=False)
class PreparedRun:
    """A run as far as the call that would give the answer: what is there to be packed, and for whom."""

    state: State
    call: Call | None
    """`None` where no generate step would run."""
    seconds: Mapping[str, float]
    """By verb, what the steps took."""
    notes: tuple[str, ...]
    attempts: tuple[AttemptFinished, ...] = ()
    """The requests that the steps made of models."""
    cpu_seconds: Mapping[str, float] = field(factory=dict)
    """By verb, the processor time of the process while the steps ran."""


async def explain(plan: Plan, request: Request) -> Explanation:
    """Run every step but the calls; raises what the steps raise, PromptTooLongError if no target's window is enough."""
    prepared = await prepare(plan, request, call_models=False)
    if prepared.call is None:
        raise UsageError(f"pipeline {plan.name!r} has no generate step that would run, so there is no prompt to show")
    return _explained(plan, prepared.call, prepared.state, prepared.notes)


async def prepare(plan: Plan, request: Request, *, call_models: bool) -> PreparedRun:
    """Run the steps before the answering call; those that ask a model ask it only if `call_models` is set.

    No sink hears of it. Raises what the steps raise.
    """
    watch_task()
    state = request.state
    rehearsal = _Rehearsal(plan=plan, call_models=call_models)
    scope = request.scope
    scope.begin(rehearsal.listen, calling=plan.calling)
    if request.memory is not None:
        state = await request.memory.recall(state)
    if plan.following is not None and state.history:
        state = await _followed(plan.following, state, scope, rehearsal.notes, call_models)
    state = await rehearsal.run(plan.steps, state, scope)
    return PreparedRun(
        state=state,
        call=rehearsal.call,
        seconds=rehearsal.seconds,
        notes=tuple(rehearsal.notes),
        attempts=tuple(rehearsal.attempts),
        cpu_seconds=rehearsal.cpu_seconds,
    )


async def warm_up(plan: Plan, request: Request) -> None:
    """Take a question as far as a run goes without asking a service, so that the first one finds all of it done.

    Sources are searched, items ranked and packed, encodings loaded; models that answer on this machine (`offline`)
    answer. Steps whose component has a model among its options are not run. Raises what the steps raise.
    """
    watch_task()
    rehearsal = _Rehearsal(plan=plan, call_models=False, asks_services=False)
    scope = request.scope
    scope.begin(rehearsal.listen, calling=plan.calling)
    await rehearsal.run(plan.steps, request.state, scope)
    if (call := rehearsal.call) is None:  # no step gives an answer
        return
    for model in call.chain:
        options = merge_options(model.options, call.options)
        with suppress(PromptTooLongError, NotConfiguredError):
            prompt = pack_for(model, call.draft, options)
            if "offline" in model.info.capabilities:
                await model.connector.send_prompt(prompt, options)


@define(kw_only=True, eq=False, repr=False)
class _Rehearsal:
    """The steps of a run up to the call that would give the answer."""

    plan: Plan
    call_models: bool
    asks_services: bool = True
    """Whether components ask the models among their options."""
    notes: list[str] = field(factory=list)
    attempts: list[AttemptFinished] = field(factory=list)
    seconds: dict[str, float] = field(factory=dict)
    cpu_seconds: dict[str, float] = field(factory=dict)
    call: Call | None = None

    def listen(self, event: Event) -> None:
        """Note an event of a step."""
        if isinstance(event, AttemptFinished):
            self.attempts.append(event)
        elif isinstance(event, QueryExpanded) and event.failure is not None:
            self.notes.append(f"{event.path} (gather) searched for the question alone: {event.failure}")

    async def run(self, steps: Sequence[PlannedStep], state: State, scope: Scope) -> State:
        """Return the state after the last step, or before the one that would give the answer."""
        ahead = [*reversed(steps)]
        while ahead and self.call is None:
            planned = ahead.pop()
            label = f"{scope.place(planned.index, planned.path).path} ({planned.verb})"
            began, cpu_began = perf_counter(), process_time()
            if planned.is_skipped(state):
                self.notes.append(f"{label} is skipped: its `when` is false")
            elif isinstance(planned.step, Choose):
                ahead += reversed(planned.step.choose(state, scope))
                self.notes += [f"{label}: {note}" for note in scope.take_notes()]
            elif isinstance(planned.step, Generate) and planned.step.last:
                scope.take_notes()  # those of the steps before
                self.call = await planned.step.first_call(state, scope, connects=self.call_models)
                self.notes += [f"{label}: {note}" for note in scope.take_notes()]
                break
            else:
                state = await self._step(label, planned, planned.step, state, scope)
            self.seconds[planned.verb] = self.seconds.get(planned.verb, 0.0) + perf_counter() - began
            self.cpu_seconds[planned.verb] = self.cpu_seconds.get(planned.verb, 0.0) + process_time() - cpu_began
        return state

    async def _step(self, label: str, planned: PlannedStep, step: Step, state: State, scope: Scope) -> State:
        if self.call_models:
            return await step(state, scope)
        if not self.asks_services and any(_holds_model(inner.step) for inner in inner_steps([planned])):
            return state
        if isinstance(step, Generate):
            self.notes.append(f"{label} is not run: what follows is shown as if it had changed nothing")
            return _not_run(step.keep_as, evolve(state, draft=None))
        if isinstance(step, CallPipeline):
            return await self._called(label, step, state, scope)
        for inner in inner_steps([planned]):
            if isinstance(inner.step, Gather) and _asks_model(inner.step):
                path = scope.place(inner.index, inner.path).path
                message = "is not expanded: a run asks a model what to search for besides the question"
                self.notes.append(f"{path} ({inner.verb}) {message}")
                (planned,) = change_steps([planned], without_expansion)
        return state if isinstance(planned.step, Choose) else await planned.step(state, scope)

    async def _called(self, label: str, step: CallPipeline, state: State, scope: Scope) -> State:
        """Return the state with the items of another pipeline; its answer would need a model."""
        if step.take == "answer":
            self.notes.append(f"{label} is not run: what follows is shown as if it had changed nothing")
            return _not_run(step.keep_as, state)
        called = self.plan.called.plans[step.pipeline.path]
        inner = enter(called, evolve(scope, calls_from=scope.place(step.index, f"{step.path}.call")))
        begun = called.begin(*step.resolve(state))
        return step.add(state, result_of(called, await self.run(called.steps_for("items"), begun, inner), "items"))


def _holds_model(step: object) -> bool:
    part = step.source if isinstance(step, Gather) else step.ranker if isinstance(step, Rank) else None
    return part is not None and holds_model(part)


def _asks_model(step: Gather) -> bool:
    return step.expander is not None and step.expander.asks_model


async def _followed(following: QueryRewriter, state: State, scope: Scope, notes: list[str], call_models: bool) -> State:
    model = following.rewriter(scope)
    if call_models or model is None:
        return await following(state, scope)
    notes.append(
        f"a run asks {model.name} to rewrite the question for the search; what is shown is searched for with the words "
        "of earlier questions, as where that fails"
    )
    return following.by_words(state)


def _not_run(keep_as: str | None, state: State) -> State:
    return keep_variable(state, keep_as, lambda: "(the model's answer)")


def _explained(plan: Plan, call: Call, state: State, notes: Sequence[str]) -> Explanation:
    targets = [_target(model, call) for model in call.chain]
    shown = next((target for target in targets if target.prompt is not None), None)
    if shown is None or shown.prompt is None:
        first = call.chain[0]
        pack_for(first, call.draft, merge_options(first.options, call.options), exact=True)  # raises, with the figures
        raise PromptTooLongError("no target has a window for this prompt", over=1)
    options = merge_options(shown.model.options, call.options)
    return Explanation(
        pipeline=plan.name,
        query=state.query,
        searched=state.search,
        prompt=shown.prompt,
        model=shown.model,
        parts=_parts(shown.prompt, shown.model, state, options),
        targets=tuple(targets),
        options=options,
        exact=token_counter(shown.model.info.encoding).exact and shown.prompt.prompt_tokens is not None,
        notes=tuple(notes),
    )


def _target(model: Model, call: Call) -> ExplainedTarget:
    options = merge_options(model.options, call.options)
    reserved = reserve(model.info, options)
    try:
        prompt = pack_for(model, call.draft, options, exact=True)
    except (PromptTooLongError, NotConfiguredError) as error:
        return ExplainedTarget(model=model, reserved=reserved, prompt=None, problem=str(error))
    return ExplainedTarget(model=model, reserved=reserved, prompt=prompt)


_SELDOM = ("attachments", "tools")
"""Parts of the window that are told of only where they are there."""


def _parts(prompt: Prompt, model: Model, state: State, options: CallOptions) -> tuple[WindowPart, ...]:
    count = token_counter(model.info.encoding).count
    kept = state.history[len(state.history) - prompt.history_kept :]
    info = model.info
    history = sum(count_message_tokens(message, info, count) for message in kept)
    tools = count_option_tokens(info, options, count)
    attached = sum(further_tokens(message, info, count) for message in prompt.messages)
    attached -= sum(further_tokens(message, info, count) for message in kept)
    context = prompt.context_tokens or 0
    total = prompt.prompt_tokens or prompt.tokens_at_most
    rest = total - context - history - tools - attached
    question = min(count(prompt.query), rest)
    sizes = {
        "instructions": rest - question,
        "question": question,
        "attachments": attached,
        "tools": tools,
        "history": history,
        "context": context,
        "answer": prompt.reserved,
        "free": prompt.window - total - prompt.reserved,
    }
    bounds = {"tools"} if all(is_exact(message, info) for message in prompt.messages) else {"tools", "attachments"}
    return tuple(
        WindowPart(name=name, tokens=tokens, at_most=name in bounds)
        for name, tokens in sizes.items()
        if tokens or name not in _SELDOM
    )
