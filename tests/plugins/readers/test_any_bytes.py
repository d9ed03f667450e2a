"""Whatever the bytes and the suffix: items with ids of their own, or a reason; nothing else comes out of a reader."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import PluginError, SourceError
from nexus_core.toolkit import DocumentReader, FileOrigin, ReaderRegistry

pytestmark = pytest.mark.slow

FORMATS = [format for format in ReaderRegistry.installed().formats if format.startswith(".")]
READER = DocumentReader()
PIECES = st.sampled_from([
    *(b"# a\n", b"<p>", b"</table>", b"{", b"}", b"[1,", b'"', b"%PDF-1.7\n", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"),
    *(b"{\\rtf1 ", b"From a\n", b"Subject: b\n\n", b"a,b\n1,2\n", b"\\section{x}", b"* a\n", b"= b\n", b"word "),
    *(b"\xff", b"\0", b"\r"),
])  # fmt: skip
DATA = st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=40).map(b"".join))


@settings(max_examples=400, deadline=None)
@given(DATA, st.sampled_from(FORMATS))
def test_any_bytes_give_items_or_a_reason(data: bytes, suffix: str) -> None:
    """Also those of another format under a wrong name."""
    try:
        document = READER.items(BytesIO(data), FileOrigin(name=f"a{suffix}"))
        items = list(document.items)
    except (SourceError, PluginError) as error:
        assert len(str(error).split()) >= 3
        return
    assert len({item.id for item in items}) == len(items)
    assert all(item.text.strip() for item in items)
