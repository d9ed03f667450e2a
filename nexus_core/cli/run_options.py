"""The options that `run` and `explain` share, and how they become a request."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nexus_core.cli.store_option import store_option

if TYPE_CHECKING:
    from nexus_core.store.store import Store

_Function = TypeVar("_Function", bound=Callable[..., Any])


def words_argument(name: str) -> Callable[[_Function], _Function]:
    """Add an argument that is one text, though it is given in several words; without any it is `None`."""

    def joined(context: click.Context, argument: click.Parameter, words: tuple[str, ...]) -> str | None:
        return " ".join(words) if words else None

    return click.argument(name, nargs=-1, callback=joined, metavar=f"[{name.upper()}]")


def request_options(function: _Function) -> _Function:
    """Add PIPELINE, QUERY and the options that shape a request."""
    for decorate in reversed(
        (
            click.argument("pipeline", type=click.Path(dir_okay=False)),
            words_argument("query"),
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
                "--context", "context_id", metavar="NAME", help="The context, where the pipeline names none."
            ),
            store_option,
        )
    ):  # fmt: skip
        function = decorate(function)
    return function


def store_of(conversation: str | None) -> Store | None:
    """Return the store that keeps a conversation, not open yet; `None` where there is no conversation."""
    if conversation is None:
        return None
    from nexus_core.store.store import Store  # only who has a conversation pays for it

    return Store()


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


PIPELINE = Path(__file__).with_name("ask.yaml")
KEY = "OPENAI_API_KEY"
_BY_MEANING = "steps[1].rank={use: fuse, rankers: [bm25, semantic]}"
"""The mean nDCG@10 of seven collections is .663 so, and .647 by words alone: see docs/how-to/rankers.md."""
_BY_OPENAI = "steps[3].generate=openai"


def has_key(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a model of OpenAI can be asked."""
    return bool(environment.get(KEY, "").strip())


def ranking() -> tuple[str, ...]:
    """Return what overrides how the pipeline ranks: by meaning, too, where the package for that is installed."""
    return (_BY_MEANING,) if find_spec("wordllama") is not None else ()


def answering() -> tuple[str, ...]:
    """Return what overrides who answers, where nobody says it with each question."""
    return (_BY_OPENAI,) if has_key() else ()
