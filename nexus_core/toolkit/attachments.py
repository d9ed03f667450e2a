"""Attachments: the images and PDF files that people hand in, by bytes or address, as parts of a message.

What bytes are is read from them, and a media type that says otherwise is refused: services answer both with a 400 that
names neither the file nor the reason.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from pathlib import PurePath
from urllib.parse import urlsplit

from nexus_core.contract.values import FilePart, ImagePart
from nexus_core.toolkit.suggest import listed

ATTACHMENT_BYTES = 20 * 2**20
"""Of one attachment: services take no more, most of them less."""
ATTACHMENTS = 16
"""Of one query."""

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_WEBP = "image/webp"
_PDF = "application/pdf"
_KNOWN = "PNG, JPEG, GIF, WebP and PDF"


class AttachmentError(ValueError):
    """What somebody hands in cannot be attached; `why` names nothing but what they said themselves."""

    @property
    def why(self) -> str:
        """The reason, as it may be told to whoever handed it in."""
        return str(self)


def media_type_of(data: bytes) -> str | None:
    """Return the media type that the first bytes tell; `None` for what no service takes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    return next((media_type for start, media_type in _STARTS if data.startswith(start)), None)


def attachment_of(data: bytes, *, media_type: str = "", filename: str = "") -> ImagePart | FilePart:
    """Return bytes as a part; raises AttachmentError for what cannot be attached.

    `media_type` is what somebody said; empty where nobody did.
    """
    if len(data) > ATTACHMENT_BYTES:
        raise AttachmentError(f"it has {len(data):,} bytes, and an attachment has at most {ATTACHMENT_BYTES:,}")
    found = media_type_of(data)
    if found is None:
        raise AttachmentError(f"it is none of the kinds that can be attached: {_KNOWN}")
    said = media_type.partition(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
    if said and said != found:
        raise AttachmentError(f"its media type is said to be {said[:80]!r}, and its bytes are {found}")
    if found == _PDF:
        return FilePart(data=data, media_type=found, filename=PurePath(filename).name or "file.pdf")
    return ImagePart(data=data, media_type=found)


def attachment_of_base64(text: str, *, media_type: str = "", filename: str = "") -> ImagePart | FilePart:
    """Return base64 as a part; raises AttachmentError."""
    if len(text) > ATTACHMENT_BYTES * 4 // 3 + 4:
        raise AttachmentError(f"an attachment has at most {ATTACHMENT_BYTES:,} bytes")
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AttachmentError("it is no base64") from None
    return attachment_of(data, media_type=media_type, filename=filename)


def image_of_url(url: str) -> ImagePart | FilePart:
    """Return what an address stands for: a `data:` URL holds its bytes, http and https the service fetches.

    Raises AttachmentError for any other.
    """
    scheme, _, rest = url.partition(":")
    if scheme.lower() == "data":
        head, comma, text = rest.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise AttachmentError("a `data:` URL must hold base64: data:image/png;base64,...")
        return attachment_of_base64(text, media_type=head[: -len(";base64")])
    if scheme.lower() not in ("http", "https") or not urlsplit(url).hostname:
        raise AttachmentError(f"its address must begin with {listed(['https://', 'http://', 'data:'])}")
    return ImagePart(url=url)
