"""`nexus batch resume`: go on with a batch that was stopped or killed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nexus_core.batch.batch import Batch
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.running import budget_of, folder_argument, refusals, run_options, run_to_end


@click.command("resume")
@folder_argument
@click.option("--retry-failed", is_flag=True, help="Do again what has failed, too.")
@run_options
def command(run_dir: Path, retry_failed: bool, max_concurrency: int, budget_tokens: int | None, force: bool) -> None:
    """Go on with the batch in RUN_DIR: records that have a result are not asked again.

    It refuses where the input, the pipeline, its templates or plugins are not what the batch was begun with. A budget
    counts what the batch has used before, too.
    """
    with refusals(), Batch.open(RunFolder(run_dir), force=force) as batch:
        if retry_failed:
            batch.journal.reopen()
        code = run_to_end(batch, max_concurrency, budget_of(budget_tokens))
    sys.exit(code)
