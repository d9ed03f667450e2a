"""Books: chapters in order, metadata, nothing doubled."""

from __future__ import annotations

import pytest

from nexus_core import Block, Heading, Metadata, SourceError
from tests.plugins.readers.office.office_files import content, epub, read, remarks, texts


def said(blocks: list[Block]) -> str:
    return " ".join(texts(blocks))


def test_epub_reads_chapters_in_the_order_of_the_spine() -> None:
    """The table of contents is not read as a chapter; metadata of the book is told."""
    told = "<dc:title>Walks</dc:title><dc:creator>Ada</dc:creator><dc:creator>Bob</dc:creator>"
    told += "<dc:language>en</dc:language>"
    book = epub({"z.xhtml": "<h1>Alpha</h1><p>first</p>", "a.xhtml": "<h1>Beta</h1><p>second</p>"}, told)
    metadata, *found = read(book, "a.epub")
    assert isinstance(metadata, Metadata)
    assert (metadata.title, metadata.author, metadata.language) == ("Walks", "Ada, Bob", "en")
    assert [block.text for block in found if isinstance(block, Heading)] == ["Alpha", "Beta"]
    assert said(found).index("first") < said(found).index("second")
    assert "Label" not in said(found)


def test_epub_names_a_chapter_without_a_heading() -> None:
    """By the table of contents, so that its text does not stand under the heading of the chapter before."""
    found = content(read(epub({"a.xhtml": "<h1>Alpha</h1><p>x</p>", "b.xhtml": "<p>plain</p>"}), "a.epub"))
    headings = [(block.text, block.implied) for block in found if isinstance(block, Heading)]
    assert headings == [("Alpha", False), ("Label of b.xhtml", True)]


def test_epub_has_no_lines() -> None:
    """Those of the files inside of it are seen by nobody."""
    found = content(read(epub({"a.xhtml": "<h1>Alpha</h1>\n<p>x</p>"}), "a.epub"))
    assert found
    assert {block.place.line for block in found} == {None}


def test_epub_tells_what_is_missing() -> None:
    """A chapter that is not in the file is told; the others are read."""
    book = epub({"a.xhtml": "<p>there</p>"}).replace(b"b/a.xhtml", b"b/q.xhtml")
    assert remarks(read(book, "a.epub")) == ["b/a.xhtml is missing in the book"]


def test_epub_with_copy_protection_is_refused() -> None:
    """Fonts that are only made unreadable for other books are no reason."""
    method = '<encryption><EncryptedData><EncryptionMethod Algorithm="{}"/></EncryptedData></encryption>'
    fonts = {"META-INF/encryption.xml": method.format("http://www.idpf.org/2008/embedding")}
    assert "there" in said(read(epub({"a.xhtml": "<p>there</p>"}, extra=fonts), "a.epub"))
    locked = {"META-INF/encryption.xml": method.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}
    with pytest.raises(SourceError, match="copy protection"):
        read(epub({"a.xhtml": "<p>there</p>"}, extra=locked), "a.epub")
