"""What is told of trials: means with intervals, times, and how each pipeline differs from the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isnan
from typing import Any

import numpy as np
from attrs import frozen

from nexus_core.evaluation.answers.answer_json import line_json, settings_json
from nexus_core.evaluation.answers.answer_report import AnswersReport
from nexus_core.evaluation.collection import JudgedCollection
from nexus_core.evaluation.costs import CostPerQuery, cost_json, mean_cost
from nexus_core.evaluation.measures import NAMES
from nexus_core.evaluation.statistics import CONFIDENCE, Difference, Interval, Table, draws, holm, intervals, p_values
from nexus_core.evaluation.trial import Trial, TrialSettings

SEED = 20
"""Of the draws, so that the same figures have the same intervals."""


@frozen(kw_only=True)
class Times:
    """Of one stage, in milliseconds per query. The first query pays for what is opened and built and is told apart."""

    median: float
    p95: float
    first: float


@frozen(kw_only=True, eq=False, repr=False)
class PipelineReport:
    """What is told of one pipeline."""

    pipeline: str
    figures: Mapping[str, Interval]
    """By name; those that nothing is known of are not there."""
    differences: Mapping[str, Difference]
    """To the baseline; none for the baseline itself."""
    times: Mapping[str, Times]
    notes: tuple[str, ...]
    cost: CostPerQuery | None
    """`None` where nothing is known of it."""


@frozen(kw_only=True, eq=False, repr=False)
class Report:
    """Everything that was measured, and what follows from it."""

    collection: JudgedCollection
    settings: TrialSettings
    trials: tuple[Trial, ...]
    lines: tuple[PipelineReport, ...]
    """One for each trial; the first is the baseline."""
    times_drawn: int
    answers: AnswersReport | None = None
    """Where the pipelines were run to their answers, too."""

    @property
    def answerable(self) -> int:
        """The number of queries that answer recall is measured on."""
        return sum(query.is_answerable for query in self.collection.queries)

    @property
    def has_recall(self) -> bool:
        """Whether answer recall is known of any pipeline."""
        return any(name in line.figures for line in self.lines for name in self.settings.figures[len(NAMES) :])

    @property
    def stages(self) -> tuple[str, ...]:
        """What took time, in the order of a run."""
        return tuple(
            name for name in ("asking", "ranking", "packing") if any(name in line.times for line in self.lines)
        )

    @property
    def how_to_read_differences(self) -> str:
        """What must be known to read the differences right."""
        others = len(self.lines) - 1
        holm = f", corrected for {others} pipelines that are compared with one (Holm)" if others > 1 else ""
        return (
            f"Paired randomisation test; better and worse: p below .05{holm}. Each figure is one more look: of twenty "
            "figures without any difference, one has p below .05 by chance."
        )


def build_report(
    collection: JudgedCollection, settings: TrialSettings, trials: Sequence[Trial], seed: int = SEED
) -> Report:
    """Return the report of trials on one collection."""
    times = draws(len(collection.queries))
    tables = [trial.figures for trial in trials]
    alone, against = intervals(tables, seed, times)
    p = [p_values(table, tables[0], seed, times) for table in tables[1:]]
    corrected = list(zip(*map(holm, zip(*p, strict=True)), strict=True))
    compared = (
        [Difference(*row) for row in zip(*rows, strict=True)] for rows in zip(against[1:], p, corrected, strict=True)
    )
    lines = map(partial(_line, settings), trials, alone, [[], *compared])
    return Report(collection=collection, settings=settings, trials=tuple(trials), lines=tuple(lines), times_drawn=times)


def _line(
    settings: TrialSettings, trial: Trial, alone: Sequence[Interval], differences: Sequence[Difference]
) -> PipelineReport:
    named = zip(settings.figures, differences, strict=bool(differences))
    return PipelineReport(
        pipeline=trial.pipeline,
        figures={name: i for name, i in zip(settings.figures, alone, strict=True) if not isnan(i.mean)},
        differences={name: difference for name, difference in named if not isnan(difference.interval.mean)},
        times={stage: _times(seconds) for stage, seconds in trial.seconds.items() if np.nansum(seconds) > 0},
        notes=trial.notes,
        cost=mean_cost(trial.costs) if trial.costs else None,
    )


def _times(seconds: Table) -> Times:
    milliseconds = seconds[:, 0] * 1000
    later = milliseconds[1:] if len(milliseconds) > 1 else milliseconds
    return Times(
        median=float(np.nanmedian(later)), p95=float(np.nanquantile(later, 0.95)), first=float(milliseconds[0])
    )


# As text


def figure(interval: Interval) -> str:
    """Return a mean with its interval, with three places and no leading zero, as tables of rankings have it."""
    return f"{_short(interval.mean)} [{_short(interval.low)}, {_short(interval.high)}]"


def signed(interval: Interval) -> str:
    """Return the same of a difference, with signs."""
    return f"{_short(interval.mean, '+')} [{_short(interval.low, '+')}, {_short(interval.high, '+')}]"


def probability(p: float) -> str:
    """Return a p value."""
    return "< .001" if p < 0.001 else _short(p)


def is_sure(difference: Difference) -> bool:
    """Tell whether a difference is one by the usual measure, p below .05, corrected."""
    return difference.p_holm < 0.05


def _short(value: float, sign: str = "") -> str:
    text = f"{value + 0.0:{sign}.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text


# As JSON data


def report_json(report: Report, *, per_query: bool = False) -> dict[str, Any]:
    """Return a report as JSON data, with the figures of each query if `per_query` is set."""
    collection, settings, answers = report.collection, report.settings, report.answers
    lines = [
        _line_json(line, trial, report, per_query) for line, trial in zip(report.lines, report.trials, strict=True)
    ]
    if answers is not None:
        for told, answered in zip(lines, answers.lines, strict=True):
            told["answers"] = line_json(answered, answers, per_query=per_query)
    return {
        "collection": {
            "name": collection.name,
            "queries": len(collection.queries),
            "queriesWithAnswers": report.answerable,
            "items": None if collection.items is None else len(collection.items),
            "judgements": collection.judgements,
            "warnings": list(collection.warnings),
        },
        "budgets": list(settings.budgets),
        "evidenceNeeded": settings.needed,
        "confidence": CONFIDENCE,
        "draws": report.times_drawn,
        "baseline": report.lines[0].pipeline,
        **({} if answers is None else {"answers": settings_json(answers)}),
        "pipelines": lines,
    }


def _line_json(line: PipelineReport, trial: Trial, report: Report, per_query: bool) -> dict[str, Any]:
    told = {
        "pipeline": line.pipeline,
        "measures": {name: _interval_json(line.figures[name]) for name in NAMES},
        "answerRecall": {
            str(budget): _interval_json(line.figures[name])
            for budget, name in zip(report.settings.budgets, report.settings.figures[len(NAMES) :], strict=True)
            if name in line.figures
        },
        "milliseconds": {
            stage: {"median": times.median, "p95": times.p95, "first": times.first}
            for stage, times in line.times.items()
        },
        "costPerQuery": None if line.cost is None else cost_json(line.cost),
        "differences": {
            name: {**_interval_json(difference.interval), "p": difference.p, "pHolm": difference.p_holm}
            for name, difference in line.differences.items()
        },
        "notes": list(line.notes),
    }
    return {**told, "perQuery": _queries_json(trial, report)} if per_query else told


def _interval_json(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _queries_json(trial: Trial, report: Report) -> list[dict[str, Any]]:
    told = []
    for place, query in enumerate(report.collection.queries):
        figures = zip(report.settings.figures, trial.figures[place].tolist(), strict=True)
        seconds = ((stage, float(column[place, 0])) for stage, column in trial.seconds.items())
        told.append(
            {
                "query": query.id,
                "figures": {name: value for name, value in figures if not isnan(value)},
                "milliseconds": {stage: value * 1000 for stage, value in seconds if not isnan(value)},
            }
        )
    return told
