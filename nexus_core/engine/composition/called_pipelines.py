"""Called pipelines: other pipelines that a run calls, by a step or by a tool, for the same caller.

What they ask models for are calls of the run: rows of its ledger, within its time and its cap of requests. They have
the models, with their policies, of their own file; sinks, history, attachments and what the caller says of models are
the outer run's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, field, frozen

from nexus_core.config.spec import InputSpec
from nexus_core.config.steps.called_pipelines import DEEPEST
from nexus_core.contract.answers import CITATION
from nexus_core.contract.errors import RunError, UsageError
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.run_context import CallablePipeline, PipelineInput, PipelineResult
from nexus_core.engine.calls.call import allow_run
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.composition.planned_steps import PlannedStep, run_steps
from nexus_core.engine.models import ModelRegistry
from nexus_core.engine.state import Scope, State, describe
from nexus_core.engine.steps import Merger, keep_variable
from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.templates.template import Expression

_CITED = re.compile(rf"(?<![^\S\n])[^\S\n]*{CITATION.pattern}")  # from the first blank on: each is looked at once


@frozen(kw_only=True, eq=False, repr=False)
class CalledPlan:
    """A pipeline that is called, with its parts built."""

    name: str
    inputs: tuple[InputSpec, ...]
    files: tuple[Path, ...]
    steps: tuple[PlannedStep, ...]
    finding: int
    """How many of the steps run where only the items are wanted: nobody asks for an answer then."""
    registry: ModelRegistry
    """Its models are called `NAME/MODEL`, so that the ledger tells them from those of other pipelines."""
    attempts: Caller

    def begin(self, query: str, inputs: Mapping[str, Any]) -> State:
        """Return the state that it begins with; raises UsageError for an empty query or wrong inputs."""
        if not query.strip():
            raise UsageError(f"the query for pipeline {self.name!r} is empty")
        return State(query=query, inputs=complete_inputs(self.name, self.inputs, inputs))

    def steps_for(self, take: str) -> tuple[PlannedStep, ...]:
        """Return the steps that run for the answer, or for the items."""
        return self.steps if take == "answer" else self.steps[: self.finding]


@frozen(eq=False, repr=False)
class CalledPlans:
    """The other pipelines of a plan, those included that they call in their turn."""

    plans: Mapping[str, CalledPlan] = field(factory=dict)
    """By the path of their file."""

    async def __call__(
        self, scope: Scope, pipeline: CallablePipeline, query: str, inputs: Mapping[str, Any], take: str
    ) -> PipelineResult:
        """Run one of them within a run, and return what came of it."""
        plan = self.plans.get(pipeline.path)
        if plan is None:
            raise RunError(f"pipeline {pipeline.name!r} is none that this one calls: name its file in an option")
        inner = enter(plan, scope)
        return result_of(plan, await run_steps(plan.steps_for(take), plan.begin(query, inputs), inner), take)


def enter(plan: CalledPlan, scope: Scope) -> Scope:
    """Return what the steps of a pipeline see that is called within a run; raises RunError where it is too deep.

    Its own cap of requests holds beside those of the pipelines that have called it.
    """
    if scope.depth >= DEEPEST:
        raise RunError(f"pipelines call each other more than {DEEPEST} deep")
    return evolve(
        scope,
        depth=scope.depth + 1,
        tells_steps=scope.tells_steps and scope.calls_from is not None,
        called_at=scope.calls_from or scope.called_at,
        calls_from=None,
        searching=None,
        notes=[],
        allowance=allow_run(plan.name, plan.attempts.policy, scope.allowance),
    )


def result_of(plan: CalledPlan, state: State, take: str) -> PipelineResult:
    """Return what came of the steps; raises UsageError where the answer is wanted and there is none."""
    if take == "items":
        return PipelineResult(ranking=state.ranking)
    answered = state.answered
    if answered is None:
        raise UsageError(f"pipeline {plan.name!r} has no generate step that ran, so it has no answer")
    structured = answered.structured
    text = answered.completion.text
    return PipelineResult(
        text=_without_citations(text, answered.prompt.items) if structured is None else text,
        value=None if structured is None else structured.value,
        has_value=structured is not None,
        ranking=state.ranking,
    )


def _without_citations(text: str, items: Sequence[PackedItem]) -> str:
    """Return an answer without citations: their numbers would be read as those of another prompt's items."""
    numbers = {item.number for item in items}
    return _CITED.sub(lambda found: "" if int(found[1]) in numbers else found[0], text)


@frozen(kw_only=True, eq=False, repr=False)
class CallPipeline:
    """Runs another pipeline, and takes its answer or its items."""

    pipeline: CallablePipeline
    index: int
    path: str
    query: Expression | None = None
    """`None` is the query as it is."""
    inputs: Mapping[str, Any] = field(factory=dict)
    """An Expression is evaluated for each run."""
    take: Literal["answer", "items"] = "answer"
    keep_as: str | None = None
    merger: Merger = field(factory=Merger)

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the state with the answer as a variable, or with the items added."""
        at = evolve(scope, calls_from=scope.place(self.index, f"{self.path}.call"))
        query, inputs = self.resolve(state)
        return self.add(state, await at.call_pipeline(self.pipeline, query, inputs, take=self.take))

    def resolve(self, state: State) -> tuple[str, Mapping[str, Any]]:
        """Return the query and the inputs of the call."""
        query = state.query if self.query is None else str(evaluate(self.query, state))
        return query, {name: evaluate(value, state) for name, value in self.inputs.items()}

    def add(self, state: State, result: PipelineResult) -> State:
        """Return the state with what the pipeline gave."""
        if self.take == "answer":
            return keep_variable(state, self.keep_as, lambda: result.value if result.has_value else result.text)
        ranking = self.merger.add(state.ranking, result.ranking)
        return keep_variable(evolve(state, ranking=ranking), self.keep_as, lambda: describe(ranking))


def evaluate(value: Any, state: State) -> Any:
    """Return a value, that of an expression for a state."""
    return value.evaluate(state.variables(value.variables)) if isinstance(value, Expression) else value


def complete_inputs(name: str, specs: Sequence[InputSpec], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs of a run of a pipeline, defaults included; raises UsageError for unknown and missing ones."""
    if not specs and not given:
        return given
    declared = {spec.name: spec for spec in specs}
    for key in given:
        if key not in declared:
            known = listed(sorted(declared)) or "none"
            raise UsageError(f"pipeline {name!r} has no input {key!r}{did_you_mean(key, declared)}; declared: {known}")
    missing = [key for key, spec in declared.items() if spec.required and key not in given]
    if missing:
        raise UsageError(f"pipeline {name!r} needs the input {listed(missing)}")
    return {key: given.get(key, spec.default) for key, spec in declared.items()}


def callable_pipeline(path: str, name: str, description: str, inputs: Sequence[InputSpec]) -> CallablePipeline:
    """Return what components see of a pipeline that they may call."""
    return CallablePipeline(
        path=path,
        name=name,
        description=description,
        inputs=declared_inputs(inputs),
    )


def declared_inputs(specs: Sequence[InputSpec]) -> tuple[PipelineInput, ...]:
    """Return the inputs of a pipeline as others see them."""
    return tuple(
        PipelineInput(name=spec.name, description=spec.description, default=spec.default, required=spec.required)
        for spec in specs
    )
