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
from typing import Any

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
_LARGE_SIZE = 4
"""Bytes of one that follows."""
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


class StoredFigures(SentenceFigures):
    """Figures out of bytes: the stems at once, all else when it is first looked at.

    A search finds many items, which are compared by their stems, and few of them are packed.
    """

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.codes = _codes(body)
        self.language = DEFAULT

    @property
    def waits(self) -> bool:
        """Whether nothing but the stems was looked at yet."""
        return bool(self._body)

    def __getattr__(self, name: str) -> Any:
        """Return a figure that was not looked at before: called where there is none yet."""
        if name not in _LATER:
            raise AttributeError(name)
        body = self._body
        if body:  # else another thread has just done it
            self._unpack(body)
            self._body = b""
        return object.__getattribute__(self, name)

    def _unpack(self, body: bytes) -> None:
        numbers, place = _numbers(body)
        title, count, small, _, joined = numbers[:_SINGLE]
        bits = count // 8 + 1
        tokens = _SINGLE + 2 * count
        groups = tokens + 2 * count
        single = [count] if count else []
        self.bounds = array("I", accumulate(islice(numbers, _SINGLE, tokens)))
        self.tokens = numbers[tokens : tokens + count]
        self.stems = numbers[tokens + count : groups]
        self.breaks = int.from_bytes(body[place : place + bits], "little")
        self.joined = int.from_bytes(body[place + bits : place + bits * (1 + joined)], "little")
        self.groups = (numbers[groups : groups + small], numbers[groups + small :]) if small else (single, single)
        self.title = title


_LATER = frozenset(["bounds", "tokens", "stems", "breaks", "joined", "groups", "title"])


def unpacked(data: bytes) -> SentenceFigures | None:
    """Return the figures, or `None` where the bytes are of another version or damaged: then they are made anew."""
    body = _body(data)
    return None if body is None else StoredFigures(body)


def codes_in(data: bytes) -> bytes | None:
    """Return the stems of a text alone, as numbers, out of its figures; `None` as `unpacked` does."""
    body = _body(data)
    return None if body is None else _codes(body)


def _codes(body: bytes) -> bytes:
    """Return the stems at the end, without a look at all the numbers before them where that is not needed."""
    count, large = _HEAD.unpack_from(body)
    sentences, joined = body[_HEAD.size + 1], body[_HEAD.size + _SINGLE - 1]
    place = _HEAD.size + count + _LARGE_SIZE * large
    if sentences == _LARGE:
        sentences = _numbers(body)[0][1]
    return body[place + (sentences // 8 + 1) * (1 + joined) :]


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
        after = _swapped(array("I", body[end : end + _LARGE_SIZE * large]))
        place = -1
        for number in after:
            place = numbers.index(_LARGE, place + 1)
            numbers[place] = number
        end += _LARGE_SIZE * large
    return numbers, end


def _swapped(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
