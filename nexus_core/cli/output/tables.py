"""Output of commands: tables for people, JSON for programs, and text that stays on its line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from nexus_core.cli.output.echo import echo, one_line, printable

PIPED_WIDTH = 160
"""Columns of a table that goes to no terminal."""


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> None:
    """Print rows under headers; the columns in `right` are figures and are aligned to the right."""
    # Here, since it takes longer to import than the JSON of a command to print.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        figures = place in right
        table.add_column(
            printable(header), justify="right" if figures else "left", no_wrap=figures or place == 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    width = None if sys.stdout.isatty() else PIPED_WIDTH  # when piped it has no colour either
    Console(width=width, highlight=False, emoji=False).print(table)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def json_option(function: _Function) -> _Function:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")(function)


def print_json(told: Any) -> None:
    """Print a value as JSON for people and programs."""
    echo(json.dumps(told, ensure_ascii=False, indent=2))


def plain(text: str) -> str:
    """Return a name or a title, or what else has one line, so that it is one line and steers no terminal."""
    return one_line(text)


def dollars(cost: float | None) -> str:
    """Return a cost in US dollars, to the cent from a dollar on and to six places below; `None` is `unknown`."""
    if cost is None:
        return "unknown"
    if cost >= 1 or cost == 0:
        return f"${cost:,.2f}" if cost else "$0"
    return f"${cost:.6f}" if cost >= 1e-6 else "<$0.000001"


def shown_scores(scores: Mapping[str, float]) -> str:
    """Return the scores of an item on one line: three digits of each, and the whole number of one above 1,000."""
    shown = {ranker: f"{score:.0f}" if abs(score) >= 1000 else f"{score:.3g}" for ranker, score in scores.items()}
    return " ".join(f"{ranker} {score}" for ranker, score in shown.items())


def line(text: str, width: int = 80) -> str:
    """Return the beginning of a text on one line."""
    found = " ".join(printable(text[: width * 4]).split())
    return found if len(found) <= width else found[: width - 1] + "…"
