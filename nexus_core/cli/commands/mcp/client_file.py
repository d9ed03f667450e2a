"""The JSON file in which a client keeps its MCP servers: where it is, and one entry more in it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.atomic_file import whole_file

if sys.platform != "win32":
    import fcntl


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
    file is no JSON, as with comments in it, has something else in that place, or is written by another meanwhile.
    """
    try:
        path = path.resolve()  # of a link, what it leads to
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path} is a link that leads to nothing: {error}") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent), whole_file(path, begins=b"{", sweeps=False) as file:
            was = _read(path)
            file.write(_with_entry(path, was or b"", key, name, entry))
            before = None if was is None else _copy(path)
            if before is not None:
                shutil.copymode(before, file.name)
            if _read(path) != was:
                raise UsageError(f"{path} is left as it is, since it was changed meanwhile: try again")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return before


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other commands that write a file of the folder: each is to find what the one before has written."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes | None:
    """Return what is in a file, `None` where there is none; raises UsageError for what cannot be read."""
    if not path.exists():
        return None
    if not path.is_file():  # a pipe would be waited for
        raise UsageError(f"{path} is no file: name another, or paste the entry")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _with_entry(path: Path, was: bytes, key: str, name: str, entry: Mapping[str, Any]) -> bytes:
    try:
        text = was.decode("utf-8-sig")
        told = json.loads(text, object_pairs_hook=_once) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is left as it is, since it is no plain JSON: {error}; paste the entry") from error
    there = told.get(key, {}) if isinstance(told, dict) else None
    if not isinstance(there, dict):
        raise UsageError(f"{path} is left as it is, since it has no mapping `{key}`; paste the entry")
    told[key] = {**there, name: dict(entry)}
    try:
        text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UsageError(f"{path} is left as it is, since it holds a number that is none of JSON; paste it") from error
    try:
        return f"{text}\n".encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which stays the escape that it was
        return (json.dumps(told, indent=2) + "\n").encode()


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
