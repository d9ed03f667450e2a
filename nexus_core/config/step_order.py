"""Orders of steps in which some step could have no effect."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

from nexus_core.config.yaml.problems import Problems, SourceLocation
from nexus_core.config.yaml.tree import Node


@frozen(kw_only=True, eq=False, repr=False)
class StepOrder:
    """Of a step only what its neighbours need to know."""

    index: int
    verb: str
    place: SourceLocation
    conditional: bool = False
    """It has a `when`, so it may not run."""
    kept: bool = False
    """It has an `as`, so its result is of use whatever follows."""
    into_query: bool = False

    @property
    def label(self) -> str:
        """The step as messages name it."""
        return f"steps[{self.index}] ({self.verb})"


@define(eq=False, repr=False)
class _Ahead:
    """What comes after a step, as far as it matters to it: the next of each sort."""

    prompt: StepOrder | None = None
    taker: StepOrder | None = None
    """A prompt, which takes what was ranked, or a gather that surely runs, which drops it."""
    fate: StepOrder | None = None
    """A generate, which sends a draft, or a prompt that surely runs, which replaces it."""


def check_order(steps: Sequence[StepOrder], problems: Problems) -> None:
    """Note the steps that stand where they can have no effect."""
    first_prompt = next((step.index for step in steps if step.verb == "prompt"), len(steps))
    last_prompt = next((step for step in reversed(steps) if step.verb == "prompt"), None)
    ahead = _Ahead()
    for step in reversed(steps):
        if step.verb in ("gather", "rank") and not step.kept:
            if last_prompt is not None and first_prompt < step.index and ahead.prompt is None:
                message = f"{step.label} can no longer change the last prompt, {last_prompt.label}: move it before that"
                problems.error("O002", step.place, message)
            if step.verb == "rank" and ahead.taker is not None and ahead.taker.verb == "gather":
                message = f"{ahead.taker.label} drops the scores of {step.label}: rank after the last gather"
                problems.error("O004", step.place, message)
        if step.verb == "prompt":
            _check_draft(step, ahead.fate, problems)
        if step.into_query and step is steps[-1]:
            message = f"{step.label} makes its answer the query, and no step after it reads that: remove `into`"
            problems.error("O005", step.place, message)
        _pass(step, ahead)


def _pass(step: StepOrder, ahead: _Ahead) -> None:
    """Note a step for the ones before it."""
    if step.verb == "prompt":
        ahead.prompt = step
    if step.verb == "prompt" or (step.verb == "gather" and not step.conditional):
        ahead.taker = step
    if step.verb == "generate" or (step.verb == "prompt" and not step.conditional):
        ahead.fate = step


def _check_draft(step: StepOrder, fate: StepOrder | None, problems: Problems) -> None:
    if fate is None:
        problems.error(
            "O006", step.place, f"no generate step follows {step.label}, so its draft is never sent: add one"
        )
    elif fate.verb == "prompt":
        message = f"{fate.label} replaces the draft of {step.label} before it is sent: put a generate between them"
        problems.error("O003", step.place, message)


def check_whole(steps: Sequence[StepOrder], problems: Problems) -> None:
    """Warn of a pipeline that runs but leaves out what people expect of one."""
    if not steps:
        return
    verbs = [step.verb for step in steps]
    if "generate" not in verbs:
        if "prompt" not in verbs:  # else the prompt without a generate has been noted
            message = "no step generates, so a run has no answer: end with `- generate:`"
            problems.warn("O008", steps[-1].place, message)
    elif "prompt" not in verbs and "gather" in verbs and not any(step.kept or step.conditional for step in steps):
        message = "no prompt step uses the items, and the model sees the query alone: add one before `generate`"
        problems.warn("O007", steps[verbs.index("gather")].place, message)


def check_rewrite(steps: Sequence[StepOrder], node: Node | None, problems: Problems) -> None:
    """Warn of a pipeline that rewrites questions for a search that it does not make."""
    if node is not None and not any(step.verb in ("gather", "rank") for step in steps):
        message = "`rewrite` has no effect: no step gathers or ranks, so nothing is searched for"
        problems.warn("O009", node.place, message)
