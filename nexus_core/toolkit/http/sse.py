"""Server-sent events, decoded incrementally from bytes: the same events for every split of the bytes.

Follows the WHATWG event stream format. Lines end at CR, LF or CRLF and nowhere else, so U+2028 and U+0085 stay in the
text they stand in. An event that no blank line ends is no event: whether an answer is complete it says itself.
"""

from __future__ import annotations

from nexus_core.contract.errors import ResponseTooLargeError

ServerSentEvent = tuple[bytes, bytes]
"""The name of an event (empty for most) and its data, the lines of which are joined by LF."""

LINE_CAP = 8 * 2**20
"""Bytes a single line may have."""
EVENT_CAP = 16 * 2**20
"""Bytes the lines of one event may have together, with `LINE_COST` for each but the first."""
LINE_COST = 64
"""Bytes that count for a line beside its own: what it takes to keep it."""

_BOM = b"\xef\xbb\xbf"


class EventDecoder:
    """Turns the bytes of an event stream into events; the work is linear in the bytes, however they are cut."""

    __slots__ = ("_at_start", "_data", "_event_cap", "_line_cap", "_name", "_overflow", "_size", "_skip_lf", "_tail")

    def __init__(self, *, line_cap: int = LINE_CAP, event_cap: int = EVENT_CAP) -> None:
        self._line_cap = line_cap
        self._event_cap = event_cap
        self._tail = bytearray()  # the line that has not ended yet
        self._data: list[bytes] = []  # the data lines of the event that has not ended yet
        self._size = 0  # of those lines, in bytes
        self._name = b""
        self._at_start = True
        self._skip_lf = False
        self._overflow = ""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes.

        Raises `ResponseTooLargeError` for a line or an event over its cap; events completed before it are returned
        first, and the error comes with the next call. So call it once more, with `b""`, at the end of the data.
        """
        events = [] if self._overflow else self._decode(data)
        if self._overflow and not events:
            raise ResponseTooLargeError(self._overflow, code="response_too_large")
        return events

    def flush(self) -> list[ServerSentEvent]:
        """Return the event that the data ended in the middle of, if any: what the format discards, and some need."""
        return self._decode(b"\n\n")

    def _decode(self, data: bytes) -> list[ServerSentEvent]:
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            # A CR at the end of the data ends its line now; a LF that comes first in the next data belongs to it.
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
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

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append((self._name, data[0] if len(data) == 1 else b"\n".join(data)))
                    data.clear()
                    self._size = 0
                self._name = b""
                continue
            if line.startswith(b"data: "):  # nearly every line there is
                data.append(line[6:])
                self._size += len(line)
            else:
                self._take_field(line)
            if len(line) > self._line_cap or self._size + LINE_COST * (len(data) - 1) > self._event_cap:
                self._overflow = self._too_large()
                break
        return events

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(line)
        elif name == b"event":
            self._name = value.removeprefix(b" ")
        # A comment has no name. `id` and `retry` serve reconnection, which no model service offers.

    def _hold(self, rest: bytes) -> None:
        self._tail += rest
        if len(self._tail) > self._line_cap:
            self._overflow = self._too_large()
            self._tail.clear()

    def _too_large(self) -> str:
        return f"a line of the event stream is over {self._line_cap} bytes, or an event over {self._event_cap}"
