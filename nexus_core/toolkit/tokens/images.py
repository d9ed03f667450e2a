"""Tokens of images: the size is read from the first bytes, and the formula of the service does the rest.

What is not understood counts as many tokens as any image can have: bytes of a format that is not known, a header that
is cut or holds nonsense, an image that only the service fetches.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from struct import Struct

from nexus_core.contract.models import ImageTokens
from nexus_core.contract.values import ImagePart

_PNG_SIZE, _GIF_SIZE = Struct(">II"), Struct("<HH")
_JPEG_LENGTH, _JPEG_SIZE = Struct(">H"), Struct(">HH")
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of the segment that holds the size; the three are tables."""
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""
_JPEG_SEGMENTS = 1_000
"""More before the size are no photograph; a profile or a preview takes a few dozen."""


def count_image(part: ImagePart, formula: ImageTokens) -> tuple[int, bool]:
    """Return the tokens of an image, and whether they are what the service counts or only an upper bound.

    `tiles` and `patches` are those of OpenAI's guide "Images and vision"; with detail `auto` the service chooses, and
    what it may choose at most counts. `area` is that of Anthropic's guide "Vision" in both wordings, pixels / 750 and
    patches of 28 x 28 pixels, whichever is more; `crops` that of Google's "Image understanding", which calls it rough.
    """
    if formula.formula == "fixed":
        return formula.base, True
    is_low = part.detail == "low"
    if formula.formula == "tiles" and is_low:
        return formula.base, True
    size = image_size(part.data)
    if size is None:
        return formula.at_most, False
    match formula.formula:
        case "tiles":
            tokens, exact = _in_tiles(*size, formula), part.detail == "high"
        case "patches":
            tokens, exact = _in_patches(*size, formula), not is_low
        case "crops":
            tokens, exact = _in_crops(*size, formula), False
        case "area":
            tokens, exact = _by_area(*size, formula), False
    return min(tokens, formula.at_most), exact


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels of a PNG, JPEG, GIF or WebP; `None` where they cannot be told."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        size = _PNG_SIZE.unpack_from(data, 16) if len(data) >= 24 and data[12:16] == b"IHDR" else None
    elif data.startswith((b"GIF87a", b"GIF89a")):
        size = _GIF_SIZE.unpack_from(data, 6) if len(data) >= 10 else None
    elif data.startswith(b"\xff\xd8"):
        size = _jpeg_size(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        size = _webp_size(data)
    else:
        return None
    return (size[0], size[1]) if size is not None and all(size) else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place, end = 2, len(data)
    for _ in range(_JPEG_SEGMENTS):
        while place < end and data[place] == 0xFF and data[place + 1 : place + 2] == b"\xff":  # filled up
            place += 1
        if place + 4 > end or data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker in _JPEG_BARE:
            place += 2
            continue
        (length,) = _JPEG_LENGTH.unpack_from(data, place + 2)
        if marker in _JPEG_FRAMES:
            if length < 8 or place + 9 > end:
                return None
            height, width = _JPEG_SIZE.unpack_from(data, place + 5)
            return width, height
        if length < 2 or marker in (0xD9, 0xDA):  # no frame comes after the end, or after the pixels have begun
            return None
        place += 2 + length
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = _GIF_SIZE.unpack_from(data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _in_tiles(width: int, height: int, formula: ImageTokens) -> int:
    """Return the tokens of tiles; an image is made smaller and never larger."""
    scale = min(1.0, formula.longest / max(width, height))
    scale *= min(1.0, formula.shortest / (min(width, height) * scale))
    tiles = _parts(width * scale, formula.tile) * _parts(height * scale, formula.tile)
    return formula.base + formula.per_tile * tiles


def _in_patches(width: int, height: int, formula: ImageTokens) -> int:
    """Return the tokens of patches; where they are too many the image is fitted to a whole number of them."""
    side = formula.tile
    patches = _parts(width, side) * _parts(height, side)
    if patches > formula.patches:
        scale = sqrt(side * side * formula.patches / (width * height))
        across, down = width * scale / side, height * scale / side
        fitted = min(max(1, floor(across)) / across, max(1, floor(down)) / down)
        patches = min(formula.patches, _parts(across * fitted, 1) * _parts(down * fitted, 1))
    return ceil(patches * formula.factor)


def _in_crops(width: int, height: int, formula: ImageTokens) -> int:
    """Return the tokens of crops, whose side follows from the shorter one; a small image is one of them."""
    if max(width, height) <= formula.shortest:
        return formula.per_tile
    side = max(1, floor(min(width, height) / 1.5))
    return formula.per_tile * _parts(width, side) * _parts(height, side)


def _by_area(width: int, height: int, formula: ImageTokens) -> int:
    """Return the tokens of the pixels, or of the square patches of about so many pixels that cover the image."""
    scale = min(1.0, formula.longest / max(width, height))
    width_px, height_px = width * scale, height * scale
    side = ceil(sqrt(formula.per_token))
    patches = _parts(width_px, side) * _parts(height_px, side)
    return formula.base + max(ceil(width_px * height_px / formula.per_token), patches)


def _parts(length: float, side: int) -> int:
    """Return how many parts cover a length; what a scale has put over by rounding is none."""
    return max(1, ceil(length / side - 1e-6))
