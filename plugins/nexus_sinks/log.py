"""The sink `log`: every event as one line of Python's logging."""

from __future__ import annotations

import logging
from typing import Any, Literal

import attrs

from nexus_core import Event, component, hookimpl, option, state

_LEVELS = logging.getLevelNamesMapping()
_LEFT_OUT = ("time", "answer", "error")
"""The time is the log's own; an answer and an error object are for the reader of a stream."""


@component
class Log:
    """Writes each event as one line `type key=value ...` to a logger; failed runs and attempts as warnings."""

    logger: str = option("nexus", help="The name of the logger.")
    level: Literal["DEBUG", "INFO", "WARNING"] = option("INFO", help="The level of what went well.")

    _log: logging.Logger = state(default=None)

    def emit(self, event: Event) -> None:
        """Log one event, unless its level is switched off."""
        if self._log is None:
            self._log = logging.getLogger(self.logger)
        level = logging.WARNING if _failed(event) else _LEVELS[self.level]
        if self._log.isEnabledFor(level):
            self._log.log(level, "%s", line(event))

    def flush(self) -> None:
        """Let the logger's handlers write what they hold back."""
        for handler in self._log.handlers if self._log else ():
            handler.flush()


def _failed(event: Event) -> bool:
    outcome = getattr(event, "outcome", "ok")
    return event.type == "run_failed" or outcome not in ("ok", "cancelled")


def line(event: Event) -> str:
    """Return an event as one line; unknown values are left out, control characters are escaped."""
    parts = [event.type]
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if value is not None and value != () and field.name not in _LEFT_OUT:
            parts.append(f"{field.name}={_shown(value)}")
    return " ".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    plain = text.isprintable() and not any(character in text for character in ' "=')
    return text if plain and text else ascii(text)


@hookimpl
def nexus_sinks() -> list[type]:
    """Yield the sink."""
    return [Log]
