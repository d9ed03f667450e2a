"""`nexus batch resume` and `retry`: go on with a batch that was stopped or killed, or do again what has failed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from nexus_core.batch.batch import Batch, check_prices
from nexus_core.batch.control import BatchBudget
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.running import folder_argument, refusals, run_options, run_to_end, with_ray_address
from nexus_core.cli.output.echo import echo
from nexus_core.cli.store_option import store_option


@click.command("resume")
@folder_argument
@click.option("--retry-failed", is_flag=True, help="Do again what has failed, too.")
@click.option("--force", is_flag=True, help="Go on although the input or the pipeline has changed.")
@store_option
@run_options
def resume(run_dir: Path, retry_failed: bool, force: bool, **limits: Any) -> None:
    """Go on with the batch in RUN_DIR: records that have a result are not asked again.

    It refuses where the input, the pipeline, its templates or plugins are not what the batch was begun with.
    Budgets and --max-concurrency are as before, unless given; a budget counts what was used before, too.
    """
    with refusals(), Batch.open(RunFolder(run_dir), force=force) as batch:
        code = _go_on(batch, again=retry_failed, **limits)
    sys.exit(code)


@click.command("retry")
@folder_argument
@click.option("--force", is_flag=True, help="Go on although the input or the pipeline has changed.")
@store_option
@run_options
def retry(run_dir: Path, force: bool, **limits: Any) -> None:
    """Do the failed records of the batch in RUN_DIR again, and those that are left; answers that are there stay.

    Lines that were no records stay failed: they would be none again.
    """
    with refusals(), Batch.open(RunFolder(run_dir), force=force) as batch:
        code = _go_on(batch, again=True, **limits)
    sys.exit(code)


def _go_on(
    batch: Batch, *, again: bool, concurrency: int | None, budget: BatchBudget, keeps_going: bool,
    programs: tuple[str, ...], ray_address: str | None,
) -> int:  # fmt: skip
    batch.settings = with_ray_address(evolve(batch.settings, programs=programs), ray_address)
    batch.limit(concurrency, budget, keeps_going=keeps_going)
    if batch.settings.budget.cost is not None:
        check_prices(batch.settings)
    if again:
        echo(f"{batch.journal.reopen():,} failed records are done again", err=True)
    return run_to_end(batch)
