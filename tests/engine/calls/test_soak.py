"""A few seconds of the soak of tests/bench: mixed callers, failing services, and nothing left at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOAK = Path(__file__).parents[2] / "bench/soak.py"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file descriptors as Linux shows them")
def test_nothing_is_left_of_mixed_callers() -> None:
    """Faults 18, 19 and 80: what is held is held no more at the end, and each request has its row."""
    arguments = "--minutes 0.03 --warm-up 1 --rest 0.2 --callers 60 --thinking 0.2".split()
    command = [sys.executable, "-W", "always", str(SOAK), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
