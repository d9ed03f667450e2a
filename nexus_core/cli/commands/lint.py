"""`nexus lint`: every problem of pipeline files, in one pass, without opening or calling anything.

Plugin files are run to learn what they offer; `--no-plugins` does without.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import click
from attrs import asdict

from nexus_core.cli.option_types import named_paths
from nexus_core.cli.output.echo import echo
from nexus_core.config.sibling_files import PIPELINE_ENDINGS, STANDARD_INPUT
from nexus_core.contract.errors import Problem
from nexus_core.engine import plugins
from nexus_core.engine.building.lint import lint_file, lint_target

EPILOG = """\b
Examples:
  nexus lint assistant.yaml
  nexus lint . --format json
  nexus lint assistant.yaml --set steps[2].prompt.budget=500
  nexus lint --no-plugins FOLDER-OF-A-STRANGER/
  generate-pipeline | nexus lint -

The codes are listed on the page "pipelines" of the documentation.
"""


@click.command("lint", epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", callback=named_paths)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How problems are printed (text)."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a value of each file (repeatable)."
)
@click.option(
    "--no-plugins", is_flag=True, help="Run no plugin file: their components and options are not checked, all else is."
)
@click.pass_context
def command(
    context: click.Context, files: tuple[str, ...], form: str, overrides: tuple[str, ...], no_plugins: bool
) -> None:
    """Report every problem of pipeline FILEs as file:line:column code message.

    A folder stands for all *.yaml and *.yml files below it, - for standard input. The tests of a pipeline are checked
    with it, those in NAME.tests.yaml beside it too. Exit code 2 when there is any error, 0 when there are none or only
    warnings.

    The Python files that a pipeline names under `plugins` are RUN, to learn what they offer: check what you do not
    trust with --no-plugins.
    """
    found, problems = _files(files)
    catalogue = plugins.PluginRegistry.installed()
    for file in found:
        problems += lint_file(file, catalogue, os.environ, overrides, run_plugins=not no_plugins)
    if form == "json":
        echo(json.dumps({"files": found, "problems": [asdict(problem) for problem in problems]}, indent=2))
    else:
        for problem in problems:
            echo(_line(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    echo(_summary(len(found), errors, len(problems) - errors), err=True)
    context.exit(2 if errors else 0)


def _files(names: Iterable[str]) -> tuple[list[str], list[Problem]]:
    """Return the files that names stand for, each once, and a problem for each folder without any."""
    found: dict[str, None] = {}
    problems = list[Problem]()
    for name in names:
        if name == STANDARD_INPUT or not Path(name).is_dir():
            _add(name, found, problems)
            continue
        below = [path for path in sorted(Path(name).rglob("*")) if path.suffix in PIPELINE_ENDINGS and path.is_file()]
        for path in below:
            _add(str(path), found, problems)
        if not below:
            problems.append(Problem("Y001", _why_none(name), name))
    return list(found), problems


def _why_none(folder: str) -> str:
    try:
        os.listdir(folder)
    except OSError as error:
        return f"this folder cannot be listed: {error.strerror or error}"
    return "there is no *.yaml or *.yml file in this folder"


def _add(name: str, found: dict[str, None], problems: list[Problem]) -> None:
    """Add a file, a file of tests as the pipeline that they are for."""
    target = lint_target(name)
    if isinstance(target, Problem):
        problems.append(target)
    else:
        found[target] = None


def _line(problem: Problem) -> str:
    mark = "" if problem.severity == "error" else f"{problem.severity}: "
    return f"{problem.file}:{problem.line}:{problem.column} {problem.code} {mark}{problem.message}"


def _summary(files: int, errors: int, warnings: int) -> str:
    counts = [f"{errors} error{'s' * (errors != 1)}"] if errors else ["no errors"]
    if warnings:
        counts.append(f"{warnings} warning{'s' * (warnings != 1)}")
    return f"{files} file{'s' * (files != 1)}: {', '.join(counts)}"
