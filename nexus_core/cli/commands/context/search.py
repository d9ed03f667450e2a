"""`nexus context search`: the best items for a query."""

from __future__ import annotations

import click

from nexus_core.cli.option_types import where_option
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, line, plain, print_json
from nexus_core.cli.run_options import words_argument
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.engine.json_shapes import item_json
from nexus_core.store.vectors.embedders import SearchBy
from nexus_core.toolkit.filters import Filter

EPILOG = """\b
Examples:
  nexus context search handbook "carry over leave"
  nexus context search handbook trains --tag travel --limit 3
  nexus context search handbook "time off" --by meaning
  nexus context search reports profit --where "{year: {gte: 2020}, author: [Ann, Bob]}"
"""


@click.command("search", epilog=EPILOG)
@click.argument("name")
@words_argument("query")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many at most.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only items with this tag (repeatable: with all).")
@click.option(
    "--by", type=click.Choice(["words", "meaning", "both"]), help="By what.  [default: both where there are vectors]"
)
@where_option
@click.option("--like", metavar="ITEM", help="Find what is like the item with this id.")
@click.option("--typos", is_flag=True, help="A word that no item holds may have a typing error.")
@json_option
@store_option
def command(
    name: str, query: str | None, limit: int, tags: tuple[str, ...], by: SearchBy | None, where: Filter,
    like: str | None, typos: bool, as_json: bool,
) -> None:  # fmt: skip
    """Search the context NAME for QUERY, by words and their stems and by meaning; the best come first.

    QUERY may be several words; a phrase in double quotes is in all that is found, where any item has it. By meaning is
    searched where the context has vectors: see `nexus context embed`.
    """
    if query is None and like is None:
        raise click.UsageError("a query is missing: nexus context search NAME QUERY")
    found = with_store(
        lambda opened: opened.search(
            name, query or "", limit=limit, tags=tags, where=where, by=by, like=like, typos=typos
        )
    )
    scored = [(candidate.item, candidate.score) for candidate in found.top(limit)]
    if as_json:
        print_json([{"score": round(score, 4), **item_json(item)} for item, score in scored])
        return
    if not scored:
        echo("nothing found: try other words, or fewer")
        return
    for place, (item, score) in enumerate(scored, 1):
        echo(f"{place:>3}. {plain(item.title or item.id)}  ({score:.2f})")
        echo(f"     {plain(item.id)}")
        echo(f"     {line(item.text, 110)}")
