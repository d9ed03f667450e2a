"""`nexus eval`: how well pipelines rank, pack and answer, measured on queries whose relevant items are known."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nexus_core.cli.answer_options import answer_options, read_answer_settings
from nexus_core.cli.eval_variants import check_variant, variant, variant_options
from nexus_core.cli.event_loop import run
from nexus_core.cli.option_types import PipelineFile
from nexus_core.cli.output.echo import echo, one_line
from nexus_core.cli.output.eval_tables import print_report
from nexus_core.cli.run_options import programs_option, read_inputs
from nexus_core.cli.store_option import store_option
from nexus_core.contract.errors import NexusError
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.plan import load_plan
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.evaluation.answers.answer_report import build_answers_report
from nexus_core.evaluation.answers.answer_trial import check_answerable, measure_answers
from nexus_core.evaluation.beir import BeirFiles, read_collection
from nexus_core.evaluation.html_report import render_html
from nexus_core.evaluation.measures import library
from nexus_core.evaluation.report import SEED, build_report, report_json
from nexus_core.evaluation.trial import TrialSettings, measurable, run_trial
from nexus_core.toolkit.shared_resources import SharedResources

if TYPE_CHECKING:
    from nexus_core.engine.plan import Plan
    from nexus_core.evaluation.answers.answer_report import AnswersReport
    from nexus_core.evaluation.answers.measured_answer import AnswerSettings
    from nexus_core.evaluation.collection import JudgedCollection
    from nexus_core.evaluation.report import Report
    from nexus_core.evaluation.trial import Trial

EPILOG = """\b
Examples:
  nexus eval assistant.yaml --collection COLLECTION/
  nexus eval assistant.yaml OTHER.yaml --collection COLLECTION/ --html report.html
  nexus eval assistant.yaml --queries QUERIES.jsonl --qrels QRELS.tsv --context handbook
  nexus eval assistant.yaml --collection COLLECTION/ --against-set steps[0].rank.k1=1.2
  nexus eval assistant.yaml --queries QUERIES.jsonl --qrels QRELS.tsv --context handbook --against-store NEW/
  nexus eval assistant.yaml --queries QUERIES.jsonl --qrels QRELS.tsv --corpus CORPUS.jsonl --json --per-query
  nexus eval assistant.yaml OTHER.yaml --collection COLLECTION/ --answers --judge main

\b
Files, in BEIR layout:
  corpus.jsonl   {"_id": "d1", "title": "...", "text": "..."}
  queries.jsonl  {"_id": "q1", "text": "...", "answers": ["..."]}
  qrels.tsv      query-id<TAB>corpus-id<TAB>score, with this header
"""


class _Bar:
    """A progress bar on stderr where that is a terminal; one step for each query of each pipeline."""

    def __init__(self, total: int) -> None:
        self._total = total

    @contextmanager
    def shown(self) -> Iterator[Callable[[str], None]]:
        """Show the bar for a while and give what is to be called, with a pipeline's name, for each step."""
        if not sys.stderr.isatty():
            yield lambda name: None
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=self._total)
            yield lambda name: progress.update(task, advance=1, description=one_line(name))


def _budgets(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        budgets = tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        budgets = (0,)
    if any(budget < 1 for budget in budgets):
        raise click.BadParameter(f"{text!r} must be numbers of tokens above 0, as in 256,512,1024")
    return budgets


@click.command("eval", epilog=EPILOG)
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE...", type=PipelineFile())
@click.option("--collection", metavar="DIR", help="A folder with queries.jsonl, qrels.tsv and (perhaps) corpus.jsonl.")
@click.option("--queries", metavar="FILE", help="The queries, one JSON object per line.")
@click.option("--qrels", metavar="FILE", help="Which item is relevant to which query.")
@click.option("--corpus", metavar="FILE", help="Rank the items of this file; the gather steps add nothing.")
@click.option(
    "--context",
    metavar="NAME",
    help="Let the pipelines gather, from this context where they do not say or say ${NEXUS_CONTEXT}.",
)
@click.option("--queries-at-most", type=click.IntRange(1), metavar="N", help="Measure the first N queries only.")
@click.option(
    "--budgets",
    default="256,512,1024,2048,4096",
    show_default=True,
    metavar="TOKENS,...",
    callback=_budgets,
    help="Sizes of context to measure answer recall at.",
)
@click.option(
    "--evidence",
    type=click.Choice(("all", "any")),
    default="all",
    show_default=True,
    help="Whether a prompt needs the evidence of all items of a query, or of any.",
)
@click.option("--kind", default="text", show_default=True, metavar="KIND", help="Of items that do not say theirs.")
@click.option("--model", metavar="NAME", help="Pack for this model of the pipelines, and ask it.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Give an input (repeatable).")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a value in every pipeline, as in steps[1].rank.k1=1.2 (repeatable).",
)
@variant_options
@answer_options
@programs_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--per-query", is_flag=True, help="With --json: also the figures of each query.")
@click.option("--html", metavar="FILE", type=click.Path(dir_okay=False), help="Write a page with tables and curves.")
def command(pipelines: tuple[str, ...], as_json: bool, per_query: bool, html: str | None, **asked: Any) -> None:
    """Measure how well each PIPELINE ranks, and how often its prompt holds the answer.

    The first pipeline is the baseline of the others; with --against-set, --against-store or --against-context, one
    pipeline is compared with itself, changed so. Each is run for each query up to and including its packing: no
    answer is asked of a model, unless --answers says so.
    """  # fmt: skip
    if per_query and not as_json:
        raise click.UsageError("--per-query is for --json: give both")
    library()  # or the error that says how to install it
    catalogue = PluginRegistry.installed()
    settings = _settings(asked)
    answers = read_answer_settings(asked, catalogue, settings.asked)
    plans = _plans([Path(path) for path in pipelines], catalogue, asked)
    plans += variant(plans, partial(_loaded, Path(pipelines[0]), catalogue, asked), asked)
    _check(plans, answers, None if html is None else Path(html))
    collection = _collection(asked)
    check_variant(collection, asked)
    plans = [measurable(plan, collection) for plan in plans]
    report, error = _measured(plans, collection, settings, answers)
    if as_json:
        echo(json.dumps(report_json(report, per_query=per_query), ensure_ascii=False, indent=2))
    else:
        print_report(report)
    if html is not None:
        _write_page(Path(html), report)
    if error is not None:
        raise error


def _check(plans: Sequence[Plan], answers: AnswerSettings | None, html: Path | None) -> None:
    """Raise for what cannot come to a good end: before the first run, which may cost money."""
    if html is not None:
        _check_target(html)
    if answers is None:
        return
    check_answerable(plans)
    if answers.judge is not None:
        plans[0].registry.get(answers.judge)  # or the error that says which there are


def _measured(
    plans: Sequence[Plan], collection: JudgedCollection, settings: TrialSettings, answers: AnswerSettings | None
) -> tuple[Report, NexusError | None]:
    """Return the report, and the error that is raised when it was told: what was measured before is not lost."""
    report = build_report(collection, settings, _trials(plans, collection, settings))
    if answers is None:
        return report, None
    try:
        found = _answers(plans, collection, answers)
    except NexusError as error:
        return report, error
    errors = [line.trial.error for line in found.lines if line.trial.error is not None]
    return evolve(report, answers=found), errors[0] if errors else None


def _plans(paths: Sequence[Path], catalogue: PluginRegistry, asked: dict[str, Any]) -> list[Plan]:
    """Load the pipelines, all of them before any is run; each has a name of its own."""
    plans = [_loaded(path, catalogue, asked, ()) for path in paths]
    return [evolve(plan, name=name) for plan, name in zip(plans, _names(plans, paths), strict=True)]


def _loaded(path: Path, catalogue: PluginRegistry, asked: dict[str, Any], more: Sequence[str]) -> Plan:
    """Load a pipeline with the overrides asked for, and more that stand over these."""
    environment = dict(os.environ)
    if asked["context"] is not None:
        environment["NEXUS_CONTEXT"] = asked["context"]
    resources = ComponentLifecycle(SharedResources(programs=asked["programs"]))
    return load_plan(path, catalogue, environment, [*asked["overrides"], *more], resources)


def _names(plans: Sequence[Plan], paths: Sequence[Path]) -> list[str]:
    """Return what to call the pipelines: by their names, where these differ, else by their files, else by number."""
    for names in ([plan.name for plan in plans], [path.stem for path in paths], [str(path) for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [f"{plan.name} {number}" for number, plan in enumerate(plans, 1)]


def _collection(asked: dict[str, Any]) -> JudgedCollection:
    files = _files(asked)
    with_items = files.corpus is not None and asked["context"] is None
    collection = read_collection(files, kind=asked["kind"], with_items=with_items)
    for warning in collection.warnings:
        echo(f"Warning: {warning}", err=True)
    return collection.first(asked["queries_at_most"])


def _files(asked: dict[str, Any]) -> BeirFiles:
    single = {name: asked[name] for name in ("queries", "qrels", "corpus") if asked[name] is not None}
    if asked["context"] is not None and asked["corpus"] is not None:
        raise click.UsageError("--corpus and --context both say where the items come from: give one of them")
    if asked["collection"] is not None:
        if single:
            raise click.UsageError(f"--collection is a folder that holds everything: leave out --{next(iter(single))}")
        return BeirFiles.of_folder(Path(asked["collection"]))
    if "queries" not in single or "qrels" not in single:
        raise click.UsageError("give --queries and --qrels, or --collection, a folder that holds both")
    corpus = Path(single["corpus"]) if "corpus" in single else None
    return BeirFiles(queries=Path(single["queries"]), qrels=Path(single["qrels"]), corpus=corpus)


def _settings(asked: dict[str, Any]) -> TrialSettings:
    return TrialSettings(
        budgets=asked["budgets"],
        needed=asked["evidence"],
        asked={"inputs": read_inputs(asked["inputs"]), "model": asked["model"], "context_id": asked["context"]},
    )


def _trials(plans: Sequence[Plan], collection: JudgedCollection, settings: TrialSettings) -> list[Trial]:
    with _Bar(len(plans) * len(collection.queries)).shown() as step:
        return [run(run_trial(plan, collection, settings, partial(step, plan.name), _warn)) for plan in plans]


def _warn(warning: str) -> None:
    echo(f"Warning: {warning}", err=True)


def _answers(plans: Sequence[Plan], collection: JudgedCollection, settings: AnswerSettings) -> AnswersReport:
    with _Bar(len(plans) * len(collection.to_answer)).shown() as step:
        judgement = run(measure_answers(plans, collection, settings, step))
    return build_answers_report(collection, settings, judgement, SEED)


def _check_target(file: Path) -> None:
    folder = file.absolute().parent
    if not folder.is_dir():
        raise click.UsageError(f"cannot write {file}: there is no folder {file.parent}, make it first")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise click.UsageError(f"cannot write {file}: permission denied")


def _write_page(file: Path, report: Report) -> None:
    try:
        file.write_text(render_html(report), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {file}: {error.strerror or error}") from error
    echo(f"wrote {file}", err=True)
