"""Steps side by side: the time of the slowest, and the result of the same steps one after the other."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from attrs import evolve, frozen

from nexus_core.engine.composition.planned_steps import PlannedStep, hold, tell_step
from nexus_core.engine.plugin_guard import watch_task
from nexus_core.engine.state import Scope, State
from nexus_core.engine.steps import Gather, Rank
from nexus_core.toolkit.timers import run_all


@frozen(kw_only=True, eq=False, repr=False)
class _Part:
    """One of the steps, and what it has found."""

    planned: PlannedStep
    scope: Scope
    """With notes of its own."""
    duration_s: float = 0.0
    found: Any = None
    """As `find` of its step returns it; `None` where it was skipped."""


@frozen(eq=False, repr=False)
class Together:
    """Gathers from several sources, or ranks with several rankers, at the same time."""

    parts: tuple[PlannedStep, ...]

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the state with what all of them found, joined in their order, whichever was done first.

        All see the state as it is now. The first that fails ends the others, and its error is raised.
        """
        before = state
        for part in await run_all([_find(planned, before, evolve(scope, notes=[])) for planned in self.parts]):
            if part.found is not None:
                state = _join(part, before, state)
            if scope.tells_steps:
                tell_step(part.planned, state, part.scope, part.duration_s, skipped=part.found is None)
        return state


async def _find(planned: PlannedStep, state: State, scope: Scope) -> _Part:
    step = planned.step
    if planned.is_skipped(state) or not isinstance(step, Gather | Rank):
        return _Part(planned=planned, scope=scope)
    watch_task()
    began = perf_counter()
    found = await hold(planned, step.find(state, scope), scope.left_s())
    return _Part(planned=planned, scope=scope, duration_s=perf_counter() - began, found=found)


def _join(part: _Part, before: State, state: State) -> State:
    """Return the state with what one step found; `before` is the one that it saw."""
    match part.planned.step:
        case Gather() as gather:
            items, searched = part.found
            return gather.add(state, items, state.searched if searched == before.searched else searched)
        case Rank() as rank:
            alone = state.ranking is before.ranking
            return rank.apply(state, part.found if alone else state.ranking.joined(part.found))
    return state
