"""`nexus context check`: whether a store is whole."""

from __future__ import annotations

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.progress_bar import IngestProgressBar
from nexus_core.cli.output.tables import json_option, plain, print_json
from nexus_core.cli.store_option import store_option, with_store

EPILOG = """\b
Examples:
  nexus context check
  nexus context check handbook --repair
"""


@click.command("check", epilog=EPILOG)
@click.argument("name", required=False)
@click.option(
    "--repair", is_flag=True, help="Make indexes and counts anew where they are wrong or of an older version."
)
@json_option
@store_option
def command(name: str | None, repair: bool, as_json: bool) -> None:
    """Check that the context NAME, or the whole store, is whole and its index agrees with it.

    Every problem is a line: what, where, what to do. The exit code is 1 where one is left.
    """
    with IngestProgressBar(quiet=as_json) as counting:
        problems = with_store(lambda opened: opened.check(name, repair=repair, seen=counting.see))
    if as_json:
        print_json(list(problems))
    elif problems:
        for problem in problems:
            echo(plain(problem))
    else:
        echo("all is well")
    if problems:
        raise SystemExit(1)
