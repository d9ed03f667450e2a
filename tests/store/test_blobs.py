"""Originals: put away once, told from damaged ones, collected when nobody refers to them."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from nexus_core import Store, StoreDamagedError, StoreError, UsageError
from nexus_core.store import contexts
from nexus_core.store.blobs import GRACE_S, SMALLEST
from nexus_core.store.items import rows
from nexus_core.store.records import StoredDocument

LARGE = b"%PDF " + bytes(range(256)) * 400
KEY = sha256(LARGE).hexdigest()


async def refer(store: Store, key: str | None) -> None:
    """Write a document that refers to an original."""

    def write(connection: object) -> None:
        context = contexts.find(connection, "c")  # type: ignore[arg-type]
        rows.write_document(connection, context, StoredDocument(name="d", original=key))  # type: ignore[arg-type]

    await store.write(write)


async def age(store: Store, seconds: float) -> None:
    """Let everything have been put there so long ago."""
    await store.write(
        lambda connection: connection.execute("UPDATE objects SET added = added - ?", (seconds,)) and None
    )


@pytest.mark.parametrize("objects", [None, "elsewhere", "memory://bucket/prefix"], ids=["own", "folder", "fsspec"])
async def test_an_original_comes_back_from_wherever_it_is_kept(tmp_path: Path, objects: str | None) -> None:
    """In the folder of the store, in another, or behind a URL; once, however often it is put there."""
    place = str(tmp_path / objects) if objects == "elsewhere" else objects
    async with Store(tmp_path / "s", objects=place) as store:
        assert await store.keep_original(LARGE) == KEY
        assert await store.keep_original(LARGE) == KEY
        assert await store.original(KEY) == LARGE
    async with Store(tmp_path / "s") as store:  # the place is remembered
        assert await store.original(KEY) == LARGE
        with pytest.raises(StoreDamagedError, match=r"is gone from .*: remove its document and add it again"):
            await store.original("0" * 64)


async def test_small_ones_are_not_kept(tmp_path: Path) -> None:
    """Their items hold nearly all of them."""
    async with Store(tmp_path) as store:
        assert await store.keep_original(b"x" * SMALLEST) is None
        assert await store.keep_original(b"x" * (SMALLEST + 1)) is not None


async def test_another_place_than_before_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first original on; it says what to do."""
    async with Store(tmp_path / "s", objects="memory://a") as store:
        await store.create("c")
    async with Store(tmp_path / "s", objects="memory://b/") as store:
        await store.keep_original(LARGE)
    async with Store(tmp_path / "s", objects="memory://b") as store:
        assert await store.original(KEY) == LARGE
    monkeypatch.setenv("NEXUS_OBJECTS", str(tmp_path / "o"))
    with pytest.raises(UsageError, match=r"are in memory://b, not in .*: leave out `objects` and NEXUS_OBJECTS"):
        await Store(tmp_path / "s").__aenter__()
    async with Store(tmp_path / "t") as store:
        await store.keep_original(LARGE)
    assert list((tmp_path / "o").glob("*/*")) == [tmp_path / "o" / KEY[:2] / KEY]


@pytest.mark.parametrize(
    ("url", "kind", "reason"),
    [
        ("s3://key:secret@bucket", UsageError, "holds a password"),
        ("nosuch://bucket", StoreError, "nosuch"),
    ],
    ids=["password", "unknown"],
)
async def test_a_place_that_does_not_serve_is_told(
    tmp_path: Path, url: str, kind: type[Exception], reason: str
) -> None:
    """And a password is never repeated."""
    with pytest.raises(kind, match=reason) as caught:
        async with Store(tmp_path, objects=url) as store:
            await store.keep_original(LARGE)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("damage", [LARGE[:-1], LARGE[:-1] + b"!", b""], ids=["cut", "changed", "empty"])
async def test_a_damaged_original_is_told_and_mended_by_adding_it_again(tmp_path: Path, damage: bytes) -> None:
    """Its name is its sum; the check finds it, too."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.keep_original(LARGE)
        await refer(store, KEY)
        (tmp_path / "objects" / KEY[:2] / KEY).write_bytes(damage)
        with pytest.raises(StoreDamagedError, match=r"is damaged: remove its document and add it again"):
            await store.original(KEY)
        (problem,) = await store.check()
        assert problem.startswith(f"document 'd': the original {KEY}")
        await store.keep_original(LARGE)
        assert await store.original(KEY) == LARGE
        assert await store.check() == ()


@pytest.mark.parametrize("objects", [None, "memory://collected"], ids=["own", "fsspec"])
async def test_only_what_nobody_refers_to_for_long_is_collected(tmp_path: Path, objects: str | None) -> None:
    """What was put there lately may be on its way into a document."""
    async with Store(tmp_path, objects=objects) as store:
        await store.create("c")
        await store.keep_original(LARGE)
        assert await store.collect() == 0  # new
        await age(store, GRACE_S + 1)
        await refer(store, KEY)
        assert await store.collect() == 0  # referred to
        await refer(store, None)
        await store.keep_original(LARGE)
        assert await store.collect() == 0  # put there again
        await age(store, GRACE_S + 1)
        assert await store.collect() == 1
        with pytest.raises(StoreDamagedError, match="gone"):
            await store.original(KEY)
        with pytest.raises(StoreError):  # nobody can refer to what was collected
            await refer(store, KEY)


async def test_what_a_crash_left_half_is_never_taken_for_whole(tmp_path: Path) -> None:
    """It has a passing name, and goes with the next collection in its folder."""
    async with Store(tmp_path) as store:
        await store.keep_original(LARGE)
        half = tmp_path / "objects" / KEY[:2] / ".new-half"
        half.write_bytes(LARGE[:100])
        os.utime(half, (0, 0))
        await age(store, GRACE_S + 1)
        assert await store.collect() == 1
        assert not half.exists()


async def test_an_original_may_be_kept_within_a_transaction(tmp_path: Path) -> None:
    """As by who writes a document in one."""
    async with Store(tmp_path) as store:
        assert await store.write(store.originals.keep, LARGE) == KEY
        assert await store.write(store.originals.keep, b"small") is None
        assert await store.original(KEY) == LARGE
