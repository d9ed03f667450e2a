"""A file that a client has sent, and how it is read: by what `nexus context add` reads it with, a few at a time."""

from __future__ import annotations

import asyncio
import glob
import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING

from attrs import frozen

from nexus_core.contract.components import Kind
from nexus_core.contract.errors import UsageError
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.server.api.items import NAME
from nexus_core.server.errors import Failure
from nexus_core.server.settings import ServerLimits
from nexus_core.store.records import checked_name
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.ingest import read_document
else:  # what reads documents, for those who send some
    read_document = LazyModule("nexus_core.store.ingest.read_document")

READ_AT_ONCE = 2
"""Requests whose files are read at the same time; others wait."""
_AGAIN_S = 5
"""When a client whose files had to wait for too long is to try again."""
SLOWER = 8
"""A file may take so many times as long to come as another body."""


@frozen(kw_only=True)
class ReceivedFile:
    """A file that a client has sent."""

    name: str
    """Of the document."""
    path: Path
    """Where it is kept until it is read."""


class FileReading:
    """Reads the files of clients: those of a few requests at a time, whatever they are sent for."""

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits
        self._turns = asyncio.Semaphore(READ_AT_ONCE)
        self._catalogue: PluginRegistry | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until files may be read; raises Failure where that takes too long."""
        try:
            async with asyncio.timeout(self.limits.read_wait_s):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Failure(
                503, "overloaded", "the files of others are being read: try again", {"Retry-After": str(_AGAIN_S)}
            ) from error
        try:
            yield
        finally:
            self._turns.release()

    def source(self, file: ReceivedFile) -> read_document.MixedFiles:
        """Return a file as the source of one document, which goes by the name that its client gave."""
        if self._catalogue is None:
            self._catalogue = PluginRegistry.installed()
        files = self._catalogue.component(Kind.SOURCE, "files")(
            paths=glob.escape(file.path.name), root=str(file.path.parent), max_bytes=self.limits.upload_bytes
        )
        return read_document.MixedFiles(files, self._catalogue.component(Kind.SOURCE, "jsonl"), file.name)


def place_file(name: str, content_type: str, folder: Path, number: int) -> ReceivedFile:
    """Return where a file goes: its name is the document's alone, and never one on this machine; raises Failure."""
    try:
        checked_name(name, "the name of a file")
    except UsageError as error:
        said = "the name of a file is none that is kept: leave out control characters, and give it at least one letter"
        raise Failure(400, "invalid_request", said, words=str(error)) from error
    if len(name) > NAME:
        raise Failure(400, "invalid_request", f"the name of a file is longer than {NAME:,} characters")
    ending = splitext(name)[1] or mimetypes.guess_extension(content_type.partition(";")[0].strip()) or ""
    plain = ending[1:].isascii() and ending[1:].isalnum() and len(ending) <= 16 and ending != ".bin"
    return ReceivedFile(name=name, path=folder / f"{number}{ending.lower() if plain else '.txt'}")


def shown_reason(said: str, *, to_operator: bool) -> str:
    """Return what is said of a document: what stands in brackets may be the words of a library, for operators."""
    return said if to_operator else said.partition(" (")[0]
