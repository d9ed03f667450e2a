"""Context of one question: files, folders, addresses and standard input, read into items that no store keeps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from io import BytesIO
from threading import Timer

from attrs import evolve, frozen

from nexus_core.cli.commands.context.inputs import STDIN, ContextInput, place_of
from nexus_core.cli.output.echo import echo, one_line
from nexus_core.cli.run_options import STDIN_ARGUMENT
from nexus_core.contract.errors import NexusError, SourceError, UsageError, describe_error
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.protocols import Documents
from nexus_core.contract.values import Item, Value
from nexus_core.store.ingest.read_document import MixedFiles
from nexus_core.toolkit.documents.reading import DocumentReader, FileOrigin, ReadSettings
from nexus_core.toolkit.documents.registry import ReaderRegistry
from nexus_core.toolkit.processes.call import ApartError, stream_apart
from nexus_core.toolkit.suggest import counted, listed

MOST_STDIN_BYTES = ReadSettings().max_bytes
READ_S = 120.0
"""Seconds that one document may take to be read."""
_HEAD = 1024
_WAITING_S = 2.0
_NAMED = 5
"""Items that a message names."""

_Reading = tuple[str, tuple[Item, ...], tuple[str, ...]]
"""The name of a document, its items, and what was left out of it or read with doubt."""


@frozen(eq=False, repr=False)
class QuestionFiles(Value):
    """What was read for one question."""

    items: tuple[Item, ...]
    remarks: tuple[str, ...] = ()
    """What was left out or read with doubt, and why: one line each."""

    @property
    def budget(self) -> int:
        """About how many tokens all of it takes, with headers; more than it takes in most languages."""
        return sum(len(item.text.encode()) // 3 + 40 for item in self.items)


def read_piped() -> bytes:
    """Return the bytes of standard input; raises UsageError where they are more than are read for one question."""
    notice = Timer(_WAITING_S, lambda: echo("reading standard input, until it ends ...", err=True))
    notice.daemon = True
    notice.start()
    try:
        # A program that calls the command line may have put a text in the place of standard input.
        stream = getattr(sys.stdin, "buffer", None)
        read = sys.stdin.read(MOST_STDIN_BYTES + 1) if stream is None else stream.read(MOST_STDIN_BYTES + 1)
        data: bytes = read.encode() if isinstance(read, str) else read
    finally:
        notice.cancel()
    if len(data) > MOST_STDIN_BYTES:
        raise UsageError(
            f"standard input is longer than {MOST_STDIN_BYTES:,} bytes, more than is read for one question: "
            "keep it with `nexus context add NAME -`, and ask that context"
        )
    return data


async def read_question_files(arguments: Sequence[str], piped: bytes | None) -> QuestionFiles:
    """Return the items of what `-f` names and of what was piped in; nothing of it is kept.

    Raises UsageError for what is not there and where nothing could be read, with the reason of each document.
    """
    readings: list[_Reading] = []
    if piped is not None:
        readings.append(await _read_bytes(piped))
    for argument in arguments:
        if argument == STDIN_ARGUMENT:
            continue
        place = _named(place_of(argument, (), called=None), argument)
        try:
            readings += await _read_source(place)
        finally:
            place.close()
    found = QuestionFiles(
        tuple({item.id: item for _, items, _ in readings for item in items}.values()),
        tuple(one_line(f"{name}: {remark}" if name else remark) for name, _, remarks in readings for remark in remarks),
    )
    if not found.items:
        raise UsageError("there is no text to ask about" + "".join(f"\n  {remark}" for remark in found.remarks))
    return found


def show_left_out(files: QuestionFiles, prompt: Prompt) -> None:
    """Say on stderr which items of the files are not in a prompt, or in part."""
    ids = {item.id for item in files.items}
    entries = [entry for entry in prompt.trace if entry.item_id in ids]
    absent = [one_line(entry.title or entry.item_id) for entry in entries if entry.decision == "dropped"]
    cut = sum(entry.decision == "cut" for entry in entries)
    if not absent and not cut:
        return
    parts = [f"{counted(cut, 'item')} in part"] if cut else []
    if absent:
        some = absent[:_NAMED] + ([f"{len(absent) - _NAMED} more"] if absent[_NAMED:] else [])
        parts.append(f"{counted(len(absent), 'item')} not at all: {listed(some)}")
    echo(f"Of {counted(len(ids), 'item')} of the files were sent {'; '.join(parts)} (--explain shows each).", err=True)


def _named(place: ContextInput, argument: str) -> ContextInput:
    """Let a single file go by its path as it was given: two of one name are two, and it is cited so."""
    if place.one and isinstance(place.source, MixedFiles):
        return evolve(place, source=evolve(place.source, name=argument))
    return place


async def _read_bytes(data: bytes) -> _Reading:
    """Return what standard input holds, read as what its first bytes say it is."""
    if not data.strip():
        return STDIN, (), ("is empty",)
    registry = ReaderRegistry.installed()
    try:
        if registry.is_light(registry.format_of(STDIN, head=data[:_HEAD])):
            return next(read_bytes(data))  # a process would take longer to begin than this does
        async with aclosing(stream_apart(READ_S, read_bytes, data)) as readings:
            async for reading in readings:
                return reading
    except (SourceError, ApartError) as error:
        return STDIN, (), (str(error),)
    raise AssertionError("a generator that yields once has yielded")


async def _read_source(place: ContextInput) -> list[_Reading]:
    found: list[_Reading] = []
    try:
        async with aclosing(stream_apart(READ_S, read_documents, place.source)) as readings:
            async for reading in readings:
                found.append(reading)  # noqa: PERF401 - what came before an error counts
    except (SourceError, ApartError) as error:
        found.append((place.shown, (), (f"cannot be read ({error}); left out",)))
    return found


# In a process of their own, since what parses may crash or never end


def read_bytes(data: bytes) -> Iterator[_Reading]:
    """Yield the items of a document's bytes."""
    found = DocumentReader().items(BytesIO(data), FileOrigin(name=STDIN))
    items = tuple(found.items)
    yield STDIN, items, tuple(found.remarks)


def read_documents(source: Documents) -> Iterator[_Reading]:
    """Yield the items of each document of a source; one that cannot be read has that as its remark."""
    for mark in source.documents():
        try:
            if mark.problem or mark.left_out:
                yield mark.name, (), (mark.problem or mark.left_out,)
                continue
            read = source.read(mark)
            items = tuple(read.items)
            yield mark.name, items, (*filter(None, [read.left_out]), *read.problems, *read.remarks)
        except NexusError as error:
            yield mark.name, (), (str(error),)
        except Exception as error:  # noqa: BLE001 - one document that a source chokes on does not stop the others
            yield mark.name, (), (f"cannot be read ({describe_error(error)})",)
    yield from (("", (), (problem,)) for problem in source.problems)
