"""The sources keep the contract of sources."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from nexus_jsonl.source import JsonlSource
from nexus_sources.files import Files
from nexus_sources.inline import Inline
from nexus_sources.remote.git import Git
from nexus_sources.remote.objects import Objects

from nexus_core import Source
from nexus_core.testing import SourceContract

pytestmark = pytest.mark.slow


def write_new(folder: Path, texts: Sequence[str]) -> None:
    """Write texts as files, those that are not there yet: when a file was changed is told in its item."""
    for number, text in enumerate(texts):
        path = folder / f"{number}.txt"
        if not path.exists():
            path.write_text(text, "utf-8")


class TestFiles(SourceContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        write_new(folder, texts)
        return Files(paths="*.txt", root=str(folder), sections=False)

    def make_broken(self, folder: Path) -> Source:
        return Files(paths="*.txt", root=str(folder / "nowhere"))

    def change(self, folder: Path) -> None:
        (folder / "0.txt").write_text("The ferry leaves at ten.", "utf-8")


class TestJsonl(SourceContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        path = folder / "items.jsonl"
        if not path.exists():
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        return JsonlSource(path=str(path))

    def make_broken(self, folder: Path) -> Source:
        return JsonlSource(path=str(folder / "nowhere.jsonl"))

    def change(self, folder: Path) -> None:
        (folder / "items.jsonl").write_text('{"text": "The ferry leaves at ten."}\n', "utf-8")


class TestInline(SourceContract):
    absent: ClassVar[Mapping[str, str]] = {
        "failure": "the items stand in the pipeline itself",
        "change": "the items stand in the pipeline itself",
    }

    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        return Inline(items=tuple(texts))


class TestObjects(SourceContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        write_new(folder, texts)
        return Objects(url=f"file://{folder}", paths="*.txt", refresh_s=0, sections=False)

    def make_broken(self, folder: Path) -> Source:
        return Objects(url=f"file://{folder}/nowhere")

    def change(self, folder: Path) -> None:
        (folder / "0.txt").write_text("The ferry leaves at ten.", "utf-8")


class TestGit(SourceContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        if not (folder / ".git").exists():
            subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
            write_new(folder, texts)
            self._commit(folder)
        return Git(url=str(folder), refresh_s=0, sections=False)

    def make_broken(self, folder: Path) -> Source:
        return Git(url=str(folder / "nowhere"))

    def change(self, folder: Path) -> None:
        (folder / "0.txt").write_text("The ferry leaves at ten.", "utf-8")
        self._commit(folder)

    def _commit(self, folder: Path) -> None:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(folder), "add", "--all"], check=True)
        command = ["git", "-C", str(folder), *who, "commit", "--quiet", "--allow-empty", "--message", "a change"]
        subprocess.run(command, check=True)
