"""Folders of installed models: where they are, what is in them, and how one comes and goes as a whole.

Models are in the user's data folder, or where NEXUS_MODELS says. A folder is a model once its manifest is in it, and it
takes its name only then: what a killed installation leaves is hidden, and goes with the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attrs import frozen

from nexus_core.contract.errors import PluginError

VARIABLE = "NEXUS_MODELS"
"""The environment variable that names the folder."""
MANIFEST = "manifest.json"
_CHUNK = 1 << 20


@frozen(kw_only=True)
class InstalledModel:
    """A model in its folder, as its manifest tells it."""

    name: str
    folder: Path
    embedding_id: str
    licence: str
    source: str
    """Where its weights come from."""
    files: Mapping[str, str]
    """The SHA-256 of each file."""

    @property
    def size(self) -> int:
        """How many bytes the files take."""
        return sum((self.folder / name).stat().st_size for name in self.files if (self.folder / name).is_file())

    def damaged(self) -> list[str]:
        """Return the names of files that are not what was installed; reads them all."""
        return [name for name, digest in self.files.items() if sha256_of(self.folder / name) != digest]


def models_folder() -> Path:
    """Return the folder that NEXUS_MODELS names, else the user's own."""
    named = os.environ.get(VARIABLE)
    if named:
        return expand_home(named)
    from platformdirs import user_data_path  # for those who name none

    return user_data_path("contextnexus", appauthor=False) / "models"


def expand_home(path: str) -> Path:
    """Return a path with `~` and `~user` replaced; raises PluginError where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise PluginError(f"the folder {path!r} cannot be found: {error}") from error


def installed_model(name: str) -> InstalledModel | None:
    """Return a model by its name, `None` where it is not installed; raises PluginError for a manifest that is none."""
    folder = models_folder() / name
    try:
        told: Any = json.loads((folder / MANIFEST).read_text("utf-8"))
        return InstalledModel(
            name=name, folder=folder, embedding_id=told["embedding_id"], licence=told["licence"],
            source=told["source"], files=dict(told["files"]),
        )  # fmt: skip
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PluginError(
            f"{folder / MANIFEST} cannot be read ({type(error).__name__}): nexus models install {name}"
        ) from error


def installed_models() -> list[InstalledModel]:
    """Return the models that are installed, by name; those whose manifest cannot be read are not."""
    root = models_folder()
    names = sorted(path.name for path in root.iterdir() if path.name[0] != ".") if root.is_dir() else []
    return [model for name in names if (model := readable_model(name)) is not None]


def readable_model(name: str) -> InstalledModel | None:
    """Return a model by its name, `None` where it is not installed or its manifest cannot be read."""
    try:
        return installed_model(name)
    except PluginError:
        return None


def model_names() -> list[str]:
    """Return the names of all folders that hold a manifest, also one that cannot be read."""
    return sorted(path.parent.name for path in models_folder().glob(f"[!.]*/{MANIFEST}"))


@contextmanager
def new_model_folder(name: str, told: Mapping[str, str]) -> Iterator[Path]:
    """Give an empty folder that takes the place of a model's at the end, with a manifest of all files in it.

    `told` has its embedding_id, licence and source. Two installations of one model take turns. Raises PluginError where
    the folder cannot be written.
    """
    root = models_folder()
    with _writing(root), _lock(root, name):
        _sweep(root, name)
        fresh = Path(mkdtemp(prefix=f".{name}-new-", dir=root))
        try:
            yield fresh
            files = {path.name: sha256_of(path) for path in sorted(fresh.iterdir())}
            (fresh / MANIFEST).write_text(json.dumps({**told, "files": files}, indent=2), "utf-8")
            _replace(root / name, fresh)
        finally:
            _sweep(root, name)


def remove_model(name: str) -> bool:
    """Delete a model; returns whether there was one."""
    root = models_folder()
    if not (root / name).is_dir():
        return False
    with _writing(root), _lock(root, name):
        os.rename(root / name, Path(mkdtemp(prefix=f".{name}-old-", dir=root)) / name)
        _sweep(root, name)
    return True


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Make the folder of models where it is not there; raise PluginError for what the system refuses."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise PluginError(
            f"the folder of models {root} cannot be written ({error.strerror or type(error).__name__}): "
            f"name another one by {VARIABLE}"
        ) from error


def _lock(root: Path, name: str) -> AbstractContextManager[object]:
    from filelock import FileLock  # for those who install or remove

    return FileLock(root / f".{name}.lock")


def _replace(target: Path, fresh: Path) -> None:
    """Give a folder its name; one that has it goes first, and a crash between the two leaves none."""
    if target.exists():
        os.rename(target, Path(mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / target.name)
    os.rename(fresh, target)


def _sweep(root: Path, name: str) -> None:
    for path in root.glob(f".{name}-*-*"):
        shutil.rmtree(path, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits, nothing where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
