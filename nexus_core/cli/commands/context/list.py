"""`nexus context list`: the contexts of a store."""

from __future__ import annotations

from datetime import datetime

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, line, print_json, print_table
from nexus_core.cli.store_option import store_option, with_store

EPILOG = """\b
Examples:
  nexus context list
  nexus context list --json
"""


@click.command("list", epilog=EPILOG)
@json_option
@store_option
def command(as_json: bool) -> None:
    """List the contexts with the number of their items."""
    found = with_store(lambda opened: opened.contexts())
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "items": each.items,
                    "description": each.description,
                    "language": each.language,
                    "changed": each.changed,
                }
                for each in found
            ]
        )
        return
    if not found:
        echo("There is no context yet: `nexus context add NAME PATH` makes one.")
        return
    rows = [
        (
            each.name,
            f"{each.items:,}",
            each.language,
            f"{datetime.fromtimestamp(each.changed):%Y-%m-%d %H:%M}",
            line(each.description),
        )
        for each in found
    ]
    print_table(("name", "items", "language", "changed", "description"), rows, right=frozenset({1}))
