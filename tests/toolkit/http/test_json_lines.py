"""The decoder of JSON lines: the format by examples, and the same lines for every split of the bytes."""

from __future__ import annotations

from itertools import pairwise
from time import process_time
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import CallOptions, Message, ModelInfo, Prompt, ResponseTooLargeError, component
from nexus_core.testing import ScriptedUpstream, stream_answer
from nexus_core.toolkit import (
    JsonLinesDecoder,
    ServiceAddress,
    ServiceConnector,
    StreamParts,
    WireFormat,
    object_within,
    read_json,
    read_text,
)


def decode(*pieces: bytes) -> list[bytes]:
    decoder = JsonLinesDecoder()
    return [line for piece in (*pieces, b"") for _, line in decoder.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}'], id="two-lines"),
        pytest.param(b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}'], id="crlf"),
        pytest.param(b'{"a":1}\n\n \r\n{"b":2}\n', [b'{"a":1}', b'{"b":2}'], id="blank-lines"),
        pytest.param(b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}'], id="no-newline-at-the-end"),
        pytest.param(b'{"a":1}\n{"b":', [b'{"a":1}', b'{"b":'], id="cut"),
        pytest.param(b'\xef\xbb\xbf{"a":1}\n\xef\xbb\xbf2\n', [b'{"a":1}', b"\xef\xbb\xbf2"], id="bom"),
        pytest.param('"a\u2028b\u0085c\x0bd"\n'.encode(), ['"a\u2028b\u0085c\x0bd"'.encode()], id="other-line-ends"),
        pytest.param(b"\xff\xfe\n", [b"\xff\xfe"], id="not-utf-8"),
        pytest.param(b"", [], id="empty"),
    ],
)
def test_decoder_reads_the_format(stream: bytes, expected: list[bytes]) -> None:
    """Each rule of the format, by an example; whether a line is whole JSON is not the decoder's to tell."""
    assert decode(stream) == expected


def test_decoder_gives_a_line_as_soon_as_its_newline_is_there() -> None:
    """Nothing is held back but the line that has not ended."""
    decoder = JsonLinesDecoder()
    assert decoder.feed(b'{"a":1}\n{"b"') == [(b"", b'{"a":1}')]
    assert decoder.feed(b":2}") == []
    assert decoder.flush() == [(b"", b'{"b":2}')]
    assert decoder.flush() == []


lines = st.sampled_from([b'{"t":"x"}', b"", b" ", b"[1]", '{"t":"né🙂\u2028"}'.encode(), b"\xff", b"\xef\xbb\xbf1"])
newlines = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r", b"\n\r"])
streams = st.lists(st.tuples(lines, newlines), max_size=30).map(lambda parts: b"".join(map(b"".join, parts)))


@pytest.mark.slow
@given(st.one_of(streams, st.binary(max_size=60)), st.lists(st.integers(0, 400), max_size=8))
@settings(max_examples=400, deadline=None)
def test_decoder_gives_the_same_lines_for_every_split(stream: bytes, cuts: list[int]) -> None:
    """Where the network cuts the bytes makes no difference."""
    whole = decode(stream)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert decode(*(stream[start:end] for start, end in pairwise(edges) if start < end)) == whole
    assert decode(*(stream[at : at + 1] for at in range(len(stream)))) == whole


@pytest.mark.parametrize("step", [1, 3, 1000], ids=["bytes", "threes", "thousands"])
@pytest.mark.parametrize("stream", [b"1\n" + b"x" * 80 + b"\n2\n", b"1\n" + b"x" * 80], ids=["long", "endless"])
def test_decoder_refuses_a_line_over_its_cap(stream: bytes, step: int) -> None:
    """After the lines before it, however the bytes are cut, and for good."""
    decoder = JsonLinesDecoder(line_cap=64)
    good: list[bytes] = []

    def feed_all() -> None:
        for at in range(0, len(stream) + step, step):
            good.extend(line for _, line in decoder.feed(stream[at : at + step]))

    with pytest.raises(ResponseTooLargeError, match="over 64 bytes"):
        feed_all()
    assert good == [b"1"]
    with pytest.raises(ResponseTooLargeError):
        decoder.feed(b"3\n")


@pytest.mark.slow
def test_decoder_is_linear_in_tiny_pieces() -> None:
    """Four times the bytes in 1-byte pieces cost about four times the time, not sixteen."""

    def cost(size: int) -> float:
        stream = b"x" * size + b"\n"
        pieces = [stream[at : at + 1] for at in range(len(stream))]
        started = process_time()
        decode(*pieces)
        return process_time() - started

    small = min(cost(50_000) for _ in range(3))
    assert min(cost(200_000) for _ in range(3)) < 10 * small


class WordLines(StreamParts):
    def take(self, name: bytes, data: bytes) -> Any:
        line = object_within(read_json(data))
        if "end" in line:
            self.end(read_text(line["end"]))
        return self.say(read_text(line.get("w")))


class LinesWire(WireFormat):
    def path(self, *, streamed: bool) -> str:
        return "/talk"

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        return b"{}"

    def reading(self) -> WordLines:
        return WordLines()

    def decoder(self, sizes: Any) -> JsonLinesDecoder:
        return JsonLinesDecoder(line_cap=sizes.line)


def make_wire(connector: Any) -> LinesWire:
    return LinesWire()


@component
class LinesConnector(ServiceConnector):
    """Reads streams of JSON lines."""

    ADDRESS: ClassVar[ServiceAddress] = ServiceAddress(provider="lines", url="https://lines.example")
    WIRE: ClassVar[str] = __name__

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(id=self.model, provider="lines", window=8192)


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
async def test_a_blank_line_may_come_first_and_alone(kind: str) -> None:
    """It says that the service is still there: it is no empty answer, though the content type names JSON."""
    pieces = [b"\n", b'{"w": "At "}\n', b'{"w": "six."}\n{"end": "stop"}\n']
    async with (
        ScriptedUpstream(stream_answer(pieces, content_type=kind)) as upstream,
        LinesConnector(model="m", base_url=upstream.origin) as connector,
    ):
        stream = connector.stream_response(Prompt(messages=(Message("user", "When?"),)), CallOptions())
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text for chunk in chunks) == "At six."
    assert chunks[-1].finish_reason == "stop"
