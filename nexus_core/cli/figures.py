"""The tables of `nexus eval`, for people."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nexus_core.cli.terminal import print_table
from nexus_core.evaluation.measures import NAMES
from nexus_core.evaluation.report import Report
from nexus_core.evaluation.statistics import Difference, Interval


def print_report(report: Report) -> None:
    """Print what was measured, a table for each subject."""
    collection = report.collection
    items = "items of their own" if collection.items is None else f"{len(collection.items):,} items"
    click.echo(
        f"{collection.name}: {len(collection.queries):,} queries, {items}, {collection.judgements:,} relevant pairs; "
        "in brackets the 95 % interval"
    )
    click.echo()
    _print_figures(report, NAMES, NAMES)
    _print_recall(report)
    _print_times(report)
    _print_differences(report)
    _print_notes(report)


def _print_figures(report: Report, names: Sequence[str], headers: Sequence[str]) -> None:
    rows = [
        (line.pipeline, *(_figure(line.figures[name]) if name in line.figures else "" for name in names))
        for line in report.lines
    ]
    print_table(("pipeline", *headers), rows)


def _print_recall(report: Report) -> None:
    names = report.settings.figures[len(NAMES) :]
    if not any(name in line.figures for line in report.lines for name in names):
        return
    _heading(f"Answer recall by tokens of context, on the {report.answerable:,} queries with answers or evidence")
    _print_figures(report, names, [f"{budget:,}" for budget in report.settings.budgets])


def _print_times(report: Report) -> None:
    _heading(
        "Milliseconds per query: median, 95th percentile, and the first one, which opens and builds what is needed"
    )
    stages = [stage for stage in ("asking", "ranking", "packing") if any(stage in line.times for line in report.lines)]
    rows = []
    for line in report.lines:
        row = [line.pipeline]
        for stage in stages:
            times = line.times.get(stage)
            row += ["", "", ""] if times is None else [f"{v:,.2f}" for v in (times.median, times.p95, times.first)]
        rows.append(row)
    headers = [header for stage in stages for header in (stage, "p95", "first")]
    print_table(("pipeline", *headers), rows, right=frozenset(range(1, len(headers) + 1)))


def _print_differences(report: Report) -> None:
    baseline, *others = report.lines
    if not others:
        return
    several = len(others) > 1
    _heading(f"Against {baseline.pipeline}, on the same queries (paired randomisation test)")
    rows = [
        (
            line.pipeline if place == 0 else "",
            name,
            _signed(difference.interval),
            _p(difference.p),
            *([_p(difference.p_holm)] if several else []),
            _verdict(difference),
        )
        for line in others
        for place, (name, difference) in enumerate(line.differences.items())
    ]
    print_table(("pipeline", "figure", "difference", "p", *(["p (Holm)"] if several else []), ""), rows)
    click.echo(f"better, worse: p below .05{f', corrected for {len(others)} comparisons (Holm)' if several else ''}.")
    click.echo("Each figure is one more look: of twenty figures without any difference, one has p below .05 by chance.")


def _verdict(difference: Difference) -> str:
    if difference.p_holm >= 0.05:
        return ""
    return "better" if difference.interval.mean > 0 else "worse"


def _print_notes(report: Report) -> None:
    for line in report.lines:
        for note in line.notes:
            click.echo(f"\nNote on {line.pipeline}: {note}.")


def _heading(text: str) -> None:
    click.echo(click.style(f"\n{text}", bold=True))


def _figure(interval: Interval) -> str:
    return f"{_short(interval.mean)} [{_short(interval.low)}, {_short(interval.high)}]"


def _signed(interval: Interval) -> str:
    return f"{_short(interval.mean, '+')} [{_short(interval.low, '+')}, {_short(interval.high, '+')}]"


def _short(value: float, sign: str = "") -> str:
    """Return a figure with three places and no leading zero, as tables of rankings have it."""
    text = f"{value:{sign}.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else _short(value)
