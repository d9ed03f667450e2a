"""What is shown of the results of tests: lines for people, JUnit XML for CI, JSON for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from nexus_core.pipeline_tests.runner import CaseResult

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no place for."""


def failure_lines(result: CaseResult) -> Iterator[str]:
    """Yield the lines about a test that failed: its place and name, and below it each mismatch."""
    yield f"FAILED {result.file}:{result.line} {result.name}"
    for mismatch in result.mismatches:
        yield f"  {mismatch.what}: {mismatch.message}"
        yield from (f"    {line}".rstrip() for line in mismatch.lines)


def passed_line(result: CaseResult) -> str:
    """Return the line about a test that passed."""
    return f"passed {result.file}:{result.line} {result.name}"


def summary(results: Sequence[CaseResult]) -> str:
    """Return how many tests passed and failed."""
    failed = sum(not result.passed for result in results)
    files = len({result.pipeline for result in results})
    counts = [f"{failed} failed"] if failed else []
    counts.append(f"{len(results) - failed} passed")
    return f"{', '.join(counts)} ({files} pipeline{'s' * (files != 1)})"


def as_json(results: Sequence[CaseResult]) -> dict[str, Any]:
    """Return the results as JSON data."""
    return {
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "tests": [
            {
                "pipeline": str(result.pipeline),
                "file": result.file,
                "line": result.line,
                "name": result.name,
                "passed": result.passed,
                "mismatches": [
                    {"what": each.what, "message": each.message, "lines": list(each.lines)}
                    for each in result.mismatches
                ],
            }
            for result in results
        ],
    }


def write_junit(results: Sequence[CaseResult], path: Path) -> None:
    """Write the results as JUnit XML, a suite for each pipeline; raises OSError."""
    root = ElementTree.Element("testsuites", {"name": "nexus test", **_counts(results)})
    for pipeline, group in groupby(results, key=lambda result: result.pipeline):
        own = list(group)
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(str(pipeline)), **_counts(own)})
        for result in own:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_clean(str(pipeline)),
                name=_clean(result.name),
                file=_clean(result.file),
                line=str(result.line),
                time=f"{result.seconds:.3f}",
            )
            if not result.passed:
                message = "; ".join(f"{each.what}: {each.message}" for each in result.mismatches)
                failure = ElementTree.SubElement(case, "failure", message=_clean(message))
                failure.text = _clean("\n".join(failure_lines(result)))
    ElementTree.indent(root)
    path.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _counts(results: Sequence[CaseResult]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(not result.passed for result in results)),
        "errors": "0",
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
