"""`nexus batch status` and `export`: how far a batch is and what it has; it may be running meanwhile."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from attrs import asdict

from nexus_core.batch.batch import BatchSettings
from nexus_core.batch.export import export as write_results, result_lines
from nexus_core.batch.input_files import format_of
from nexus_core.batch.journal import Journal
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.running import folder_argument
from nexus_core.cli.output.batch_progress import figures_in_words
from nexus_core.cli.output.echo import echo


@click.command("status")
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def status(run_dir: Path, as_json: bool) -> None:
    """Show how far the batch in RUN_DIR is, and what it has used."""
    folder = RunFolder(run_dir)
    manifest = folder.read_manifest()
    with _reading(folder) as journal:
        totals = journal.totals()
    if as_json:
        figures = asdict(totals) | {"pending": totals.pending, "kinds": dict(totals.kinds)}
        figures["running"] = folder.is_locked()
        echo(json.dumps(figures, indent=2))
        return
    echo(f"{manifest.pipeline} over {manifest.input}, results in {manifest.output}")
    echo(figures_in_words(totals))
    echo("It is running." if folder.is_locked() else "It is not running." if totals.pending else "It is done.")


@click.command("export")
@folder_argument
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to; - is standard output.  [default: the output of the batch]",
)  # fmt: skip
@click.option("--timings", is_flag=True, help="With times and the ids of runs.")
def export(run_dir: Path, output: Path | None, timings: bool) -> None:
    """Write the results that the batch in RUN_DIR has, one line for each record; those without one are `pending`."""
    folder = RunFolder(run_dir)
    settings = BatchSettings.of(folder.read_manifest())
    with _reading(folder) as journal:
        if str(output) == "-":
            for _, line in result_lines(journal, timings=timings or settings.timings):
                sys.stdout.write(f"{line}\n")
            return
        target = output or settings.output
        count = write_results(journal, target, format_of(target), timings=timings or settings.timings)
        echo(f"{count:,} of {journal.totals().records:,} records have a result: {target}", err=True)


@contextmanager
def _reading(folder: RunFolder) -> Iterator[Journal]:
    journal = Journal.open(folder.journal, writes=False)
    try:
        yield journal
    finally:
        journal.close()
