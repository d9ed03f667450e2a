"""The tables of `nexus eval`, for people."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.evaluation.answers.answer_tables import answer_tables
from nexus_core.evaluation.costs import COST_HEADERS, COST_TITLE, cost_cells
from nexus_core.evaluation.measures import NAMES
from nexus_core.evaluation.report import Report, figure, is_sure, probability, signed
from nexus_core.evaluation.statistics import Difference
from nexus_core.toolkit.suggest import counted


def print_report(report: Report) -> None:
    """Print what was measured, a table for each subject."""
    collection = report.collection
    items = "items of their own" if collection.items is None else counted(len(collection.items), "item")
    echo(
        f"{collection.name}: {counted(len(collection.queries), 'query', 'queries')}, {items}, "
        f"{counted(collection.judgements, 'relevant pair')}; in brackets the 95 % interval"
    )
    echo()
    _print_figures(report, NAMES, NAMES)
    _print_recall(report)
    _print_times(report)
    _print_costs(report)
    _print_differences(report)
    _print_answers(report)
    _print_notes(report)


def _print_figures(report: Report, names: Sequence[str], headers: Sequence[str]) -> None:
    rows = [
        (line.pipeline, *(figure(line.figures[name]) if name in line.figures else "" for name in names))
        for line in report.lines
    ]
    print_table(("pipeline", *headers), rows)


def _print_recall(report: Report) -> None:
    if not report.has_recall:
        return
    names = report.settings.figures[len(NAMES) :]
    queries = counted(report.answerable, "query", "queries")
    _heading(f"Answer recall by tokens of context, on the {queries} with answers or evidence")
    _print_figures(report, names, [f"{budget:,}" for budget in report.settings.budgets])


def _print_times(report: Report) -> None:
    _heading(
        "Milliseconds per query: median, 95th percentile, and the first one, which opens and builds what is needed"
    )
    rows = []
    for line in report.lines:
        row = [line.pipeline]
        for stage in report.stages:
            times = line.times.get(stage)
            row += ["", "", ""] if times is None else [f"{v:,.2f}" for v in (times.median, times.p95, times.first)]
        rows.append(row)
    headers = [header for stage in report.stages for header in (stage, "p95", "first")]
    print_table(("pipeline", *headers), rows, right=frozenset(range(1, len(headers) + 1)))


def _print_costs(report: Report) -> None:
    _heading(COST_TITLE)
    rows = [(line.pipeline, *cost_cells(line.cost)) for line in report.lines if line.cost is not None]
    print_table(("pipeline", *COST_HEADERS), rows, right=frozenset(range(1, len(COST_HEADERS) + 1)))


def _print_differences(report: Report) -> None:
    baseline, *others = report.lines
    if not others:
        return
    several = len(others) > 1
    _heading(f"Against {baseline.pipeline}, on the same queries")
    rows = [
        (
            line.pipeline if place == 0 else "",
            name,
            signed(difference.interval),
            probability(difference.p),
            *([probability(difference.p_holm)] if several else []),
            _verdict(difference),
        )
        for line in others
        for place, (name, difference) in enumerate(line.differences.items())
    ]
    print_table(("pipeline", "figure", "difference", "p", *(["p (Holm)"] if several else []), ""), rows)
    echo(report.how_to_read_differences)


def _verdict(difference: Difference) -> str:
    if not is_sure(difference):
        return ""
    return "better" if difference.interval.mean > 0 else "worse"


def _print_answers(report: Report) -> None:
    for table in () if report.answers is None else answer_tables(report.answers):
        _heading(table.title)
        print_table(table.headers, table.rows)


def _print_notes(report: Report) -> None:
    for line in report.lines:
        for note in line.notes:
            echo(f"\nNote on {line.pipeline}: {note}.")
    for note in () if report.answers is None else report.answers.notes:
        echo(f"\nNote on {note}.")


def _heading(text: str) -> None:
    echo(f"\n{text}", bold=True)
