"""Run folders: where a batch keeps its manifest, its journal and its spooled input, locked by the process that runs it.

The manifest says what the batch was begun with, by hashes. A batch that goes on with anything else would mix results of
two pipelines in one output; so it refuses, and says what has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import field, frozen
from filelock import FileLock, Timeout

from nexus_core.contract.errors import NexusError, UsageError
from nexus_core.contract.values import Value
from nexus_core.toolkit.atomic_file import whole_file

FORMAT = 1
_MANIFEST = "manifest.json"


class BatchRefusedError(NexusError):
    """A batch cannot go on as it is: another process runs it, or it was begun with something else. Exit code 4."""


@frozen(kw_only=True, eq=False)
class BatchManifest(Value):
    """What a batch was begun with."""

    pipeline: str
    input: str
    """The file as it was named; `-` is standard input."""
    output: str
    input_format: str
    engine: str
    settings: Mapping[str, Any] = field(factory=dict)
    """What decides the answers besides the files: model, inputs, overrides, limit, sample."""
    limits: Mapping[str, Any] = field(factory=dict)
    """Concurrency and budgets: each run of it may have others."""
    files: Mapping[str, str] = field(factory=dict)
    """SHA-256 of the input, the pipeline, its templates and plugin files, by path."""
    records: int = 0
    versions: Mapping[str, str] = field(factory=dict)

    def changes_since(self, earlier: BatchManifest) -> list[str]:
        """Return in words what is not as it was."""
        told = []
        for path, digest in self.files.items():
            before = earlier.files.get(path)
            if before != digest:
                told.append(f"{path} {'is new' if before is None else 'has changed'}")
        told += [f"{path} is not used any more" for path in earlier.files if path not in self.files]
        for name, value in self.settings.items():
            if earlier.settings.get(name) != value:
                told.append(f"{name} was {earlier.settings.get(name)!r} and is {value!r}")
        told += [
            f"{name} was of version {earlier.versions[name]} and is {value}"
            for name, value in self.versions.items()
            if name in earlier.versions and earlier.versions[name] != value
        ]
        return told


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of files, by their names; raises UsageError for one that cannot be read."""
    found = {}
    for name, path in files.items():
        try:
            with path.open("rb") as file:
                found[name] = file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return found


def installed_versions() -> dict[str, str]:
    """Return what the answers of a batch may depend on besides its files."""
    return {"contextnexus": version("contextnexus")}


class RunFolder:
    """The folder of one batch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.sqlite"
        self.spool = path / "input"
        self._manifest = path / _MANIFEST

    def create(self) -> None:
        """Make it; raises UsageError where something is there already."""
        try:
            self.path.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            if self._manifest.exists():
                raise UsageError(
                    f"{self.path} has a batch already: go on with `nexus batch resume {self.path}`, or name another "
                    "folder with --run-dir"
                ) from None
            if self.spool.exists():
                raise UsageError(
                    f"{self.path} has what came on standard input for a batch that never began: take {self.spool} as "
                    "the input and another folder with --run-dir, or delete it"
                ) from None
            if not self.path.is_dir() or any(not _is_left(entry.name) for entry in self.path.iterdir()):
                raise UsageError(f"{self.path} holds something else: name another folder with --run-dir") from None
        except OSError as error:
            raise UsageError(f"cannot make {self.path}: {error.strerror or error}") from error

    def clear(self) -> None:
        """Delete what a process has left that was killed while it read its input; raises UsageError for a batch."""
        if self._manifest.exists():  # made by another process since `create`
            raise UsageError(f"{self.path} has a batch already: name another folder with --run-dir")
        for path in self.path.glob("journal.sqlite*"):
            path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete it, of a batch that has never begun; what came on standard input stays."""
        for path in (self._manifest, *self.path.glob("journal.sqlite*"), self.path / _LOCK):
            path.unlink(missing_ok=True)
        if not self.spool.exists():
            self.path.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from running this batch; raises BatchRefusedError where one does."""
        lock = FileLock(self.path / _LOCK, timeout=_PROBE_S, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise BatchRefusedError(f"{self.path} is run by another process: wait for it, or stop it") from None
        except OSError as error:
            raise UsageError(f"cannot lock {self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def is_locked(self) -> bool:
        """Tell whether a process runs it."""
        lock = FileLock(self.path / _LOCK, timeout=0, mode=0o600)
        try:
            lock.acquire()
        except (Timeout, OSError):
            return True
        lock.release()
        return False

    def write_manifest(self, manifest: BatchManifest) -> None:
        """Write the manifest: from here on the batch is there."""
        data = {"format": FORMAT, **{name: getattr(manifest, name) for name in _FIELDS}}
        with whole_file(self._manifest, begins=b'{\n  "format"') as file:
            os.chmod(file.name, 0o600)
            file.write(json.dumps(data, ensure_ascii=False, indent=2).encode() + b"\n")

    def read_manifest(self) -> BatchManifest:
        """Return the manifest; raises UsageError where there is none that can be read."""
        try:
            data = json.loads(self._manifest.read_bytes())
            if data.pop("format") == FORMAT:
                return BatchManifest(**data)
            why = "another version of contextnexus wrote it"
        except FileNotFoundError:
            why = f"it has no {_MANIFEST}" if self.path.exists() else "there is no such folder"
        except NotADirectoryError:
            beside = self.path.with_name(f"{self.path.name}.run")
            why = "it is a file" + (f", did you mean {beside}?" if beside.is_dir() else "")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            why = f"its {_MANIFEST} cannot be read ({error})"
        raise UsageError(f"{self.path} is no folder of a batch: {why}")


def _is_left(name: str) -> bool:
    """Tell whether a file may be of a batch that never began."""
    return name == _LOCK or name.startswith(("journal.sqlite", f".{_MANIFEST}-"))


_LOCK = "lock"
_PROBE_S = 0.5
"""Whoever only looks whether a batch runs has the lock for less than this."""
_FIELDS = (
    "pipeline",
    "input",
    "output",
    "input_format",
    "engine",
    "settings",
    "limits",
    "files",
    "records",
    "versions",
)
