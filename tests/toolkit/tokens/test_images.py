"""Tokens of images: sizes out of the first bytes, and the examples that the services publish."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given, strategies as st

from nexus_core import ImagePart, ImageTokens
from nexus_core.toolkit import count_image, image_size

GPT_4O = ImageTokens(formula="tiles", at_most=1445, base=85, per_tile=170)
GPT_41_MINI = ImageTokens(formula="patches", at_most=2489, tile=32, factor=1.62)
CLAUDE = ImageTokens(formula="area", at_most=1600, longest=1568)
GEMINI = ImageTokens(formula="crops", at_most=100_000, per_tile=258, shortest=384)


def png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"


def jpeg(width: int, height: int, frame: int = 0xC0) -> bytes:
    """Return the beginning of a JPEG with a preview in a segment before its size, filled up in between."""
    preview = b"\xff\xe1" + struct.pack(">H", 12) + b"\xff\xc0\0\x0b\x08\0\x01\0\x01"[:10].ljust(10, b"\0")
    tables = b"\xff\xc4" + struct.pack(">H", 4) + b"\0\0"
    size = bytes([0xFF, frame]) + struct.pack(">HBHH", 17, 8, height, width) + b"\x03" + bytes(9)
    return b"\xff\xd8" + preview + b"\xff\xff" + tables + size + b"\xff\xd9"


def webp(kind: bytes, chunk: bytes) -> bytes:
    """Return the beginning of a WebP."""
    return b"RIFF" + struct.pack("<I", 30) + b"WEBP" + kind + struct.pack("<I", len(chunk)) + chunk.ljust(12, b"\0")


def extended(width: int, height: int) -> bytes:
    return webp(b"VP8X", bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


HEADERS = {
    "png": png(640, 480),
    "jpeg": jpeg(640, 480),
    "progressive": jpeg(640, 480, frame=0xC2),
    "gif": b"GIF89a" + struct.pack("<HH", 640, 480) + b"\xf7\0\0",
    "webp-lossy": webp(b"VP8 ", b"\x30\x01\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480)),
    "webp-lossless": webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14)),
    "webp-extended": extended(640, 480),
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_size_is_read_from_the_first_bytes(data: bytes) -> None:
    """Of each format that services take."""
    assert image_size(data) == (640, 480)


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_size_of_a_cut_header_is_not_known(data: bytes) -> None:
    """Wherever it is cut before the size has come, nothing is read beyond it."""
    sizes = {image_size(data[:end]) for end in range(len(data))}
    assert sizes <= {None, (640, 480)}


@pytest.mark.parametrize(
    ("size", "detail", "formula", "tokens"),
    [
        ((1024, 1024), "high", GPT_4O, 765),
        ((2048, 4096), "high", GPT_4O, 1105),
        ((4096, 8192), "low", GPT_4O, 85),
        ((512, 512), "high", GPT_4O, 255),
        ((1024, 1024), "high", ImageTokens(formula="patches", at_most=1536, tile=32), 1024),
        ((1800, 2400), "high", ImageTokens(formula="patches", at_most=1536, tile=32), 1452),
        ((1024, 1024), "high", GPT_41_MINI, 1659),
        ((1092, 1092), "auto", CLAUDE, 1590),
        ((1000, 1000), "auto", CLAUDE, 1334),
        ((200, 200), "auto", CLAUDE, 64),
        ((384, 384), "auto", GEMINI, 258),
        ((960, 540), "auto", GEMINI, 6 * 258),
    ],
)
def test_published_examples_are_counted(size: tuple[int, int], detail: str, formula: ImageTokens, tokens: int) -> None:
    """As the guides of OpenAI, Anthropic and Google have them."""
    part = ImagePart(data=png(*size), media_type="image/png", detail=detail)  # type: ignore[arg-type]
    assert count_image(part, formula)[0] == tokens


@pytest.mark.parametrize(
    ("part", "formula", "found"),
    [
        (ImagePart(url="https://example.org/a.png"), GPT_4O, (1445, False)),
        (ImagePart(url="https://example.org/a.png", detail="low"), GPT_4O, (85, True)),
        (ImagePart(data=b"<svg/>", detail="high"), GPT_4O, (1445, False)),
        (ImagePart(data=png(1024, 1024)), GPT_4O, (765, False)),
        (ImagePart(data=png(1024, 1024), detail="high"), GPT_4O, (765, True)),
        (ImagePart(data=b"?"), ImageTokens(formula="fixed", at_most=560, base=560), (560, True)),
    ],
    ids=["url", "url-low", "unknown", "auto", "high", "fixed"],
)
def test_what_is_not_known_counts_at_most(part: ImagePart, formula: ImageTokens, found: tuple[int, bool]) -> None:
    """And says so: an address, another format, a detail that the service chooses."""
    assert count_image(part, formula) == found


starts = st.sampled_from([b"", *(data[:end] for data in HEADERS.values() for end in (2, 8, 12, 16, len(data)))])


@given(starts, st.binary(max_size=200), st.sampled_from([GPT_4O, GPT_41_MINI, CLAUDE, GEMINI]))
@example(png(1, 2**31 - 1), b"", GPT_41_MINI)
@example(png(2**31 - 1, 1), b"", GEMINI)
@example(b"\xff\xd8" + b"\xff" * 100_000, b"", GPT_4O)
@example(b"\xff\xd8" + b"\xff\xd0" * 100_000, b"", GPT_4O)
def test_hostile_bytes_count_at_most(start: bytes, rest: bytes, formula: ImageTokens) -> None:
    """Whatever the bytes, there is a count, of at least one token and no more than any image has."""
    tokens, _ = count_image(ImagePart(data=start + rest or b"x"), formula)
    assert 1 <= tokens <= formula.at_most
