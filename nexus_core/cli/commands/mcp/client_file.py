"""The JSON file in which a client keeps its MCP servers: where it is, and one entry more in it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.atomic_file import whole_file


def desktop_file() -> Path:
    """Return the file of Claude Desktop on this system."""
    if sys.platform == "darwin":
        folder = Path.home() / "Library/Application Support"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData/Roaming")
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "Claude/claude_desktop_config.json"


def write_entry(path: Path, key: str, name: str, entry: Mapping[str, Any]) -> Path | None:
    """Put an entry below `key` of a file, and return the copy of what was there before, `None` where nothing was.

    All else in the file stays; an entry of the same name is replaced. Raises UsageError, and changes nothing, where the
    file is no JSON, as with comments in it, or has something else in that place.
    """
    path = path.resolve()  # of a link, what it leads to
    try:
        text = path.read_text("utf-8-sig") if path.exists() else ""
        told = json.loads(text, object_pairs_hook=_once) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is left as it is, since it is no plain JSON: {error}; paste the entry") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    there = told.get(key, {}) if isinstance(told, dict) else None
    if not isinstance(there, dict):
        raise UsageError(f"{path} is left as it is, since it has no mapping `{key}`; paste the entry")
    told[key] = {**there, name: dict(entry)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _copy(path) if path.exists() else None
        with whole_file(path, begins=b"{", sweeps=False) as file:
            file.write((json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode())
        if before is not None:
            shutil.copymode(before, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return before


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises ValueError for a key that stands in it twice, one of which would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _copy(path: Path) -> Path:
    """Copy a file beside itself, under a name that is free."""
    number, copy = 1, path.with_name(f"{path.name}.bak")
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.bak{number}")
    shutil.copy2(path, copy)
    return copy
