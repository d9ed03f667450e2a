"""Reads files of a pipeline in another process, one after the other, each under a time limit of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TypeAlias

from nexus_core import SourceError
from nexus_core.toolkit import ApartError, ApartStartError, DocumentReader, ReadSettings, stream_apart
from nexus_sources.load import Loaded, load
from nexus_sources.walking.walk import FoundFile

ReadRequest: TypeAlias = "tuple[FoundFile, bytes]"
"""A file, and the fingerprint of what is known of it."""


async def load_apart(
    requests: Iterable[ReadRequest], settings: ReadSettings, limit_s: float
) -> AsyncGenerator[Loaded | None, None]:
    """Yield what came of each file, in order; `None` where its bytes are those of the fingerprint.

    An async generator: closing it early kills the process. A file that ends it or takes too long has that as its
    problem, and another process reads on. Raises SourceError where none begins.
    """
    waiting = deque(requests)
    while waiting:
        try:
            async with aclosing(stream_apart(limit_s, load_each, list(waiting), settings)) as results:
                async for loaded in results:
                    waiting.popleft()
                    yield loaded
        except ApartStartError as error:
            raise SourceError(f"files: no process that reads documents can be started: {error}") from error
        except ApartError as error:
            waiting.popleft()
            yield Loaded(problem=f"cannot be read ({error}); left out")


def load_each(requests: Sequence[ReadRequest], settings: ReadSettings) -> Iterator[Loaded | None]:
    """Yield what came of each file, `None` where it is the same."""
    reader = DocumentReader(settings)
    for found, fingerprint in requests:
        yield load(found, reader, fingerprint)
