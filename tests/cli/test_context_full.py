"""A disk that fills up while files are added: a clear error, a whole store, and the same command works later."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOM = 1_000_000
"""Bytes; what is added takes several times as many."""
FILES = 60
NEXUS = [sys.executable, "-c", "import sys; from nexus_core.cli.main import main; sys.exit(main())"]
LITTLE = 'mount -t tmpfs -o size="$ROOM" tmpfs "$STORE"'
FREED = 'mount -o remount,size=200m "$STORE"'
SCRIPT = """
{mount} || exit 90
for room in little freed; do
    test "$room" = little || {freed} || exit 91
    "$@" context add c docs --store "$STORE/s" --quiet; echo "$room add $?"
    "$@" context check --store "$STORE/s"; echo "$room check $?"
done
"$@" context show c --json --store "$STORE/s"
"""


def docs(folder: Path) -> None:
    """Write files with more text than there is room for."""
    (folder / "docs").mkdir()
    for number in range(FILES):
        text = " ".join(f"word{number * 2_000 + place}" for place in range(2_000))
        (folder / "docs" / f"{number}.txt").write_text(text)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with a store in another one."""
    environment = {**os.environ, "ROOM": str(ROOM), "STORE": str(folder / "disk")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def can_mount() -> bool:
    """Tell whether a file system can be mounted for a process alone."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    return subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    ).returncode == 0  # fmt: skip


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a file system (root, or CAP_SYS_ADMIN)")
def test_a_full_disk_is_told_and_the_same_works_when_there_is_space(tmp_path: Path) -> None:
    """A real file system of a megabyte, which grows after the first try: fault 158."""
    docs(tmp_path)
    (tmp_path / "disk").mkdir()
    script = SCRIPT.format(mount=LITTLE, freed=FREED)
    done = run(["unshare", "-m", "sh", "-c", script, "sh", *NEXUS], tmp_path)
    assert "Error: no space is left for" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    told = [line for line in lines if line.startswith(("little", "freed"))]
    assert told == ["little add 1", "little check 0", "freed add 0", "freed check 0"], done
    shown = json.loads("\n".join(lines[lines.index("freed check 0") + 1 :]))
    assert len(shown["documents"]) == FILES


def test_a_largest_size_of_files_is_told_and_the_same_works_without(tmp_path: Path) -> None:
    """As a quota does it, and without any rights: fault 158."""
    docs(tmp_path)
    resource = pytest.importorskip("resource", reason="the system has no limits")
    add = [*NEXUS, "context", "add", "c", "docs", "--store", "s", "--quiet"]
    check = [*NEXUS, "context", "check", "--store", "s"]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))

    failed = subprocess.run(add, cwd=tmp_path, preexec_fn=limited, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "Error: no space is left for" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert run(check, tmp_path).returncode == 0
    assert run(add, tmp_path).returncode == 0
    assert run(check, tmp_path).returncode == 0
