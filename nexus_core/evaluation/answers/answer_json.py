"""The report of answers as JSON data."""

from __future__ import annotations

from math import isnan
from typing import Any

from attrs import asdict

from nexus_core.evaluation.answers.answer_report import AnswersLine, AnswersReport, TokenTotals
from nexus_core.evaluation.answers.groundedness import WORDS_AT
from nexus_core.evaluation.answers.measured_answer import MeasuredAnswer, MeasuredSentence, answer_figures
from nexus_core.evaluation.statistics import Interval


def settings_json(report: AnswersReport) -> dict[str, Any]:
    """Return what holds for all pipelines as JSON data."""
    settings, embedder = report.settings, report.settings.embedder
    judge = None if report.judging is None else {"model": settings.judge, "tokens": tokens_json(report.judging)}
    return {
        "queries": report.queries,
        "answerable": report.answerable,
        "unanswerable": report.unanswerable,
        "language": settings.language,
        "wordsThreshold": WORDS_AT,
        "embedder": None if embedder is None else {"name": embedder.name, "threshold": embedder.threshold},
        "judge": judge,
        "notes": list(report.notes),
    }


def line_json(line: AnswersLine, report: AnswersReport, *, per_query: bool) -> dict[str, Any]:
    """Return what is reported of one pipeline as JSON data, with each answer if `per_query` is set."""
    told = {
        "figures": {name: {**_interval(one), "queries": line.measured[name]} for name, one in line.figures.items()},
        "differences": {
            name: {**_interval(found.interval), "p": found.p, "pHolm": found.p_holm}
            for name, found in line.differences.items()
        },
        "counts": {_camel(name): count for name, count in line.counts.items()},
        "tokens": tokens_json(line.tokens),
    }
    if not per_query:
        return told
    return {**told, "perQuery": [_answer(answer, report) for answer in line.trial.answers]}


def tokens_json(tokens: TokenTotals) -> dict[str, float | None]:
    """Return what requests took as JSON data."""
    return {_camel(name.replace("_", " ")): count for name, count in asdict(tokens).items()}


def _answer(answer: MeasuredAnswer, report: AnswersReport) -> dict[str, Any]:
    figures = zip(report.settings.figures, answer_figures(answer, report.settings), strict=True)
    return {
        "query": answer.query.id,
        "answerable": answer.query.answerable,
        "answer": None if answer.failure else answer.text,
        "failure": answer.failure or None,
        "abstains": answer.abstains,
        "figures": {name: value for name, value in figures if not isnan(value)},
        "sentences": [_sentence(sentence) for sentence in answer.sentences],
    }


def _sentence(sentence: MeasuredSentence) -> dict[str, Any]:
    return {
        "text": sentence.text,
        "cited": list(sentence.cited),
        "missing": list(sentence.missing),
        "byWords": sentence.by_words,
        "byEmbeddings": sentence.by_embeddings,
        "byJudge": sentence.by_judge,
    }


def _interval(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _camel(name: str) -> str:
    first, *rest = name.split()
    return first + "".join(word.capitalize() for word in rest)
