"""All that commands print goes through here: foreign text never steers a terminal.

Answers, titles, names of files and messages of services may hold escape sequences, which move the cursor, hide text,
or type for whoever reads; and overrides of the direction of writing, which show one text as another. They are printed
as what they are, `\\u001b` for an escape, on a terminal and into a pipe alike: a pipe often ends at a terminal. JSON
means the same by that spelling, so it can be printed here as well. Newlines and tabs stay.
"""

from __future__ import annotations

import re
from typing import Any

import click

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # what steers, C1 included: some terminals take U+009B for an escape and a bracket
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of writing
    "\u2028\u2029"  # ends of lines that other programs see
    "\ud800-\udfff]"  # bytes of names of files that are no text, which cannot be written either
)


def printable(text: str) -> str:
    """Return a text with everything that steers a terminal spelt out; newlines and tabs stay."""
    if text.isascii() and text.isprintable():  # nearly always, and the whole text then
        return text
    return _STEERING.sub(_spelt, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return a text, printable, with its newlines spelt out, too: for a place where a line begins something else."""
    return printable(text).replace("\n", "\\u000a")


def echo(text: object = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print a text to stdout, or to stderr; a `style` is that of `click.style`, of the whole text."""
    told = printable(str(text))
    click.echo(click.style(told, **style) if style else told, err=err, nl=nl)


def _spelt(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
