"""The documents of a context: files that clients send, read into items by what `nexus context add` reads them with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from attrs import evolve

from nexus_core.server.api.contexts import PATH, context_of
from nexus_core.server.api.items import ADDED, NAME, added_json
from nexus_core.server.errors import Failure
from nexus_core.server.files.received_file import SLOWER, FileReading, ReceivedFile, place_file, shown_reason
from nexus_core.server.http.app import OPERATOR
from nexus_core.server.http.bodies import Parameters, invite
from nexus_core.server.http.json_schema import COUNT, TEXT, array, closed, or_null, text
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.store.items.documents import Among, ListedDocument
from nexus_core.store.records import StoredDocument
from nexus_core.store.store_view import StoreView
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.store.ingest import ingest
else:  # what reads documents, for those who send some
    ingest = LazyModule("nexus_core.store.ingest.ingest")

FILES_AT_ONCE = 100
_BROKEN = (ValueError, AssertionError, LookupError, HttpProcessingError, web.RequestPayloadError)
"""What aiohttp raises for bodies that are not what they say."""

_REASON = array(closed({"document": TEXT, "reason": TEXT}, required=("document", "reason"), name="DocumentRemark"))
UPLOADED = closed(
    {"found": COUNT, "read": COUNT, "unchanged": COUNT, "items": ADDED, "failed": _REASON, "remarks": _REASON},
    required=("found", "read", "unchanged", "items", "failed", "remarks"),
    name="UploadedDocuments",
)
_STATE = {
    "enum": ["ready", "embedding", "incomplete"],
    "description": "Of an incomplete one something is missing, as its problems say, and it is read again next time; one"
    " that is embedding has items without vectors, which are found by words until they have theirs.",
}
_DOCUMENT = closed(
    {
        "name": TEXT, "origin": TEXT, "size": COUNT, "sha256": TEXT, "reader": TEXT, "state": _STATE, "items": COUNT,
        "withoutVectors": COUNT, "problems": array(TEXT), "remarks": array(TEXT),
    },
    required=("name", "origin", "size", "sha256", "reader", "state", "items", "withoutVectors", "problems", "remarks"),
    name="Document",
)  # fmt: skip
_SKIPPED_STATE = {
    "enum": ["unread", "failed"],
    "description": "One that failed is tried again whenever its files are added again; one that is unread only once it"
    " has changed. One that was uploaded is tried again when it is sent again.",
}
_SKIPPED = closed(
    {"name": TEXT, "origin": TEXT, "reason": TEXT, "size": COUNT, "state": _SKIPPED_STATE},
    required=("name", "origin", "reason", "size", "state"),
    name="SkippedFile",
)
SKIPPED = closed(
    {"skipped": array(_SKIPPED), "next": or_null(TEXT)}, required=("skipped", "next"), name="SkippedFilePage"
)
PAGE = closed(
    {"documents": array(_DOCUMENT), "next": or_null(TEXT)}, required=("documents", "next"), name="DocumentPage"
)


class UploadsApi:
    """Takes files into contexts."""

    def __init__(self, serving: ServedPipelines, reading: FileReading) -> None:
        self._serving = serving
        self._limits = reading.limits
        self._reading = reading
        page = {
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
            "after": text(NAME, description="Where the next page begins: `next` of the page before."),
        }
        only = text(description="Only documents that have problems or remarks.", enum=["remarked"])
        search = text(200, description="What their names have, as it is, in large or small letters.")
        self._page = Parameters({**page, "only": only, "search": search})
        self._skipped_page = Parameters(page)
        self._asked = Parameters(
            {
                "name": text(NAME, minLength=1, description="Of a file that is the body itself, with its ending."),
                "tag": array(text(NAME, minLength=1), maxItems=100, description="Given to all items (repeatable)."),
                "readers": array(
                    text(NAME, minLength=1),
                    maxItems=100,
                    description="A group that alone may see it, as group:hr (repeatable); without any, as before.",
                ),
            }
        )

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path=f"{PATH}/documents", handler=self.list_documents, scope="read",
                name="listDocuments",
                summary="List the documents, by name.", query=self._page.properties, answer=PAGE, errors=(400, 404),
            ),
            Route(
                method="GET", path=f"{PATH}/skipped", handler=self.skipped, scope="read",
                name="listSkippedFiles",
                summary="List the files that were found and not read, by name, each with its reason.",
                query=self._skipped_page.properties, answer=SKIPPED, errors=(400, 404),
            ),
            Route(
                method="POST", path=f"{PATH}/documents", handler=self.add, scope="admin",
                name="uploadDocuments",
                summary="Read files into items: one as the body, or several as multipart/form-data.",
                query=self._asked.properties, answer=UPLOADED, errors=(404, 409, 422, 507), uploads=True,
            ),
            Route(
                method="DELETE", path=f"{PATH}/documents/{{document:.+}}", handler=self.delete, scope="admin",
                name="deleteDocument", status=204,
                summary="Remove a document with its items, or what is told of a file that was not read.", errors=(404,),
            ),
        ]  # fmt: skip

    async def list_documents(self, request: web.Request) -> web.Response:
        """List the next documents."""
        asked = self._page.read(request)
        view, context = await context_of(self._serving, request)
        among: Among = asked.get("only", "read")
        page, more = await _page_of(view, context, asked, among)
        told = [_document_json(each, to_operator=request[OPERATOR]) for each in page]
        return web.json_response({"documents": told, "next": more})

    async def skipped(self, request: web.Request) -> web.Response:
        """List the next files that were not read."""
        asked = self._skipped_page.read(request)
        view, context = await context_of(self._serving, request)
        page, more = await _page_of(view, context, asked, "skipped")
        told = [_skipped_json(each.document, to_operator=request[OPERATOR]) for each in page]
        return web.json_response({"skipped": told, "next": more})

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a document."""
        view, context = await context_of(self._serving, request)
        name = request.match_info["document"]
        if await view.documents_named(context, [name]):
            await view.remove_documents(context, [name])
        elif not await view.forget_skipped(context, [name]):
            raise Failure(404, "document_not_found", f"there is no document {name[:200]!r} in this context")
        return web.Response(status=204)

    async def add(self, request: web.Request) -> web.Response:
        """Take files in."""
        asked = self._asked.read(request)
        view, context = await context_of(self._serving, request)
        with TemporaryDirectory(prefix="nexus-") as folder:
            uploads = await self._receive(request, Path(folder), asked.get("name"))
            async with self._reading.turn():
                known = await view.documents_named(context, [upload.name for upload in uploads])
                for upload in uploads:
                    _check_free(upload, known)
                done = await self._read_all(view, context, uploads, asked)
        if all(each.failed and not each.written for each in done):
            name, reason = done[0].failed[0]
            raise Failure(
                422, "unreadable_document", f"{name[:200]!r} cannot be read as a document", words=f"{name}: {reason}"
            )
        return web.json_response(_uploaded_json(done))

    async def _read_all(
        self, view: StoreView, context: str, uploads: Sequence[ReceivedFile], asked: Mapping[str, Any]
    ) -> list[ingest.Ingested]:
        """Read the files of a request, as many as there is time for; the others have failed."""
        seconds = self._limits.read_s
        done: list[ingest.Ingested] = []
        try:
            async with asyncio.timeout(seconds):
                for upload in uploads:
                    done.append(await self._read(view, context, upload, asked))  # noqa: PERF401 - some may be late
        except TimeoutError:
            late = f"was not read within the {seconds:g} s that the files of one request may take"
            done += [ingest.Ingested(found=1, failed=((upload.name, late),)) for upload in uploads[len(done) :]]
        return done

    async def _read(
        self, view: StoreView, context: str, upload: ReceivedFile, asked: Mapping[str, Any]
    ) -> ingest.Ingested:
        """Read a file into a context; one that is left out has failed, since it was meant."""
        origin = _origin(upload.name)
        await view.forget_skipped(context, [upload.name])  # else it would be known as what cannot be read
        ingested = await view.ingest(
            context,
            self._reading.source(upload),
            origin=origin,
            within=upload.name,
            tags=asked.get("tag", ()),
            within_readers=await view.settle_readers(context, origin, asked.get("readers", ())),
            limit_s=self._limits.read_s,
            is_meant=True,
        )
        if not ingested.left_out:
            return ingested
        return evolve(ingested, failed=(*ingested.failed, *ingested.left_out), written=0)

    async def _receive(self, request: web.Request, folder: Path, name: str | None) -> list[ReceivedFile]:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Failure(415, "unsupported_encoding", "send files as they are, without Content-Encoding")
        several = request.content_type == "multipart/form-data"
        if several == (name is not None):
            said = "each part has its own filename" if several else "say ?name=travel.md, or send multipart/form-data"
            raise Failure(400, "invalid_request", f"the parameter 'name' is for a file that is the body itself: {said}")
        if (request.content_length or 0) > self._limits.upload_bytes:
            raise self._too_large()
        await invite(request)
        seconds = self._limits.body_s * SLOWER
        try:
            async with asyncio.timeout(seconds):
                if name is None:
                    return await self._receive_parts(request, folder)
                upload = place_file(name, request.content_type, folder, 0)
                if not await self._copy(request.content.readany, upload, 0):  # else it would empty the document
                    raise Failure(400, "invalid_request", "there is no file in the body; an empty one goes as a part")
                return [upload]
        except TimeoutError as error:
            raise Failure(408, "body_timeout", f"the body did not come within {seconds:g} s") from error
        except _BROKEN as error:
            raise Failure(400, "invalid_request", "the body is no multipart/form-data as it should be") from error

    async def _receive_parts(self, request: web.Request, folder: Path) -> list[ReceivedFile]:
        uploads: list[ReceivedFile] = []
        size = 0
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.filename:
                raise Failure(400, "invalid_request", "each part must be a file with a filename")
            if len(uploads) == FILES_AT_ONCE:
                raise Failure(400, "invalid_request", f"more than {FILES_AT_ONCE} files: send several requests")
            kind = part.headers.get("Content-Type", "")
            uploads.append(place_file(part.filename, kind, folder, len(uploads)))
            size = await self._copy(part.read_chunk, uploads[-1], size)
        if not uploads:
            raise Failure(400, "invalid_request", "there is no file in the body")
        return uploads

    async def _copy(self, read: Any, upload: ReceivedFile, size: int) -> int:
        """Copy a file to where it is kept; returns how many bytes came in all."""
        with upload.path.open("wb") as file:
            while piece := await read():
                size += len(piece)
                if size > self._limits.upload_bytes:
                    raise self._too_large()
                file.write(piece)
        return size

    def _too_large(self) -> Failure:
        return Failure(413, "body_too_large", f"the body is over {self._limits.upload_bytes:,} bytes")


def _check_free(upload: ReceivedFile, known: dict[str, StoredDocument]) -> None:
    other = known.get(upload.name)
    if other is not None and other.origin != _origin(upload.name):
        raise Failure(
            409,
            "document_exists",
            f"{upload.name!r} is there already and was not sent to this address: choose another name, or remove it",
        )


def _origin(name: str) -> str:
    return f"upload {name}"


_NO_PATHS = ("upload ", "http://", "https://")
"""How origins begin that tell nothing of this machine."""


def _shown_origin(document: StoredDocument, *, paths: bool) -> str:
    return document.origin if paths or document.origin.startswith(_NO_PATHS) else ""


async def _page_of(
    view: StoreView, context: str, asked: Mapping[str, Any], among: Among
) -> tuple[Sequence[ListedDocument], str | None]:
    """Return the next documents, and where the page after them begins, if there is one."""
    limit = asked.get("limit", 100)
    words = asked.get("search", "").strip()
    if "\0" in words:  # which no name has
        return (), None
    found = await view.page_of_documents(
        context, among=among, after=asked.get("after", ""), limit=limit + 1, words=words
    )
    page = found[:limit]
    return page, page[-1].document.name if len(found) > limit else None


def _document_json(listed: ListedDocument, *, to_operator: bool) -> dict[str, Any]:
    """Return what is told of a document; paths of this machine are for operators."""
    document = listed.document
    state = "incomplete" if document.problems else "embedding" if listed.without_vectors else "ready"
    return {
        "name": document.name,
        "origin": _shown_origin(document, paths=to_operator),
        "size": document.size,
        "sha256": document.digest,
        "reader": document.reader,
        "state": state,
        "items": listed.items,
        "withoutVectors": listed.without_vectors,
        "problems": [shown_reason(said, to_operator=to_operator) for said in document.problems],
        "remarks": [shown_reason(said, to_operator=to_operator) for said in document.remarks],
    }


def _skipped_json(document: StoredDocument, *, to_operator: bool) -> dict[str, Any]:
    return {
        "name": document.name,
        "origin": _shown_origin(document, paths=to_operator),
        "reason": shown_reason(document.skipped, to_operator=to_operator),
        "size": document.size,
        "state": "unread" if document.stamp else "failed",
    }


def _uploaded_json(done: Sequence[ingest.Ingested]) -> dict[str, Any]:
    pairs = {"failed": [each.failed for each in done], "remarks": [each.remarks for each in done]}
    total = done[0].items
    for each in done[1:]:
        total += each.items
    return {
        "found": sum(each.found for each in done),
        "read": sum(each.written for each in done),
        "unchanged": sum(each.unchanged for each in done),
        "items": added_json(total),
        **{
            key: [{"document": name, "reason": why} for found in each for name, why in found]
            for key, each in pairs.items()
        },
    }
