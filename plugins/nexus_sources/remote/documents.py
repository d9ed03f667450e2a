"""What the sources of remote documents share: options of reading, and how pipelines gather."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import attrs

from nexus_core import DocumentMark, Item, RunContext, Secret, component, injected, option, state
from nexus_core.toolkit import DocumentReader, FileOrigin, ReaderRegistry, ReadSettings
from nexus_sources.ingestible import with_reader
from nexus_sources.remote.gathering import GatheredDocuments


@component
class RemoteDocuments:
    """A source of documents that are elsewhere; what extends it tells them one by one and reads each."""

    name: ClassVar[str] = ""

    max_bytes: int = option(20_000_000, help="Documents larger than this are left out.", ge=1)
    sections: bool = option(True, help="One item per section of a long document; `false`: one per document.")
    encoding: str = option("utf-8", help="Of text that does not tell its own.")
    readers: Mapping[str, Any] = option(
        factory=dict, help="By suffix or media type, whose reader reads it, as `{.html: acme}`, or its options."
    )
    refresh_s: float = option(
        60.0, help="How long a look holds, in seconds, until the next run looks for changes again.", ge=0
    )
    read_s: float = option(120.0, help="The time that one document may take in another process, in seconds.", gt=0)
    base_dir: str = injected(default=".")
    _gathered: Any = state()
    _reader: Any = state()
    _found_wrong: tuple[str, ...] = state(default=())

    def __attrs_post_init__(self) -> None:
        """Check what can be checked before anything is looked for; raises ValueError."""
        try:
            "".encode(self.encoding)
        except (LookupError, UnicodeError) as error:
            raise ValueError(f"there is no encoding {self.encoding!r}") from error
        if self.readers:
            ReaderRegistry.installed(self.readers).check()
        self._check()

    def _check(self) -> None:
        """Check the options of its own; raises ValueError."""

    async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
        """Return the items of all documents; the same tuple while none has changed."""
        if self._gathered is None:
            source: Any = self
            self._gathered = GatheredDocuments(self.name, source, self.refresh_s, self.read_s)
        items: tuple[Item, ...] = await self._gathered.items()
        return items

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last look for documents has found wrong, one text for each problem."""
        return self._found_wrong

    @property
    def variant(self) -> str:
        """Tells by its options whether the same document is read in the same way."""
        ways = {"sections": self.sections, "encoding": self.encoding, "readers": dict(self.readers)}
        usual = {"sections": True, "encoding": "utf-8", "readers": {}}
        other = {name: value for name, value in ways.items() if value != usual[name]}
        return repr(other) if other else ""

    def _with_reader(self, mark: DocumentMark, origin: FileOrigin | None = None) -> DocumentMark:
        """Return a document whose stamp tells what reads it, too."""
        return with_reader(mark, self._document_reader(), origin)

    def _document_reader(self) -> DocumentReader:
        if self._reader is None:
            self._reader = DocumentReader(
                ReadSettings(
                    encoding=self.encoding,
                    max_bytes=self.max_bytes,
                    sections=self.sections,
                    readers=dict(self.readers),
                    links=True,
                )
            )
        reader: DocumentReader = self._reader
        return reader

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Send the options alone to the process that reads; secrets stay here, where documents are looked for."""
        cls: Any = type(self)
        options = {each.name: getattr(self, each.name) for each in attrs.fields(cls) if each.init}
        plain = {name: value for name, value in options.items() if not isinstance(value, Secret)}
        return partial(_rebuild, cls, self.base_dir), (plain,)


def _rebuild(cls: Any, base_dir: str, options: Mapping[str, Any]) -> Any:
    made = cls(**options)
    made.base_dir = base_dir
    return made
