"""Where a store is: a folder, or a database by its URL, from whoever is installed for the scheme of that."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

from nexus_core.contract.errors import UsageError, describe_error
from nexus_core.contract.hookspecs import installed_entry_points
from nexus_core.store.database.paths import VARIABLE, StorePaths, default_folder
from nexus_core.toolkit.suggest import did_you_mean, listed

STORES_GROUP = "contextnexus.stores"
"""The group of entry points: by the scheme of a URL, what returns a `StorePaths` for the URL."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def place_of_store(path: str | os.PathLike[str] | None) -> StorePaths:
    """Return where a store is, by default the one that NEXUS_STORE names; raises UsageError for a URL of no kind."""
    if path is None:
        path = os.environ.get(VARIABLE) or default_folder()
        if isinstance(path, str) and not is_url(path):
            _refuse_half_url(path)
            path = default_folder()  # with the home of who is named in it
    if isinstance(path, str):
        if is_url(path):
            return _by_url(path)
        _refuse_half_url(path)
    return StorePaths(Path(path))


def is_url(path: str) -> bool:
    """Tell whether a text is a URL and no folder."""
    return _URL.match(path) is not None


def _refuse_half_url(path: str) -> None:
    """Raise UsageError for a URL that lacks its slashes: nobody wants a folder of that name, with a password."""
    name, colon, _ = path.partition(":")
    scheme = name.lower()
    if colon and any(point.name == scheme for point in installed_entry_points(STORES_GROUP)):
        raise UsageError(f"the URL of a store begins with {scheme}://, and a folder of such a name with ./{name}:")


def check_store_url(path: str) -> None:
    """Raise UsageError where a text is the URL of a store that nothing is installed for."""
    if is_url(path):
        _entry_point(path)


def _entry_point(url: str) -> EntryPoint:
    found = _URL.match(url)
    scheme = found[1].lower() if found else ""
    points = {point.name: point for point in installed_entry_points(STORES_GROUP)}
    if scheme not in points:
        there = f"installed are {listed(sorted(points))}" if points else "none is installed"
        raise UsageError(
            f"there is no store for URLs of {scheme!r}{did_you_mean(scheme, points)}: {there}; name one of these, or a "
            "folder"
        )
    return points[scheme]


def _by_url(url: str) -> StorePaths:
    point = _entry_point(url)
    try:
        of_url: Callable[[str], StorePaths] = point.load()
    except ImportError as error:
        raise UsageError(
            f"the store for URLs of {point.name!r} cannot be used ({describe_error(error)}): "
            f"pip install 'contextnexus[postgres]' has what it needs"
            if point.value.startswith("nexus_core.")
            else f"the store for URLs of {point.name!r} cannot be used ({describe_error(error)}): install it anew"
        ) from error
    return of_url(url)
