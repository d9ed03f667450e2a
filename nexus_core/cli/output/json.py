"""What the subcommands share: JSON, and text that stays on its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nexus_core.cli.output.echo import echo, one_line, printable

_Function = TypeVar("_Function", bound=Callable[..., Any])


def json_option(function: _Function) -> _Function:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")(function)


def print_json(told: Any) -> None:
    """Print a value as JSON for people and programs."""
    echo(json.dumps(told, ensure_ascii=False, indent=2))


def plain(text: str) -> str:
    """Return a name or a title, or what else has one line, so that it is one line and steers no terminal."""
    return one_line(text)


def line(text: str, width: int = 80) -> str:
    """Return the beginning of a text on one line."""
    found = " ".join(printable(text[: width * 4]).split())
    return found if len(found) <= width else found[: width - 1] + "…"
