"""What the subcommands share: JSON, and text that is safe to print."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""What a stored text must not do to the terminal of whoever reads it."""


def json_option(function: _Function) -> _Function:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")(function)


def print_json(told: Any) -> None:
    """Print a value as JSON for people and programs."""
    click.echo(json.dumps(told, ensure_ascii=False, indent=2))


def plain(text: str) -> str:
    """Return a text without anything that steers a terminal."""
    return text.translate(_CONTROLS)


def line(text: str, width: int = 80) -> str:
    """Return the beginning of a text on one line."""
    found = " ".join(plain(text[: width * 4]).split())
    return found if len(found) <= width else found[: width - 1] + "…"
