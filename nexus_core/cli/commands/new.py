"""`nexus new`: the package of a new plugin, with tests that pass as they stand."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from shlex import quote

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.scaffold.names import PluginNames, problem_of
from nexus_core.cli.scaffold.package import KINDS, new_package, write
from nexus_core.contract.hookspecs import ENTRY_POINT_GROUP
from nexus_core.toolkit.suggest import instead

EPILOG = """\b
Examples:
  nexus new connector acme
  nexus new ranker by-author --path ~/plugins
  nexus new connector acme --repository
"""

_FOLDER = re.compile(r"[^/\\\0]+")


@click.command("new", epilog=EPILOG)
@click.argument("kind")
@click.argument("name")
@click.option(
    "--path", default=".", metavar="DIR", type=click.Path(exists=True, file_okay=False), help="Where to put it (here)."
)
@click.option("--directory", metavar="FOLDER", help="What to call its folder (contextnexus-NAME).")
@click.option(
    "--repository", is_flag=True, help="Add what a repository needs: a license, shipped suites, a publishing workflow."
)
def command(kind: str, name: str, path: str, directory: str | None, repository: bool) -> None:
    """Write the package of a new plugin of KIND: connector, ranker, template, sink, source or tool.

    NAME is what pipelines call it. The package works as it stands: its tests pass, its example runs. Nothing that
    exists is touched.
    """
    _check(kind, name)
    names = PluginNames(name)
    folder = Path(path, _folder(directory or names.distribution))
    new = new_package(kind, names, repository=repository)
    try:
        write(new, folder)
    except FileExistsError as error:
        raise click.UsageError(
            f"{folder} exists and is left as it is: choose another --directory or --path, or move it away"
        ) from error
    except OSError as error:
        raise click.UsageError(f"cannot write {folder}: {error.strerror}") from error
    width = max(len(file.path) for file in new)
    echo(f"wrote {folder}: the {kind} that pipelines name with `use: {name}`")
    for file in new:
        echo(f"  {file.path:<{width}}  {file.purpose}".rstrip())
    echo(f"\nNext:\n  cd {_quoted(folder)}\n  python -m pip install --editable '.[test]'\n  python -m pytest")


def _check(kind: str, name: str) -> None:
    """Raise a UsageError where there is no such kind, or no plugin can have this name."""
    if kind not in KINDS:
        raise click.UsageError(f"there is no kind {kind!r}{instead(kind, KINDS, 'kinds')}")
    if problem := problem_of(name, entry_points(group=ENTRY_POINT_GROUP)):
        raise click.UsageError(problem)


def _folder(name: str) -> str:
    if not _FOLDER.fullmatch(name) or name in (".", ".."):
        raise click.UsageError(f"--directory is the name of a folder, not {name!r}; say where it goes with --path")
    return name


def _quoted(folder: Path) -> str:
    return quote(str(folder))
