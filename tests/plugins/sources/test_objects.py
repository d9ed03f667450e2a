"""The source `objects`: what fsspec reads, in memory and in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexus_core import Documents, RunContext, SourceError
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

pytestmark = pytest.mark.slow

OBJECTS = PluginRegistry.installed().component(Kind.SOURCE, "objects")


def test_objects_are_listed_by_name_and_read(bucket: Any) -> None:
    """Relative to the address, by patterns; hidden ones only where a pattern names them."""
    bucket.pipe({"/b/docs/a.md": b"# Leave\n\n28 days", "/b/docs/x.tmp": b"x", "/b/.hidden/c.md": b"no"})
    source = OBJECTS(url="memory://b", exclude="*.tmp", prefix="book/")
    assert isinstance(source, Documents)
    (mark,) = source.documents()
    assert (mark.name, mark.size) == ("book/docs/a.md", 16)
    (item,) = source.read(mark).items
    assert (item.id, item.title, item.text) == ("book/docs/a.md", "Leave", "28 days")
    assert [mark.name for mark in OBJECTS(url="memory://b", paths=".hidden/*.md").documents()] == [".hidden/c.md"]


async def test_a_pipeline_sees_what_changes_and_what_is_gone(bucket: Any) -> None:
    """What is in the memory of this process is read in it, everything else in another one."""
    bucket.pipe({"/b/a.md": b"one", "/b/b.md": b"two"})
    source = OBJECTS(url="memory://b", refresh_s=0)
    first = await source.gather("", RunContext())
    assert [item.text for item in first] == ["one", "two"]
    assert await source.gather("", RunContext()) is first
    bucket.pipe("/b/a.md", b"three")
    bucket.rm("/b/b.md")
    assert [item.text for item in await source.gather("", RunContext())] == ["three"]


async def test_a_look_holds_for_a_while(bucket: Any) -> None:
    """Runs in between list nothing: a service takes money and time for each listing."""
    bucket.pipe("/b/a.md", b"one")
    source = OBJECTS(url="memory://b", refresh_s=60)
    first = await source.gather("", RunContext())
    now = [0.0]
    source._gathered.clock = lambda: now[0]
    source._gathered._looked_at = 0.0
    bucket.pipe("/b/a.md", b"two")
    now[0] = 59.0
    assert await source.gather("", RunContext()) is first
    now[0] = 60.0
    assert [item.text for item in await source.gather("", RunContext())] == ["two"]


async def test_objects_of_a_folder_are_read_in_another_process(tmp_path: Path) -> None:
    """`file://` is object storage like any other: by its time and size it is told what has changed."""
    (tmp_path / "a.html").write_text("<h1>Leave</h1><p>28 days")
    source = OBJECTS(url=f"file://{tmp_path}")
    (item,) = await source.gather("", RunContext())
    assert (item.id, item.text) == ("a.html", "28 days")
    assert item.metadata["modified"]


@pytest.mark.parametrize(
    ("info", "stamp"),
    [
        ({"ETag": '"abc"', "LastModified": "2026-01-02T00:00:00+00:00", "size": 3}, '"abc"-1767312000.0-3'),
        ({"mtime": 5.0, "size": 3}, "-5.0-3"),
        ({"mtime": 99.5, "size": 3}, ""),
        ({"etag": "x", "mtime": 99.5, "size": 3}, "x-99.5-3"),
        ({"size": 3}, ""),
    ],
    ids=["etag", "time", "just now", "etag just now", "nothing"],
)
def test_a_stamp_is_empty_where_nothing_is_sure_to_change(info: dict[str, Any], stamp: str) -> None:
    """A time alone says nothing of what is written twice within one tick."""
    from nexus_sources.remote.objects import stamp_of_object

    assert stamp_of_object(info, 100.0) == stamp


def test_large_objects_are_left_out_without_being_fetched(bucket: Any) -> None:
    """And no more than `most` are listed, which is reported: what was not looked at is not gone."""
    bucket.pipe({f"/b/{number}.md": b"x" * number for number in range(1, 6)})
    source = OBJECTS(url="memory://b", max_bytes=4, most=5)
    assert [bool(source.read(mark).left_out) for mark in source.documents()] == [False] * 4 + [True]
    few = OBJECTS(url="memory://b", most=2)
    assert len(list(few.documents())) == 2
    assert "5 objects, more than most: 2" in few.problems[0]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memory://nothing", "there is nothing at memory://nothing"),
        ("file:///there/is/none", "there is nothing at"),
        ("acme://x/y", "cannot be opened"),
        ("gs://b/x", r"pip install 'contextnexus\[gcs\]'"),
        ("abfs://c/x", r"pip install 'contextnexus\[azure\]'"),
    ],
)
def test_what_cannot_be_listed_is_an_error_that_says_what_to_do(url: str, reason: str) -> None:
    """A driver that is missing is named by its extra."""
    with pytest.raises(SourceError, match=reason):
        list(OBJECTS(url=url).documents())


@pytest.mark.parametrize("url", ["bucket/x", "s3://", "https://example.com/a", "sftp://me:secret@host/x"])
def test_addresses_that_are_none_of_storage_are_refused(url: str) -> None:
    """A page of the web is not read past the checks of `url`, and no password is in an address."""
    with pytest.raises(ValueError, match=r"address|web") as caught:
        OBJECTS(url=url)
    assert "secret" not in str(caught.value)
