"""What the log of a command looks like: one printable line for each record, whoever's words are in it."""

from __future__ import annotations

import logging

from nexus_core.cli.output.echo import one_line, printable


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
