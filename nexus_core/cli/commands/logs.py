"""`nexus logs`: runs that were kept on request, listed, searched, shown, printed or asked again, and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from time import time

import click

from nexus_core.cli.option_types import seconds_above_0
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import dollars, json_option, line, plain, print_json, print_table
from nexus_core.cli.run_log import LARGEST, KeptRun, RunLog, log_file, run_json
from nexus_core.cli.run_options import LOGS, logs_folder
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.suggest import counted, listed

EPILOG = f"""\b
Examples:
  NEXUS_LOGS=1 nexus ask handbook "How many days of leave can be carried over?"
  nexus logs
  nexus logs search leave carried
  nexus logs show 12
  nexus logs replay 12
  nexus logs replay 12 --again
  nexus logs prune --older 30d
  nexus logs delete 12
  nexus logs path

\b
{LOGS}=1 in the environment keeps the runs of `run`, `ask` and `chat` in your folder for state,
{LOGS}=FOLDER in another one. Only you may read the file. It has questions, answers, names of sources,
figures and errors: no texts of sources, no values of options, no keys.
"""
_EXAMPLE = "30d, 12h or 90m"

limit_option = click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)


@click.group("logs", epilog=EPILOG, invoke_without_command=True)
@limit_option
@json_option
@click.pass_context
def command(context: click.Context, limit: int, as_json: bool) -> None:
    """List the runs that were kept, the newest first; or search, show, repeat and delete them."""
    if context.invoked_subcommand is None:
        _print_runs(_log().runs(limit=limit), as_json, f"no run is kept: with {LOGS}=1 in the environment they are")


@command.command("search")
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@limit_option
@json_option
def search(words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the runs whose question, answer or error has each of WORDS; upper and lower case are the same."""
    _print_runs(_log().runs([each for word in words for each in word.split()], limit=limit), as_json, "none has these")


@command.command("show")
@click.argument("id", type=int, required=False)
@json_option
def show(id: int | None, as_json: bool) -> None:
    """Show what is kept of run ID, by default of the newest."""
    run = _log().get(id)
    if as_json:
        print_json(run_json(run))
        return
    details, figures = run.details, run.details["metadata"]
    echo(f"── {run.id}  {_shown(run.time)}  {plain(details['pipeline'])} ", dim=True)
    echo(run.query, bold=True)
    _print_answer(run)
    if run.error:
        echo(f"\nError: {run.error}")
    echo(f"\nmodel: {_model(run)}")
    if figures.get("totalTokens") is not None:
        echo(f"tokens: {figures['promptTokens']:,} in the prompt, {figures['completionTokens']:,} in the answer")
    echo(f"cost: {dollars(figures['cost'])}, of {counted(len(details['attempts']), 'request')}")
    echo(f"time: {figures['responseTimeMs'] / 1000:.1f} s")
    for name in ("contextId", "conversationId"):
        if details.get(name):
            echo(f"{name.removesuffix('Id')}: {plain(details[name])}")
    if items := figures.get("contextItems"):
        echo(f"items: {listed([plain(item['id']) for item in items])}")


@command.command("replay")
@click.argument("id", type=int, required=False)
@click.option(
    "--again", is_flag=True, help="Ask the same again, with the models, keys and contexts that there are now."
)
@click.pass_context
def replay(context: click.Context, id: int | None, again: bool) -> None:
    """Print the answer of run ID, by default of the newest, as it was printed then; no model is asked.

    With --again the question is asked anew, also where a model keeps answers in its cache, and without the
    conversation that it may have been part of. The exit code is 1 where the run failed.
    """
    run = _log().get(id)
    if again:
        _ask_again(context, run)
        return
    if run.answer:
        _print_answer(run)
    if run.error:
        echo(f"Error: {run.error}", err=True)
        raise click.exceptions.Exit(1)


@command.command("prune")
@click.option("--older", required=True, metavar="DURATION", help="Delete what is older, as in 30d or 12h.")
def prune(older: str) -> None:
    """Delete old runs for good."""
    echo(f"{counted(_log().delete_before(time() - seconds_above_0(older, '--older', _EXAMPLE)), 'run')} deleted")


@command.command("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=int)
def delete(ids: tuple[int, ...]) -> None:
    """Delete runs for good; raises an error for one that is not kept, and deletes none then."""
    log = _log()
    for id in ids:
        log.get(id)
    echo(f"{counted(log.delete(ids), 'run')} deleted")


@command.command("path", help=f"Print the file of the log; beyond {LARGEST // 2**20} MiB its oldest runs are deleted.")
def path() -> None:
    """Print the file of the log."""
    echo(_log().path)


def _log() -> RunLog:
    return RunLog(log_file(logs_folder() or ""))


def _ask_again(context: click.Context, run: KeptRun) -> None:
    details = run.details
    if missing := details["missing"]:
        raise UsageError(f"run {run.id} cannot be asked again, since this is not kept: {listed(missing)}")
    if details.get("conversationId"):
        echo("it was part of a conversation, and is asked without it", err=True)
    name, *rest = details["command"]
    nexus = context.find_root().command
    code = nexus.main(args=[name, "--no-cache", *rest], prog_name="nexus", standalone_mode=False)
    if isinstance(code, int) and code:
        raise click.exceptions.Exit(code)


def _print_answer(run: KeptRun) -> None:
    echo(run.answer)
    for call in run.details.get("toolCalls", ()):
        echo(f"[calls {call['name']} with {call['arguments']}]")
    sources = run.details["sources"]
    if sources:
        echo("\nSources:")
    for each in sources:
        echo(f"  {each}")


def _print_runs(runs: Sequence[KeptRun], as_json: bool, otherwise: str) -> None:
    if as_json:
        print_json([run_json(run) for run in runs])
        return
    if not runs:
        echo(otherwise, err=True)
        return
    rows = [
        (
            str(run.id),
            _shown(run.time),
            _model(run),
            f"failed: {run.details.get('errorKind', 'store')}" if run.error else "answered",
            dollars(run.details["metadata"]["cost"]),
            line(run.query, 60),
        )
        for run in runs
    ]
    print_table(("id", "begun", "model", "outcome", "cost", "question"), rows, right=frozenset({0, 4}))


def _model(run: KeptRun) -> str:
    return plain(run.details["modelId"] or run.details["model"] or "-")


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")
