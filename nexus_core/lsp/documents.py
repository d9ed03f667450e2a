"""Open documents: what the editor holds of files, and what a check has read of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from attrs import define, field, frozen
from pygls.uris import from_fs_path, to_fs_path

from nexus_core.config.keys import VERBS
from nexus_core.config.sibling_files import PIPELINE_ENDINGS, tested_pipeline
from nexus_core.config.yaml.reader import MOST_BYTES
from nexus_core.contract.errors import NexusError
from nexus_core.lsp.document_text import DocumentText

_STEPS = re.compile(r"^(?:steps|'steps'|\"steps\")[ \t]*:", re.MULTILINE)
_VERB = re.compile(rf"^[ \t]*+(?:-[ \t]++)*+(?:{'|'.join(VERBS)})[ \t]*+:", re.MULTILINE)
_FOLDER = "pipelines"
_TEMPLATES = (".jinja", ".j2")


class StaleCheckError(NexusError):
    """A check goes on although the document has changed since: its result would be thrown away."""


@define(eq=False, repr=False)
class CheckToken:
    """Tells a check that is under way whether its result is still wanted; any thread may end it."""

    stale: bool = False

    def require(self) -> None:
        """Raise StaleCheckError where the result is not wanted any more."""
        if self.stale:
            raise StaleCheckError("the document has changed")


@frozen(kw_only=True, eq=False, repr=False)
class OpenDocument:
    """A document as the editor has it."""

    uri: str
    path: Path | None
    """`None` for one that has no file."""
    source: DocumentText
    version: int | None = None
    is_pipeline: bool = False

    @property
    def is_template(self) -> bool:
        """Whether it is a template in a file of its own."""
        return self.path is not None and self.path.suffix in _TEMPLATES

    @property
    def is_tests(self) -> bool:
        """Whether it holds the tests of a pipeline."""
        return self.path is not None and tested_pipeline(self.path) is not None


@frozen(eq=False, repr=False)
class UnsavedFiles(Mapping[Path, bytes]):
    """The texts of open documents by resolved path; it notes what it is asked for, which is what a check has read."""

    texts: Mapping[Path, DocumentText]
    token: CheckToken = field(factory=CheckToken)
    reads: set[Path] = field(factory=set)

    def __getitem__(self, path: Path) -> bytes:
        """Return the text of a document that is open, in UTF-8."""
        self.token.require()
        self.reads.add(path)
        return self.texts[path].text.encode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[Path]:
        """Yield the paths of what is open."""
        return iter(self.texts)

    def __len__(self) -> int:
        """Return how many documents are open."""
        return len(self.texts)


def path_of(uri: str) -> Path | None:
    """Return the path of a file's URI, `None` for another URI or one that names no file."""
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return None if not path or "\0" in path else Path(path)


def uri_of(path: Path) -> str:
    """Return the URI of a file."""
    return from_fs_path(str(path)) or path.as_uri()


def resolve(path: Path) -> Path:
    """Return a path with links resolved, as far as that can be told."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def looks_like_pipeline(path: Path | None, text: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a YAML document is a pipeline: by the patterns of the editor's settings, its folder, or its text."""
    if path is not None and path.suffix not in PIPELINE_ENDINGS:
        return False
    if path is not None and any(fnmatch(path.as_posix(), pattern) for pattern in patterns):
        return True
    if path is not None and path.parent.name == _FOLDER:
        return True
    start = text[:MOST_BYTES].replace("\r", "\n")
    return _STEPS.search(start) is not None and _VERB.search(start) is not None
