"""What the log says while a command runs: told when it has ended, each text once, and none that the outcome says."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.json import plain

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
