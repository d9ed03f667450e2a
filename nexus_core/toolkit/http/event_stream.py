"""AWS event stream (`application/vnd.amazon.eventstream`), decoded incrementally: the same events for every split.

A message is: length of all (4 bytes, big-endian), length of its headers (4), CRC-32 of these 8 bytes (4), the headers,
the payload, CRC-32 of all before (4); see "Event stream encoding" of the AWS SDKs (smithy.io,
`amazon-eventstream`). Headers are name length (1), name, type (1) and a value whose size the type tells.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, error as StructError
from zlib import crc32

from nexus_core.contract.errors import ProtocolError, ResponseTooLargeError
from nexus_core.toolkit.http.line_decoder import ServerSentEvent
from nexus_core.toolkit.http.sse import EVENT_CAP

_PRELUDE = Struct(">III")
_CRC = Struct(">I")
_LENGTH = Struct(">H")
_FRAME = _PRELUDE.size + _CRC.size
_HEADERS_CAP = 128 * 2**10
"""Bytes of headers that a message may have, by the specification."""
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by its type; 6 (bytes) and 7 (text) carry their length."""
_TEXT = 7


class EventStreamDecoder:
    """Turns the bytes of an AWS event stream into events: the `:event-type` and the payload of each message.

    An exception comes out as an event named `error:` and its `:exception-type`.
    """

    def __init__(self, *, event_cap: int = EVENT_CAP) -> None:
        self._event_cap = event_cap
        self._held = bytearray()
        self._needed = _PRELUDE.size

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes; raises ProtocolError for what is none, or too large."""
        self._held += data
        if len(self._held) < self._needed:
            return []
        events, place, view = [], 0, bytes(self._held)
        while len(view) - place >= _PRELUDE.size:
            length, headers, checksum = _PRELUDE.unpack_from(view, place)
            self._check_prelude(view, place, length, headers, checksum)
            if len(view) - place < length:
                break
            end = place + length - _CRC.size
            if crc32(view[place:end]) != _CRC.unpack_from(view, end)[0]:
                raise ProtocolError("a message of the event stream does not match its checksum", code="event_stream")
            start = place + _PRELUDE.size
            events.append((_event_name(view[start : start + headers]), view[start + headers : end]))
            place += length
        del self._held[:place]
        # With a prelude at hand nothing can be done before all of its message is there.
        self._needed = _PRELUDE.unpack_from(view, place)[0] if len(view) - place >= _PRELUDE.size else _PRELUDE.size
        return events

    def flush(self) -> list[ServerSentEvent]:
        """Return nothing: a message that the data ended in the middle of is none."""
        return []

    def _check_prelude(self, view: bytes, place: int, length: int, headers: int, checksum: int) -> None:
        if crc32(view[place : place + 8]) != checksum:
            raise ProtocolError("the answer is no event stream, or was changed on its way", code="event_stream")
        if length > self._event_cap or headers > _HEADERS_CAP:
            raise ResponseTooLargeError(
                f"a message of the event stream is over {self._event_cap} bytes", code="response_too_large"
            )
        if length < _FRAME + headers:
            raise ProtocolError("a message of the event stream is shorter than its headers", code="event_stream")


@lru_cache(maxsize=64)
def _event_name(data: bytes) -> bytes:
    """Return the name of an event from the headers of its message."""
    headers = _read_headers(data)
    if b":exception-type" in headers:
        return b"error:" + headers[b":exception-type"]
    if headers.get(b":message-type") == b"error":
        return b"error:" + headers.get(b":error-code", b"")
    return headers.get(b":event-type", b"")


def _read_headers(data: bytes) -> dict[bytes, bytes]:
    """Return the texts among the headers of a message."""
    found, place = {}, 0
    try:
        while place < len(data):
            name_end = place + 1 + data[place]
            name, kind, place = data[place + 1 : name_end], data[name_end], name_end + 1
            size = _SIZES.get(kind)
            if size is None:
                size = _LENGTH.unpack_from(data, place)[0]
                place += _LENGTH.size
            if kind == _TEXT:
                found[name] = data[place : place + size]
            place += size
    except (IndexError, StructError):
        place = len(data) + 1
    if place > len(data):
        raise ProtocolError("the headers of a message of the event stream are broken", code="event_stream")
    return found
