"""Documents of one question: read into items that are ranked, packed and cited as others are, and kept nowhere."""

from __future__ import annotations

import asyncio
import binascii
import os
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from aiohttp import web
from attrs import define, evolve, frozen

from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import Item, Value
from nexus_core.server.errors import Failure
from nexus_core.server.files.received_file import SLOWER, FileReading, ReceivedFile, place_file, shown_reason
from nexus_core.server.http.bodies import check_is_json, copy_body, parse, read_json_bytes
from nexus_core.server.settings import ServerLimits
from nexus_core.store.store_view import StoreView
from nexus_core.toolkit.attachments import ATTACHMENTS
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.ingest import read_aside
else:  # what reads documents, for those who send some
    read_aside = LazyModule("nexus_core.store.ingest.read_aside")

_P = ParamSpec("_P")
_T = TypeVar("_T")

SECTIONS = 800
"""Items of all documents of one question: the packer weighs 1,000 where no ranker has ordered them, and a context has
150 candidates beside them."""
CHARACTERS = 4_000_000
"""Of those items with their titles: more than `SECTIONS` of the 4,000 that readers of prose make at most. A section may
be a whole file, and to pack one of so many took 1.7 s of CPU, for which all other requests wait."""
_DIGITS = 16
"""Of a document's digest in the ids of its items: the same document has the same ids, so that its answer is reused."""


@frozen(kw_only=True, eq=False, repr=False)
class QuestionDocument(Value):
    """A document that was read for one question."""

    name: str
    items: tuple[Item, ...]
    remarks: tuple[str, ...] = ()
    """What of it was left out, or read with doubt."""
    is_whole: bool = True


@define(kw_only=True, eq=False, repr=False)
class QuestionBody:
    """The body of a question, as long as its documents need to be read: until then a large one keeps its turn."""

    body: dict[str, Any]
    _size: int
    _reading: FileReading
    _held: AsyncExitStack
    _has_turn: bool = False

    def check_size(self) -> None:
        """Raise Failure where the body is too large for anything but its documents."""
        data = sum(len(each["data"]) for each in self.body.get("documents", ()))
        most = self._reading.limits.body_bytes
        if self._size - data > most:
            said = f"the body is over {most:,} bytes beside the data of its documents"
            raise Failure(413, "body_too_large", said)

    async def read(self, view: StoreView, *, to_operator: bool, reads: bool) -> tuple[QuestionDocument, ...]:
        """Return the documents, read; raises Failure that names the first of which nothing can be read.

        In the body stand their digests in the place of their data afterwards: the same ones make the same request. With
        `reads` false that is all: what was asked goes on.
        """
        documents = self.body.get("documents")
        if not documents:
            return ()
        with TemporaryDirectory(prefix="nexus-") as folder:
            files = await self._decode(documents, Path(folder))
            if not reads:
                return ()
            if not self._has_turn:
                await self._held.enter_async_context(self._reading.turn())
            found = await self._read_all(view, files)
        return shared_out([_document(file, each, to_operator=to_operator) for file, each in found])

    async def _decode(self, documents: Sequence[dict[str, Any]], folder: Path) -> list[tuple[ReceivedFile, str]]:
        """Return where the files are, each with its digest, which takes the place of its data."""
        files = []
        left = most = self._reading.limits.upload_bytes
        for place, each in enumerate(documents):
            file = place_file(each["name"], "", folder, place)
            try:
                data = await _apart(self._has_turn, b64decode, each.pop("data"), validate=True)
            except (binascii.Error, ValueError) as error:
                how = "of A to Z, a to z, 0 to 9, + and /, filled up with =, without blanks and ends of lines"
                said = f"documents[{place}]: the data of {file.name[:200]!r} is no base64 {how}"
                raise Failure(400, "invalid_request", said, param=f"documents[{place}].data") from error
            left -= len(data)
            if left < 0:
                raise Failure(413, "body_too_large", f"the documents of one question are over {most:,} bytes together")
            file.path.write_bytes(data)
            os.utime(file.path, ns=(0, 0))  # when it came is nothing that its items should tell, or differ by
            each["sha256"] = sha256(data).hexdigest()
            files.append((file, each["sha256"]))
        return files

    async def _read_all(
        self, view: StoreView, files: Sequence[tuple[ReceivedFile, str]]
    ) -> list[tuple[ReceivedFile, read_aside.AsideDocument]]:
        """Read the files, as many as there is time for: of the others nothing could be read."""
        seconds = self._reading.limits.read_s
        found: list[tuple[ReceivedFile, read_aside.AsideDocument]] = []
        try:
            async with asyncio.timeout(seconds):
                for file, digest in files:
                    prefix = f"question-{digest[:_DIGITS]}/"
                    source = self._reading.source(file)
                    found.append((file, await view.read_aside(source, most=SECTIONS, limit_s=seconds, prefix=prefix)))
        except TimeoutError:
            late = f"was not read within the {seconds:g} s that the files of one request may take"
            found += [(file, read_aside.AsideDocument(failure=late)) for file, _ in files[len(found) :]]
        return found


class QuestionBodies:
    """Receives the bodies of questions: JSON, larger than others where they hold documents."""

    def __init__(self, reading: FileReading) -> None:
        self._reading = reading

    @asynccontextmanager
    async def receive(self, request: web.Request) -> AsyncIterator[QuestionBody]:
        """Give the body of a question; raises Failure.

        One that is larger than others waits on disk for its turn, so that few of them are in memory at a time.
        """
        limits = self._reading.limits
        async with AsyncExitStack() as held:
            if (request.content_length or limits.body_bytes + 1) <= limits.body_bytes:
                data, has_turn = await read_json_bytes(request, limits), False
            else:
                check_is_json(request)
                with SpooledTemporaryFile(max_size=limits.body_bytes) as file:
                    await copy_body(request, _largest(limits), limits.body_s * SLOWER, file.write)
                    if has_turn := file.tell() > limits.body_bytes:
                        await held.enter_async_context(self._reading.turn())
                    file.seek(0)
                    data = file.read()
            body = await _apart(has_turn, parse, data)
            yield QuestionBody(body=body, size=len(data), reading=self._reading, held=held, has_turn=has_turn)


async def _apart(is_large: bool, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function: for what is large in a thread, so that others are served between its steps."""
    if is_large:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)


def documents_json(documents: Sequence[QuestionDocument], prompt: Prompt) -> list[dict[str, Any]]:
    """Return what is told of the documents of a question: how much of each was read and sent, and what was left out."""
    sent = {packed.item.id: packed.whole for packed in prompt.items}
    return [
        {
            "name": each.name,
            "items": len(each.items),
            "sent": sum(item.id in sent for item in each.items),
            "whole": sum(sent.get(item.id, False) for item in each.items),
            "remarks": [*each.remarks],
        }
        for each in documents
    ]


def _largest(limits: ServerLimits) -> int:
    """Return how many bytes a body may have whose documents are as large as they may be, in base64."""
    return limits.body_bytes + limits.upload_bytes // 3 * 4 + 4 * ATTACHMENTS


def _document(file: ReceivedFile, found: read_aside.AsideDocument, *, to_operator: bool) -> QuestionDocument:
    """Return what was read of a file; raises Failure where that is nothing."""
    if not found.items:
        said = f"nothing was asked, since {file.name[:200]!r} cannot be read: "
        reason = shown_reason(found.failure, to_operator=False)
        raise Failure(422, "unreadable_document", f"{said}{reason}", words=f"{said}{found.failure}")
    remarks = tuple(shown_reason(each, to_operator=to_operator) for each in found.remarks)
    return QuestionDocument(name=file.name, items=found.items, remarks=remarks, is_whole=found.is_whole)


def shared_out(documents: Sequence[QuestionDocument]) -> tuple[QuestionDocument, ...]:
    """Return documents with as much together as a question may have: the longest lose their ends.

    Raises Failure where nothing is left of one.
    """
    sections = _shares([len(each.items) for each in documents], SECTIONS)
    characters = _shares([sum(map(_length, each.items)) for each in documents], CHARACTERS)
    return tuple(map(_cut, documents, sections, characters))


def _shares(wanted: Sequence[int], left: int) -> list[int]:
    """Return what each gets of what there is: the small ones what they want, the others the same."""
    shares = [*wanted]
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    for done, place in enumerate(order):
        shares[place] = min(wanted[place], left // (len(order) - done))
        left -= shares[place]
    return shares


def _length(item: Item) -> int:
    return len(item.title) + len(item.text)


def _cut(document: QuestionDocument, sections: int, characters: int) -> QuestionDocument:
    ends = accumulate(map(_length, document.items[:sections]))
    most = sum(end <= characters for end in ends)
    if not most:
        long = f"its first section has {_length(document.items[0]):,} characters, of {CHARACTERS:,} for one question"
        said = f"nothing was asked, since {document.name[:200]!r} cannot be read: {long}"
        raise Failure(422, "unreadable_document", said)
    if document.is_whole and len(document.items) == most:
        return document
    said = f"only its first {most:,} sections are read for one question: add it to a context to ask about all of it"
    return evolve(document, items=document.items[:most], remarks=(*document.remarks, said), is_whole=False)
