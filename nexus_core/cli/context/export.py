"""`nexus context export`: a context as one file."""

from __future__ import annotations

import sys

import click

from nexus_core.cli.chosen import store_option, with_store
from nexus_core.contract.errors import UsageError

EPILOG = """\b
Examples:
  nexus context export handbook handbook.jsonl
  nexus context export handbook | gzip > handbook.jsonl.gz
"""


@click.command("export", epilog=EPILOG)
@click.argument("name")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@store_option
def command(name: str, file: str | None, force: bool) -> None:
    """Write the context NAME to FILE, one JSON object a line; without FILE to standard output."""
    if file is None:
        with_store(lambda opened: opened.export(name, sys.stdout.buffer))
        sys.stdout.buffer.flush()
        return
    from pathlib import Path

    if Path(file).exists() and not force:
        raise UsageError(f"{file} is there already: say --force to write over it")
    items = with_store(lambda opened: opened.export(name, file))
    click.echo(f"wrote {file}: {items:,} items")
