"""The event decoder: the format as WHATWG writes it, and the same events for every split of the bytes."""

from __future__ import annotations

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import ResponseTooLargeError
from nexus_core.toolkit.http.line_decoder import ServerSentEvent
from nexus_core.toolkit.http.sse import EventDecoder


def decode(*pieces: bytes) -> list[ServerSentEvent]:
    decoder = EventDecoder()
    return [event for piece in (*pieces, b"") for event in decoder.feed(piece)]


def data_of(stream: bytes) -> list[bytes]:
    return [data for _, data in decode(stream)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="two-events"),
        pytest.param(b"data:a\n\n", [b"a"], id="no-space"),
        pytest.param(b"data:  a\n\n", [b" a"], id="only-one-space-goes"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\r", [b"a", b"b"], id="crlf-and-cr"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="bom"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="second-bom-is-no-field"),
        pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"], id="later-bom"),
        pytest.param(b": ping\n\ndata: a\n: ping\n\n", [b"a"], id="comments"),
        pytest.param(b"data: a\ndata: b\ndata\ndata: c\n\n", [b"a\nb\n\nc"], id="several-lines"),
        pytest.param(b"data\n\n", [b""], id="field-without-colon"),
        pytest.param(b"retry: 3000\n\nid: 7\n\nevent: ping\n\n", [], id="no-data-no-event"),
        pytest.param(b"\n\n\ndata: a\n\n\n\n", [b"a"], id="blank-lines"),
        pytest.param(b"data: a\n\ndata: lost\n", [b"a"], id="no-blank-line-at-the-end"),
        pytest.param(b" data: a\nDATA: a\ndatas: a\n\n", [], id="other-fields"),
        pytest.param("data: a\u2028b\u0085c\x0bd\x1ce\n\n".encode(), ["a\u2028b\u0085c\x0bd\x1ce".encode()], id="u"),
        pytest.param(b"data: \xff\xfe\n\n", [b"\xff\xfe"], id="not-utf-8"),
        pytest.param(b"data: {\"a\": \"b: c\"}\n\n", [b'{"a": "b: c"}'], id="colons-in-the-data"),
    ],
)  # fmt: skip
def test_decoder_reads_the_format(stream: bytes, expected: list[bytes]) -> None:
    """Faults 42 to 44, 52 and 53: each rule of the format, by an example."""
    assert data_of(stream) == expected


def test_decoder_tells_the_names_of_events() -> None:
    """A name holds for one event, and an event without data takes its name with it."""
    stream = b"event: error\ndata: a\n\ndata: b\n\nevent: lost\n\ndata: c\n\nevent:x\nevent:y\ndata: d\n\n"
    assert decode(stream) == [(b"error", b"a"), (b"", b"b"), (b"", b"c"), (b"y", b"d")]


def test_decoder_gives_an_event_as_soon_as_its_blank_line_is_there() -> None:
    """Nothing is held back: a CR that ends a line does so before its LF has come."""
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [(b"", b"a")]
    assert decoder.feed(b"\ndata: b\r\r") == [(b"", b"b")]
    assert decoder.feed(b"\n") == []


fields = st.sampled_from(
    [
        b"data: x", b"data:", b"data", b"data: ", b": keep-alive", b"event: error", b"id: 1", b"retry: 9", b"",
        b"event: ", b"data: \xe2\x80\xa8", "data: 🙂é".encode(), b"data: \xff", b"\xef\xbb\xbfdata: y", b"foo: bar",
    ]
)  # fmt: skip
newlines = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r"])
streams = st.lists(st.tuples(fields, newlines), max_size=30).map(lambda lines: b"".join(map(b"".join, lines)))


@pytest.mark.slow
@given(st.one_of(streams, st.binary(max_size=60)), st.lists(st.integers(0, 400), max_size=8))
@settings(max_examples=400, deadline=None)
def test_decoder_gives_the_same_events_for_every_split(stream: bytes, cuts: list[int]) -> None:
    """Where the network cuts the bytes makes no difference."""
    whole = decode(stream)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert decode(*(stream[start:end] for start, end in pairwise(edges))) == whole
    assert decode(*(stream[at : at + 1] for at in range(len(stream)))) == whole


@pytest.mark.slow
@given(st.lists(st.tuples(fields, st.just(b"")), max_size=20), st.sampled_from([b"\r", b"\r\n"]))
@settings(max_examples=100, deadline=None)
def test_decoder_gives_the_same_events_for_every_newline(lines: list[tuple[bytes, bytes]], newline: bytes) -> None:
    """LF, CR and CRLF are equal."""
    names = [field for field, _ in lines]
    assert decode(newline.join([*names, b"", b""])) == decode(b"\n".join([*names, b"", b""]))


def test_decoder_cut_at_every_byte_of_a_real_stream() -> None:
    """Two pieces, cut anywhere, also within a character and between CR and LF."""
    stream = '\ufeff: hi\r\ndata: {"t":"né🙂"}\r\n\r\nevent: error\r\ndata: x\r\n\r\ndata: [DONE]\r\n\r\n'.encode()
    whole = decode(stream)
    assert len(whole) == 3
    assert all(decode(stream[:at], stream[at:]) == whole for at in range(len(stream)))


LONG_SECOND_EVENT = b"data: " + b"x" * 40 + b"\n\ndata: y" + b"z" * 80 + b"\n\n"
ENDLESS_COMMENT = b"data: a\n\n: " + b"x" * 80
ENDLESS_EVENT = b"data: 123456789\n" * 9


@pytest.mark.parametrize("step", [1, 3, 1000], ids=["bytes", "threes", "thousands"])
@pytest.mark.parametrize(
    ("stream", "before"),
    [(LONG_SECOND_EVENT, 1), (ENDLESS_COMMENT, 1), (ENDLESS_EVENT, 0)],
    ids=["long-event", "endless-comment", "endless-event"],
)
def test_decoder_refuses_what_is_too_large(stream: bytes, before: int, step: int) -> None:
    """A line or an event over its cap is an error, after the events before it, however the bytes are cut."""
    decoder = EventDecoder(line_cap=64, event_cap=100)
    good: list[ServerSentEvent] = []

    def feed_all() -> None:
        for at in range(0, len(stream) + step, step):
            good.extend(decoder.feed(stream[at : at + step]))

    with pytest.raises(ResponseTooLargeError, match="over"):
        feed_all()
    assert len(good) == before
    with pytest.raises(ResponseTooLargeError):
        decoder.feed(b"data: more\n\n")


def test_decoder_takes_a_line_of_700_kilobytes() -> None:
    """Fault 54: more than the line readers of HTTP libraries take."""
    assert data_of(b"data: " + b"x" * 700_000 + b"\n\n") == [b"x" * 700_000]


@pytest.mark.slow
def test_decoder_is_linear_in_tiny_pieces() -> None:
    """Fault 56: four times the bytes in 1-byte pieces cost about four times the time, not sixteen."""

    def cost(size: int) -> float:
        stream = b"data: " + b"x" * size + b"\n\n"
        pieces = [stream[at : at + 1] for at in range(len(stream))]
        started = process_time()
        decode(*pieces)
        return process_time() - started

    small = min(cost(50_000) for _ in range(3))
    assert min(cost(200_000) for _ in range(3)) < 10 * small


def tolerant(*pieces: bytes) -> list[ServerSentEvent]:
    decoder = EventDecoder(tolerant=True)
    events = [event for piece in (*pieces, b"") for event in decoder.feed(piece)]
    return [*events, *(decoder.flush() if decoder.irregular else [])]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b'data: {"a": 1}\ndata: {"b": 2}\n', [b'{"a": 1}', b'{"b": 2}'], id="single-newline"),
        pytest.param(b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}'], id="data-in-lines"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="text-in-lines"),
        pytest.param(b'   data: {}\n\n\tdata: {"a": 1}\n\n', [b"{}", b'{"a": 1}'], id="blanks"),
        pytest.param(b'{"a": 1}\n{"b": 2}', [b'{"a": 1}', b'{"b": 2}'], id="lines-of-json"),
        pytest.param(b'data: a\n\n{\n "a": 1\n}\n\ndata: b\n\n', [b"a", b'{\n "a": 1\n}', b"b"], id="pretty"),
        pytest.param(b"data: a\n\ndata: lost\n", [b"a"], id="no-blank-line-at-the-end"),
    ],
)
def test_tolerant_decoder_reads_what_services_send(stream: bytes, expected: list[bytes]) -> None:
    """And what follows the format as the format says."""
    assert [data for _, data in tolerant(stream)] == expected


def test_tolerant_decoder_keeps_a_name_over_a_blank_line() -> None:
    """For the next event alone."""
    stream = b"event: error\n\ndata: a\n\ndata: b\n\n"
    assert tolerant(stream) == [(b"error", b"a"), (b"", b"b")]


json_lines = st.sampled_from([b'data: {"a": 1}', b'{"a": 1}', b"{", b"}", b" data: [DONE]", b"[1]", b"event: error"])
odd_streams = st.lists(st.tuples(fields | json_lines, newlines), max_size=20).map(
    lambda lines: b"".join(map(b"".join, lines))
)


@pytest.mark.slow
@given(odd_streams, st.lists(st.integers(0, 200), max_size=6))
@settings(max_examples=300, deadline=None)
def test_tolerant_decoder_gives_the_same_events_for_every_split(stream: bytes, cuts: list[int]) -> None:
    """Where the network cuts the bytes makes no difference here either."""
    whole = tolerant(stream)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert tolerant(*(stream[start:end] for start, end in pairwise(edges))) == whole
    assert tolerant(*(stream[at : at + 1] for at in range(len(stream)))) == whole
