"""What is reported of answers: means with intervals, differences to the first pipeline, counts, and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np
from attrs import frozen

from nexus_core.contract.answers import AttemptFinished, sum_costs
from nexus_core.evaluation.answers.answer_trial import AnswerTrial, Judgement
from nexus_core.evaluation.answers.measured_answer import AnswerSettings
from nexus_core.evaluation.collection import JudgedCollection
from nexus_core.evaluation.statistics import Difference, Interval, Table, draws, holm, intervals, p_values
from nexus_core.toolkit.suggest import counted


@frozen(kw_only=True)
class TokenTotals:
    """What requests to models took, failed ones included."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    """Requests whose tokens were not, or not all, counted by the service; they are in the sums."""
    unknown: int
    """Requests whose tokens nobody knows; they are not in the sums."""
    dollars: float | None = 0.0
    """In US dollars; `None` where the cost of every request is unknown."""
    unpriced: int = 0
    """Requests whose cost nobody knows; they are not in the sum."""

    @classmethod
    def of(cls, attempts: Sequence[AttemptFinished]) -> TokenTotals:
        """Return the totals of the rows of a ledger."""
        sent = [attempt for attempt in attempts if attempt.request_sent]
        unknown = [attempt.prompt_tokens is None or attempt.completion_tokens is None for attempt in sent]
        dollars, unpriced = sum_costs(sent)
        return cls(
            requests=len(sent),
            prompt_tokens=sum(attempt.prompt_tokens or 0 for attempt in sent),
            completion_tokens=sum(attempt.completion_tokens or 0 for attempt in sent),
            estimated=sum(
                attempt.usage_source != "provider" and not no for attempt, no in zip(sent, unknown, strict=True)
            ),
            unknown=sum(unknown),
            dollars=dollars,
            unpriced=unpriced,
        )


@frozen(kw_only=True, eq=False, repr=False)
class AnswersLine:
    """What is reported of the answers of one pipeline."""

    trial: AnswerTrial
    figures: Mapping[str, Interval]
    """By name; those that nothing is known of are not there."""
    measured: Mapping[str, int]
    """By name, how many queries a figure is of."""
    differences: Mapping[str, Difference]
    """To the baseline, on the queries that both have the figure of."""
    counts: Mapping[str, int]
    tokens: TokenTotals


@frozen(kw_only=True, eq=False, repr=False)
class AnswersReport:
    """Everything that was measured of answers."""

    settings: AnswerSettings
    queries: int
    answerable: int
    """Queries that have an answer, by the queries file."""
    unanswerable: int
    lines: tuple[AnswersLine, ...]
    """One for each pipeline; the first is the baseline."""
    judging: TokenTotals | None
    notes: tuple[str, ...]


def build_answers_report(
    collection: JudgedCollection, settings: AnswerSettings, judgement: Judgement, seed: int
) -> AnswersReport:
    """Return the report of the answers of pipelines."""
    tables = [trial.figures(settings) for trial in judgement.trials]
    times = draws(len(collection.to_answer))
    differences = compare(tables, settings.figures, seed, times)
    alone, _ = intervals(tables, seed, times)
    parts = zip(judgement.trials, tables, alone, differences, strict=True)
    known = [query.answerable for query in collection.to_answer]
    return AnswersReport(
        settings=settings,
        queries=len(known),
        answerable=known.count(True),
        unanswerable=known.count(False),
        lines=tuple(_line(settings, *part) for part in parts),
        judging=None if settings.judge is None else TokenTotals.of(judgement.attempts),
        notes=tuple(_notes(settings, judgement)),
    )


def compare(tables: Sequence[Table], names: Sequence[str], seed: int, times: int) -> list[dict[str, Difference]]:
    """Return for each table how its figures differ from the first one's; for the first, nothing.

    A figure that one of two pipelines lacks for a query (its run failed, it cites nothing) is left out of both, so that
    the comparison is paired. Corrected for the pipelines that have the figure, as rankings are.
    """
    pairs = []
    for table in tables[1:]:
        both = np.isnan(table) | np.isnan(tables[0])
        pairs.append([np.where(both, np.nan, part) for part in (tables[0], table)])
    against = [intervals(pair, seed, times)[1][1] for pair in pairs]
    p = [p_values(table, base, seed, times) for base, table in pairs]
    found: list[dict[str, Difference]] = [{} for _ in tables]
    for place, name in enumerate(names):
        there = [number for number, row in enumerate(against) if not isnan(row[place].mean)]
        corrected = holm([p[number][place] for number in there])
        for number, p_holm in zip(there, corrected, strict=True):
            found[number + 1][name] = Difference(against[number][place], p[number][place], p_holm)
    return found


def _line(
    settings: AnswerSettings,
    trial: AnswerTrial,
    table: Table,
    alone: Sequence[Interval],
    differences: Mapping[str, Difference],
) -> AnswersLine:
    named = zip(settings.figures, alone, strict=True)
    return AnswersLine(
        trial=trial,
        figures={name: interval for name, interval in named if not isnan(interval.mean)},
        measured=dict(zip(settings.figures, (~np.isnan(table)).sum(axis=0).tolist(), strict=True)),
        differences=differences,
        counts=_counts(trial),
        tokens=TokenTotals.of([attempt for answer in trial.answers for attempt in answer.attempts]),
    )


def _counts(trial: AnswerTrial) -> dict[str, int]:
    said = [sentence for answer in trial.answers for sentence in answer.sentences]
    return {
        "failed": sum(bool(answer.failure) for answer in trial.answers),
        "cut": sum(answer.is_cut for answer in trial.answers),
        "sentences": len(said),
        "without citation": sum(not sentence.cited for sentence in said),
        "missing passages": sum(bool(sentence.missing) for sentence in said),
        "unknown to the judge": sum(sentence.by_judge == "unknown" for sentence in said),
    }


def _notes(settings: AnswerSettings, judgement: Judgement) -> Sequence[str]:
    notes = []
    for trial in judgement.trials:
        failed = [answer for answer in trial.answers if answer.failure]
        if failed:
            notes.append(
                f"{trial.pipeline}: {len(failed):,} of {counted(len(trial.answers), 'run')} failed, in no figure but "
                f"`failed`; query {failed[0].query.id!r}: {failed[0].failure}"
            )
        cut = sum(answer.is_cut for answer in trial.answers)
        if cut:
            notes.append(f"{trial.pipeline}: {counted(cut, 'answer')} ended at the limit of tokens; measured as cut")
    if judgement.failures:
        told = "; ".join(judgement.failures[:3])
        notes.append(f"judge {settings.judge}: no verdict on some sentences: {told}")
    return notes
