"""Files inside of office files that another reader reads: pages of HTML in Word files and books, mostly."""

from __future__ import annotations

from collections.abc import Iterator
from mimetypes import guess_type

from nexus_core import Block, Heading
from nexus_readers.office.packages import Package

_MEDIA_TYPES = {".mht": "message/rfc822", ".mhtml": "message/rfc822", ".xhtml": "text/html", ".htm": "text/html"}
"""What the table of the machine may not know, or calls by another name."""


def media_type_of_part(name: str) -> str:
    """Return the media type by the suffix of a part."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    return _MEDIA_TYPES.get(suffix) or guess_type(f"x{suffix}")[0] or ""


def inner_blocks(package: Package, name: str, media_type: str = "", level: int = 0) -> Iterator[Block]:
    """Yield the blocks of a part as its reader makes them, without a heading that names the part.

    `level` is that of the headings above it; 0 keeps the levels of its own headings.
    """
    data = package.read(name)
    found = package.hints.read_inner(name, data, media_type or media_type_of_part(name), level)
    for number, block in enumerate(found):
        if not (number == 0 and isinstance(block, Heading) and block.implied and block.text == name):
            yield block
