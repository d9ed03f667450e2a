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

if sys.platform != "win32":
    import termios


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
    """Asks on stderr about one call after the other; the line `y` or `yes` agrees, anything else refuses.

    What was typed before a question is no answer to it. A question that is over without an answer, as one that was
    cancelled, reads on no more: what is typed then is for whoever reads next. (Under Windows one line is read on.)
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` before each question, such as to take a progress line away."""
        self._prepare = prepare
        self._asking = asyncio.Lock()
        self._line: asyncio.Future[bytes] | None = None
        """Where a read cannot be taken back: that of a question that is over without an answer is of the next one."""

    async def __call__(self, asked: ApprovalRequest) -> bool:
        """Return whether the person agrees."""
        async with self._asking:
            self._prepare()
            if sys.platform != "win32":
                termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
            arguments = json.dumps(asked.arguments, ensure_ascii=False, indent=2)
            echo(f"\nThe model wants to call {one_line(asked.name)}: {one_line(asked.description)}", err=True)
            echo(f"{arguments}\nCall it? [y/N] ", err=True, nl=False)
            line = await self._read()
            return line.strip().lower() in (b"y", b"yes")

    async def _read(self) -> bytes:
        """Return the next line of standard input; nothing at its end."""
        loop, source = asyncio.get_running_loop(), sys.stdin.fileno()
        line: asyncio.Future[bytes] = loop.create_future()

        def take() -> None:
            loop.remove_reader(source)
            if not line.done():
                try:
                    line.set_result(os.read(source, _LONGEST_LINE))
                except OSError:  # the terminal is gone
                    line.set_result(b"")

        try:
            loop.add_reader(source, take)
        except NotImplementedError:  # as under Windows
            if self._line is None or self._line.done():  # an answer that came late answers no other question
                self._line = asyncio.ensure_future(asyncio.to_thread(os.read, source, _LONGEST_LINE))
            return await asyncio.shield(self._line)
        try:
            return await line
        except asyncio.CancelledError:
            echo(err=True)  # what comes next begins a line
            raise
        finally:
            loop.remove_reader(source)
