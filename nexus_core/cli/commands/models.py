"""`nexus models`: the models of a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.engine.json_shapes import prices_json
from nexus_core.engine.models import Model
from nexus_core.engine.pipeline import Pipeline

EPILOG = """\b
Examples:
  nexus models pipelines/fallback.yaml
  nexus models pipelines/fallback.yaml --json
"""


_HEADERS = (
    "name", "model", "provider", "window", "max input", "max output", "encoding", "$ in", "$ out", "fallback",
    "aliases",
)  # fmt: skip


@click.command("models", epilog=EPILOG)
@click.argument("pipeline", type=click.Path(dir_okay=False))
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a value of the file (repeatable)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the models as one JSON array.")
def command(pipeline: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """List the models of PIPELINE: what each is, its three token figures, its fallbacks; * marks the default.

    Nothing is called: the figures are the connector's own, with the file's over them. $ are for a million tokens; what
    cached and reasoning tokens and long prompts cost --json shows.
    """
    registry = Pipeline.load(Path(pipeline), overrides=overrides).models
    if as_json:
        echo(json.dumps([_as_json(model, registry.default) for model in registry.list()], indent=2))
        return
    rows = [_row(model, registry.default) for model in registry.list()]
    print_table(_HEADERS, rows, right=frozenset({3, 4, 5, 7, 8}))


def _row(model: Model, default: str | None) -> tuple[str, ...]:
    info, prices = model.info, model.prices
    return (
        model.name + (" *" if model.name == default else ""),
        info.id,
        info.provider,
        f"{info.window:,}",
        f"{info.max_input:,}" if info.max_input else "-",
        f"{info.max_output:,}" if info.max_output else "-",
        info.encoding,
        f"{prices.input:,.6g}" if prices else "unknown",
        f"{prices.output:,.6g}" if prices else "unknown",
        " > ".join(model.fallback) or "-",
        ", ".join(model.aliases) or "-",
    )


def _as_json(model: Model, default: str | None) -> dict[str, Any]:
    info = model.info
    return {
        "name": model.name,
        "id": info.id,
        "provider": info.provider,
        "default": model.name == default,
        "window": info.window,
        "maxInput": info.max_input,
        "maxOutput": info.max_output,
        "encoding": info.encoding,
        "prices": prices_json(model.prices),
        "capabilities": sorted(info.capabilities),
        "fallback": list(model.fallback),
        "aliases": list(model.aliases),
        "description": info.description,
    }
