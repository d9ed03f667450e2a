"""Where a store is: a folder, or a database by its URL, from whoever is installed for the scheme of that."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import cast

from nexus_core.contract.errors import NexusError, PluginError, StoreError, UsageError, describe_error
from nexus_core.contract.hookspecs import installed_entry_points
from nexus_core.store.database.paths import VARIABLE, StorePaths, default_folder
from nexus_core.store.database.server_paths import hidden, secrets_of
from nexus_core.store.database.sql import ServerConnection, SqlConnection
from nexus_core.toolkit.suggest import did_you_mean, listed

STORES_GROUP = "contextnexus.stores"
"""The group of entry points: by the scheme of a URL, what returns a `StorePaths` for the URL."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def place_of_store(path: str | os.PathLike[str] | None) -> StorePaths:
    """Return where a store is, by default the one that NEXUS_STORE names; raises UsageError for a URL of no kind.

    Raises PluginError where what is installed for its scheme is broken, or claimed twice.
    """
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
    points = installed_entry_points(STORES_GROUP)
    chosen = {(point.value, _distribution(point)): point for point in points if point.name == scheme}
    if not chosen:
        names = sorted({point.name for point in points})
        there = f"installed are {listed(names)}" if names else "none is installed"
        raise UsageError(
            f"there is no store for URLs of {scheme!r}{did_you_mean(scheme, names)}: {there}; name one of these, or a "
            "folder"
        )
    if len(chosen) > 1:
        claimed = listed(sorted(distribution for _, distribution in chosen))
        raise PluginError(f"the store for URLs of {scheme!r} is claimed by {claimed}: uninstall all but one of them")
    return next(iter(chosen.values()))


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _by_url(url: str) -> StorePaths:
    point = _entry_point(url)
    whose = f"the store for URLs of {point.name!r}, of {_distribution(point)},"
    try:
        of_url: Callable[[str], object] = point.load()
    except ImportError as error:
        install = "pip install 'contextnexus[postgres]' has what it needs" if _is_ours(point) else "install it anew"
        raise UsageError(f"{whose} cannot be used ({describe_error(error)}): {install}") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"{whose} failed at import: {describe_error(error)}") from error
    secrets = secrets_of(url)
    try:
        place = of_url(url)
    except NexusError:
        raise
    except Exception as error:  # noqa: BLE001 - it is of others
        # Whose text, or that of what it was raised for, may hold the URL.
        raise PluginError(f"{whose} failed: {hidden(describe_error(error), secrets)}") from None if secrets else error
    if not isinstance(place, StorePaths):
        raise PluginError(f"{whose} gave a {type(place).__name__} in the place of a `StorePaths`")
    return place


def _is_ours(point: EntryPoint) -> bool:
    return point.value.startswith("nexus_core.")


def connect_to(place: StorePaths, *, writes: bool) -> SqlConnection:
    """Return a connection to a store; whatever goes wrong with one of another distribution is an error of the store."""
    try:
        connection: object = place.connect(writes=writes)
    except NexusError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        secrets = secrets_of(getattr(place, "url", ""))
        said = hidden(describe_error(error), secrets)
        raise StoreError(f"the store at {place.name} cannot be opened: {said}") from None if secrets else error
    lacking = [name for name in _needed(place, connection) if not hasattr(connection, name)]
    if lacking:
        raise PluginError(
            f"the store at {place.name} gave a connection that lacks {listed(lacking)}: see `ServerConnection` of"
            " nexus_core.store"
        )
    return cast(SqlConnection, connection)


def _needed(place: StorePaths, connection: object) -> Sequence[str]:
    if isinstance(connection, sqlite3.Connection) and not place.is_server:
        return ()
    protocols = (SqlConnection, ServerConnection)
    return sorted({name for each in protocols for name in vars(each) if not name.startswith("_")})
