"""Runs contract suites and writes what each component did, as JSON; `nexus directory check` starts it as a process.

    python -m nexus_core.testing.suite_runner --out results.json tests/          the suites of a checkout
    python -m nexus_core.testing.suite_runner --out results.json --plugin acme   those of an installed plugin

An installed plugin names the module of its suites in the entry-point group `contextnexus.contracts`. The rankers and
templates of a plugin that names none are held to the suite of their kind with the defaults of their options.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest

from nexus_core.contract.components import Kind, options_of
from nexus_core.contract.hookspecs import CONTRACTS_GROUP
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.testing.contracts.ranker import RankerContract
from nexus_core.testing.contracts.suite import Contract
from nexus_core.testing.contracts.template import TemplateContract
from nexus_core.toolkit.documents.registry import ReaderRegistry

_FILE = "test_suites.py"
_DEFAULTS = "from nexus_core.testing.suite_runner import default_suites\nglobals().update(default_suites({!r}))\n"
_DECLARED = "from {} import *\n"
_SAME = frozenset({pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED})
"""How pytest ends where all that it was asked for could be collected."""


class SuiteRecorder:
    """Counts, as a plugin of pytest, what the tests of each suite come to, and notes which component each has made."""

    def __init__(self) -> None:
        self.counts: dict[type[Contract], Counter[str]] = {}
        self._made: dict[type[Contract], type] = {}
        self._where: dict[type[Contract], str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave the suites alone, and watch what they make."""
        suites = [item for item in items if _suite_of(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in suites])
        items[:] = suites
        for item in items:
            suite = _suite_of(item)
            if suite is not None and suite not in self.counts:
                self.counts[suite] = Counter()
                self._where[suite] = f"{item.path.name}::{suite.__name__}"
                self._watch(suite)
            if suite is not None:
                self.counts[suite]["collected"] += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Count a test that has failed in any of its phases once."""
        report = yield
        suite = _suite_of(item)
        if suite is not None and (report.when == "call" or not report.passed):
            self.counts[suite][report.outcome] += 1
        return report

    def rows(self) -> list[dict[str, Any]]:
        """Return what each suite came to, in the order of plugins and classes."""
        plugins = _plugins_of()
        found = []
        for suite, counts in self.counts.items():
            made = self._made.get(suite)
            name, distribution = ("", "") if made is None else plugins.get(made, (made.__module__, ""))
            found.append({
                "plugin": name, "distribution": distribution, "where": self._where[suite],
                "suite": suite._suite.__name__,
                "component": "" if made is None else f"{made.__module__}:{made.__qualname__}",
                **{outcome: counts[outcome] for outcome in ("collected", "passed", "failed", "skipped")},
            })  # fmt: skip
        return sorted(found, key=lambda row: (row["plugin"], row["where"]))

    def _watch(self, suite: type[Contract]) -> None:
        make = suite.make  # type: ignore[attr-defined]  # each suite has one, with arguments of its own

        @wraps(make)
        def watched(*args: Any, **kwargs: Any) -> Any:
            made = make(*args, **kwargs)
            self._made.setdefault(suite, type(made))
            return made

        suite.make = watched  # type: ignore[attr-defined]


def default_suites(plugin: str) -> dict[str, type]:
    """Return suites, by class name, for the components of a plugin that work with the defaults of their options."""
    return {f"Test{name}": suite for name, suite, _ in _suites_of(plugin) if suite is not None}


def _suites_of(plugin: str) -> Iterator[tuple[str, type[Contract] | None, str]]:
    """Yield the name of each component with its suite, or with `None` and why there is none."""
    for kind, offered in PluginRegistry.installed().report(plugin).components.items():
        for name, cls in offered.items():
            needed = [option.name for option in options_of(cls) if option.required]
            if kind not in _MAKERS:
                yield name, None, f"{kind.word} {name}: a suite for its kind has to be written for it"
            elif needed:
                yield name, None, f"{kind.word} {name}: {needed[0]} has no default"
            else:
                title = f"{name.title().replace('-', '').replace('_', '')}{kind.word.title()}"
                yield title, _MAKERS[kind](cls), ""


def _ranker(cls: type) -> type[Contract]:
    class Suite(RankerContract):
        def make(self) -> Any:
            return cls()

    return Suite


def _template(cls: type) -> type[Contract]:
    class Suite(TemplateContract):
        def make(self) -> Any:
            return cls()

    return Suite


_MAKERS = {Kind.RANKER: _ranker, Kind.TEMPLATE: _template}


def _suite_of(item: pytest.Item) -> type[Contract] | None:
    cls = getattr(item, "cls", None)
    return cls if isinstance(cls, type) and issubclass(cls, Contract) else None


def _plugins_of() -> dict[type, tuple[str, str]]:
    """Return the name and the distribution of the plugin of each component class, and of each reader its package's."""
    found: dict[type, tuple[str, str]] = {}
    for origin, _ in ReaderRegistry.installed().offered():
        with suppress(Exception):  # a reader whose library is not installed has no suite that has made one
            cls = origin.load()
            found[cls] = (cls.__module__.partition(".")[0], origin.distribution)
    for report in PluginRegistry.installed().reports():
        for offered in report.components.values():
            found |= dict.fromkeys(offered.values(), (report.name, report.origins[0].distribution))
    return found


def run_suites(paths: Sequence[str], *, collect_only: bool = False) -> tuple[int, list[dict[str, Any]]]:
    """Run the suites below some paths and return pytest's exit code, and a row for each suite."""
    recorder = SuiteRecorder()
    options = ["-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib"]
    if collect_only:
        options.append("--collect-only")
    ended = pytest.main([*options, *paths], plugins=[recorder])
    return int(ended), recorder.rows()


def run_installed(plugin: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Run the suites of an installed plugin; returns as `run_suites`, and why components of it have none."""
    (report,) = [each for each in PluginRegistry.installed().reports() if each.name == plugin]
    if report.problem:
        print(f"{plugin} cannot be used: {report.problem}")
        return int(pytest.ExitCode.TESTS_FAILED), [], []
    declared = [entry.value for entry in entry_points(group=CONTRACTS_GROUP) if entry.name == plugin]
    text = "".join(map(_DECLARED.format, declared)) or _DEFAULTS.format(plugin)
    missing = [] if declared else [why for _, suite, why in _suites_of(plugin) if suite is None]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, _FILE).write_text(text, encoding="utf-8")
        Path(folder, "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        before = Path.cwd()
        os.chdir(folder)
        try:
            ended, rows = run_suites([_FILE])
        finally:
            os.chdir(before)
    return ended, rows, missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites that the arguments name, write the results, and return 0 where none failed."""
    parser = argparse.ArgumentParser(prog="python -m nexus_core.testing.suite_runner", description=__doc__)
    parser.add_argument("--out", required=True, type=Path, help="The file for the results.")
    parser.add_argument("--plugin", help="An installed plugin.")
    parser.add_argument("--collect-only", action="store_true", help="Count the tests and run none.")
    parser.add_argument("paths", nargs="*", help="Files and folders with suites.")
    asked = parser.parse_args(arguments)
    missing: list[str] = []
    out = asked.out.absolute()
    if asked.plugin and not asked.paths:
        ended, rows, missing = run_installed(asked.plugin)
    else:
        ended, rows = run_suites(asked.paths, collect_only=asked.collect_only)
        if asked.plugin:
            rows = [row for row in rows if row["plugin"] == asked.plugin]
    told = {
        "date": datetime.now(UTC).date().isoformat(),
        "contextnexus": version("contextnexus"),
        "python": ".".join(map(str, sys.version_info[:2])),
        "suites": rows,
        "without": missing,
    }
    out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if ended not in _SAME:
        return ended
    return int(any(row["failed"] for row in rows) or ended == pytest.ExitCode.TESTS_FAILED)


if __name__ == "__main__":
    # By its name in the package: the classes of the suites must be the ones that plugins import.
    from nexus_core.testing import suite_runner

    sys.exit(suite_runner.main())
