"""Architecture decisions: each has its parts, is a page long, is listed, and names modules that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
HEADINGS = ["Context", "Decision", "Alternatives", "Consequences"]
MOST_WORDS = 600


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_decision_has_four_parts_on_one_page(page: Path) -> None:
    """What was so, what was decided, what else there was, what follows."""
    text = page.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert len(text.split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_files_that_a_decision_names_are_there(page: Path) -> None:
    """A path from the root in code marks leads to a file or folder, so that a move is noticed."""
    named = re.findall(r"`((?:nexus_core|plugins|tests|\.ci)/[^`\s]*)`", page.read_text("utf-8"))
    assert named, "say where in the code it is"
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_decision_is_listed() -> None:
    """Once, by its own title."""
    listed = re.findall(r"^\| \[([^\]]+)\]\(([^)]+)\)", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    titles = {page.name: page.read_text("utf-8").partition("\n")[0].removeprefix("# ") for page in PAGES}
    assert sorted(name for _, name in listed) == sorted(titles)
    assert len(titles) >= 8
    assert [name for title, name in listed if not titles[name].startswith(title)] == []
