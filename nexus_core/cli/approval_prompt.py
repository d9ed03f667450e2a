"""Approval prompt: a person at the terminal is asked before a tool changes something."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nexus_core.cli.output.echo import echo, one_line
from nexus_core.contract.run_context import ApprovalRequest

_Function = TypeVar("_Function", bound=Callable[..., Any])
_LONGEST_LINE = 4096


def approve_option(function: _Function) -> _Function:
    """Add --approve-tools."""
    return click.option(
        "--approve-tools", is_flag=True, callback=_on_terminal,
        help="Ask on the terminal before a tool changes something; else `allow` in the pipeline is enough.",
    )(function)  # fmt: skip


def _on_terminal(context: click.Context, option: click.Parameter, asks: bool) -> bool:
    if asks and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("--approve-tools asks on a terminal, and there is none: leave it out to rely on `allow`")
    return asks


class ApprovalPrompt:
    """Asks on stderr about one call after the other; a line that begins with `y` agrees, anything else refuses."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` before each question, such as to take a progress line away."""
        self._prepare = prepare
        self._asking = asyncio.Lock()
        self._line: asyncio.Future[bytes] | None = None
        """What is read of standard input: nobody can take it back where a question is over without an answer."""

    async def __call__(self, asked: ApprovalRequest) -> bool:
        """Return whether the person agrees."""
        async with self._asking:
            self._prepare()
            arguments = json.dumps(asked.arguments, ensure_ascii=False, indent=2)
            echo(f"\nThe model wants to call {one_line(asked.name)}: {one_line(asked.description)}", err=True)
            echo(f"{arguments}\nCall it? [y/N] ", err=True, nl=False)
            if self._line is None or self._line.done():  # an answer that came late answers no other question
                self._line = asyncio.ensure_future(asyncio.to_thread(os.read, sys.stdin.fileno(), _LONGEST_LINE))
            line = await asyncio.shield(self._line)
            return line.strip().lower() in (b"y", b"yes")
