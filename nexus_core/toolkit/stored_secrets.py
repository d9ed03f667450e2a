"""Stored keys of services: in the system's keyring where there is one, else in a file that only its owner can read.

A file in the user's configuration folder, or where NEXUS_SECRETS says, has an entry for each name: the key itself, or
`null` for one that is in the keyring. So a lookup where nothing is stored costs one look at the file system, and the
keyring is asked for what is in it and nothing else. No message shows a key.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nexus_core.contract.errors import NotConfiguredError
from nexus_core.toolkit.atomic_file import whole_file
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import filelock
    import platformdirs
else:
    filelock = LazyModule("filelock")
    platformdirs = LazyModule("platformdirs")

VARIABLE = "NEXUS_SECRETS"
"""The environment variable that names the file."""
SERVICE = "contextnexus"
"""What the keyring knows the keys under."""
LONGEST = 16_384
"""Characters of a key."""
_LARGEST_FILE = 2**20
_LEAST_PRIORITY = 1
"""Of a keyring that the system protects; below are those that keep plain text, or nothing."""
_LOCK_S = 10.0
_BEGINS = b"{"
_NAME = re.compile(r"[a-z0-9][a-z0-9._:\[\]-]{0,252}")
_SENDABLE = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")


def secrets_file() -> Path:
    """Return the file that NEXUS_SECRETS names, else the user's own."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_config_path("contextnexus", appauthor=False) / "secrets.json"


def stored_secret(name: str) -> str:
    """Return the key that is stored under a name, empty where none is.

    Raises NotConfiguredError where the file or the keyring cannot be used.
    """
    entries = _read(secrets_file())
    if name not in entries:
        return ""
    value = entries[name]
    if value is not None:
        return value
    found = _ask_keyring("get_password", SERVICE, name)
    if not found:
        raise NotConfiguredError(f"the keyring has no key for {name} any more: run nexus secrets set {name}")
    return str(found)


def stored_names() -> Mapping[str, str]:
    """Return the names under which keys are stored, sorted, and where each is: `keyring` or `file`.

    The keyring is not asked. Raises NotConfiguredError where the file cannot be used.
    """
    return {name: "keyring" if value is None else "file" for name, value in sorted(_read(secrets_file()).items())}


def store_secret(name: str, value: str, *, in_file: bool = False) -> str:
    """Store a key under a name, in place of the one before, and return where it is: `keyring` or `file`.

    Raises NotConfiguredError where it cannot be stored, ValueError for a name or a key that cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a service: use that of a connector, such as openai, or of a host")
    if len(value) > LONGEST or not _SENDABLE.fullmatch(value):
        raise ValueError("this cannot be a key: one line of printable ASCII, without blanks around it, is expected")
    with _changing() as entries:
        goes_to_keyring = not in_file and keyring_name() is not None
        if goes_to_keyring:
            _ask_keyring("set_password", SERVICE, name, value)
        elif name in entries and entries[name] is None:
            _forget_in_keyring(name)
        entries[name] = None if goes_to_keyring else value
    return "keyring" if goes_to_keyring else "file"


def remove_secret(name: str) -> bool:
    """Remove the key that is stored under a name; tell whether there was one."""
    with _changing() as entries:
        if name not in entries:
            return False
        if entries.pop(name) is None:
            _forget_in_keyring(name)
    return True


def keyring_name() -> str | None:
    """Return what the system's keyring is called, `None` where there is none, or the package `keyring` is missing."""
    if find_spec("keyring") is None:
        return None
    try:
        backend = import_module("keyring").get_keyring()
        return str(backend.name) if backend.priority >= _LEAST_PRIORITY else None
    except Exception:  # noqa: BLE001 - of a backend, whatever it raises: then there is none
        return None


def _forget_in_keyring(name: str) -> None:
    if find_spec("keyring") is not None and _ask_keyring("get_password", SERVICE, name) is not None:
        _ask_keyring("delete_password", SERVICE, name)


def _ask_keyring(function: str, *arguments: str) -> Any:
    if find_spec("keyring") is None:
        raise NotConfiguredError("a key is in the keyring, which takes a package: pip install 'contextnexus[keyring]'")
    try:
        return getattr(import_module("keyring"), function)(*arguments)
    except Exception as error:  # noqa: BLE001 - of a backend, whatever it raises; its text may be anything
        raise NotConfiguredError(
            f"the keyring cannot be used ({type(error).__name__}): unlock it, or store the key in a file with "
            f"nexus secrets set {arguments[1]} --file"
        ) from None


@contextmanager
def _changing() -> Iterator[dict[str, str | None]]:
    """Give the entries of the file to be changed, and write it as a whole; one process at a time."""
    path = secrets_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with filelock.FileLock(f"{path}.lock", timeout=_LOCK_S, mode=0o600):
            entries = dict(_read(path))
            before = dict(entries)
            yield entries
            if entries != before:
                with whole_file(path, begins=_BEGINS) as file:
                    file.write(json.dumps(entries, indent=1).encode() + b"\n")
    except TimeoutError:
        raise NotConfiguredError(f"another process holds {path}.lock: try again when it is done") from None
    except OSError as error:
        raise NotConfiguredError(f"the stored keys cannot be written: {error.strerror}: {path}") from None


def _read(path: Path) -> Mapping[str, str | None]:
    """Return the entries of the file; raises NotConfiguredError for one that others can read, or that is damaged."""
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = file.read(_LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise NotConfiguredError(f"the stored keys cannot be read: {error.strerror}: {path}") from None
    entries: Any = None
    with suppress(ValueError, RecursionError):
        entries = json.loads(content)
    if (
        len(content) > _LARGEST_FILE
        or not isinstance(entries, dict)
        or not all(value is None or isinstance(value, str) for value in entries.values())
    ):
        raise NotConfiguredError(
            f"the stored keys are damaged: delete {path}, and store each key again with nexus secrets set"
        )
    return entries


def _check_owner(path: Path, status: os.stat_result) -> None:
    if sys.platform == "win32":  # there the folder's rights hold
        return
    if not stat.S_ISREG(status.st_mode):
        raise NotConfiguredError(f"the stored keys cannot be read: {path} is no file")
    if status.st_mode & 0o077:
        raise NotConfiguredError(
            f"others than you can read the stored keys: chmod 600 {path}, and replace the keys if somebody may have"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise NotConfiguredError(f"the stored keys belong to another user, so they are not used: {path}")
