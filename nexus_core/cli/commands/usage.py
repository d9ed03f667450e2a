"""`nexus usage`: what models have used, by day, pipeline, model and outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import dollars, json_option, plain, print_json, print_table
from nexus_core.cli.store_option import store_option, with_store

if TYPE_CHECKING:
    from nexus_core.store.usage import DailyUsage

EPILOG = """\b
Examples:
  nexus usage
  nexus usage --since 2026-11-01 --by model
  nexus usage --by day --by pipeline --json

\b
The sink `store` keeps it, 400 days of it: put it under `sinks:` of a pipeline. ~ marks tokens that were
estimated; "unknown" counts requests of whose tokens nobody knows all, "unpriced" those whose cost is unknown,
"from cache" answers of the answer cache, for which nothing was sent.
What a model costs its pipeline says (`prices:`), or the package genai-prices: pip install 'contextnexus[prices]'.
"""
PARTS = ("day", "pipeline", "model", "outcome")
_SUMS = (
    "attempts", "requests", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens", "unreported",
    "estimated", "cost", "unpriced", "duration_s", "from_cache",
)  # fmt: skip
_HEADERS = (
    "attempts", "requests", "prompt", "completion", "cached", "unknown", "cost", "unpriced", "seconds", "from cache",
)  # fmt: skip


@click.command("usage", epilog=EPILOG)
@click.option("--since", default="", metavar="DAY", help="From this day on (UTC), as in 2026-11-23; by default all.")
@click.option(
    "--by", "parts", multiple=True, type=click.Choice(PARTS), help="Sum up by this (repeatable); by default by all."
)
@json_option
@store_option
def command(since: str, parts: tuple[str, ...], as_json: bool) -> None:
    """Show what models have used: attempts, requests that reached a service, tokens, and the cost in US dollars.

    Reasoning tokens are part of the completion, cached ones of the prompt.
    """
    rows = with_store(lambda opened: opened.usage(since))
    chosen = tuple(part for part in PARTS if part in parts) or PARTS
    groups = _grouped(rows, chosen)
    if as_json:
        total = _sums(reduce(add, rows)) if rows else dict.fromkeys(map(_camel, _SUMS), 0)
        told = [{**dict(zip(map(_camel, _names(chosen)), key, strict=True)), **_sums(sums)} for key, sums in groups]
        print_json({"rows": told, "total": total})
    elif not rows:
        when = f" since {since}" if since else " yet"
        echo(f"Nothing was used{when}: the sink `store` under `sinks:` of a pipeline keeps what its models use.")
    else:
        _print(groups, chosen, reduce(add, rows))


def _grouped(rows: Iterable[DailyUsage], parts: Sequence[str]) -> list[tuple[tuple[str, ...], DailyUsage]]:
    """Return the sums of the rows that have the same parts, in the order of these."""
    groups: dict[tuple[str, ...], DailyUsage] = {}
    for row in rows:
        key = tuple(getattr(row, name) for name in _names(parts))
        groups[key] = groups[key] + row if key in groups else row
    return sorted(groups.items(), key=lambda group: group[0])


def _names(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the fields of some parts: a model is told by its name in the pipeline and its id."""
    return tuple(name for part in parts for name in ((part, "model_id") if part == "model" else (part,)))


def _print(groups: Sequence[tuple[tuple[str, ...], DailyUsage]], parts: Sequence[str], total: DailyUsage) -> None:
    headers = _names(parts)
    rows = [(*map(plain, key), *_figures(sums)) for key, sums in groups]
    rows.append(("total", *("" for _ in headers[1:]), *_figures(total)))
    right = frozenset(range(len(headers), len(headers) + len(_HEADERS)))
    print_table((*(header.replace("_", " ") for header in headers), *_HEADERS), rows, right=right)
    if total.estimated:
        echo("~ estimated, as a whole or in part, where the service did not tell")
    if total.unreported:
        echo("unknown: requests of whose tokens nobody knows all; the sums lack these")
    if total.unpriced:
        echo("unpriced: requests whose price or tokens are unknown; the cost lacks these")


def _figures(sums: DailyUsage) -> tuple[str, ...]:
    mark = "~" if sums.estimated else ""
    return (
        f"{sums.attempts:,}",
        f"{sums.requests:,}",
        f"{mark}{sums.prompt_tokens:,}",
        f"{mark}{sums.completion_tokens:,}",
        f"{sums.cached_tokens:,}",
        f"{sums.unreported:,}" if sums.unreported else "",
        f"{mark if sums.cost else ''}{dollars(sums.known_cost)}",
        f"{sums.unpriced:,}" if sums.unpriced else "",
        f"{sums.duration_s:,.1f}",
        f"{sums.from_cache:,}" if sums.from_cache else "",
    )


def _sums(sums: DailyUsage) -> dict[str, Any]:
    return {**{_camel(name): getattr(sums, name) for name in _SUMS}, "cost": sums.known_cost}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
