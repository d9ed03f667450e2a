"""`nexus context tag`: tags of items."""

from __future__ import annotations

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.store.store import Store
from nexus_core.toolkit.suggest import counted

EPILOG = """\b
Examples:
  nexus context tag handbook "documents/handbook.md" --add leave --add health
  nexus context tag handbook "documents/handbook.md" --remove current

\b
A document that changes is read anew, and its items then have the tags that `nexus context add --tag`
and the document itself give them.
"""


@click.command("tag", epilog=EPILOG)
@click.argument("name")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--add", "added", multiple=True, metavar="TAG", help="Add a tag (repeatable).")
@click.option("--remove", "removed", multiple=True, metavar="TAG", help="Remove a tag (repeatable).")
@store_option
def command(
    name: str,
    ids: tuple[str, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
) -> None:
    """Add tags to items of the context NAME, or remove them."""
    if not added and not removed:
        raise UsageError("nothing to do: say --add TAG or --remove TAG")

    async def change(opened: Store) -> tuple[int, set[str]]:
        changed = await opened.tag(name, ids, add=added, remove=removed)
        return changed, {*ids} - {item.id for item in await opened.get(name, ids)}

    changed, missing = with_store(change)
    echo(f"changed {counted(changed, 'item')}")
    if missing:
        raise UsageError(f"there is no item {min(missing)!r} in {name!r}: `nexus context items {name}` lists them")
