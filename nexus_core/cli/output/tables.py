"""Tables for people: aligned, wrapped to the terminal, plain when piped."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nexus_core.cli.output.echo import printable

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
