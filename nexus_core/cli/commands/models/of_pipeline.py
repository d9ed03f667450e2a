"""`nexus models of`: the models of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.option_types import PipelineFile
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.engine.json_shapes import prices_json
from nexus_core.engine.models import Model
from nexus_core.engine.pipeline import Pipeline

EPILOG = """\b
Examples:
  nexus models assistant.yaml
  nexus models assistant.yaml --json
"""


_BEFORE = ("name", "model", "provider", "window", "max input", "max output", "encoding")
_AFTER = ("cache", "fallback", "aliases")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))


@click.command("of", epilog=EPILOG)
@click.argument("pipeline", type=PipelineFile())
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a value of the file (repeatable)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the models as one JSON array.")
def of(pipeline: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """List the models of PIPELINE: what each is, its three token figures, its fallbacks; * marks the default.

    Nothing is called: the figures are the connector's own, with the file's over them. $ are for a million tokens, those
    of cached and reasoning tokens where they differ; what long prompts cost --json shows. `cache` is how long answers
    are kept. The lines below the table describe the models, and say when their figures were last checked.
    """
    loaded = Pipeline.load(Path(pipeline), overrides=overrides)
    models, default = loaded.models.list(), loaded.named_model or loaded.models.default
    if as_json:
        echo(json.dumps([_as_json(model, default) for model in models], indent=2))
        return
    priced = _priced(models)
    rows = [_row(model, default, priced) for model in models]
    figures = {3, 4, 5, *range(len(_BEFORE), len(_BEFORE) + len(priced))}
    print_table((*_BEFORE, *(f"$ {header}" for header in priced), *_AFTER), rows, right=frozenset(figures))
    for model in models:
        if model.info.description:
            echo(f"{model.name}: {model.info.description}")


def _priced(models: Sequence[Model]) -> dict[str, str]:
    """Return which prices are shown, by their headers: of cached and reasoning tokens where a model has one."""
    known = [model.prices for model in models if model.prices is not None]
    shown = {"in": "input", "cached": "cached", "out": "output", "reasoning": "reasoning"}
    if all(prices.cached == prices.input for prices in known):
        del shown["cached"]
    if all(prices.reasoning == prices.output for prices in known):
        del shown["reasoning"]
    return shown


def _row(model: Model, default: str | None, priced: Mapping[str, str]) -> tuple[str, ...]:
    info, prices = model.info, model.prices
    return (
        model.name + (" *" if model.name == default else ""),
        info.id,
        info.provider,
        f"{info.window:,}",
        f"{info.max_input:,}" if info.max_input else "-",
        f"{info.max_output:,}" if info.max_output else "-",
        info.encoding,
        *(f"{getattr(prices, name):,.6g}" if prices else "unknown" for name in priced.values()),
        "-" if model.cache is None else _duration(model.cache.expires_s),
        " > ".join(model.fallback) or "-",
        ", ".join(model.aliases) or "-",
    )


def _duration(seconds: float) -> str:
    """Return a duration as a pipeline says it, in the largest unit that it is a whole number of."""
    size, unit = next((unit for unit in _UNITS if seconds % unit[0] == 0), (1, "s"))
    return f"{seconds / size:.12g}{unit}"


def _as_json(model: Model, default: str | None) -> dict[str, Any]:
    info, cache = model.info, model.cache
    kept = cache and {"expiresSeconds": cache.expires_s, "maxItems": cache.max_items, "maxBytes": cache.max_bytes}
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
        "cache": kept,
        "capabilities": sorted(info.capabilities),
        "fallback": list(model.fallback),
        "aliases": list(model.aliases),
        "description": info.description,
    }
