"""The report of answers as tables, for a terminal and for a page alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from nexus_core.evaluation.answers.answer_report import AnswersLine, AnswersReport, TokenTotals
from nexus_core.evaluation.answers.measured_answer import ABSTENTIONS, LOWER_IS_BETTER, MATCHES
from nexus_core.evaluation.report import figure, is_sure, probability, signed
from nexus_core.evaluation.statistics import Difference
from nexus_core.toolkit.suggest import counted


@frozen(kw_only=True)
class AnswersTable:
    """One table, all of its cells as texts."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def answer_tables(report: AnswersReport) -> Iterator[AnswersTable]:
    """Yield the tables; the first column is the pipeline."""
    known = any(name in line.figures for line in report.lines for name in MATCHES)
    if known:
        with_answers = max(line.measured[MATCHES[0]] for line in report.lines)
        yield _figures(f"Answers against the known ones, on {_queries(with_answers)}", report, MATCHES)
    yield _figures(
        "Sentences that cite a passage, and of these the ones that it supports", report, report.settings.grounded
    )
    if report.answerable or report.unanswerable:
        title = f"Abstention, on {_queries(report.unanswerable)} without an answer and {report.answerable:,} with one"
        yield _figures(title, report, ABSTENTIONS)
    yield _counts(report)
    if len(report.lines) > 1:
        yield _differences(report)


def _queries(count: int) -> str:
    return counted(count, "query", "queries")


def _figures(title: str, report: AnswersReport, names: Sequence[str]) -> AnswersTable:
    rows = [
        (line.trial.pipeline, *(figure(line.figures[name]) if name in line.figures else "" for name in names))
        for line in report.lines
    ]
    return AnswersTable(title=title, headers=("pipeline", *names), rows=tuple(rows))


def _counts(report: AnswersReport) -> AnswersTable:
    names = [name for name in report.lines[0].counts if any(line.counts[name] for line in report.lines)]
    tokens = ("requests", "tokens in", "tokens out", "US$", "US$ per run")
    rows = [
        (line.trial.pipeline, *(f"{line.counts[name]:,}" for name in names), *_tokens(line.tokens, report.queries))
        for line in report.lines
    ]
    if report.judging is not None:
        rows.append((f"judge {report.settings.judge}", *("" for _ in names), *_tokens(report.judging, report.queries)))
    return AnswersTable(
        title=f"Counts of {counted(report.queries, 'run')} each, and what they took",
        headers=("pipeline", *names, *tokens),
        rows=tuple(rows),
    )


def _tokens(tokens: TokenTotals, runs: int) -> tuple[str, ...]:
    about = "about " if tokens.estimated else ""
    lacks = f" + {tokens.unknown:,} unknown" if tokens.unknown else ""
    nothing = tokens.requests > 0 and tokens.unknown == tokens.requests
    counts = [
        "unknown" if nothing else f"{about}{count:,}{lacks}"
        for count in (tokens.prompt_tokens, tokens.completion_tokens)
    ]
    lacks = f" + {tokens.unpriced:,} unknown" if tokens.unpriced else ""
    dollars = [
        "unknown" if tokens.dollars is None else f"{amount:.6f}{lacks}"
        for amount in ((tokens.dollars or 0.0), (tokens.dollars or 0.0) / max(runs, 1))
    ]
    return f"{tokens.requests:,}", *counts, *dollars


def _differences(report: AnswersReport) -> AnswersTable:
    baseline, *others = report.lines
    several = len(others) > 1
    rows = [_difference(line, name, found, several) for line in others for name, found in line.differences.items()]
    return AnswersTable(
        title=f"Answers against those of {baseline.trial.pipeline}, on the queries that both have the figure of",
        headers=("pipeline", "figure", "difference", "p", *(["p (Holm)"] if several else []), ""),
        rows=tuple(rows),
    )


def _difference(line: AnswersLine, name: str, found: Difference, several: bool) -> tuple[str, ...]:
    verdict = ""
    if is_sure(found):
        verdict = "better" if (found.interval.mean > 0) != (name in LOWER_IS_BETTER) else "worse"
    corrected = [probability(found.p_holm)] if several else []
    return (line.trial.pipeline, name, signed(found.interval), probability(found.p), *corrected, verdict)
