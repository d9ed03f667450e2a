"""The options that `run` and `explain` share, and how they become a request."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nexus_core.store.store import Store

_Function = TypeVar("_Function", bound=Callable[..., Any])


def request_options(function: _Function) -> _Function:
    """Add PIPELINE, QUERY and the options that shape a request; `store_of` takes the last two."""
    for decorate in reversed(
        (
            click.argument("pipeline", type=click.Path(dir_okay=False)),
            click.argument("query", required=False),
            click.option("--model", metavar="NAME", help="Answer with this model of the pipeline."),
            click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Give an input (repeatable)."),
            click.option(
                "--set", "overrides", multiple=True, metavar="PATH=VALUE",
                help="Override a value of the file, as in steps[2].prompt.budget=500 (repeatable).",
            ),
            click.option(
                "--conversation", metavar="ID",
                help="Go on with this conversation, or begin it; `nexus conversations` shows those there are.",
            ),
            click.option(
                "--store", metavar="FOLDER",
                help="The store that keeps it; by default the one that NEXUS_STORE names, else your own.",
            ),
        )
    ):  # fmt: skip
        function = decorate(function)
    return function


def store_of(conversation: str | None, folder: str | None) -> Store | None:
    """Return the store that keeps a conversation, not open yet; `None` where there is no conversation."""
    if conversation is None:
        if folder is not None:
            raise click.UsageError("--store has no use without --conversation")
        return None
    from nexus_core.store.store import Store  # only who has a conversation pays for it

    return Store(folder)


def read_query(query: str | None) -> str:
    """Return the query; `-`, or none while something is piped in, means standard input."""
    if query == "-" or (query is None and not sys.stdin.isatty()):
        query = sys.stdin.read().strip()
        if not query:
            raise click.UsageError("standard input holds no query")
    if query is None:
        raise click.UsageError("a query is missing: give it as the last argument, or - to read it from standard input")
    return query


def read_inputs(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return `name=value` pairs as a mapping."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--input {pair!r} must have the form NAME=VALUE")
        found[name] = value
    return found
