"""AWS event streams: the same events for every split, and an error for whatever was changed on the way."""

from __future__ import annotations

from itertools import pairwise
from struct import pack
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings, strategies as st

from nexus_core import ProtocolError, ResponseTooLargeError
from nexus_core.toolkit import EventStreamDecoder, ServerSentEvent


def message(payload: bytes, headers: bytes) -> bytes:
    """Return a message with its checksums."""
    prelude = pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = prelude + pack(">I", crc32(prelude)) + headers + payload
    return begun + pack(">I", crc32(begun))


def text(name: str, value: str) -> bytes:
    return pack(">B", len(name)) + name.encode() + pack(">BH", 7, len(value)) + value.encode()


def event(kind: str, payload: bytes) -> bytes:
    return message(payload, text(":event-type", kind) + text(":message-type", "event"))


ODD = (
    pack(">B2sB", 2, b"yes"[:2], 0) + pack(">B2sBb", 2, b"by", 2, 1) + pack(">B2sBh", 2, b"sh", 3, 1)
    + pack(">B2sBi", 2, b"in", 4, 1) + pack(">B2sBq", 2, b"lo", 5, 1) + pack(">B2sBH3s", 2, b"bi", 6, 3, b"abc")
    + pack(">B2sBq", 2, b"ti", 8, 1) + pack(">B2sB16s", 2, b"id", 9, b"0" * 16)
)  # fmt: skip
"""A header of each type that is no text."""
STREAM = b"".join(
    [
        event("messageStart", b'{"role": "assistant"}'),
        event("contentBlockDelta", '{"delta": {"text": "né 🙂"}}'.encode()),
        message(b"{}", ODD + text(":event-type", "metadata")),
        message(b'{"message": "slow"}', text(":message-type", "exception") + text(":exception-type", "throttling")),
        message(b"", text(":message-type", "error") + text(":error-code", "Internal")),
    ]
)
NAMES = [b"messageStart", b"contentBlockDelta", b"metadata", b"error:throttling", b"error:Internal"]


def read(pieces: list[bytes]) -> list[ServerSentEvent]:
    """Return the events of a stream in pieces."""
    decoder = EventStreamDecoder()
    return [one for piece in (*pieces, b"") for one in decoder.feed(piece)] + decoder.flush()


def test_names_and_payloads_are_those_that_botocore_reads() -> None:
    """Message by message; what botocore calls an exception is an error of its type."""
    buffer = EventStreamBuffer()
    buffer.add_data(STREAM)
    theirs = list(buffer)
    assert [name for name, _ in read([STREAM])] == NAMES
    assert [data for _, data in read([STREAM])] == [one.payload for one in theirs]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
@settings(max_examples=100)
def test_every_split_reads_alike(cuts: list[int]) -> None:
    """However the bytes come."""
    places = sorted({0, *cuts, len(STREAM)})
    assert read([STREAM[a:b] for a, b in pairwise(places)]) == read([STREAM])


def test_every_byte_alone_reads_alike() -> None:
    """The worst of the splits."""
    assert read([STREAM[place : place + 1] for place in range(len(STREAM))]) == read([STREAM])


@given(bit=st.integers(0, len(STREAM) * 8 - 1))
@settings(max_examples=300)
def test_a_flipped_bit_is_never_read(bit: int) -> None:
    """An error, and no event of the message that it stands in."""
    data = bytearray(STREAM)
    data[bit // 8] ^= 1 << bit % 8
    decoder, events, failed = EventStreamDecoder(), list[ServerSentEvent](), False
    try:
        for place in range(len(data)):
            events += decoder.feed(bytes(data[place : place + 1]))
    except ProtocolError:
        failed = True
    assert failed
    assert events == read([STREAM])[: len(events)]
    assert len(events) < len(NAMES)


@pytest.mark.parametrize(
    ("length", "headers", "error"),
    [(2**32 - 1, 0, ResponseTooLargeError), (2**24, 2**20, ResponseTooLargeError), (0, 0, ProtocolError),
     (15, 0, ProtocolError), (20, 8, ProtocolError), (2**18 + 16, 2**18, ResponseTooLargeError)],
)  # fmt: skip
def test_hostile_lengths_are_refused_at_once(length: int, headers: int, error: type[Exception]) -> None:
    """From the first twelve bytes, before anything is held for them."""
    prelude = pack(">II", length, headers)
    with pytest.raises(error):
        EventStreamDecoder().feed(prelude + pack(">I", crc32(prelude)))


@pytest.mark.parametrize(
    "headers",
    [b"\x05ab", b"\x01a\x07\xff\xffx", b"\x01a\x0a", b"\x01a\x07\x00", b"\x01a\x04\x00"],
    ids=["name", "value", "type", "length", "number"],
)
def test_headers_that_do_not_end_are_refused(headers: bytes) -> None:
    """Their lengths lead out of the message, although its checksums are right."""
    with pytest.raises(ProtocolError):
        EventStreamDecoder().feed(message(b"{}", headers))


@pytest.mark.parametrize("data", [b'{"message": "no"}', b"<html>no</html>", b"data: {}\n\n" * 3])
def test_what_is_no_event_stream_is_refused(data: bytes) -> None:
    """Its first twelve bytes have no checksum."""
    with pytest.raises(ProtocolError):
        EventStreamDecoder().feed(data)
