"""`nexus batch status` and `export`: how far a batch is and what it has; it may be running meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
from attrs import asdict

from nexus_core.batch.batch import BatchSettings, check_output, output_format
from nexus_core.batch.export import export as write_results, result_lines
from nexus_core.batch.journal import Journal
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.running import folder_argument
from nexus_core.cli.output.batch_progress import figures_in_words
from nexus_core.cli.output.echo import echo
from nexus_core.toolkit.suggest import counted


@click.command("status")
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def status(run_dir: Path, as_json: bool) -> None:
    """Show how far the batch in RUN_DIR is, and what it has used."""
    folder = RunFolder(run_dir)
    manifest = folder.read_manifest()
    with _reading(folder) as journal:
        totals, stop = journal.totals(), journal.last_stop()
    if as_json:
        figures = asdict(totals) | {"pending": totals.pending, "kinds": dict(totals.kinds)}
        figures["running"] = folder.is_locked()
        figures["stopped"] = stop and dict(zip(("time", "why", "message"), stop, strict=True))
        echo(json.dumps(figures, indent=2))
        return
    echo(f"{manifest.pipeline} over {manifest.input}, results in {manifest.output}")
    echo(figures_in_words(totals))
    if folder.is_locked():
        echo("It is running.")
    elif not totals.pending:
        echo("It is done.")
    elif stop is None:
        echo("It is not running, and was not stopped: its process has died.")
    else:
        echo(f"It is not running. Stopped at {datetime.fromtimestamp(stop[0]):%Y-%m-%d %H:%M}: {stop[2]}")


@click.command("export")
@folder_argument
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to; - is standard output.  [default: the output of the batch]",
)  # fmt: skip
@click.option("--timings", is_flag=True, help="With times and the ids of runs.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
def export(run_dir: Path, output: Path | None, timings: bool, overwrite: bool) -> None:
    """Write the results that the batch in RUN_DIR has, one line for each record; those without one are `pending`."""
    folder = RunFolder(run_dir)
    settings = BatchSettings.of(folder.read_manifest())
    with _reading(folder) as journal:
        if str(output) == "-":
            for _, line in result_lines(journal, timings=timings or settings.timings):
                echo(line)
            return
        target = output or settings.output
        form = output_format(target)
        check_output(target, overwrite=overwrite or target.absolute() == settings.output)
        count = write_results(journal, target, form, timings=timings or settings.timings)
        echo(f"{counted(count, 'result')} of {counted(journal.totals().records, 'record')}: {target}", err=True)


@contextmanager
def _reading(folder: RunFolder) -> Iterator[Journal]:
    journal = Journal.open(folder.journal, writes=False)
    try:
        yield journal
    finally:
        journal.close()
