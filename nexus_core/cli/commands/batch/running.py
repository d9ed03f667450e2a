"""Runs a batch on the terminal: progress, Ctrl-C, what to say at the end and the exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, cast

import click
from attrs import evolve

from nexus_core.batch.batch import CONCURRENCY, Batch, BatchSettings
from nexus_core.batch.control import BatchBudget, BatchControl, BatchStop
from nexus_core.batch.engines import BatchEngine
from nexus_core.batch.journal import BatchTotals
from nexus_core.batch.run_folder import BatchRefusedError
from nexus_core.cli.event_loop import FIRST_S, INTERRUPTED, run
from nexus_core.cli.output.batch_progress import BatchProgress, figures_in_words
from nexus_core.cli.output.echo import echo
from nexus_core.cli.run_options import StoreOnDemand

STOPPED = 1
SOME_FAILED = 3
REFUSED = 4


def run_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options of whatever runs records: `concurrency`, `budget` and `ray_address`."""

    @wraps(function)
    def with_budget(*, budget_tokens: int | None, budget_cost: float | None, **rest: Any) -> Any:
        return function(budget=BatchBudget(tokens=budget_tokens, cost=budget_cost), **rest)

    decorated: Any = with_budget
    for decorate in reversed(
        (
            click.option(
                "--max-concurrency", "concurrency", type=click.IntRange(1, 10_000), metavar="N", default=CONCURRENCY,
                show_default=True, help="The most records at once; how many there are adapts to the service.",
            ),
            click.option(
                "--budget-tokens", type=click.IntRange(1), metavar="N", help="Stop before more tokens are used.",
            ),
            click.option(
                "--budget-cost", type=click.FloatRange(0, min_open=True), metavar="USD",
                help="Stop before more money is spent; every model needs a price.",
            ),
            click.option(
                "--ray-address", metavar="HOST:PORT",
                help="Run on this Ray cluster, with `--engine ray`.  [default: one started on this machine]",
            ),
        )
    ):  # fmt: skip
        decorated = decorate(decorated)
    return cast("click.decorators.FC", decorated)


def with_ray_address(settings: BatchSettings, address: str | None) -> BatchSettings:
    """Return settings whose engine runs on the Ray cluster at an address, where one is given."""
    if address is None:
        return settings
    if settings.engine != "ray":
        raise click.UsageError(f"--ray-address is for `--engine ray`, and the engine is {settings.engine}")
    return evolve(settings, engine_options={**settings.engine_options, "address": address})


def run_to_end(batch: Batch, concurrency: int, budget: BatchBudget) -> int:
    """Run a batch, export what there is, tell about it and return the exit code."""
    answers = StoreOnDemand(None)
    engine = batch.engine(answers)
    control = batch.control(concurrency=concurrency, budget=budget)
    totals, stop = run(_run(batch, control, engine, answers))
    return _conclude(batch, totals, stop)


async def _run(
    batch: Batch, control: BatchControl, engine: BatchEngine, answers: StoreOnDemand
) -> tuple[BatchTotals, BatchStop | None]:
    hurry = asyncio.Event()
    with _heeding_signals(control, hurry), BatchProgress(control):
        async with answers:
            return await batch.run(control, hurry, engine)


@contextmanager
def _heeding_signals(control: BatchControl, hurry: asyncio.Event) -> Iterator[None]:
    """Let the first Ctrl-C finish what is under way, for half a minute, and the second one end at once."""
    loop = asyncio.get_running_loop()

    def hear() -> None:
        if control.stopped is not None and control.stopped.why == "interrupted":
            hurry.set()
            return
        control.stop("interrupted", "interrupted")
        echo("\nfinishing what is under way; again to stop at once", err=True)
        loop.call_later(FIRST_S, hurry.set)

    heard = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, ValueError, RuntimeError):  # where signals cannot be heard in a loop
            before = signal.getsignal(number)
            loop.add_signal_handler(number, hear)
            heard.append((number, before))
    try:
        yield
    finally:
        for number, before in heard:
            loop.remove_signal_handler(number)
            signal.signal(number, before)


def _conclude(batch: Batch, totals: BatchTotals, stop: BatchStop | None) -> int:
    folder = batch.folder.path
    echo(figures_in_words(totals), err=True)
    if totals.pending:
        why = stop.message if stop is not None else "records are left"
        echo(f"Stopped: {why}.", err=True)
        echo(f"{totals.pending:,} records are left: go on with `nexus batch resume {folder}`", err=True)
        echo(f"What there is: `nexus batch export {folder}`", err=True)
        return INTERRUPTED if stop is not None and stop.why == "interrupted" else STOPPED
    batch.export()
    echo(f"{totals.records:,} results are in {batch.settings.output}", err=True)
    if totals.failed:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in totals.kinds)
        echo(f"{totals.failed:,} failed ({kinds}): do them again with `nexus batch retry {folder}`", err=True)
        return SOME_FAILED
    return 0


@contextmanager
def refusals() -> Iterator[None]:
    """End the command with exit code 4 where a batch cannot go on as it is."""
    try:
        yield
    except BatchRefusedError as error:
        echo(f"Error: {error}", err=True)
        sys.exit(REFUSED)


def folder_argument(function: click.decorators.FC) -> click.decorators.FC:
    """Add RUN_DIR."""
    return click.argument("run_dir", type=click.Path(path_type=Path))(function)
