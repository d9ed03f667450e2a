"""`nexus context show`: a context and its documents, or one item."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import islice
from typing import Any

import click
from attrs import asdict, frozen

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, line, plain, print_json
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Item
from nexus_core.engine.json_shapes import item_json
from nexus_core.store.records import Context, StoredDocument
from nexus_core.store.store import Store
from nexus_core.store.vectors.vector_model import VectorState
from nexus_core.toolkit.suggest import counted

SHOWN = 20
"""Documents that are named."""


@frozen
class _Shown:
    """A context with what belongs to it."""

    context: Context
    documents: tuple[StoredDocument, ...]
    skipped: tuple[StoredDocument, ...]
    vectors: VectorState | None
    note: str
    """On how it is searched by meaning; mostly empty."""


EPILOG = """\b
Examples:
  nexus context show handbook
  nexus context show handbook --skipped
  nexus context show handbook "documents/handbook.md"
"""


@click.command("show", epilog=EPILOG)
@click.argument("name")
@click.argument("item", required=False)
@click.option("--skipped", "only_skipped", is_flag=True, help="Show all that was found and not read, and why.")
@json_option
@store_option
def command(name: str, item: str | None, only_skipped: bool, as_json: bool) -> None:
    """Show the context NAME, its documents and what was skipped; with ITEM, the id of an item, that item whole."""
    if item is not None:
        found = with_store(lambda opened: _item(opened, name, item))
        return print_json(item_json(found)) if as_json else _print_item(found)
    shown = with_store(lambda opened: _shown(opened, name))
    if as_json:
        return print_json(_skipped_json(shown) if only_skipped else _json(shown))
    if not only_skipped:
        _print_context(shown)
    return _print_skipped(shown, whole=only_skipped)


async def _item(store: Store, name: str, item: str) -> Item:
    found = await store.get(name, [item])
    if not found:
        raise UsageError(f"there is no item {item!r} in {name!r}: `nexus context items {name}` lists them")
    return found[0]


async def _shown(store: Store, name: str) -> _Shown:
    return _Shown(
        await store.context(name),
        await store.documents(name),
        await store.skipped(name),
        await store.vector_state(name),
        await store.vectors_note(name),
    )


def _print_item(item: Item) -> None:
    echo(f"id      {plain(item.id)}\ntitle   {plain(item.title)}\nkind    {item.kind}")
    echo(f"source  {plain(item.source)}\ntags    {plain(', '.join(item.tags)) or '-'}")
    if item.readers:
        echo(f"readers {plain(', '.join(item.readers))}")
    for key, value in item.metadata.items():
        echo(f"{plain(key):<7} {line(str(value), 110)}")
    echo("\n" + item.text)


def _print_context(shown: _Shown) -> None:
    context, documents = shown.context, shown.documents
    echo(f"{context.name}: {counted(context.items, 'item')} of {counted(len(documents), 'document')}")
    if context.description:
        echo(context.description)
    echo(
        f"language {context.language}, tokens counted for {context.encoding},"
        f" changed {datetime.fromtimestamp(context.changed):%Y-%m-%d %H:%M}"
    )
    searched = f"by words, and by meaning with {plain(context.embedder)}" if context.embedder else "by words"
    echo(f"searched {searched}")
    if shown.vectors is not None:
        numbers = f", of {counted(shown.vectors.dimensions, 'number')} each" if shown.vectors.dimensions else ""
        echo(f"vectors of {shown.vectors.items:,} of {counted(shown.vectors.total, 'item')}{numbers}")
    if context.readers:
        echo(f"readers {plain(', '.join(context.readers))}")
    if shown.note:
        echo(plain(shown.note))
    for origin, count in Counter(document.origin for document in documents).most_common():
        echo(f"\n{counted(count, 'document')} from {plain(origin)}")
        mine = (document for document in documents if document.origin == origin)
        for document in islice(mine, SHOWN):
            reader = f", read by {plain(document.reader)}" if document.reader else ""
            readers = f", for {plain(', '.join(document.readers))}" if document.readers else ""
            echo(f"  {plain(document.name)}  ({counted(document.size, 'byte')}{reader}{readers})")
            for said in (*document.problems, *document.remarks):
                echo(f"    {plain(said)}")
        if count > SHOWN:
            echo(f"  and {count - SHOWN:,} more: see --json")


def _print_skipped(shown: _Shown, *, whole: bool) -> None:
    """Print what was not read, with the reasons: all of it, or the first."""
    skipped = shown.skipped
    if not skipped:
        if whole:
            echo(f"{shown.context.name}: nothing was skipped")
        return
    lead = "" if whole else "\n"
    echo(f"{lead}{counted(len(skipped), 'file was', 'files were')} skipped")
    for document in skipped if whole else skipped[:SHOWN]:
        echo(f"  {plain(document.name)}: {plain(document.skipped)}")
    if not whole and len(skipped) > SHOWN:
        echo(f"  and {len(skipped) - SHOWN:,} more: --skipped shows all")


def _json(shown: _Shown) -> dict[str, Any]:
    context = shown.context
    return {
        "name": context.name,
        "description": context.description,
        "language": context.language,
        "encoding": context.encoding,
        "embedder": context.embedder,
        "vectors": None if shown.vectors is None else asdict(shown.vectors),
        "readers": list(context.readers),
        "items": context.items,
        "created": context.created,
        "changed": context.changed,
        "documents": [
            {
                "name": document.name,
                "origin": document.origin,
                "size": document.size,
                "sha256": document.digest,
                "original": document.original,
                "reader": document.reader,
                "problems": list(document.problems),
                "remarks": list(document.remarks),
                "readers": list(document.readers),
            }
            for document in shown.documents
        ],
        "skipped": _skipped_json(shown),
    }


def _skipped_json(shown: _Shown) -> list[dict[str, str]]:
    return [{"name": each.name, "origin": each.origin, "reason": each.skipped} for each in shown.skipped]
