"""Finds the tests of pipelines and runs them, each against a pipeline built anew from a file that is checked once."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter

from attrs import evolve, frozen

from nexus_core.config.cases.language import Case, CaseItem, Expectations, Reply
from nexus_core.config.cases.reader import PlacedCase, item_id, read_cases
from nexus_core.config.check import Checked, check
from nexus_core.config.components import PluginCatalog
from nexus_core.config.sibling_files import is_pipeline_file, tested_pipeline, tests_beside
from nexus_core.config.yaml.reader import MOST_BYTES
from nexus_core.contract.answers import Answer, AttemptFinished, Event
from nexus_core.contract.errors import ConfigError, NexusError, Problem, RunError, UsageError, describe_error
from nexus_core.contract.events import RunFailed, RunFinished, Waiting
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item, Message
from nexus_core.engine.calls.call import prompt_tokens
from nexus_core.engine.composition.traversal import with_source
from nexus_core.engine.interceptors import Interceptor
from nexus_core.engine.pipeline import Pipeline, RunOptions
from nexus_core.engine.plan import Plan, build_plan
from nexus_core.engine.steps import Gather
from nexus_core.pipeline_tests.connection_guard import refuse_connections
from nexus_core.pipeline_tests.expectations import Mismatch, Outcome, find_mismatches
from nexus_core.pipeline_tests.scripted_models import Script, ScriptedModels
from nexus_core.pipeline_tests.virtual_time import VirtualTimeLoop

_HAS_TESTS = re.compile(rb"^[\"']?tests[\"']?\s*:", re.MULTILINE)
_ENDING_S = 5.0
"""For the tasks of a test that was ended."""


@frozen(kw_only=True, eq=False, repr=False)
class TestedPipeline:
    """A checked pipeline and its tests."""

    __test__ = False  # pytest takes it for a class of tests otherwise

    path: Path
    checked: Checked

    @property
    def aliases(self) -> Mapping[str, str]:
        """From each alias of a model to its name."""
        models = self.checked.spec.models if self.checked.spec is not None else ()
        return {alias: model.name for model in models for alias in model.aliases}


@frozen(kw_only=True, eq=False, repr=False)
class CaseResult:
    """How a test ended."""

    pipeline: Path
    name: str
    file: str
    line: int
    mismatches: tuple[Mismatch, ...]
    """None where it passed."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.mismatches


def tested_files(names: Sequence[str]) -> list[Path]:
    """Return the pipelines that files and folders stand for, each once; of a folder those that have tests."""
    found: dict[Path, None] = {}
    for path in map(Path, names):
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if is_pipeline_file(file) and file.is_file())
            found.update(dict.fromkeys(file for file in below if tests_beside(file, None) or _names_tests(file)))
            continue
        pipeline = tested_pipeline(path) or path
        if not pipeline.is_file():
            whose = "" if pipeline == path else f", whose tests {path} holds"
            raise UsageError(f"there is no file or folder {pipeline}{whose}: name a pipeline, or a folder of them")
        found[pipeline] = None
    return list(found)


def _names_tests(file: Path) -> bool:
    return _HAS_TESTS.search(_read(file)) is not None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)  # of one that is too large as many as it takes to say so
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from error


def check_files(
    files: Iterable[Path], catalogue: PluginCatalog, environment: Mapping[str, str], overrides: Sequence[str] = ()
) -> list[TestedPipeline]:
    """Check pipelines with their tests; raises ConfigError with the errors of all of them."""
    found, problems = list[TestedPipeline](), list[Problem]()
    for file in files:
        checked = check(_read(file), str(file), catalogue, environment, overrides, read_tests=read_cases)
        try:
            build_plan(checked)  # so that what only building can find is found before any test runs
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem.severity == "error"]
        found.append(TestedPipeline(path=file, checked=checked))
    if problems:
        raise ConfigError(problems)
    return found


def run_cases(
    tested: Iterable[TestedPipeline],
    wanted: Callable[[str], bool] = lambda name: True,
    recorded: Callable[[], Interceptor] | None = None,
) -> Iterator[CaseResult]:
    """Yield the result of each test whose name is wanted, in the order of the files.

    What `recorded` returns, once for each test, answers for the models that the test gives no script. Where that asks
    services itself, connections are made.
    """
    connects = recorded is not None and recorded().sends
    with _quiet_calls(), asyncio.Runner(loop_factory=partial(VirtualTimeLoop, connects=connects)) as runner:
        for pipeline in tested:
            for placed in pipeline.checked.tests:
                if wanted(placed.case.name):
                    yield _run_guarded(runner, pipeline, placed, None if recorded is None else recorded())


@contextmanager
def _quiet_calls() -> Iterator[None]:
    """Keep the warnings about failed requests to themselves: the scripts are what fails."""
    log = logging.getLogger("nexus_core.engine")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _run_guarded(
    runner: asyncio.Runner, pipeline: TestedPipeline, placed: PlacedCase, recorded: Interceptor | None
) -> CaseResult:
    """Return the result of a test; whatever else comes of it, the others are run and reported, too."""
    began, loop = perf_counter(), runner.get_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.refused.clear()
    try:
        with nullcontext() if loop.connects else refuse_connections(loop.refused):
            mismatches = runner.run(_mismatches(pipeline, placed.case, recorded))
    except KeyboardInterrupt:
        raise  # Ctrl-C
    except BaseException as error:  # noqa: BLE001 - a plugin may raise SystemExit, or stop the loop
        mismatches = (Mismatch(what="test", message=f"it was ended by {describe_error(error)}"),)
        with suppress(Exception, SystemExit):
            runner.run(_end_tasks())
    return CaseResult(
        pipeline=pipeline.path,
        name=placed.case.name,
        file=placed.place.file,
        line=placed.place.line,
        mismatches=mismatches,
        seconds=perf_counter() - began,
    )


async def _end_tasks() -> None:
    """Cancel what a test has left behind, and let it end."""
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_ENDING_S)


async def _mismatches(pipeline: TestedPipeline, case: Case, recorded: Interceptor | None) -> tuple[Mismatch, ...]:
    outcome = await _outcome(pipeline, case, recorded)
    return tuple(find_mismatches(case.expect, outcome, pipeline.aliases))


async def _outcome(tested: TestedPipeline, case: Case, recorded: Interceptor | None) -> Outcome:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    models = ScriptedModels(_scripts(case, tested.aliases), loop.stall, recorded)
    # Built for this test alone: what breakers, budgets and limits know of one test must not reach the next.
    plan = build_plan(tested.checked, None, models, loop.clock(), Random(0))
    async with Pipeline(_arranged(plan, case)) as pipeline:
        gathers = any(isinstance(planned.step, Gather) for planned in plan.all_steps())
        run = _CaseRun(pipeline, case, () if gathers else _items(case), loop)
        outcome = await (run.explain() if _is_about_prompt(case) else run.run())
    refusal = models.refusal
    if loop.refused:
        refusal = refusal or f"it makes no connections, and one to {loop.refused[0]} was wanted: give it `items`"
    last = models.last
    if outcome.prompt is None and last is not None:
        outcome = evolve(outcome, prompt=last.prompt)
    if outcome.prompt is not None and case.expect is not None and case.expect.tokens is not None:
        info = plan.registry.get(outcome.model).info if outcome.model is not None or last is None else last.info
        outcome = evolve(outcome, prompt_tokens=prompt_tokens(outcome.prompt, info))
    return evolve(outcome, refusal=refusal, leftovers=tuple(models.leftovers()))


def _scripts(case: Case, aliases: Mapping[str, str]) -> dict[str, Script]:
    return {
        aliases.get(name, name): tuple(map(_reply, replies)) if isinstance(replies, tuple) else _reply(replies)
        for name, replies in case.models.items()
    }


def _reply(reply: str | Reply) -> Reply:
    return Reply(text=reply) if isinstance(reply, str) else reply


@frozen(eq=False, repr=False)
class GivenItems:
    """A source that yields the items of a test."""

    items: tuple[Item, ...]

    async def gather(self, query: str, run: RunContext) -> tuple[Item, ...]:
        """Return all of them."""
        return self.items


def _items(case: Case) -> tuple[Item, ...]:
    return tuple(_item(item, number) for number, item in enumerate(case.items or (), 1))


def _item(item: str | CaseItem, number: int) -> Item:
    given = CaseItem(text=item) if isinstance(item, str) else item
    return Item(
        id=item_id(given, number),
        text=given.text,
        title=given.title,
        kind=given.kind,
        source=given.source,
        tags=given.tags,
        metadata=given.metadata,
    )


def _arranged(plan: Plan, case: Case) -> Plan:
    """Return a plan for a test: nothing goes to sinks, and sources yield its items where it has some."""
    if case.items is None:
        return evolve(plan, sinks=())
    return evolve(plan.with_steps(with_source(GivenItems(_items(case)))), sinks=())


def _is_about_prompt(case: Case) -> bool:
    """Tell whether a test looks at the prompt alone, so that no model need be asked."""
    expect = case.expect or Expectations()
    beyond = (expect.answer, expect.citations, expect.attempts, expect.fallback, expect.error, expect.model)
    tokens = expect.tokens is not None and (expect.tokens.completion_tokens, expect.tokens.total_tokens) != (None, None)
    looks = expect.messages is not None or expect.packed is not None or bool(expect.not_packed) or bool(expect.tokens)
    return looks and not case.models and not tokens and all(part is None for part in beyond)


@frozen(eq=False, repr=False)
class _CaseRun:
    """The run of one test."""

    pipeline: Pipeline
    case: Case
    items: tuple[Item, ...]
    """There before the first step; none where sources yield them."""
    loop: VirtualTimeLoop

    def _options(self) -> RunOptions:
        case = self.case
        return {
            "items": self.items,
            "history": [Message(message.role, message.content) for message in case.history],
            "inputs": case.inputs,
            "model": case.model,
        }

    async def explain(self) -> Outcome:
        """Return the prompt that the first model would get."""
        try:
            explanation = await self.pipeline.explain(self.case.query, **self._options())
        except NexusError as error:
            return Outcome(error=error)
        return Outcome(prompt=explanation.prompt, model=explanation.model.name)

    async def run(self) -> Outcome:
        """Return what comes of a whole run."""
        attempts = list[AttemptFinished]()

        def hear(event: Event) -> None:
            if isinstance(event, AttemptFinished):
                attempts.append(event)
            elif isinstance(event, Waiting) and event.why == "queued":
                self.loop.skip(event.wait_s)

        try:
            answer = await self._answer(hear)
        except NexusError as error:
            return Outcome(error=error, attempts=attempts)
        return Outcome(answer=answer, prompt=answer.prompt, model=answer.model, attempts=attempts)

    async def _answer(self, hear: Callable[[Event], None]) -> Answer:
        case = self.case
        if not (case.stream or any(reply.breaks_off for reply in _all_replies(case))):
            return await self.pipeline.run(case.query, on_event=hear, **self._options())
        async for event in self.pipeline.stream(case.query, on_event=hear, **self._options()):
            if isinstance(event, RunFailed):
                raise event.error or RunError(event.message)
            if isinstance(event, RunFinished) and event.answer is not None:
                return event.answer
        raise UsageError(f"pipeline {self.pipeline.name!r} has no generate step that ran, so it has no answer")


def _all_replies(case: Case) -> Iterator[Reply]:
    for replies in case.models.values():
        yield from map(_reply, replies if isinstance(replies, tuple) else (replies,))
