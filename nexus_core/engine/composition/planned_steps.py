"""Planned steps: steps with their modifiers, and the fold over them.

A choose step is no stage of its own: the steps of the branch that it chooses are put before those that follow it, so
that the fold goes on over one row of steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from time import perf_counter, time
from typing import TypeVar

from attrs import frozen

from nexus_core.contract.errors import DeadlineError, RunError, StepTimeoutError
from nexus_core.contract.events import StepFinished
from nexus_core.contract.values import Chunk
from nexus_core.engine.state import Scope, State
from nexus_core.engine.steps import Generate, MakeDraft, Step
from nexus_core.toolkit.templates.template import Expression

T = TypeVar("T")


@frozen(kw_only=True, eq=False, repr=False)
class PlannedStep:
    """A step with its modifiers."""

    index: int
    """Of the step of its pipeline that it is, or stands in."""
    path: str
    """Where it stands in its pipeline: `steps[2]`, `steps[2].choose[0].steps[1]`."""
    verb: str
    step: Step | Choose
    when: Expression | None = None
    timeout_s: float | None = None

    @property
    def label(self) -> str:
        """The step as messages name it: `steps[2] (prompt)`."""
        return f"{self.path} ({self.verb})"

    def is_skipped(self, state: State) -> bool:
        """Tell whether the step's `when` is there and false."""
        return self.when is not None and not self.when.evaluate(state.variables(self.when.variables))


@frozen(kw_only=True, eq=False, repr=False)
class Branch:
    """Steps, and when they run."""

    when: Expression | None
    """`None` holds always."""
    steps: tuple[PlannedStep, ...]


@frozen(eq=False, repr=False)
class Choose:
    """Chooses the first branch whose condition holds."""

    branches: tuple[Branch, ...]

    def choose(self, state: State, scope: Scope) -> tuple[PlannedStep, ...]:
        """Return the steps that are to run now; none where no condition holds."""
        for number, branch in enumerate(self.branches):
            if branch.when is None or branch.when.evaluate(state.variables(branch.when.variables)):
                scope.note(f"chose branch {number}")
                return branch.steps
        scope.note("no branch was chosen: no condition holds")
        return ()


async def run_steps(steps: Sequence[PlannedStep], state: State, scope: Scope) -> State:
    """Return the state after the last step; raises the error of the step that failed."""
    ahead, tells = [*reversed(steps)], scope.tells_steps
    while ahead:
        planned = ahead.pop()
        step, began = planned.step, perf_counter() if tells else 0.0
        skipped = planned.when is not None and planned.is_skipped(state)
        if not skipped:
            if isinstance(step, Choose):
                ahead += reversed(step.choose(state, scope))
            else:
                state = await execute(planned, step, state, scope)
        if tells:
            tell_step(planned, state, scope, perf_counter() - began, skipped=skipped)
    return state


def tell_step(planned: PlannedStep, state: State, scope: Scope, duration_s: float, *, skipped: bool) -> None:
    """Tell that a step is done."""
    place = scope.place(planned.index, planned.path)
    scope.emit(
        StepFinished(
            run_id=scope.run_id,
            time=time(),
            step=place.index,
            path=place.path,
            verb=planned.verb,
            skipped=skipped,
            duration_s=duration_s,
            items=len(state.ranking.items),
            notes=scope.take_notes(),
        )
    )


def execute(planned: PlannedStep, step: Step, state: State, scope: Scope) -> Awaitable[State]:
    """Return what to await for the next state: the step, held to its timeout and to the caller's time."""
    if planned.timeout_s is None and scope.ends_at is None:
        return step(state, scope)
    # The attempts of a call hold to the caller's time by themselves, and say in the ledger that it was up. A draft
    # waits for nothing.
    left_s = None if isinstance(step, Generate | MakeDraft) else scope.left_s()
    return hold(planned, step(state, scope), left_s)


def hold(planned: PlannedStep, work: Awaitable[T], left_s: float | None) -> Awaitable[T]:
    """Return what to await for some work of a step, held to its timeout and to what is left of the caller's time."""
    return work if planned.timeout_s is None and left_s is None else _within(planned, work, left_s)


async def _within(planned: PlannedStep, work: Awaitable[T], left_s: float | None) -> T:
    seconds = min(limit for limit in (planned.timeout_s, left_s) if limit is not None)
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        if seconds == planned.timeout_s:
            raise _timed_out(planned) from error
        raise DeadlineError(f"{planned.label} did not end within the time that the caller gave the run") from error


async def stream_step(
    planned: PlannedStep, step: Generate, state: State, scope: Scope
) -> AsyncIterator[str | Chunk | State]:
    """Yield a streamed step's parts.

    The timeout stands around each wait for the next part and never around a `yield`: there it would fire inside the
    reader.
    """
    deadline = None if planned.timeout_s is None else asyncio.get_running_loop().time() + planned.timeout_s
    async with aclosing(step.stream(state, scope)) as parts:  # type: ignore[type-var]
        if deadline is None:
            async for part in parts:
                yield part
            return
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise _timed_out(planned) from error
            yield part


def _timed_out(planned: PlannedStep) -> RunError:
    return StepTimeoutError(f"{planned.label} took longer than its timeout of {planned.timeout_s:g} s")
