"""Orders of steps in which some step could have no effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from nexus_core.config.yaml.problems import Problems, SourceLocation
from nexus_core.config.yaml.tree import Node


@frozen(kw_only=True, eq=False, repr=False)
class StepOrder:
    """Of a step only what its neighbours need to know."""

    path: str
    verb: str
    acts_as: str
    """The verb whose effect it has: several gathers side by side are a gather to their neighbours."""
    place: SourceLocation
    conditional: bool = False
    """It has a `when`, so it may not run."""
    kept: bool = False
    """It has an `as`, so its result is of use whatever follows."""
    into_query: bool = False
    branches: tuple[tuple[StepOrder, ...], ...] = ()
    """Of a choose step; at most one of them runs."""
    is_open: bool = False
    """It may be that no branch runs."""

    @property
    def label(self) -> str:
        """The step as messages name it."""
        return f"{self.path} ({self.verb})"


@frozen(kw_only=True, eq=False, repr=False)
class _Ahead:
    """What comes after a step, as far as it matters to it: the next of each sort."""

    prompt: StepOrder | None = None
    taker: StepOrder | None = None
    """A prompt, which takes what was ranked, or a gather that surely runs, which drops it."""
    fate: StepOrder | None = None
    """A generate, which sends a draft, or a prompt that surely runs, which replaces it."""
    anything: bool = False


def check_order(steps: Sequence[StepOrder], problems: Problems) -> None:
    """Note the steps that stand where they can have no effect, whatever is chosen."""
    _check_steps(steps, _Ahead(), None, problems)


def _check_steps(steps: Sequence[StepOrder], ahead: _Ahead, drafted: StepOrder | None, problems: Problems) -> _Ahead:
    """Check steps from the last to the first and return what comes after a step before them.

    `drafted` is the last prompt before them.
    """
    prompts: list[StepOrder | None] = []
    for step in steps:
        prompts.append(drafted)
        drafted = next((each for each in reversed([*flat([step])]) if each.verb == "prompt"), drafted)
    for step, before in zip(reversed(steps), reversed(prompts), strict=True):
        if step.branches:
            ways = [_check_steps(branch, ahead, before, problems) for branch in step.branches]
            ahead = _any_of([*ways, ahead] if step.is_open or step.conditional else ways)
        else:
            _check(step, ahead, before, problems)
            ahead = _before(step, ahead)
    return ahead


def _check(step: StepOrder, ahead: _Ahead, drafted: StepOrder | None, problems: Problems) -> None:
    if step.acts_as in ("gather", "rank") and not step.kept:
        if drafted is not None and ahead.prompt is None:
            message = f"{step.label} can no longer change the last prompt, {drafted.label}: move it before that"
            problems.error("O002", step.place, message)
        if step.acts_as == "rank" and ahead.taker is not None and ahead.taker.acts_as == "gather":
            message = f"{ahead.taker.label} drops the scores of {step.label}: rank after the last gather"
            problems.error("O004", step.place, message)
    if step.verb == "prompt":
        _check_draft(step, ahead.fate, problems)
    if step.into_query and not ahead.anything:
        message = f"{step.label} makes its answer the query, and no step after it reads that: remove `into`"
        problems.error("O005", step.place, message)


def _before(step: StepOrder, ahead: _Ahead) -> _Ahead:
    """Return what comes after the step before this one."""
    found = evolve(ahead, anything=True)
    if step.acts_as == "prompt":
        found = evolve(found, prompt=step)
    if step.acts_as == "prompt" or (step.acts_as == "gather" and not step.conditional):
        found = evolve(found, taker=step)
    if step.acts_as == "generate" or (step.acts_as == "prompt" and not step.conditional):
        found = evolve(found, fate=step)
    return found


def _any_of(ways: Sequence[_Ahead]) -> _Ahead:
    """Return what comes after a step where one of several ways is taken: no mistake where one of them is none."""
    prompts = [way.prompt for way in ways if way.prompt is not None]
    takers = [way.taker for way in ways]
    fates = sorted([way.fate for way in ways if way.fate is not None], key=lambda step: step.acts_as)
    return _Ahead(
        prompt=prompts[0] if prompts else None,
        taker=next((step for step in takers if step is None or step.acts_as != "gather"), takers[0]),
        fate=fates[0] if fates else None,  # a generate before a prompt
        anything=any(way.anything for way in ways),
    )


def _check_draft(step: StepOrder, fate: StepOrder | None, problems: Problems) -> None:
    if fate is None:
        problems.error(
            "O006", step.place, f"no generate step follows {step.label}, so its draft is never sent: add one"
        )
    elif fate.verb == "prompt":
        message = f"{fate.label} replaces the draft of {step.label} before it is sent: put a generate between them"
        problems.error("O003", step.place, message)


def flat(steps: Sequence[StepOrder], *, conditional: bool = False) -> Iterator[StepOrder]:
    """Yield steps and, in the place of those that choose, the ones that may be chosen."""
    for step in steps:
        for branch in step.branches:
            yield from flat(branch, conditional=True)
        if not step.branches:
            yield evolve(step, conditional=True) if conditional else step


def check_whole(steps: Sequence[StepOrder], problems: Problems) -> None:
    """Warn of a pipeline that runs but leaves out what people expect of one."""
    if not steps:
        return
    found = [*flat(steps)]
    verbs = [step.acts_as for step in found]
    if "generate" not in verbs:
        if "prompt" not in verbs:  # else the prompt without a generate has been noted
            message = "no step generates, so a run has no answer: end with `- generate:`"
            problems.warn("O008", steps[-1].place, message)
    elif "prompt" not in verbs and "gather" in verbs and not any(step.kept or step.conditional for step in found):
        message = "no prompt step uses the items, and the model sees the query alone: add one before `generate`"
        problems.warn("O007", found[verbs.index("gather")].place, message)


def check_rewrite(steps: Sequence[StepOrder], node: Node | None, problems: Problems) -> None:
    """Warn of a pipeline that rewrites questions for a search that it does not make."""
    if node is not None and not any(step.acts_as in ("gather", "rank") for step in flat(steps)):
        message = "`rewrite` has no effect: no step gathers or ranks, so nothing is searched for"
        problems.warn("O009", node.place, message)
