"""`nexus batch PIPELINE INPUT -o OUTPUT`: begin a batch and run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from nexus_core.batch.batch import CONCURRENCY, Batch, BatchSettings, check_prices
from nexus_core.batch.control import BatchBudget
from nexus_core.batch.engines import LOCAL
from nexus_core.batch.input_files import SUFFIXES
from nexus_core.batch.run_folder import RunFolder
from nexus_core.cli.commands.batch.dry_run import dry_run
from nexus_core.cli.commands.batch.running import refusals, run_options, run_to_end, with_ray_address
from nexus_core.cli.option_types import PipelineFile
from nexus_core.cli.recording_options import recording_options
from nexus_core.cli.run_options import fresh_option, read_inputs
from nexus_core.cli.store_option import store_option


@click.command("start")
@click.argument("pipeline", type=PipelineFile(path_type=Path))
@click.argument("input", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the results go when all is done, .jsonl or .parquet.",
)
@click.option("--run-dir", type=click.Path(path_type=Path), help="The folder of the batch.  [default: OUTPUT.run]")
@click.option("--format", type=click.Choice(["jsonl", "csv", "parquet"]), help="Of the input, if its name tells none.")
@click.option("--model", metavar="NAME", help="Answer with this model of the pipeline.")
@click.option("--context", metavar="NAME", help="The context of records that name none.")
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of records without (repeatable)."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a value of the file (repeatable)."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N records alone.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="N records chosen at random, the same each time.")
@click.option(
    "--bad-lines",
    type=click.Choice(["refuse", "fail"]),
    default="refuse",
    show_default=True,
    help="Refuse an input with lines that are no records, or have them as failed records in the output.",
)
@click.option("--timings", is_flag=True, help="Put times and the ids of runs into the output, too.")
@click.option("--engine", default=LOCAL, show_default=True, metavar="NAME", help="What runs the records.")
@click.option(
    "--engine-option",
    "engine_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the engine (repeatable).",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Show prompts and tokens of each record; no model is asked.")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there already.")
@fresh_option
@recording_options
@store_option
@run_options
def command(
    pipeline: Path, input: Path, output: Path, run_dir: Path | None, inputs: tuple[str, ...],
    engine_options: tuple[str, ...], is_dry: bool, concurrency: int | None, budget: BatchBudget,
    ray_address: str | None, **settings: Any,
) -> None:  # fmt: skip
    """Run PIPELINE for each question of INPUT, a JSONL, CSV or Parquet file, or - for JSONL on standard input."""
    if pipeline.suffix.lower() in SUFFIXES and input.suffix.lower() in (".yaml", ".yml"):
        raise click.UsageError(f"{pipeline} looks like the questions: the pipeline stands first, then the input")
    begun = BatchSettings(
        pipeline=pipeline,
        input=input,
        output=output,
        inputs=read_inputs(inputs),
        engine_options=read_inputs(engine_options),
        concurrency=concurrency or CONCURRENCY,
        budget=budget,
        **settings,
    )
    begun = with_ray_address(begun, ray_address)
    if budget.cost is not None:
        check_prices(begun)
    if is_dry:
        dry_run(begun)
        return
    folder = RunFolder(run_dir or output.with_name(f"{output.name}.run"))
    with refusals(), Batch.begin(folder, begun) as batch:
        code = run_to_end(batch)
    sys.exit(code)
