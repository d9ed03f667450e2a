"""`nexus context items`: the items of a context, page by page."""

from __future__ import annotations

import click

from nexus_core.cli.option_types import where_option
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, line, plain, print_json, print_table
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.engine.json_shapes import item_json
from nexus_core.toolkit.filters import Filter, tag_conditions

EPILOG = """\b
Examples:
  nexus context items handbook --limit 20
  nexus context items handbook --after 120
  nexus context items handbook --tag travel --json
  nexus context items handbook --count tags
  nexus context items reports --count author --where "{year: {gte: 2020}}"
"""


@click.command("items", epilog=EPILOG)
@click.argument("name")
@click.option("--tag", metavar="TAG", help="Only items with this tag.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many at most.")
@click.option("--after", default=0, metavar="KEY", help="Only items after the one with this key.")
@click.option("--count", "field", metavar="FIELD", help="Count items by a field instead: `tags`, `kind`, metadata.")
@where_option
@json_option
@store_option
def command(
    name: str, tag: str | None, limit: int, after: int, field: str | None, where: Filter, as_json: bool
) -> None:
    """List the items of the context NAME in the order in which they came, or count them by a field."""
    if field is not None:
        chosen = Filter((*where.conditions, *tag_conditions([tag] if tag else [])))
        counts = with_store(lambda opened: opened.counts(name, field, where=chosen))
        return print_json(counts) if as_json else _print_counts(field, counts)
    found = with_store(lambda opened: opened.items(name, after=after, limit=limit, tag=tag, where=where))
    if as_json:
        return print_json([{"key": key, **item_json(item)} for key, item in found])
    if not found:
        return echo("no items" + (" after that" if after else "") + (f" with the tag {tag!r}" if tag else ""))
    rows = [
        (str(key), plain(item.id), line(item.title or item.text), plain(", ".join(item.tags))) for key, item in found
    ]
    print_table(("key", "id", "title", "tags"), rows, right=frozenset({0}))
    if len(found) == limit:
        echo(f"more: --after {found[-1][0]}", err=True)
    return None


def _print_counts(field: str, counts: dict[str, int]) -> None:
    if not counts:
        return echo(f"no item has a value of {plain(field)!r}")
    rows = [(line(value, 80), f"{count:,}") for value, count in counts.items()]
    return print_table((plain(field), "items"), rows, right=frozenset({1}))
