"""Fragments of the changelog, and the dry part of a release."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "changelog.d"
KINDS = {"added", "changed", "fixed", "removed", "security"}
FRAGMENTS = sorted(path for path in FOLDER.iterdir() if path.name != "README.md")
TOWNCRIER = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
NAME = re.compile(rf"(?:[1-9]\d*|\+[a-z0-9-]+)\.(?:{'|'.join(sorted(KINDS))})\.md")
PROJECT = '[project]\nname = "small"\nversion = "0.1.0"\n'


def draft() -> str:
    """Return what the next section of the changelog will say."""
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9", "--date", "2026-01-01"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def release(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the release recipe in a folder."""
    command = [sys.executable, str(ROOT / ".ci" / "release"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project under git with this one's rules for fragments, and one fragment."""
    rules = (ROOT / "pyproject.toml").read_text("utf-8")
    towncrier = rules[rules.index("[tool.towncrier]") : rules.index("[tool.ruff]")]
    (tmp_path / "pyproject.toml").write_text(PROJECT + towncrier)
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n<!-- towncrier -->\n")
    shutil.copytree(FOLDER, tmp_path / "changelog.d", ignore=shutil.ignore_patterns("[+0-9]*"))
    (tmp_path / "changelog.d" / "+boats.added.md").write_text("Boats leave earlier.\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def test_the_kinds_of_the_readme_are_those_of_the_tool() -> None:
    """Whoever follows changelog.d/README.md writes a fragment that is taken."""
    assert {each["directory"] for each in TOWNCRIER["type"]} == KINDS
    assert set(re.findall(r"`(\w+)`", (FOLDER / "README.md").read_text("utf-8"))) & KINDS == KINDS


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.name)
def test_a_fragment_is_one_paragraph_under_a_known_kind(fragment: Path) -> None:
    """A fragment becomes one bullet: a name that says its kind, whole sentences, no bullet or heading of its own."""
    text = fragment.read_text("utf-8")
    assert NAME.fullmatch(fragment.name), "name it +short-name.KIND.md or ISSUE.KIND.md"
    assert re.fullmatch(r"[^\s#*-](?:[^\n]|\n(?=[^\n]))*[.:)]\n", text), (
        "write one paragraph that ends with a full stop"
    )


def test_every_fragment_is_in_the_draft() -> None:
    """None is left out because its name means nothing to the tool."""
    assert len(re.findall(r"^- ", draft(), re.MULTILINE)) == len(FRAGMENTS)


def test_the_changelog_has_the_place_for_the_next_section() -> None:
    """Once, and above the section of the last release."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert text.count(TOWNCRIER["start_string"]) == 1
    assert text.index(TOWNCRIER["start_string"]) < text.index("\n## ")


def test_a_dry_release_shows_version_and_changes_and_writes_nothing(project: Path) -> None:
    """So that one sees what would be released."""
    done = release(project, "0.2.0", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "0.1.0 -> 0.2.0" in done.stdout
    assert re.search(r"## 0\.2\.0 \(\d{4}-\d\d-\d\d\)\s+### Added\s+- Boats leave earlier\.", done.stdout)
    assert 'version = "0.1.0"' in (project / "pyproject.toml").read_text()
    assert (project / "changelog.d" / "+boats.added.md").exists()


@pytest.mark.parametrize(
    ("version", "why"),
    [("0.1.0", "not later"), ("0.0.9", "not later"), ("soon", "is no version"), ("v0.2", "write 0.2 for v0.2")],
    ids=["same", "earlier", "words", "form"],
)
def test_a_release_refuses_a_version_that_is_none_or_not_later(project: Path, version: str, why: str) -> None:
    """With a sentence, before anything is written."""
    done = release(project, version, "--dry-run")
    assert (done.returncode, why in done.stderr) == (2, True), done.stderr


def test_a_release_refuses_a_tree_that_is_not_clean(project: Path) -> None:
    """What is released is what is committed; the files are named."""
    (project / "stray.py").write_text("")
    done = release(project, "0.2.0")
    assert done.returncode == 2
    assert "not clean" in done.stderr
    assert "stray.py" in done.stderr


def test_a_release_refuses_to_say_nothing(project: Path) -> None:
    """Without a fragment there is nothing to release."""
    git(project, "rm", "--quiet", "changelog.d/+boats.added.md")
    git(project, "commit", "--quiet", "--message", "Empty")
    done = release(project, "0.2.0", "--dry-run")
    assert (done.returncode, "no fragment" in done.stderr) == (2, True)


def test_make_asks_for_the_version() -> None:
    """`make release` alone says how to call it."""
    done = subprocess.run(
        ["make", "--silent", "--assume-old=.venv/ready", "release", "VERSION="],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "make release VERSION=0.2.0" in done.stdout
