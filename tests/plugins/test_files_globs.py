"""The language of the patterns."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from nexus_sources.walking.globs import exclusion, means, patterns
from nexus_sources.walking.walk import Walk

NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name.strip(".") and not name.startswith("."))
PARTS = st.sampled_from(["*", "**", "a*", "*b", "?", "[ab]", "[!a]*", "a", "b", "a.b"])


def found(root: Path, pattern: str, exclude: tuple[str, ...] = ()) -> set[str]:
    walk = Walk(exclude)
    return {file.name for one in patterns(pattern, str(root)) for batch in walk.files(one) for file in batch}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    paths=st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=6),
    pattern=st.lists(PARTS, min_size=1, max_size=4).map("/".join),
)
def test_patterns_find_what_pathlib_finds(
    paths: list[str], pattern: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On trees without hidden files the language is that of the standard library, `**` at the end being all files."""
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        place = root / path
        if not any(parent.is_file() for parent in place.parents) and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("x")
    last = pattern.split("/")[-1]
    asked = f"{pattern}/*" if last == "**" else pattern
    expected = {str(path.relative_to(root)) for path in root.glob(asked) if path.is_file()}
    if not any(letter in pattern for letter in "*?[") and (root / pattern).is_dir():
        expected = {str(path.relative_to(root)) for path in (root / pattern).rglob("*") if path.is_file()}
    assert found(root, pattern) == expected


@pytest.mark.parametrize(
    ("part", "name", "meant"),
    [
        ("*.md", "a.md", True),
        ("*.md", ".a.md", False),
        (".*", ".a.md", True),
        ("*", "node_modules", False),
        ("node_modules", "node_modules", True),
        ("[!a]*", "bc", True),
        ("[a-c]?", "bz", True),
        ("a[", "a[", True),
        ("[b-a]", "b", False),
        ("[!b-a]", "b", True),
        ("[a--]", "-", False),
        ("[[&&^]x", "&x", True),
        ("[]]", "]", True),
        ("*", "a\nb", True),
    ],
)
def test_a_part_means_a_name(part: str, name: str, meant: bool) -> None:
    """Hidden and unmeant names have to be named."""
    assert means(part, name) is meant


@pytest.mark.parametrize(
    ("pattern", "excluded", "kept"),
    [
        ("*.tmp", ["a.tmp", "d/a.tmp"], ["a.tmpx", "tmp"]),
        ("drafts/", ["drafts", "drafts/a.md", "d/drafts/a.md"], ["draft"]),
        ("d/*.md", ["d/a.md"], ["d/e/a.md", "x/d/a.md"]),
        ("d/**", ["d/a", "d/e/f"], ["d"]),
        ("**/old/*.md", ["old/a.md", "d/old/a.md"], ["old.md"]),
    ],
    ids=["name", "folder", "path", "all below", "anywhere"],
)
def test_exclusions(pattern: str, excluded: list[str], kept: list[str]) -> None:
    """A pattern excludes what it means and all that is below it."""
    assert [path for path in excluded if not exclusion(pattern).fullmatch(path)] == []
    assert [path for path in kept if exclusion(pattern).fullmatch(path)] == []


def test_braces_stand_for_alternatives(tmp_path: Path) -> None:
    """Each alternative is a pattern; their number is bounded."""
    assert [one.parts for one in patterns("*.{md,txt}", str(tmp_path))] == [("*.md",), ("*.txt",)]
    assert len(patterns("{a,b}" * 20 + "*", str(tmp_path))) < 200


def test_absolute_patterns_are_shown_as_people_would_say_them(tmp_path: Path) -> None:
    """Inside the root relative to it, outside of it as they are."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.md").write_text("a")
    (tmp_path / "b.md").write_text("b")
    assert found(tmp_path / "in", f"{tmp_path}/in/*.md") == {"a.md"}
    assert found(tmp_path / "in", f"{tmp_path}/*.md") == {f"{tmp_path}/b.md"}


def test_every_folder_is_listed_once(tmp_path: Path) -> None:
    """Many patterns cost no more looks than one."""
    (tmp_path / "d").mkdir()
    walk = Walk()
    for text in ("**/*.md", "d/*.md", "**/d/**/*.txt"):
        for pattern in patterns(text, str(tmp_path)):
            list(walk.files(pattern))
    assert walk.looked_at == len(walk.listed) == 2
