"""Killed in the middle of writing it: what was acknowledged is there, once, and nothing is half."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / "bench" / "crash.py"


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_ten_kills_at_random_moments_lose_nothing() -> None:
    """Items, tags, changes, removals and turns; index and rows agree, and the check is clean (fault 157)."""
    command = [sys.executable, str(SCRIPT), "--rounds", "10", "--longest", "0.3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no problem found" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_six_kills_while_vectors_and_graphs_are_made_lose_nothing() -> None:
    """Rows, words and vectors agree, and the check is clean once the next pass is over."""
    pytest.importorskip("usearch")
    pytest.importorskip("wordllama")
    command = [sys.executable, str(SCRIPT), "--rounds", "6", "--longest", "0.6", "--vectors"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no problem found" in done.stdout
