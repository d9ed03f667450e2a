"""Log of a command: one printable line for each record, and warnings that are held until it has ended."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from nexus_core.cli.output.echo import echo, one_line, printable
from nexus_core.cli.output.tables import plain


class PrintableLogFormatter(logging.Formatter):
    """Writes each record as one printable line, with the traceback, if there is one, in lines below."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return all of it."""
        return printable(super().format(record))


def write_log() -> None:
    """Write all records from INFO on to stderr, with their times: for a command that runs for long."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableLogFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def write_warnings() -> None:
    """Write the warnings of commands that keep no log to stderr as printable lines, as all that they print."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PrintableLogFormatter("%(message)s"))


MOST = 100
"""Texts that are kept."""


class HeldWarnings(logging.Handler):
    """Keeps warnings while it is entered, in the place of Python's own way to print them.

    One failure is often logged where it happens and raised to whoever asked: who ran one command reads it once.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: dict[str, None] = {}
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a text."""
        if len(self._texts) < MOST:
            self._texts.setdefault(record.getMessage())

    def is_said(self, text: str) -> None:
        """Note that a text is printed by somebody else: it is not told again, nor what holds it or is a part of it."""
        if text:
            self._said.append(text)

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        logging.getLogger().removeHandler(self)
        self.is_said(str(error or ""))
        for text in self._texts:
            if not any(text in said or said in text for said in self._said):
                echo(plain(text), err=True)
