"""`nexus batch retry`: do again what has failed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nexus_core.batch.batch import Batch
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.running import budget_of, folder_argument, refusals, run_options, run_to_end
from nexus_core.cli.output.echo import echo


@click.command("retry")
@folder_argument
@run_options
def command(run_dir: Path, max_concurrency: int, budget_tokens: int | None, force: bool) -> None:
    """Do the failed records of the batch in RUN_DIR again, and those that are left; answers that are there stay.

    Lines that were no records stay failed: they would be none again.
    """
    with refusals(), Batch.open(RunFolder(run_dir), force=force) as batch:
        again = batch.journal.reopen()
        echo(f"{again:,} failed records are done again", err=True)
        code = run_to_end(batch, max_concurrency, budget_of(budget_tokens))
    sys.exit(code)
