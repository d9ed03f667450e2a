"""Reads pictures: the text that is recognised on them. With the extra `ocr`; without it they are left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from nexus_core import Block, Figure, ReadHints, SourceError, component
from nexus_core.toolkit import NotReadError, require_extra
from nexus_readers.recognition import RecognisedLine, Recognition

_MOST_PIXELS = 60_000_000
"""Of a picture: a small file may claim to be as large as a wall."""
_NEXT_LINE = 0.6
"""How much lower a line must begin to be another one, in heights of the line above."""


@component
class ImageReader:
    """Reads pictures of text: png, jpeg, tiff, webp, bmp."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield what is recognised on a picture; raises NotReadError where the extra is not installed."""
        engine = Recognition.shared()
        pictures = require_extra("PIL.Image", "ocr", "Pictures of text")
        data = file.read()
        file.seek(0)
        try:
            with pictures.open(file) as picture:
                width, height = picture.size
        except (OSError, ValueError, SyntaxError, pictures.DecompressionBombError) as error:
            raise SourceError(f"is a picture that cannot be read ({error}); left out") from error
        if width * height > _MOST_PIXELS:
            raise SourceError(f"is a picture of {width:,} by {height:,} pixels, which is too large; left out")
        lines = rows_of(engine.lines_of_file(data))
        if not lines:
            raise NotReadError("is a picture on which no text was recognised; left out")
        yield Figure(text=" ".join(lines))


def rows_of(lines: list[RecognisedLine]) -> list[str]:
    """Return lines from top to bottom; what stands beside each other, from left to right."""
    rows: list[list[RecognisedLine]] = []
    for line in sorted(lines, key=lambda line: line.top):
        if rows and line.top - rows[-1][0].top < _NEXT_LINE * (rows[-1][0].bottom - rows[-1][0].top):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [" ".join(line.text for line in sorted(row, key=lambda line: line.left)) for row in rows]
