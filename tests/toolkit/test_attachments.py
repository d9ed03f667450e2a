"""Attachments: what people hand in becomes a part, or an error that says why not."""

from __future__ import annotations

from base64 import b64encode

import pytest

from nexus_core import FilePart, ImagePart
from nexus_core.toolkit import attachment_of, attachment_of_base64, image_of_url
from nexus_core.toolkit.attachments import ATTACHMENT_BYTES

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\4\0\0\0\4\0\x08\x02\0\0\0"


def test_kind_is_read_from_the_bytes() -> None:
    """Whatever the file is called; the name of a folder goes nowhere."""
    assert attachment_of(PNG, filename="a.txt") == ImagePart(data=PNG, media_type="image/png")
    pdf = attachment_of(b"%PDF-1.7", media_type="application/pdf; v=1", filename="home/me/a.pdf")
    assert pdf == FilePart(data=b"%PDF-1.7", media_type="application/pdf", filename="a.pdf")


@pytest.mark.parametrize(
    ("data", "media_type", "said"),
    [
        (b"MZ", "", "none of the kinds that can be attached: PNG, JPEG"),
        (PNG, "image/jpeg", "said to be 'image/jpeg', and its bytes are image/png"),
        (PNG + bytes(ATTACHMENT_BYTES), "", "an attachment has at most 20,971,520"),
    ],
    ids=["kind", "type", "size"],
)
def test_what_cannot_be_attached_is_refused(data: bytes, media_type: str, said: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=said):
        attachment_of(data, media_type=media_type)


def test_addresses_are_left_to_the_service_and_data_is_read() -> None:
    """`data:` URLs hold the bytes themselves."""
    assert image_of_url("https://example.org/a.png") == ImagePart(url="https://example.org/a.png")
    url = f"data:image/png;base64,{b64encode(PNG).decode()}"
    assert image_of_url(url) == ImagePart(data=PNG, media_type="image/png")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "data:image/png,x", "https://", "a.png", "", "data:;base64,%%"])
def test_other_addresses_are_refused(url: str) -> None:
    """Files of this machine above all."""
    with pytest.raises(ValueError, match="begin with|must hold base64|no base64"):
        image_of_url(url)


def test_what_is_no_base64_is_refused() -> None:
    """Also where most of it is."""
    with pytest.raises(ValueError, match="no base64"):
        attachment_of_base64("iVBORw0KGgo=!")
