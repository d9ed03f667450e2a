"""What computes for too long is ended, by the processor's time."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from nexus_core.pipeline_tests.time_limits import TimeLimitError, is_found, limit_cpu


def test_a_pattern_that_backtracks_for_ever_is_ended() -> None:
    """And nothing of the limit is left behind."""
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(TimeLimitError, match=r"more than 0.2 s of the processor's time"), limit_cpu(0.2):
        re.search("(a+)+$", "a" * 60 + "b")
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


@pytest.mark.parametrize(("pattern", "found"), [("b+$", True), ("^b", False)])
def test_a_pattern_is_found_or_not_wherever_it_is_looked_for(pattern: str, found: bool) -> None:
    """Outside the main thread there is no limit."""
    assert is_found(pattern, "aab") is found
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(is_found, pattern, "aab").result() is found
