"""The source `jsonl`: a file with one JSON object a line, such as the corpus of a BEIR collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nexus_core import Item, RunContext, component, injected, option, state
from nexus_jsonl import ingestible
from nexus_jsonl.records import Fields

if TYPE_CHECKING:
    from nexus_core import DocumentMark, DocumentRead


@component
class JsonlSource:
    """Reads items from a file with one JSON object a line."""

    name: ClassVar[str] = "jsonl"

    path: str = option(help="The file, relative to the pipeline's own folder.")
    fields: Fields = option(Fields(), help="Which keys of the objects are meant, where they have other names.")
    on_problem: Literal["fail", "report"] = option(
        "fail", help="What a line that is no item does: the end of the run, or a warning."
    )
    read_s: float = option(
        120.0, help="The time that another process may take from some items to the next, in seconds.", gt=0
    )
    base_dir: str = injected(default=".")
    _lines: Any = state()

    async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
        """Return the items in the order of the file; the same tuple while the file has not changed."""
        if self._lines is None:
            self._lines = self._opened()
        items: tuple[Item, ...] = await self._lines.items()
        return items

    def documents(self) -> Iterable[DocumentMark]:
        """Return the file, unread, as the only document."""
        return [ingestible.mark(self._path(), self.path)]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of the file, read as they are taken."""
        return ingestible.read(mark, self.fields, known)

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last gather found wrong, one text for each problem: `file:line: reason`."""
        return self._lines.problems if self._lines is not None else ()

    def _opened(self) -> Any:
        # asyncio, which reads the file, is imported with it, not when the component is declared.
        from nexus_jsonl.watched_file import WatchedJsonl

        return WatchedJsonl(self._path(), self.path, self.fields, self.on_problem == "fail", self.read_s)

    def _path(self) -> str:
        return os.path.abspath(os.path.join(self.base_dir, os.path.expanduser(self.path)))
