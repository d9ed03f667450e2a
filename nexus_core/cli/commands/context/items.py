"""`nexus context items`: the items of a context, page by page."""

from __future__ import annotations

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, line, plain, print_json, print_table
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.engine.json_shapes import item_json

EPILOG = """\b
Examples:
  nexus context items handbook --limit 20
  nexus context items handbook --after 120
  nexus context items handbook --tag travel --json
"""


@click.command("items", epilog=EPILOG)
@click.argument("name")
@click.option("--tag", metavar="TAG", help="Only items with this tag.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many at most.")
@click.option("--after", default=0, metavar="KEY", help="Only items after the one with this key.")
@json_option
@store_option
def command(name: str, tag: str | None, limit: int, after: int, as_json: bool) -> None:
    """List the items of the context NAME in the order in which they came."""
    found = with_store(lambda opened: opened.items(name, after=after, limit=limit, tag=tag))
    if as_json:
        print_json([{"key": key, **item_json(item)} for key, item in found])
        return
    if not found:
        echo("no items" + (" after that" if after else "") + (f" with the tag {tag!r}" if tag else ""))
        return
    rows = [
        (str(key), plain(item.id), line(item.title or item.text), plain(", ".join(item.tags))) for key, item in found
    ]
    print_table(("key", "id", "title", "tags"), rows, right=frozenset({0}))
    if len(found) == limit:
        echo(f"more: --after {found[-1][0]}", err=True)
