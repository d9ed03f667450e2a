"""`nexus context export`: a context as one file."""

from __future__ import annotations

import sys
from io import RawIOBase
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.suggest import counted

EPILOG = """\b
Examples:
  nexus context export handbook handbook.jsonl
  nexus context export handbook | gzip > handbook.jsonl.gz
  nexus context export handbook handbook.jsonl --vectors
"""


@click.command("export", epilog=EPILOG)
@click.argument("name")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--vectors", is_flag=True, help="With the vectors of its items, so that they need not be made again.")
@store_option
def command(name: str, file: str | None, force: bool, vectors: bool) -> None:
    """Write the context NAME to FILE, one JSON object a line; without FILE to standard output."""
    if file is None:
        target: Any = _Shown() if sys.stdout.isatty() else sys.stdout.buffer
        with_store(lambda opened: opened.export(name, target, vectors=vectors))
        sys.stdout.flush()
        return
    if Path(file).exists() and not force:
        raise UsageError(f"{file} is there already: say --force to write over it")
    items = with_store(lambda opened: opened.export(name, file, vectors=vectors))
    echo(f"wrote {file}: {counted(items, 'item')}")


class _Shown(RawIOBase):
    """The terminal, for an export: the same JSON, in spellings that steer nothing."""

    def write(self, data: Any) -> int:
        """Print some lines."""
        echo(bytes(data).decode(), nl=False)
        return len(data)
