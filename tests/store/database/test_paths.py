"""The folder of a store: who may read it, and on what it lies."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from nexus_core import Item, Store, StoreError
from nexus_core.store.database import paths as module
from nexus_core.store.database.paths import StorePaths, default_folder, file_system

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
host:/export /mnt/nfs nfs4 rw 0 0
//host/share /mnt/with\\040space cifs rw 0 0
host /mnt/9 9p rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/a", "ext4"), ("/mnt/nfs/deep/er", "nfs4"), ("/mnt/nfsx", "ext4"), ("/mnt/with space/x", "cifs"),
     ("/mnt/9", "9p"), ("/mnt/ssh/a", "fuse.sshfs")],
    ids=["root", "nfs", "similar-name", "space", "host", "ssh"],
)  # fmt: skip
def test_the_kind_of_a_file_system_is_that_of_the_deepest_mount(tmp_path: Path, path: str, kind: str) -> None:
    """As the system lists them, spaces included (fault 165)."""
    (tmp_path / "mounts").write_text(MOUNTS)
    assert file_system(Path(path), str(tmp_path / "mounts")) == kind


def test_a_system_that_lists_no_mounts_tells_nothing(tmp_path: Path) -> None:
    """Then nobody is warned."""
    assert file_system(tmp_path, str(tmp_path / "none")) == ""


def test_a_network_file_system_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its locks are not to be relied on (fault 165)."""
    monkeypatch.setattr(module, "file_system", lambda path: "nfs4")
    with caplog.at_level(logging.WARNING):
        StorePaths(tmp_path / "s").prepare()
    assert "network file system (nfs4): use it from one machine only" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
async def test_nobody_else_reads_any_file_of_a_store(tmp_path: Path) -> None:
    """Journals, locks, indexes and originals included, also in a folder that was there and open to all (fault 165)."""
    root = tmp_path / "shared"
    (root / "index").mkdir(parents=True)
    before = os.umask(0)
    try:
        async with Store(root) as store:
            await store.create("c")
            await store.add("c", [Item(id="a", text="secret")])
            await store.search("c", "secret")
            await store.keep_original(b"x" * 100_000)
            await store.export("c", root / "export.jsonl")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()}
    finally:
        os.umask(before)
    assert {"store.db", "index", "objects", "export.jsonl"} < modes.keys()
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_folder_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        StorePaths(tmp_path / "a" / "b").prepare()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """By its name and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file/s cannot be used: Not a directory"):
        StorePaths(tmp_path / "file" / "s").prepare()
    with pytest.raises(StoreError, match="file: that is a file, and a store is a folder"):
        StorePaths(tmp_path / "file").prepare()


def test_the_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is the user's own."""
    monkeypatch.setenv("NEXUS_STORE", "~/there")
    assert default_folder() == Path.home() / "there"
    monkeypatch.delenv("NEXUS_STORE")
    assert default_folder().parts[-2:] == ("contextnexus", "store")
