"""Versions of distributions on the machines of a cluster, compared with the driver's before the first request.

`installed_versions` is sent to the machines by value: it must say what is missing where nothing of this project is
installed. So this module imports the standard library alone. An editable installation has the version of its last
installation: two checkouts of one version count as the same.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

PYTHON = "Python"
"""Pickled code runs on the same minor version alone."""


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed here, and Python's own without its last part."""
    versions = {PYTHON: ".".join(platform.python_version_tuple()[:2])}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def describe_node(node: Mapping[str, Any]) -> str:
    """Return how people call a machine that Ray lists: its address, and its name if that is another."""
    address, name = str(node.get("NodeManagerAddress", "")), node.get("NodeManagerHostname", "")
    return f"{address} ({name})" if name and name != address else address


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
