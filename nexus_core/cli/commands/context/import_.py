"""`nexus context import`: a context out of an exported file."""

from __future__ import annotations

import sys

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import plain
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.toolkit.suggest import counted

TOLD = 20

EPILOG = """\b
Examples:
  nexus context import handbook handbook.jsonl
  gunzip < handbook.jsonl.gz | nexus context import handbook -
"""


@click.command("import", epilog=EPILOG)
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, allow_dash=True))
@store_option
def command(name: str, file: str) -> None:
    """Add what FILE, written by `nexus context export`, holds to the context NAME, which is made if it is not there.

    FILE may be - to read it from standard input. Lines that cannot be taken are reported and stop nothing.
    """
    source = sys.stdin.buffer if file == "-" else file
    done = with_store(lambda opened: opened.import_(source, name), create=True)
    added = done.added
    echo(f"{done.context}: {counted(added.new, 'item')} new, {added.changed:,} changed, {added.unchanged:,} unchanged")
    for remark in added.remarks:
        echo(f"  remark: {plain(remark)}", err=True)
    if done.embedder:
        echo(
            f"searched by words: `nexus context embed {done.context} --model {plain(done.embedder)}` lets it be"
            " searched by meaning as before, with the vectors that the file has or new ones"
        )
    for problem in done.problems[:TOLD]:
        echo(f"  failed: {plain(problem)}", err=True)
    if done.left_out > TOLD:
        echo(f"  failed: and {done.left_out - TOLD:,} more", err=True)
    if done.problems:
        raise SystemExit(1)
