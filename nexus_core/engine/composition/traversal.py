"""Walks over the steps of a plan, those within others included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import evolve, frozen

from nexus_core.config.spec import ChooseSpec, GenerateSpec, StepSpec
from nexus_core.contract.protocols import Source
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.composition.called_pipelines import CallPipeline
from nexus_core.engine.composition.planned_steps import Choose, PlannedStep, run_steps
from nexus_core.engine.composition.together import Together
from nexus_core.engine.state import Scope, State
from nexus_core.engine.steps import Gather, Rank

Change = Callable[[PlannedStep], PlannedStep | None]


def inner_steps(steps: Iterable[PlannedStep]) -> Iterator[PlannedStep]:
    """Yield steps and those within them, in the order of the file; not those of pipelines that are called."""
    for planned in steps:
        yield planned
        match planned.step:
            case Choose(branches=branches):
                for branch in branches:
                    yield from inner_steps(branch.steps)
            case Together(parts=parts):
                yield from parts


def change_steps(steps: Iterable[PlannedStep], change: Change) -> tuple[PlannedStep, ...]:
    """Return steps, each as `change` returns it or left out; of those that hold others these are changed first."""
    changed = (change(_with_changed(planned, change)) for planned in steps)
    return tuple(planned for planned in changed if planned is not None)


def _with_changed(planned: PlannedStep, change: Change) -> PlannedStep:
    match planned.step:
        case Choose(branches=branches):
            changed = [evolve(branch, steps=change_steps(branch.steps, change)) for branch in branches]
            return evolve(planned, step=Choose(tuple(changed)))
        case Together(parts=parts):
            return evolve(planned, step=Together(change_steps(parts, change)))
    return planned


def last_generates(steps: Sequence[StepSpec], *, follows: bool = False) -> frozenset[str]:
    """Return the paths of the generate steps after which none can come: each gives the answer of its way.

    `follows` says whether a generate may come after these steps.
    """
    found = frozenset[str]()
    for step in reversed(steps):
        if isinstance(step, ChooseSpec):
            ways = [last_generates(branch.steps, follows=follows) for branch in step.branches]
            found = found.union(*ways)
            follows = follows or any(ways)
        elif isinstance(step, GenerateSpec):
            found = found if follows else found | {step.path}
            follows = True
    return found


@frozen(eq=False, repr=False)
class StepSearch:
    """What a tool searches with: the steps before a generate step that find items, for words of the tool's own."""

    steps: tuple[PlannedStep, ...]

    @classmethod
    def of(cls, before: Sequence[PlannedStep]) -> StepSearch | None:
        """Return the search by some steps, `None` where they find nothing."""
        steps = finding_steps(before)
        return cls(change_steps(steps, without_expansion)) if steps else None

    async def __call__(self, state: State, scope: Scope, query: str) -> Ranking:
        """Return what the steps find for another query."""
        begun = State(query=query, inputs=state.inputs, vars=state.vars)
        return (await run_steps(self.steps, begun, evolve(scope, tells_steps=False))).ranking


def finding_steps(steps: Sequence[PlannedStep]) -> tuple[PlannedStep, ...]:
    """Return of steps those that gather and rank; choices between them are kept."""
    return change_steps(steps, lambda planned: planned if finds(planned) else None)


def finds(planned: PlannedStep) -> bool:
    """Tell whether a step, or one within it, gathers or ranks."""
    step = planned.step
    if isinstance(step, Choose):
        return any(finds(inner) for branch in step.branches for inner in branch.steps)
    return isinstance(step, Gather | Rank | Together) or (isinstance(step, CallPipeline) and step.take == "items")


def without_expansion(planned: PlannedStep) -> PlannedStep:
    """Return a step that searches for the question alone."""
    if isinstance(planned.step, Gather) and planned.step.expander is not None:
        return evolve(planned, step=evolve(planned.step, expander=None))
    return planned


def with_source(source: Source) -> Change:
    """Return the change by which each gather step gathers from this source; its `when` and `as` stay."""

    def change(planned: PlannedStep) -> PlannedStep:
        step = planned.step
        return evolve(planned, step=evolve(step, source=source)) if isinstance(step, Gather) else planned

    return change
