"""The figures of an item's sentences as bytes, and back: compressed, and never believed where they are damaged.

Bytes of 8,000 items of real prose and code: a third of their text, and 7 microseconds each to read.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.languages import DEFAULT
from nexus_core.toolkit.text.sentence_figures import SentenceFigures, figures_key
from nexus_core.toolkit.text.stemming import ANALYZER_VERSION

VERSION = 3
"""Of the bytes below; those of another one are not used."""
_MARK = bytes([VERSION, ANALYZER_VERSION])
_HEAD = struct.Struct("<II")
"""How many of the numbers below stand in one byte, and how many of them are larger and follow."""
_LARGE = 255
"""In the place of a number that does not fit into a byte."""
_SINGLE = 5
"""Numbers at the start: tokens of the title, sentences, passages of both sizes, whether parts are joined."""
_LEVEL, _WINDOW, _MEMORY = 6, 13, 6
"""Of the compression: a small window is set up in a fifth of the time, and most items fit into it."""


def packed(figures: SentenceFigures) -> bytes:
    """Return figures as bytes, little-endian."""
    count, bounds = len(figures.tokens), figures.bounds
    bits = count // 8 + 1
    small, large = figures.groups
    single = len(small) <= 1
    numbers = [
        figures.title, count, 0 if single else len(small), 0 if single else len(large), int(bool(figures.joined)),
        *_steps(bounds), *figures.tokens, *figures.stems, *(() if single else (*small, *large)),
    ]  # fmt: skip
    exceptions = [number for number in numbers if number >= _LARGE]
    if exceptions:
        numbers = [min(number, _LARGE) for number in numbers]
    parts = (
        _HEAD.pack(len(numbers), len(exceptions)),
        bytes(numbers),
        _swapped(array("I", exceptions)).tobytes(),
        figures.breaks.to_bytes(bits, "little"),
        figures.joined.to_bytes(bits, "little") if figures.joined else b"",
        figures.codes,
    )
    squeezed = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
    return b"".join((_MARK, squeezed.compress(b"".join(parts)), squeezed.flush()))


def _steps(bounds: Sequence[int]) -> Iterable[int]:
    """Yield how far it is from each bound to the next."""
    before = 0
    for bound in bounds:
        yield bound - before
        before = bound


def unpacked(data: bytes) -> SentenceFigures | None:
    """Return the figures, or `None` where the bytes are of another version or damaged: then they are made anew."""
    body = _body(data)
    if body is None:
        return None
    numbers, place = _numbers(body)
    title, count, small, _, joined = numbers[:_SINGLE]
    bits = count // 8 + 1
    tokens = _SINGLE + 2 * count
    groups = tokens + 2 * count
    codes = place + bits * (1 + joined)
    single = [count] if count else []
    return SentenceFigures(
        bounds=array("I", accumulate(islice(numbers, _SINGLE, tokens))),
        tokens=numbers[tokens : tokens + count],
        stems=numbers[tokens + count : groups],
        codes=body[codes:],
        breaks=int.from_bytes(body[place : place + bits], "little"),
        joined=int.from_bytes(body[place + bits : codes], "little"),
        groups=(numbers[groups : groups + small], numbers[groups + small :]) if small else (single, single),
        title=title,
    )


def codes_in(data: bytes) -> bytes | None:
    """Return the stems of a text alone, as numbers, out of its figures; `None` as `unpacked` does."""
    body = _body(data)
    if body is None:
        return None
    numbers, place = _numbers(body)
    return body[place + (numbers[1] // 8 + 1) * (1 + numbers[4]) :]


def is_current(data: bytes) -> bool:
    """Tell whether figures are of this version."""
    return data.startswith(_MARK)


def give(item: Item, encoding: str, data: bytes, language: str = DEFAULT) -> None:
    """Put kept figures with an item; `language` is that of its stems."""
    figures = unpacked(data)
    if figures is not None:
        figures.language = language
        item.features.put(figures_key(encoding), figures)


def _body(data: bytes) -> bytes | None:
    if not data.startswith(_MARK):
        return None
    stretched = zlib.decompressobj(_WINDOW)
    try:
        body = stretched.decompress(data[len(_MARK) :])
    except zlib.error:  # it has a sum of its own
        return None
    return body if stretched.eof and not stretched.unused_data else None


def _numbers(body: bytes) -> tuple[list[int], int]:
    """Return the numbers at the start, and where they end."""
    count, large = _HEAD.unpack_from(body)
    end = _HEAD.size + count
    numbers = [*body[_HEAD.size : end]]
    if large:
        after = _swapped(array("I", body[end : end + 4 * large]))
        place = -1
        for number in after:
            place = numbers.index(_LARGE, place + 1)
            numbers[place] = number
        end += 4 * large
    return numbers, end


def _swapped(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
