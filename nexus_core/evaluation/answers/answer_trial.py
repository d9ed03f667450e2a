"""The answers of pipelines: each query is run to its end, and then a judge is asked, where one is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
from attrs import evolve, frozen

from nexus_core.contract.answers import AttemptFinished
from nexus_core.contract.errors import ConfigError, NexusError, RunError, UsageError
from nexus_core.engine.composition.traversal import inner_steps
from nexus_core.engine.pipeline import Pipeline
from nexus_core.engine.plan import Plan
from nexus_core.engine.steps import Generate
from nexus_core.evaluation.answers.judge import judge_of
from nexus_core.evaluation.answers.measured_answer import (
    AnswerSettings,
    MeasuredAnswer,
    MeasuredSentence,
    answer_figures,
    measure_answer,
)
from nexus_core.evaluation.collection import JudgedCollection, Query
from nexus_core.evaluation.statistics import Table

_Value = TypeVar("_Value")


@frozen(kw_only=True, eq=False, repr=False)
class AnswerTrial:
    """The answers of one pipeline."""

    pipeline: str
    answers: tuple[MeasuredAnswer, ...]
    """One for each of the collection's `to_answer`."""
    error: NexusError | None = None
    """Why none of them is one, where all runs failed."""

    def figures(self, settings: AnswerSettings) -> Table:
        """Return a row for each answer and a column for each of the settings' figures; NaN where there is none."""
        return np.array([answer_figures(answer, settings) for answer in self.answers], np.float64)


@frozen(kw_only=True, eq=False, repr=False)
class Judgement:
    """What a judge did."""

    trials: tuple[AnswerTrial, ...]
    """With its verdicts."""
    attempts: tuple[AttemptFinished, ...] = ()
    failures: tuple[str, ...] = ()
    """Why requests got no verdict, each reason once."""


def check_answerable(plans: Sequence[Plan]) -> None:
    """Raise UsageError for a pipeline that has no answers."""
    for plan in plans:
        if not any(isinstance(planned.step, Generate) for planned in inner_steps(plan.steps)):
            raise UsageError(f"pipeline {plan.name!r} has no generate step, so it has no answers to measure")


async def measure_answers(
    plans: Sequence[Plan], collection: JudgedCollection, settings: AnswerSettings, seen: Callable[[str], None]
) -> Judgement:
    """Run pipelines, as `measurable` returns them, one after the other; call `seen` with a name after each query.

    All of it belongs in one event loop, since what compares sentences is used for all of them. Where all runs of a
    pipeline fail, its trial has the error: what came of the others is not lost with it.
    """
    ranker: Any = None if settings.embedder is None else settings.embedder.ranker
    async with ranker if isinstance(ranker, AbstractAsyncContextManager) else nullcontext():
        trials = [await run_answers(plan, collection, settings, seen) for plan in plans]
    if settings.judge is None:
        return Judgement(trials=tuple(trials))
    return await judge_answers(plans[0], trials, settings)


async def run_answers(
    plan: Plan, collection: JudgedCollection, settings: AnswerSettings, seen: Callable[[str], None]
) -> AnswerTrial:
    """Run a pipeline, as `measurable` returns it, for every query, and call `seen` with its name after each.

    A run that fails is an answer with its failure; where all of them fail, or one for how the pipeline is configured,
    the trial has an error.
    """
    asked = dict(settings.asked)
    if collection.items is not None:
        asked["items"] = collection.items
    free = asyncio.Semaphore(settings.at_once)

    async def run_query(query: Query) -> MeasuredAnswer:
        async with free:
            try:
                answer = await pipeline.run(query.text, **asked)
            except (ConfigError, UsageError):
                raise
            except NexusError as error:
                measured = MeasuredAnswer(query=query, failure=str(error), attempts=getattr(error, "attempts", ()))
            else:
                measured = await measure_answer(query, answer, settings)
            seen(plan.name)
            return measured

    try:
        async with Pipeline(plan) as pipeline:
            answers = await _all(run_query(query) for query in collection.to_answer)
    except (ConfigError, UsageError) as wrong:
        failed = [MeasuredAnswer(query=query, failure=str(wrong)) for query in collection.to_answer]
        return AnswerTrial(pipeline=plan.name, answers=tuple(failed), error=wrong)
    error = _error_of(plan.name, answers) if all(answer.failure for answer in answers) else None
    return AnswerTrial(pipeline=plan.name, answers=tuple(answers), error=error)


def _error_of(name: str, answers: Sequence[MeasuredAnswer]) -> RunError:
    runs = "the only run failed, with" if len(answers) == 1 else f"all {len(answers):,} runs failed, the first with"
    return RunError(f"pipeline {name!r}: {runs}: {answers[0].failure}")


async def _all(work: Iterable[Coroutine[Any, Any, _Value]]) -> list[_Value]:
    """Return what all give; where one raises the others are cancelled, and its error is raised as it is."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def judge_answers(plan: Plan, trials: Sequence[AnswerTrial], settings: AnswerSettings) -> Judgement:
    """Return the trials with the verdicts of the judge, a model of this plan, on each sentence that cites passages."""
    assert settings.judge is not None
    judge = judge_of(plan, settings.judge)
    free = asyncio.Semaphore(settings.at_once)

    async def judged(sentence: MeasuredSentence) -> MeasuredSentence:
        if not sentence.cited:
            return sentence
        if sentence.missing:
            return evolve(sentence, by_judge="unsupported")
        async with free:
            return evolve(sentence, by_judge=await judge.verdict(sentence.text, sentence.passages))

    async def of_trial(trial: AnswerTrial) -> AnswerTrial:
        rows = await _all(_all(map(judged, answer.sentences)) for answer in trial.answers)
        answers = [evolve(answer, sentences=tuple(row)) for answer, row in zip(trial.answers, rows, strict=True)]
        return evolve(trial, answers=tuple(answers))

    async with Pipeline(plan):
        done = [await of_trial(trial) for trial in trials]
    return Judgement(trials=tuple(done), attempts=tuple(judge.attempts), failures=tuple(judge.failures))
