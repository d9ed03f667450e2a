"""`nexus context search`: the best items for a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from nexus_core.cli.option_types import WHERE, where_option
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, line, plain, print_json
from nexus_core.cli.run_options import words_argument
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.engine.json_shapes import item_json
from nexus_core.store.vectors.embedders import SearchBy
from nexus_core.toolkit.filters import Filter
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.cli import passage_search
else:
    passage_search = LazyModule("nexus_core.cli.passage_search")  # it brings the engine, which a search does not need

EPILOG = """\b
Examples:
  nexus context search handbook "carry over leave"
  nexus context search handbook trains --tag travel --limit 3
  nexus context search handbook "time off" --by meaning
  nexus context search reports profit --where "{year: {gte: 2020}, author: [Ann, Bob]}"
  nexus context search handbook "Who approves leave?" --passages
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
@click.option("--passages", is_flag=True, help="Show the passages that `nexus ask` would send, with scores and places.")
@json_option
@store_option
def command(
    name: str, query: str | None, limit: int, tags: tuple[str, ...], by: SearchBy | None, where: Filter,
    like: str | None, typos: bool, passages: bool, as_json: bool,
) -> None:  # fmt: skip
    """Search the context NAME for QUERY, by words and their stems and by meaning; the best come first.

    QUERY may be several words; a phrase in double quotes is in all that is found, where any item has it. By meaning is
    searched where the context has vectors: see `nexus context embed`.
    """
    if passages:
        if like is not None or typos or query is None:
            raise click.UsageError("--passages takes a QUERY, --tag, --by and --where: leave --like and --typos out")
        given = click.get_current_context()
        most = None if given.get_parameter_source("limit") is ParameterSource.DEFAULT else limit
        fields = given.meta.get(WHERE)
        passage_search.show_passages(name, query, tags=tags, by=by, where=fields, most=most, as_json=as_json)
        return
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
