"""Runs a batch on the terminal: progress, Ctrl-C, what to say at the end and the exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from math import isfinite
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, cast

import click
from attrs import evolve

from nexus_core.batch.batch import CONCURRENCY, Batch, BatchSettings
from nexus_core.batch.control import BatchBudget, BatchControl, BatchStop
from nexus_core.batch.engines import BatchEngine
from nexus_core.batch.journal import BAD_LINE, BatchTotals
from nexus_core.batch.run_folder import BatchRefusedError
from nexus_core.cli.event_loop import FIRST_S, run
from nexus_core.cli.output.batch_progress import BatchProgress, figures_in_words
from nexus_core.cli.output.echo import echo
from nexus_core.cli.run_options import StoreOnDemand
from nexus_core.toolkit.processes.leaving import INTERRUPTED
from nexus_core.toolkit.processes.limits import end_within
from nexus_core.toolkit.suggest import counted

STOPPED = 1
SOME_FAILED = 3
_ENDING_S = 3.0
"""For what was stopped to close its connections."""
FINAL = frozenset({BAD_LINE, "no_recording"})
"""Kinds of failures that stay as they are however often they are tried."""
REFUSED = 4


def run_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options of whatever runs records: `concurrency`, `budget`, `programs` and `ray_address`."""

    @wraps(function)
    def with_budget(*, budget_tokens: int | None, budget_cost: float | None, **rest: Any) -> Any:
        return function(budget=BatchBudget(tokens=budget_tokens, cost=budget_cost), **rest)

    decorated: Any = with_budget
    for decorate in reversed(
        (
            click.option(
                "--max-concurrency", "concurrency", type=click.IntRange(1, 10_000), metavar="N",
                help="The most records at once; how many there are adapts to the service.  "
                f"[default: {CONCURRENCY}, and when it goes on as before]",
            ),
            click.option(
                "--budget-tokens", type=click.IntRange(1), metavar="N", help="Stop before more tokens are used.",
            ),
            click.option(
                "--budget-cost", callback=_finite, type=click.FloatRange(0, min_open=True), metavar="USD",
                help="Stop before more money is spent; every model needs a price.",
            ),
            click.option(
                "--keep-going", "keeps_going", is_flag=True, help="Stop for no number of failures in a row.",
            ),
            click.option(
                "--allow-program", "programs", multiple=True, metavar="NAME",
                help="Let the pipeline start this program, for the tool mcp (repeatable); with `--engine local` alone.",
            ),
            click.option(
                "--ray-address", metavar="HOST:PORT",
                help="Run on this Ray cluster, with `--engine ray`.  [default: one started on this machine]",
            ),
        )
    ):  # fmt: skip
        decorated = decorate(decorated)
    return cast("click.decorators.FC", decorated)


def _finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not isfinite(value):
        raise click.BadParameter("give a sum of money, in US dollars")
    return value


def with_ray_address(settings: BatchSettings, address: str | None) -> BatchSettings:
    """Return settings whose engine runs on the Ray cluster at an address, where one is given."""
    if address is None:
        return settings
    if settings.engine != "ray":
        raise click.UsageError(f"--ray-address is for `--engine ray`, and the engine is {settings.engine}")
    return evolve(settings, engine_options={**settings.engine_options, "address": address})


def run_to_end(batch: Batch) -> int:
    """Run a batch, export what there is, tell about it and return the exit code."""
    answers = StoreOnDemand(None)
    engine = batch.engine(answers)
    control = batch.control()
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
    """Let the first Ctrl-C finish what is under way, for half a minute, and the second one end at once.

    However stuck the event loop or a plugin is: the process ends within those times.
    """
    loop, count = asyncio.get_running_loop(), 0

    def stop() -> None:
        control.stop("interrupted", "interrupted")
        loop.call_later(FIRST_S, hurry.set)

    def hear(number: int, frame: object) -> None:
        nonlocal count
        count += 1
        end_within(FIRST_S + _ENDING_S if count == 1 else _ENDING_S, INTERRUPTED)
        with suppress(RuntimeError):  # the loop is closed: all is done but to leave
            loop.call_soon_threadsafe(stop if count == 1 else hurry.set)
        if count == 1:
            os.write(2, b"finishing what is under way; again to stop at once\n")

    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if not count:  # otherwise a further one must still end the process
                signal.signal(number, handler)


def _conclude(batch: Batch, totals: BatchTotals, stop: BatchStop | None) -> int:
    folder = batch.folder.path
    echo(figures_in_words(totals), err=True)
    if totals.pending:
        why = stop.message if stop is not None else "records are left"
        echo(f"Stopped: {why}.", err=True)
        echo(f"{counted(totals.pending, 'record')} left: go on with `nexus batch resume {folder}`", err=True)
        echo(f"What there is: `nexus batch export {folder}`", err=True)
        return INTERRUPTED if stop is not None and stop.why == "interrupted" else STOPPED
    batch.export()
    echo(f"{counted(totals.records, 'result')} in {batch.settings.output}", err=True)
    if totals.failed:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in totals.kinds)
        again = any(kind not in FINAL for kind, _ in totals.kinds)
        hint = f": do them again with `nexus batch retry {folder}`" if again else ", and would again"
        echo(f"{totals.failed:,} failed ({kinds}){hint}", err=True)
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
