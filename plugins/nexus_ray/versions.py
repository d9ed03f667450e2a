"""Versions of distributions on the machines of a cluster, compared with the driver's before the first request.

`installed_versions` is sent to the machines by value: it must say what is missing where nothing of this project is
installed. So this module imports the standard library alone.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence

PYTHON = "Python"


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed here, and Python's own without its last part."""
    versions = {PYTHON: ".".join(platform.python_version_tuple()[:2])}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def compare_versions(
    node: str, wanted: Mapping[str, str], there: Mapping[str, str], plugins: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return in words what is missing on a machine, or of another version than here."""
    problems = []
    for name, version in {PYTHON: installed_versions(())[PYTHON], **wanted}.items():
        found = there.get(name)
        if found == version:
            continue
        provides = plugins.get(name, ())
        what = f"{name} {version}" + (f" (plugin {', '.join(provides)})" if provides else "")
        problems.append(
            f"the worker {node} lacks {what}" if found is None else f"the worker {node} has {name} {found}, not {what}"
        )
    return problems
