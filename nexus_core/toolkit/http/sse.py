"""Server-sent events, decoded incrementally from bytes: the same events for every split of the bytes.

Follows the WHATWG event stream format. Lines end at CR, LF or CRLF and nowhere else, so U+2028 and U+0085 stay in the
text they stand in. An event that no blank line ends is no event: whether an answer is complete it says itself.

A `tolerant` decoder also reads what services send in its place: blanks before a field, lines of JSON without a field
(each is an event), events with a single newline between them (each line of data is whole JSON), and a blank line
between the name of an event and its data.
"""

from __future__ import annotations

import json

from nexus_core.toolkit.http.line_decoder import LINE_CAP, LineDecoder, ServerSentEvent

EVENT_CAP = 16 * 2**20
"""Bytes the lines of one event may have together, with `LINE_COST` for each but the first."""
LINE_COST = 64
"""Bytes that count for a line beside its own: what it takes to keep it."""


class EventDecoder(LineDecoder):
    """Turns the bytes of an event stream into events; the work is linear in the bytes, however they are cut."""

    __slots__ = (
        "_bare", "_data", "_event_cap", "_irregular", "_name", "_size", "_skip_lf", "_tolerant",
    )  # fmt: skip

    def __init__(self, *, line_cap: int = LINE_CAP, event_cap: int = EVENT_CAP, tolerant: bool = False) -> None:
        super().__init__(line_cap)
        self._event_cap = event_cap
        self._tolerant = tolerant
        self._data: list[bytes] = []  # the data lines of the event that has not ended yet
        self._size = 0  # of those lines, in bytes
        self._name = b""
        self._skip_lf = False
        self._bare = False  # those lines are JSON without a field
        self._irregular = False

    @property
    def irregular(self) -> bool:
        """Whether events are not ended by blank lines, so that the last one needs none either."""
        return self._irregular or (self._tolerant and self._tail.lstrip().startswith((b"{", b"[")))

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
        return LineDecoder._decode(self, data)

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        data = self._data
        for line in lines:
            if not line:
                if len(data) == 1 and not self._bare:  # nearly always; written out, since it is done for every event
                    events.append((self._name, data[0]))
                    data.clear()
                    self._size = 0
                    self._name = b""
                elif data:
                    self._end(events)
                elif not self._tolerant:
                    self._name = b""
                continue
            if line.startswith(b"data: "):  # nearly every line there is
                if data and self._tolerant:
                    self._end_line(events)
                data.append(line[6:])
                self._size += len(line)
            else:
                self._take_field(line, events)
            if len(line) > self._line_cap or self._size + LINE_COST * (len(data) - 1) > self._event_cap:
                self._overflow = self._too_large()
                break
        return events

    def _end(self, events: list[ServerSentEvent]) -> None:
        data = self._data
        events.append((self._name, data[0] if len(data) == 1 else b"\n".join(data)))
        data.clear()
        self._size = 0
        self._name = b""
        self._bare = False

    def _end_line(self, events: list[ServerSentEvent]) -> None:
        """End the event before a further line of data where the two can be no JSON together."""
        data = self._data
        if self._bare or (len(data) == 1 and data[0].rstrip().endswith((b"}", b"]")) and _is_json(data[0])):
            self._irregular = True
            self._end(events)

    def _take_field(self, line: bytes, events: list[ServerSentEvent]) -> None:
        name, _, value = line.partition(b":")
        if self._tolerant:
            name = name.strip().lower()
            if self._bare or name[:1] in (b"{", b"["):
                self._take_json(line, name, events)
                return
        if name == b"data":
            if self._data and self._tolerant:
                self._end_line(events)
            self._data.append(value.removeprefix(b" "))
            self._size += len(line)
        elif name == b"event":
            if self._irregular and self._data:
                self._end(events)
            self._name = value.removeprefix(b" ")
        # A comment has no name. `id` and `retry` serve reconnection, which no model service offers.

    def _take_json(self, line: bytes, name: bytes, events: list[ServerSentEvent]) -> None:
        """Take a line of JSON that stands in no field: an event by itself, or the beginning of one or more of it."""
        if self._bare and name in (b"data", b"event"):
            self._end(events)
            self._take_field(line, events)
            return
        if not self._bare and self._data:
            self._end(events)
        self._irregular = self._bare = True
        self._data.append(line)
        self._size += len(line)
        if len(self._data) == 1 and _is_json(line):
            self._end(events)

    def _too_large(self) -> str:
        return f"a line of the event stream is over {self._line_cap} bytes, or an event over {self._event_cap}"


def _is_json(line: bytes) -> bool:
    # Not orjson, which takes 20 ms to import: a run from the shell is over before that. NaN is somebody else's concern.
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return line.strip() == b"[DONE]"
    return True
