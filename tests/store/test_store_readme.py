"""The README of the store does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

STORE = Path(__file__).parent.parent.parent / "nexus_core" / "store"
README = (STORE / "README.md").read_text("utf-8")
PAGE = (STORE.parents[1] / "docs" / "explanation" / "store.md").read_text("utf-8")


@pytest.mark.slow
def test_the_snippet_of_the_readme_runs(tmp_path: Path) -> None:
    """As it stands, in an empty folder."""
    code = re.findall(r"```python\n(import asyncio.*?)```", PAGE, re.DOTALL)[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 leave\nall is well\n"


def test_the_readme_names_every_module() -> None:
    """What is added to the store is written about."""
    modules = {path.name for path in STORE.glob("*.py")} - {"__init__.py"}
    assert {name for name in modules if f"`{name}`" not in README} == set()
