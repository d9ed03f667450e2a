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
