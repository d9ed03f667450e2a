"""What `.gitignore` files leave out, compared with git itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from nexus_sources.walking.globs import exclusion, means, patterns
from nexus_sources.walking.ignore_files import Ignoring
from nexus_sources.walking.ignore_rules import parse
from nexus_sources.walking.walk import Walk

NAMES = st.text("ab!# [\\-é", min_size=1, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from([
    *("a", "b", "ab", "é", " ", "\\ ", "#", "!", "-", "\\", "\\*", "\r", "\x0b", "\x85", "\t"),
    *("*", "**", "**/", "/**/", "/", "//", "\\/", "?"),
    *("[", "]", "[ab]", "[!a]", "[^a-b]", "[b-a]", "[]-]", "[\\]]", "[[:alpha:]]", "[a-[:alpha:]]", "[[:no:]]"),
])  # fmt: skip
LINES = st.tuples(st.sampled_from(["", "", "!", "/", "#"]), st.lists(PIECES, max_size=5).map("".join))
LISTS = st.lists(LINES.map("".join) | PATHS, min_size=1, max_size=5).map("\n".join)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", root], check=True)
    return root


def plant(root: Path, paths: list[str]) -> set[str]:
    """Make files where no file or folder is in the way; return their paths."""
    for path in paths:
        place = root / path
        if not place.exists() and not any(parent.is_file() for parent in place.parents):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("x")
    return {os.path.relpath(place, root) for place in root.rglob("*") if place.is_file()}


def ignored_by_git(root: Path, paths: set[str]) -> set[str]:
    quiet = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=root, env=quiet, input=b"".join(os.fsencode(path) + b"\0" for path in sorted(paths)), capture_output=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}


def found(start: Path) -> set[str]:
    walk = Walk(ignoring=Ignoring((".gitignore",)))
    return {file.name for one in patterns("**", str(start)) for batch in walk.files(one) for file in batch}


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(paths=st.lists(PATHS, min_size=1, max_size=8), outer=LISTS, inner=LISTS, start=st.integers(0))
def test_lists_leave_out_what_git_ignores(
    paths: list[str], outer: str, inner: str, start: int, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In any tree, with a list in the tree and one in a folder of it, from its root or a folder in it."""
    root = repository / tmp_path_factory.mktemp("tree").name
    files = plant(root, paths)
    folders = sorted(place for place in root.rglob("*") if place.is_dir()) or [root]
    (root / ".gitignore").write_text(outer, "utf-8", newline="")
    (folders[start % len(folders)] / ".gitignore").write_text(inner, "utf-8", newline="")
    below = folders[(start + 1) % len(folders)]
    kept = files - ignored_by_git(root, files)
    assert found(root) == kept
    assert {os.path.relpath(below / name, root) for name in found(below)} == {
        name for name in kept if below in (root / name).parents
    }


def test_a_list_that_no_rule_can_be_read_from_leaves_out_nothing(tmp_path: Path) -> None:
    """A backslash with nothing behind it, an open bracket, a class that there is not: git matches nothing with them."""
    plant(tmp_path, ["a", "[a", "\\"])
    (tmp_path / ".gitignore").write_text("\\\n[a\n[[:no:]]\n")
    assert found(tmp_path) == {"a", "[a", "\\"}


def test_the_lists_above_each_folder_that_a_walk_begins_in_are_read(tmp_path: Path) -> None:
    """Those of the second one, too, which is below a folder that nobody has looked into."""
    plant(tmp_path, [".git/x", "a/1", "b/c/1", "b/c/2"])
    (tmp_path / "b" / ".gitignore").write_text("2\n")
    walk = Walk(ignoring=Ignoring((".gitignore",)))
    both = [pattern for text in ("a/*", "b/c/*") for pattern in patterns(text, str(tmp_path))]
    assert {file.name for one in both for batch in walk.files(one) for file in batch} == {"a/1", "b/c/1"}


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    pattern=st.lists(st.sampled_from(["a", "*", "**", "?b", "a*b*", "[!a]", "*a*a"]), min_size=1, max_size=5),
    path=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=6),
)
def test_exclude_means_what_a_line_of_a_list_means(pattern: list[str], path: list[str]) -> None:
    """The two languages agree on wildcards: what a list ignores, alone or with a folder it is in, is excluded."""
    rules = parse("/".join(pattern))
    assert rules is not None
    above = ["/".join(path[:count]) for count in range(1, len(path) + 1)]
    ignored = any(rules.decide(each, is_folder=each != above[-1]) for each in above)
    assert (exclusion("/".join(pattern)).fullmatch(above[-1]) is not None) is ignored


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a*" * 60 + "b", "a" * 255),
        ("**/a/" * 40 + "b", "a/" * 1500 + "a"),
        ("**/a*a*a*a*/" * 20 + "b", "aaaaaaaaaa/" * 300),
    ],
    ids=["stars", "folders", "both"],
)
def test_no_pattern_takes_longer_than_its_text_is_long(pattern: str, path: str) -> None:
    """Trying all ways to divide such a text among the wildcards would not end in our days."""
    rules = parse(pattern)
    assert rules is not None
    assert rules.decide(path, is_folder=False) is None
    assert exclusion(pattern).fullmatch(path) is None
    assert not means(pattern.rpartition("/")[2], path.rpartition("/")[2])
