"""JSON lines, decoded incrementally from bytes: the same lines for every split of the bytes.

Follows jsonlines.org and NDJSON: a line holds one JSON value and ends at LF; a CR before it is nothing, nor is a blank
line. The last line needs no LF: the end of the data ends it. Whether it is whole JSON is told by whoever reads it.
"""

from __future__ import annotations

from nexus_core.contract.errors import ResponseTooLargeError
from nexus_core.toolkit.http.sse import LINE_CAP, ServerSentEvent

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"


class JsonLinesDecoder:
    """Turns the bytes of a stream of JSON lines into events without names; the work is linear, however they are cut."""

    __slots__ = ("_at_start", "_line_cap", "_overflow", "_tail")

    def __init__(self, *, line_cap: int = LINE_CAP) -> None:
        self._line_cap = line_cap
        self._tail = bytearray()  # the line that has not ended yet
        self._at_start = True
        self._overflow = ""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the lines that `data` completes; `b""` is the end of the data and completes the last one.

        Raises `ResponseTooLargeError` for a line over the cap; lines completed before it are returned first, and the
        error comes with the next call.
        """
        events = [] if self._overflow else self._decode(data) if data else self.flush()
        if self._overflow and not events:
            raise ResponseTooLargeError(self._overflow, code="response_too_large")
        return events

    def flush(self) -> list[ServerSentEvent]:
        """Return the line that the data ended in, if any."""
        return self._decode(b"\n") if self._tail else []

    def _decode(self, data: bytes) -> list[ServerSentEvent]:
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._tail:
            data = bytes(self._tail + data)
            self._tail.clear()
        lines = data.split(b"\n")
        rest = lines.pop()
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[ServerSentEvent] = []
        for line in lines:
            if len(line) > self._line_cap:
                self._overflow = self._too_large()
                return events
            if line.strip(_BLANK):
                events.append((b"", line.strip(_BLANK)))
        if rest:
            self._hold(rest)
        return events

    def _hold(self, rest: bytes) -> None:
        self._tail += rest
        if len(self._tail) > self._line_cap:
            self._overflow = self._too_large()
            self._tail.clear()

    def _too_large(self) -> str:
        return f"a line of the stream is over {self._line_cap} bytes"
