"""A git repository made by git itself, and a bucket in memory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen


@frozen
class WorkingTree:
    """A repository with files that are written and committed; called, it returns the id of the commit."""

    folder: Path

    def git(self, *arguments: str) -> str:
        """Return what git says."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def __call__(self, **files: str | None) -> str:
        """Write files, whose names have `__` for a slash and `_` for a dot, and commit them; `None` removes one."""
        if not self.folder.exists():
            self.folder.mkdir()
            self.git("init", "--quiet", "--initial-branch=main")
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text, "utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def commit(tmp_path: Path) -> WorkingTree:
    """Give a repository `work` in the folder of the test."""
    return WorkingTree(tmp_path / "work")


@pytest.fixture
def bucket() -> Iterator[Any]:
    """Give the storage `memory://` of fsspec, empty before and after."""
    import fsspec

    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()
