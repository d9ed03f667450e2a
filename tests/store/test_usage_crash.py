"""Killed while its pipelines keep their usage: no request is counted twice, and after a clean close none is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / "bench" / "usage.py"


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_five_kills_count_no_request_twice_and_a_clean_close_counts_all() -> None:
    """Two pipelines at a time with `sinks: [store]`, from YAML; the sums are those of whole requests."""
    command = [sys.executable, "-P", str(SCRIPT), "--rounds", "5", "--longest", "1.6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no problem found" in done.stdout
