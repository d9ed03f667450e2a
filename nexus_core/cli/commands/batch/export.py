"""`nexus batch export`: write what a batch has so far; it may be running meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nexus_core.batch.batch import BatchSettings
from nexus_core.batch.export import export, result_lines
from nexus_core.batch.input_files import format_of
from nexus_core.batch.journal import Journal
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.running import folder_argument
from nexus_core.cli.output.echo import echo


@click.command("export")
@folder_argument
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to; - is standard output.  [default: the output of the batch]",
)  # fmt: skip
@click.option("--timings", is_flag=True, help="With times and the ids of runs.")
def command(run_dir: Path, output: Path | None, timings: bool) -> None:
    """Write the results that the batch in RUN_DIR has, one line for each record; those without one are `pending`."""
    folder = RunFolder(run_dir)
    settings = BatchSettings.of(folder.read_manifest())
    journal = Journal.open(folder.journal, writes=False)
    try:
        if str(output) == "-":
            for _, line in result_lines(journal, timings=timings or settings.timings):
                sys.stdout.write(f"{line}\n")
            return
        target = output or settings.output
        count = export(journal, target, format_of(target), timings=timings or settings.timings)
        echo(f"{count:,} of {journal.totals().records:,} records have a result: {target}", err=True)
    finally:
        journal.close()
