"""The files beside a pipeline: templates, plugins, JSON Schemas, pipelines. Regular, named relative to its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from attrs import field, frozen

from nexus_core.config.spec import TemplateFile
from nexus_core.config.yaml.problems import quoted

STANDARD_INPUT = "-"
PIPELINE_ENDINGS = (".yaml", ".yml")
_TESTS = ".tests"
MOST_TEMPLATE_BYTES = 64 * 1024
MOST_SCHEMA_BYTES = 512 * 1024
_PLUGIN_STEM = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TEMPLATE_ENDINGS = (".jinja", ".j2")
_SCHEMA_ENDINGS = (".json", *PIPELINE_ENDINGS)

UnsavedTexts = Mapping[Path, bytes]
"""What an editor holds of files, by their resolved paths: it stands for what the files themselves hold."""


class FileRefusedError(Exception):
    """A file cannot be used; the message says why."""


def is_template_path(text: str) -> bool:
    """Tell whether a text names a template file and not a plugin."""
    return text.startswith(("./", "../")) or text.endswith(_TEMPLATE_ENDINGS)


def is_pipeline_file(path: Path) -> bool:
    """Tell whether a file in a folder is a pipeline by its name: `qa.yaml`, and not its tests in `qa.tests.yaml`."""
    return path.suffix in PIPELINE_ENDINGS and not path.stem.endswith(_TESTS)


def tests_beside(pipeline: Path, unsaved: UnsavedTexts | None) -> Path | None:
    """Return the file with the tests of a pipeline: `qa.tests.yaml` beside `qa.yaml`, if it is there."""
    named = (pipeline.with_name(f"{pipeline.stem}{_TESTS}{ending}") for ending in PIPELINE_ENDINGS)
    return next((path for path in named if is_there(path, unsaved)), None)


def tested_pipeline(path: Path) -> Path | None:
    """Return the pipeline that a file of tests is for, if it is one; there may be no such pipeline."""
    if path.suffix not in PIPELINE_ENDINGS or not path.stem.endswith(_TESTS):
        return None
    named = [path.with_name(path.stem.removesuffix(_TESTS) + ending) for ending in PIPELINE_ENDINGS]
    return next((pipeline for pipeline in named if pipeline.is_file()), named[0])


def is_there(path: Path, unsaved: UnsavedTexts | None = None) -> bool:
    """Tell whether there is a regular file, be it only in an editor so far."""
    return bool(unsaved is not None and unsaved.get(path.resolve()) is not None) or path.is_file()


def read_start(path: Path, most: int, unsaved: UnsavedTexts | None = None) -> bytes:
    """Return the bytes of a file, of one with more than `most` one byte too many; raises OSError."""
    text = None if unsaved is None else unsaved.get(path.resolve())
    if text is not None:
        return text[: most + 1]
    with path.open("rb") as file:
        return file.read(most + 1)


@frozen(eq=False, repr=False)
class SiblingFiles:
    """The folder of a pipeline file, or the working directory for one from standard input."""

    pipeline: str
    unsaved: UnsavedTexts = field(factory=dict)

    def template(self, text: str) -> TemplateFile:
        """Return a template file with its text; it may stand outside the folder. Raises FileRefusedError."""
        path, source = self._text(text, MOST_TEMPLATE_BYTES)
        return TemplateFile(path=str(path), text=source)

    def schema(self, text: str) -> tuple[Path, str]:
        """Return the path of a file with a JSON Schema, in JSON or YAML, and its text. Raises FileRefusedError."""
        if not text.endswith(_SCHEMA_ENDINGS):
            raise FileRefusedError(f"a file with a JSON Schema ends in {', '.join(_SCHEMA_ENDINGS)}")
        return self._text(text, MOST_SCHEMA_BYTES)

    def _text(self, text: str, most: int) -> tuple[Path, str]:
        try:
            path = self._file(text)
            source = read_start(path, most, self.unsaved)
            if len(source) > most:
                raise FileRefusedError(f"it is larger than {most // 1024} KiB")
            return path, source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FileRefusedError("it is not UTF-8 text") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise FileRefusedError(f"it cannot be read ({type(error).__name__})") from error

    def plugin(self, text: str) -> Path:
        """Return the path of a plugin file, which stands in the folder or below it. Raises FileRefusedError."""
        path = self._below(text, "a plugin file")
        if path.suffix != ".py":
            raise FileRefusedError("a plugin file ends in .py")
        if not _PLUGIN_STEM.fullmatch(path.stem):
            raise FileRefusedError(f"its name {quoted(path.stem)} cannot be a plugin's: use letters, digits, _ and -")
        return path

    def called(self, text: str) -> tuple[Path, Path]:
        """Return another pipeline's path as messages show it, and links resolved; raises FileRefusedError."""
        path = self._below(text, "a pipeline that is called")
        if not is_pipeline_file(path):
            raise FileRefusedError(f"a pipeline file ends in {' or '.join(PIPELINE_ENDINGS)}, and is no file of tests")
        return (Path() if self.pipeline == STANDARD_INPUT else Path(self.pipeline).parent) / text, path

    def _below(self, text: str, what: str) -> Path:
        """Return the path of a file in the folder or below it."""
        try:
            if ".." in PurePosixPath(text).parts:
                raise FileRefusedError(f"{what} stands in the pipeline's folder or below it: '..' is not allowed")
            path = self._file(text)
            if not path.is_relative_to(self._path()):
                raise FileRefusedError("it leads out of the pipeline's folder")
        except (OSError, ValueError, RuntimeError) as error:
            raise FileRefusedError(f"it cannot be read ({type(error).__name__})") from error
        return path

    def _file(self, text: str) -> Path:
        if PurePosixPath(text).is_absolute() or "\\" in text or text.startswith("~"):
            raise FileRefusedError("it must be relative to the pipeline's folder and have / between its parts")
        path = (self._path() / text).resolve()
        if not is_there(path, self.unsaved):
            raise FileRefusedError(f"there is no such file in {self._shown()}")
        return path

    def _path(self) -> Path:
        return (Path() if self.pipeline == STANDARD_INPUT else Path(self.pipeline).parent).resolve()

    def _shown(self) -> str:
        if self.pipeline == STANDARD_INPUT:
            return "the working directory"
        return f"the pipeline's folder {str(Path(self.pipeline).parent)!r}"
