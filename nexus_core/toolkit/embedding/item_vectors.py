"""Vectors of items as JSON: by model, base64 of little-endian halves or lists of numbers, and back again."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from math import isfinite, sqrt
from typing import Any

MOST_MODELS = 8
"""Of which one item has vectors."""
_HALF = struct.calcsize("<e")
_EXAMPLE = 'write {"minilm": [[0.1, ...], ...]}, or base64 of little-endian halves in the place of the lists'


def parse_item_vectors(told: object) -> dict[str, bytes]:
    """Return the vectors that JSON says, as they are kept, by model; raises ValueError with what is wrong.

    Lists are brought to the length of one; base64 holds vectors that have it, one after the other.
    """
    if not isinstance(told, Mapping):
        raise ValueError(f"its vectors are {_word(told)}: {_EXAMPLE}")
    if len(told) > MOST_MODELS:
        raise ValueError(f"it has vectors of {len(told)} models: {MOST_MODELS} are the most")
    return {str(model): _pack(value, f"its vectors of {str(model)[:80]!r}") for model, value in told.items()}


def encode_item_vectors(vectors: Mapping[str, bytes]) -> dict[str, str]:
    """Return vectors as they are kept as what `parse_item_vectors` takes."""
    return {model: base64.b64encode(data).decode() for model, data in vectors.items()}


def _pack(told: object, what: str) -> bytes:
    if isinstance(told, str):
        try:
            data = base64.b64decode(told, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{what} are no base64: {_EXAMPLE}") from error
        if not data or len(data) % _HALF:
            raise ValueError(f"{what} are {len(data):,} bytes: a half has {_HALF}")
        numbers: Sequence[float] = struct.unpack(f"<{len(data) // _HALF}e", data)
        if not all(map(isfinite, numbers)):
            raise ValueError(f"{what} are not all finite numbers")
        return data
    if not isinstance(told, Sequence) or not told:
        raise ValueError(f"{what} are {'empty' if told == [] else _word(told)}: {_EXAMPLE}")
    rows = list(told) if isinstance(told[0], list | tuple) else [told]
    widths = {len(row) if isinstance(row, list | tuple) else -1 for row in rows}
    if len(widths) > 1 or widths & {-1, 0}:
        raise ValueError(f"{what} are not lists of one length: {_EXAMPLE}")
    return b"".join(_unit(row, what) for row in rows)


def _unit(row: Sequence[Any], what: str) -> bytes:
    """Return a vector at the length of one."""
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in row):
        raise ValueError(f"{what} hold what is no number: {_EXAMPLE}")
    try:
        length = sqrt(sum(float(number) ** 2 for number in row))
    except OverflowError:
        length = float("inf")
    if not isfinite(length):
        raise ValueError(f"{what} hold numbers that are not finite, or too large")
    return struct.pack(f"<{len(row)}e", *(float(number) / (length or 1.0) for number in row))


def _word(told: object) -> str:
    return "null" if told is None else f"of type {type(told).__name__}"
