"""Lines, decoded incrementally from bytes: what decoders of lines have in common, and that of JSON lines.

The same lines for every split of the bytes, and work that is linear in them however they are cut. A byte order mark at
the start is none of the first line.
"""

from __future__ import annotations

from nexus_core.contract.errors import ResponseTooLargeError

ServerSentEvent = tuple[bytes, bytes]
"""The name of an event (empty for most) and its data, the lines of which are joined by LF."""

LINE_CAP = 8 * 2**20
"""Bytes a single line may have."""

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"


class LineDecoder:
    """Cuts bytes at LF and gives the lines to `_take`, which a subclass defines; `_overflow` ends it with an error."""

    __slots__ = ("_at_start", "_line_cap", "_overflow", "_tail")

    def __init__(self, line_cap: int) -> None:
        self._line_cap = line_cap
        self._tail = bytearray()  # the line that has not ended yet
        self._at_start = True
        self._overflow = ""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes.

        Raises `ResponseTooLargeError` for what is over its cap; events completed before it are returned first, and the
        error comes with the next call. So call it once more, with `b""`, at the end of the data.
        """
        events = [] if self._overflow else self._decode(data)
        if self._overflow and not events:
            raise ResponseTooLargeError(self._overflow, code="response_too_large")
        return events

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
        events = self._take(lines)
        if rest:
            self._hold(rest)
        return events

    def _hold(self, rest: bytes) -> None:
        self._tail += rest
        if len(self._tail) > self._line_cap:
            self._overflow = self._too_large()
            self._tail.clear()

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        """Return the events that whole lines complete."""
        raise NotImplementedError

    def _too_large(self) -> str:
        return f"a line of the stream is over {self._line_cap} bytes"


class JsonLinesDecoder(LineDecoder):
    """Turns the bytes of a stream of JSON lines into events without names.

    Follows jsonlines.org and NDJSON: a line holds one JSON value and ends at LF; a CR before it is nothing, nor is a
    blank line. The last line needs no LF: the end of the data ends it. Whether it is whole JSON is told by whoever
    reads it.
    """

    __slots__ = ()

    def __init__(self, *, line_cap: int = LINE_CAP) -> None:
        super().__init__(line_cap)

    def flush(self) -> list[ServerSentEvent]:
        """Return the line that the data ended in, if any."""
        return LineDecoder._decode(self, b"\n") if self._tail else []

    def _decode(self, data: bytes) -> list[ServerSentEvent]:
        """Take data; none at all is its end, and completes the last line."""
        return LineDecoder._decode(self, data) if data else self.flush()

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for line in lines:
            if len(line) > self._line_cap:
                self._overflow = self._too_large()
                return events
            if line.strip(_BLANK):
                events.append((b"", line.strip(_BLANK)))
        return events
