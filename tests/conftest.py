"""What holds for all tests: the last line of a run tells what was skipped, and why.

With `NEXUS_FORBID_SKIPS=1`, as in `.ci/run`, a run that skips anything fails: there every program is installed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

import pytest

FORBID = "NEXUS_FORBID_SKIPS"


def closing_line(reasons: Iterable[str]) -> str:
    """Return how many tests were skipped, and the reasons with their counts, the commonest first."""
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    told = "; ".join(f"{reason} ({count})" for reason, count in counts.most_common())
    return f"{counts.total()} skipped: {told}"


def _skipped(config: pytest.Config) -> list[str]:
    """Return the reason of each skipped test; none in a worker of xdist, whose reports go to the process above it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter is not None else []
    return [report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in reports]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that must not skip."""
    if os.environ.get(FORBID) == "1" and exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the line, after pytest's own summary."""
    reasons = _skipped(config)
    if reasons:
        forbidden = f", and {FORBID} is set: this run fails" if os.environ.get(FORBID) == "1" else ""
        config.get_terminal_writer().line(closing_line(reasons) + forbidden)
