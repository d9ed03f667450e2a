"""The options of `nexus eval` for answers, and the settings that they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nexus_core.contract.components import Kind
from nexus_core.contract.errors import PluginError, UsageError
from nexus_core.evaluation.answers.abstention import abstention_pattern
from nexus_core.evaluation.answers.groundedness import LIKENESS_AT, SentenceLikeness
from nexus_core.evaluation.answers.measured_answer import AnswerSettings
from nexus_core.toolkit.text.stemming import LANGUAGES

if TYPE_CHECKING:
    from nexus_core.engine.plugins import PluginRegistry

_EMBEDDER = "semantic"
"""The ranker with embeddings that need no network; the package of its extra may be missing."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


def answer_options(function: _Function) -> _Function:
    """Add the options; all but --answers need it."""
    options = (
        click.option("--answers", is_flag=True, help="Run each pipeline to its end, too, and measure what it answers."),
        click.option("--language", type=click.Choice(LANGUAGES), metavar="LANGUAGE",
                     help="Of the answers: whose articles and endings do not count.  [default: english]"),
        click.option("--abstain-pattern", "abstain_patterns", multiple=True, metavar="REGEX", callback=_patterns,
                     help="A sentence with this says that there is no answer, beside the usual phrases (repeatable)."),
        click.option("--embedder", metavar="RANKER",
                     help=f"Compare sentences by this ranker's scores; `none` by none.  [default: {_EMBEDDER}]"),
        click.option("--embedder-threshold", type=click.FloatRange(-1, 1), metavar="COSINE",
                     help=f"From here on a sentence is supported.  [default: {LIKENESS_AT}]"),
        click.option("--judge", metavar="MODEL", help="Ask this model of the first pipeline of each cited sentence."),
        click.option("--at-once", type=click.IntRange(1, 256), metavar="N",
                     help="Runs under way together.  [default: 4]"),
    )  # fmt: skip
    for add in reversed(options):
        function = add(function)
    return function


def read_answer_settings(
    given: Mapping[str, Any], catalogue: PluginRegistry, asked: Mapping[str, Any]
) -> AnswerSettings | None:
    """Return how answers are measured, `None` where they are not; `asked` is what else is asked of a pipeline."""
    if not given["answers"]:
        names = ("language", "abstain_patterns", "embedder", "embedder_threshold", "judge", "at_once")
        if alone := next((name for name in names if given[name]), None):
            option = alone.rstrip("s").replace("_", "-") if alone == "abstain_patterns" else alone.replace("_", "-")
            raise click.UsageError(f"--{option} is for answers: give --answers, too")
        return None
    return AnswerSettings(
        language=given["language"] or "english",
        pattern=abstention_pattern(given["abstain_patterns"]),
        embedder=_embedder(given["embedder"], given["embedder_threshold"], catalogue),
        judge=given["judge"],
        at_once=given["at_once"] or 4,
        asked=asked,
    )


def _patterns(context: click.Context, option: click.Parameter, patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise click.BadParameter(f"{pattern!r} is no regular expression: {error}") from error
    return patterns


def _embedder(name: str | None, threshold: float | None, catalogue: PluginRegistry) -> SentenceLikeness | None:
    """Return what compares sentences; that of the default is left out where its extra is not installed."""
    if name == "none":
        return None
    wanted = name or _EMBEDDER
    if wanted != _EMBEDDER and threshold is None:
        raise click.UsageError(
            f"--embedder {wanted} needs an --embedder-threshold: {LIKENESS_AT} was measured with {_EMBEDDER} alone"
        )
    at = LIKENESS_AT if threshold is None else threshold
    try:
        return SentenceLikeness(name=wanted, ranker=catalogue.component(Kind.RANKER, wanted)(), threshold=at)
    except PluginError:
        if name is None:
            return None
        raise
    except TypeError as error:
        raise UsageError(f"--embedder {wanted}: the ranker cannot be made without options: {error}") from error
