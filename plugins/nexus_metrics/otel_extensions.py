"""What the sink `otel` adds to OpenTelemetry's library: ids that are known before a span is made, and a quieter log."""

from __future__ import annotations

import logging
from random import getrandbits
from threading import local
from time import monotonic

from opentelemetry.sdk.trace.id_generator import IdGenerator


class FailuresOnce(logging.Filter):
    """Lets what an exporter says of a collector that cannot be reached into the log once in a while.

    It tries again and again, and says so each time; what it says else is let through.
    """

    def __init__(self, pause_s: float = 300.0) -> None:
        super().__init__()
        self._pause_s = pause_s
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is the first of its kind in a while."""
        last, now = self._said.get(record.msg), monotonic()
        if last is not None and now - last < self._pause_s:
            return False
        self._said[record.msg] = now
        return True


class GivenIds(IdGenerator):
    """Ids that are random, but for the next span of a thread where it was given one."""

    def __init__(self) -> None:
        self._given = local()

    def give(self, trace_id: str, span_id: str) -> None:
        """Take ids for the next span of this thread."""
        self._given.next = (trace_id, span_id)

    def generate_trace_id(self) -> int:
        """Return the one that was given, or a new one."""
        given = getattr(self._given, "next", None)
        return int(given[0], 16) if given else getrandbits(128) or 1

    def generate_span_id(self) -> int:
        """Return the one that was given, once, or a new one."""
        given, self._given.next = getattr(self._given, "next", None), None
        return int(given[1], 16) if given and given[1] else getrandbits(64) or 1

    def is_trace_id_random(self) -> bool:
        """Tell that new ones are."""
        return True
