"""`nexus store`: a drill of backup, loss and restoration, from the shell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with `docs` and a store; return exit code, stdout and stderr."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "leave.md").write_text("# Leave\n\nEverybody has 28 days.\n" + "More of it.\n" * 10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_a_lost_store_is_restored_from_its_backup(nexus: Nexus, tmp_path: Path) -> None:
    """The drill: back up, lose the folder, restore, and ask."""
    assert nexus("context", "add", "handbook", "docs")[0] == 0
    assert nexus("store", "backup", "kept")[0] == 0
    code, out, _ = nexus("store", "backup", "kept")
    assert (code, " 0 of them written now" in out) == (0, True)
    whole = nexus("store", "verify", "kept")[:2]
    assert whole[0] == 0
    assert whole[1].startswith("all is well: 1 context, 1 item, 0 conversations and 0 keys in ")
    assert whole[1].endswith(" rows, and 0 originals; kept holds the same\n")
    shutil.rmtree(tmp_path / "store")
    code, out, _ = nexus("store", "restore", "kept")
    assert (code, "all were compared" in out) == (0, True)
    assert nexus("store", "verify", "kept")[:2] == whole
    assert "28 days" in nexus("context", "search", "handbook", "days of leave")[1]


def test_verify_tells_what_a_backup_lacks(nexus: Nexus) -> None:
    """A line for each kind of it, and exit code 1."""
    nexus("context", "add", "handbook", "docs")
    nexus("store", "backup", "kept")
    nexus("context", "remove", "handbook", "--document", "leave.md", "--yes")
    nexus("context", "add", "second", "docs")
    code, out, _ = nexus("store", "verify", "kept")
    assert code == 1
    assert "kept: contexts: 1 lacking" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("copy", "nowhere", "other"), "there is no store in"),
        (("restore", "nowhere"), "there is no store in"),
        (("backup", "docs"), "docs is not empty and no store"),
    ],
)
def test_wrong_places_are_told(nexus: Nexus, arguments: tuple[str, ...], said: str) -> None:
    """What is no store is not read as an empty one, nor written over."""
    nexus("context", "add", "handbook", "docs")
    code, _, err = nexus("store", *arguments)
    assert code == 2
    assert said in err


def test_a_store_in_use_is_not_copied_over(nexus: Nexus) -> None:
    """The target keeps what it has."""
    nexus("context", "add", "handbook", "docs")
    nexus("context", "add", "other", "docs", "--store", "second")
    code, _, err = nexus("store", "copy", "store", "second")
    assert (code, "holds contexts of its own" in err) == (2, True)
