"""Workers and drivers that are killed at random moments: the benchmark of it, with few kills."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "bench" / "batch_ray_kills.py"


def test_five_kills_at_random_moments_lose_nothing_and_repeat_what_was_under_way() -> None:
    """Output, journal and the books of the service agree, and the output is that of one machine to the byte."""
    done = subprocess.run([sys.executable, str(SCRIPT), "5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills" in done.stdout
