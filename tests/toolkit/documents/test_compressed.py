"""Compressed files: read as what is in them, within a bound."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from nexus_core import Item, SourceError
from nexus_core.cli.main import main
from nexus_core.toolkit import DocumentReader, FileOrigin, NotReadError

MAN = b'.TH LS 1 "May 2024"\n.SH NAME\nls \\- list directory contents\n'


def items_of(name: str, data: bytes) -> tuple[list[Item], list[str]]:
    """Return the items of a file and what was remarked."""
    found = DocumentReader().items(BytesIO(data), FileOrigin(name=name))
    return list(found.items), found.remarks


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("ls.1.gz", gzip.compress(MAN), "ls - list directory contents"),
        ("notes.txt.bz2", bz2.compress(b"The mill opens at nine."), "The mill opens at nine."),
        ("page.html.xz", lzma.compress(b"<p>It opens at <b>ten</b>."), "It opens at ten."),
        ("two.txt.gz", gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 9, "one two"),
        ("plain.txt.gz", b"no gzip at all", "no gzip at all"),
    ],
    ids=["gz", "bz2", "xz", "two", "plain"],  # what gzip writes holds the time
)
def test_compressed_file_is_read_by_the_reader_of_what_is_in_it(name: str, data: bytes, text: str) -> None:
    """Its name without the suffix tells the format; several streams after each other are one file."""
    (item,), remarks = items_of(name, data)
    assert item.text == text
    assert item.id == name
    assert remarks == []


def test_compressed_folder_is_found_by_a_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A manual page as distributions ship it is searched, and read by the version of its own reader."""
    (tmp_path / "man").mkdir()
    (tmp_path / "man" / "ls.1.gz").write_bytes(gzip.compress(MAN))
    store = str(tmp_path / "store")
    for command in (("add", "man", str(tmp_path / "man")), ("search", "man", "directory contents"), ("show", "man")):
        with pytest.raises(SystemExit) as ended:
            main(["context", *command, "--store", store])
        assert not ended.value.code
    shown = capsys.readouterr().out
    assert "list directory contents" in shown
    assert "read by contextnexus 1 1" in shown


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_file_that_unpacks_to_too_much_is_left_out(suffix: str, compress: Callable[[bytes], bytes]) -> None:
    """A small file may hold gigabytes; unpacking stops at the bound."""
    with pytest.raises(SourceError, match="unpacks to more than the 20,000,000 bytes"):
        items_of(f"a.txt.{suffix}", compress(b"0" * 20_000_001))


def test_damaged_file_is_read_as_far_as_it_goes() -> None:
    """With a remark; one of which nothing can be unpacked is refused, and an archive has a way out."""
    whole = gzip.compress(b"The mill opens at nine. " * 20, compresslevel=0)
    (item,), remarks = items_of("a.txt.gz", whole[:-30])
    assert item.text.startswith("The mill opens at nine.")
    assert "what follows cannot be unpacked" in remarks[0]
    with pytest.raises(SourceError, match="is damaged: it cannot be unpacked"):
        items_of("a.txt.gz", b"\x1f\x8b\x08" + b"z" * 99)
    with pytest.raises(NotReadError, match="is an archive"):
        items_of("a.tar.gz", gzip.compress(b"\0" * 257 + b"ustar" + b"\0" * 300))


def test_many_empty_streams_end_soon() -> None:
    """They are counted: after some thousand there is nothing more to come."""
    items, remarks = items_of("a.txt.gz", gzip.compress(b"") * 20_000)
    assert items == []
    assert "read in part only" in remarks[0]
