"""Text recognition: rapidocr with the models in its wheel; nothing is fetched. An extra, `ocr`.

The engine takes a second to load and some hundred megabytes, so that a process loads it once, for its first picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import POINTER, c_ubyte, cast
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from attrs import frozen

from nexus_core.toolkit import require_extra

ADVICE = "their text is recognised with an extra: pip install 'contextnexus[ocr]'"
_LEAST_SCORE = 0.5
"""Lines that the engine itself doubts are none: spots, drawings."""


@frozen(eq=False)
class RecognisedLine:
    """A line of a picture, in pixels from its upper left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


class Recognition:
    """Recognises the lines of pictures."""

    def __init__(self) -> None:
        rapidocr = require_extra("rapidocr", "ocr", "Pictures of text")
        require_extra("onnxruntime", "ocr", "Pictures of text")
        self._engine = rapidocr.RapidOCR(params={"Global.log_level": "critical"})

    @staticmethod
    def is_installed() -> bool:
        """Tell whether the extra is there, without importing it."""
        return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None

    @staticmethod
    @lru_cache(1)
    def shared() -> Recognition:
        """Return the engine of this process; raises NotReadError where the extra is not installed."""
        return Recognition()

    def lines_of_bitmap(self, address: Any, size: tuple[int, int], stride: int) -> list[RecognisedLine]:
        """Return the lines of a picture in memory, four bytes for a pixel: blue, green, red, and one that is unused."""
        width, height = size
        flat = np.ctypeslib.as_array(cast(address, POINTER(c_ubyte)), (height * stride,))
        pixels = flat.reshape(height, stride)[:, : 4 * width].reshape(height, width, 4)[:, :, :3]
        return list(self._lines(np.ascontiguousarray(pixels)))

    def lines_of_file(self, data: bytes) -> list[RecognisedLine]:
        """Return the lines of a picture file."""
        return list(self._lines(data))

    def _lines(self, picture: Any) -> Iterator[RecognisedLine]:
        found = self._engine(picture)
        if found is None or found.boxes is None or found.txts is None:
            return
        for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
            if text.strip() and score >= _LEAST_SCORE:
                xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
                yield RecognisedLine(" ".join(text.split()), min(xs), min(ys), max(xs), max(ys))
