"""`nexus context remove`: items, documents, or a whole context."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase

import click

from nexus_core.cli.output.echo import echo, printable
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.store.store import Store
from nexus_core.toolkit.suggest import counted, did_you_mean

EPILOG = """\b
Examples:
  nexus context remove handbook "documents/handbook.md"
  nexus context remove handbook --document documents/handbook.md --document "documents/OLD/*"
  nexus context remove handbook --yes
"""


@click.command("remove", epilog=EPILOG)
@click.argument("name")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--document", "patterns", multiple=True, metavar="DOCUMENT",
    help="Remove a document with all its items; * stands for anything (repeatable).",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Remove a whole context without asking.")
@store_option
def command(name: str, ids: tuple[str, ...], patterns: tuple[str, ...], yes: bool) -> None:
    """Remove items of the context NAME by their IDs; without any, and without --document, the whole context."""
    if ids:
        gone = with_store(lambda opened: opened.remove(name, ids))
        echo(f"removed {gone:,} of {counted(len(ids), 'item')}")
        if gone < len(set(ids)):
            raise UsageError(f"not all of them were there: `nexus context items {name}` lists those that are")
    if patterns:
        echo(with_store(lambda opened: _remove_documents(opened, name, patterns)))
    if not ids and not patterns:
        context = with_store(lambda opened: opened.context(name))
        _make_sure(f"Remove the context {name!r} with its {counted(context.items, 'item')} for good?", yes)
        with_store(lambda opened: opened.delete(name))
        echo(f"removed {name} with its {counted(context.items, 'item')}")


async def _remove_documents(store: Store, name: str, patterns: tuple[str, ...]) -> str:
    names = [each.name for each in (*await store.documents(name), *await store.skipped(name))]
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [each for each in names if each == pattern or fnmatchcase(each, pattern)]
        if not found:
            raise UsageError(f"there is no document {pattern!r} in {name!r}{did_you_mean(pattern, names)}")
        chosen |= dict.fromkeys(found)
    items = await store.remove_documents(name, list(chosen))
    return f"removed {counted(len(chosen), 'document')} with {counted(items, 'item')}"


def _make_sure(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was removed: say --yes to remove a whole context")
    click.confirm(printable(question), abort=True, err=True)
