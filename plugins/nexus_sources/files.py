"""The source `files`: documents of all formats by patterns, long ones in sections."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from nexus_core import Item, RunContext, component, hookimpl, injected, option, state
from nexus_core.toolkit import DocumentReader, ReaderRegistry, ReadSettings, did_you_mean
from nexus_sources.walking.globs import Pattern, patterns

if TYPE_CHECKING:
    from nexus_core import DocumentMark, DocumentRead

_ENCODINGS = (
    "utf-8", "utf-16", "utf-32", "ascii", "latin-1", "iso-8859-15", "windows-1251", "windows-1252", "shift_jis",
    "euc-jp", "euc-kr", "gb18030", "big5", "koi8-r", "mac-roman",
)  # fmt: skip
"""Some of those that Python knows, to suggest one."""


@component
class Files:
    """Reads files that match patterns: one item per file, or per section of a long one."""

    paths: str | tuple[str, ...] = option(
        help="Patterns such as `docs/**/*.md`, relative to `root`; a folder stands for all files in it."
    )
    exclude: str | tuple[str, ...] = option((), help="Patterns of what to leave out; without a slash a name anywhere.")
    root: str = option(".", help="The folder that `paths` start from, relative to the pipeline's own folder.")
    encoding: str = option("utf-8", help="Of files that do not tell theirs.")
    max_bytes: int = option(20_000_000, help="Files larger than this are left out.", ge=1)
    sections: bool = option(True, help="One item per section of a long document; `false`: one per file.")
    on_problem: Literal["report", "fail"] = option(
        "report", help="What a file that cannot be read as it should does: a warning, or the end of the run."
    )
    ignore: tuple[str, ...] = option(
        (), help="Names of lists that say, as `.gitignore` does, what is left out of the folder they are in."
    )
    follow_links: bool = option(False, help="Read also what links lead to outside of `root` and of the folders named.")
    read_s: float = option(120.0, help="The time that reading one file may take in another process, in seconds.", gt=0)
    readers: Mapping[str, Any] = option(
        factory=dict,
        help="By suffix, whose reader reads it, as `{.html: acme}`, or its options, as `{.pdf: {ocr: true}}`.",
    )
    prefix: str = option("", help="What stands before the paths in ids and sources, such as `handbook/`.")
    base_dir: str = injected(default=".")
    _collection: Any = state()
    _reader: Any = state()
    _found_wrong: tuple[str, ...] = state(default=())

    def __attrs_post_init__(self) -> None:
        """Check what can be checked before any file is read; raises ValueError."""
        try:
            "".encode(self.encoding)
        except (LookupError, UnicodeError) as error:
            raise ValueError(
                f"there is no encoding {self.encoding!r}{did_you_mean(self.encoding, _ENCODINGS)}"
            ) from error
        if self.readers:
            ReaderRegistry.installed(self.readers).check()

    async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
        """Return the items of all files; the same tuple while no file has changed."""
        if self._collection is None:
            self._collection = self._collected()
        items: tuple[Item, ...] = await self._collection.items()
        return items

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last gather found wrong, one text for each problem."""
        return self._collection.problems if self._collection is not None else self._found_wrong

    def documents(self) -> Iterable[DocumentMark]:
        """Return the files, unread."""
        from nexus_sources.ingestible import find, with_reader

        found, self._found_wrong = find(
            self._patterns(), _listed(self.exclude), self.ignore, root=self._root(), follows=self.follow_links
        )
        reader = self._document_reader()
        return [with_reader(evolve(mark, name=self.prefix + mark.name), reader) for mark in found]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of one file."""
        from nexus_sources.ingestible import read

        return read(mark, self._document_reader(), known)

    def _document_reader(self) -> DocumentReader:
        if self._reader is None:
            self._reader = DocumentReader(evolve(self._settings(), links=True))
        made: DocumentReader = self._reader
        return made

    # What reads files is imported when files are read, not when the component is declared.

    def _collected(self) -> Any:
        from nexus_sources.watched_files import WatchedFiles

        return WatchedFiles(
            self._root(),
            self._patterns(),
            _listed(self.exclude),
            self._settings(),
            fail=self.on_problem == "fail",
            ignore=self.ignore,
            prefix=self.prefix,
            follows=self.follow_links,
            read_s=self.read_s,
        )

    def _root(self) -> str:
        return os.path.abspath(os.path.join(self.base_dir, os.path.expanduser(self.root)))

    def _patterns(self) -> tuple[Pattern, ...]:
        return tuple(pattern for path in _listed(self.paths) for pattern in patterns(path, self._root()))

    def _settings(self) -> ReadSettings:
        return ReadSettings(
            encoding=self.encoding, max_bytes=self.max_bytes, sections=self.sections, readers=dict(self.readers)
        )


def _listed(paths: str | tuple[str, ...]) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else tuple(paths)


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `files`."""
    return [Files]
