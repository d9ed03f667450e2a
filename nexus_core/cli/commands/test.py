"""`nexus test`: runs the tests that pipelines carry, with scripted models, offline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from nexus_core import recordings
from nexus_core.cli.option_types import named_paths
from nexus_core.cli.output.echo import echo
from nexus_core.cli.recording_options import recording_arguments, recording_options
from nexus_core.contract.errors import UsageError
from nexus_core.engine.interceptors import Interceptor
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.pipeline_tests.reports import as_json, failure_lines, passed_line, summary, write_junit
from nexus_core.pipeline_tests.runner import CaseResult, check_files, run_cases, tested_files

EPILOG = """\b
Examples:
  nexus test .
  nexus test assistant.yaml -k leave -v
  nexus test . --junit report.xml

How tests are written tells the page "test a pipeline" of the documentation.
"""


@click.command("test", epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="PIPELINE|FOLDER...", callback=named_paths)
@click.option("-k", "part", metavar="TEXT", help="Only the tests with this in their names, in any case.")
@click.option("-v", "--verbose", is_flag=True, help="Name the tests that pass, too.")
@click.option("--junit", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML.")
@click.option("--json", "is_json", is_flag=True, help="Print the results as JSON.")
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a value of each file (repeatable)."
)
@recording_options
@click.pass_context
def command(
    context: click.Context,
    files: tuple[str, ...],
    part: str | None,
    verbose: bool,
    junit: Path | None,
    is_json: bool,
    overrides: tuple[str, ...],
    record: Path | None,
    replay: Path | None,
) -> None:
    """Run the tests of PIPELINEs: those under `tests` and those in NAME.tests.yaml beside NAME.yaml.

    Models answer as a test scripts them; connections are refused, pauses pass at once, sinks get nothing. Programs that
    a plugin starts are not looked at, and threads are waited for. A FOLDER stands for all pipelines below it that have
    tests. With --record, models without a script are asked, and what they answer is kept; with --replay they answer
    from that.

    Exit codes: 0 all passed, 1 some failed, 2 wrong usage or configuration, or no tests.
    """
    if junit is not None and not junit.parent.is_dir():
        raise UsageError(f"cannot write {junit}: there is no folder {junit.parent}, make it first")
    arguments = recording_arguments(record, replay)
    tested = check_files(tested_files(files), PluginRegistry.installed(), arguments["environment"], overrides)
    if not any(pipeline.checked.tests for pipeline in tested):
        raise UsageError(
            f"there are no tests in {', '.join(files)}: write some under `tests` of a pipeline, or in NAME.tests.yaml "
            "beside NAME.yaml"
        )
    results = list[CaseResult]()
    for result in run_cases(
        tested,
        lambda name: part is None or part.casefold() in name.casefold(),
        _interceptors(arguments["interceptor"], replay),
    ):
        results.append(result)
        if not is_json:
            _print(result, verbose)
    if not results:
        raise UsageError(f"no test has {part!r} in its name: `nexus test -v` shows the names")
    if junit is not None:
        _write(results, junit)
    echo(json.dumps(as_json(results), indent=2, ensure_ascii=False) if is_json else summary(results))
    context.exit(0 if all(result.passed for result in results) else 1)


def _interceptors(made: Interceptor | None, replay: Path | None) -> Callable[[], Interceptor] | None:
    """Return what gives each test its interceptor.

    A replay begins anew for each test, so that none depends on those before it. One recorder serves all of them: what
    several tests ask alike is one file, with the responses that all of them had.
    """
    if made is None:
        return None
    return lambda: made if replay is None else recordings.recording_interceptor(replay=replay)


def _print(result: CaseResult, verbose: bool) -> None:
    if not result.passed:
        echo("\n".join(failure_lines(result)))
    elif verbose:
        echo(passed_line(result))


def _write(results: list[CaseResult], junit: Path) -> None:
    try:
        write_junit(results, junit)
    except OSError as error:
        raise click.UsageError(f"cannot write {junit}: {error.strerror}") from error
