"""Lint: every problem of a pipeline file, those of its text and those that only building its components finds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from nexus_core.config.cases.reader import read_cases
from nexus_core.config.check import check
from nexus_core.config.components import PluginCatalog
from nexus_core.config.sibling_files import STANDARD_INPUT, UnsavedTexts, read_start, tested_pipeline
from nexus_core.config.yaml.reader import MOST_BYTES
from nexus_core.contract.errors import ConfigError, Problem
from nexus_core.engine.plan import build_plan


def lint_file(
    file: str,
    catalogue: PluginCatalog,
    environment: Mapping[str, str],
    overrides: Sequence[str] = (),
    *,
    run_plugins: bool = True,
) -> tuple[Problem, ...]:
    """Return every problem of a pipeline file and of its tests; that it cannot be read is one of them."""
    try:
        source = _read_source(file)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is no such file" if missing else getattr(error, "strerror", None) or str(error)
        return (Problem("Y001", f"the file cannot be read: {reason}", file),)
    return lint_text(source, file, catalogue, environment, overrides, run_plugins=run_plugins)


def lint_text(
    source: str | bytes,
    file: str,
    catalogue: PluginCatalog,
    environment: Mapping[str, str],
    overrides: Sequence[str] = (),
    *,
    run_plugins: bool = True,
    unsaved: UnsavedTexts | None = None,
) -> tuple[Problem, ...]:
    """Return every problem of the text of a pipeline file, as `check` takes it, and of its tests.

    Components are built and none is opened; without `run_plugins` nothing is built.
    """
    checked = check(
        source,
        file,
        catalogue,
        environment,
        overrides,
        run_plugins=run_plugins,
        read_tests=partial(read_cases, unsaved=unsaved),
        unsaved=unsaved,
    )
    if not run_plugins or any(problem.severity == "error" for problem in checked.problems):
        return checked.problems
    try:
        build_plan(checked)  # what components themselves refuse; none is opened
    except ConfigError as error:
        return (*checked.problems, *(problem for problem in error.problems if problem not in checked.problems))
    return checked.problems


def lint_target(name: str) -> str | Problem:
    """Return the pipeline to check for a file: for a file of tests the one they are for, or that there is none."""
    pipeline = tested_pipeline(Path(name))
    if pipeline is None:
        return name
    if pipeline.is_file():
        return str(pipeline)
    return Problem("Y001", f"these are tests of {pipeline}, and there is no such file", name)


def _read_source(file: str) -> bytes:
    """Return the bytes of a file, of one that is too large only as many as it takes to say so."""
    return sys.stdin.buffer.read(MOST_BYTES + 1) if file == STANDARD_INPUT else read_start(Path(file), MOST_BYTES)
