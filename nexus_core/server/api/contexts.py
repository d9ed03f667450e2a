"""The contexts of the store: listed, made, told of, deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from attrs import asdict

from nexus_core.contract.errors import UsageError
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import OPERATOR, identity
from nexus_core.server.http.bodies import read_json
from nexus_core.server.http.json_schema import COUNT, MOMENT, TEXT, array, checker, closed, or_null, text
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.store.records import Context
from nexus_core.store.store_view import StoreView
from nexus_core.toolkit.text.languages import AUTO
from nexus_core.toolkit.text.stemming import LANGUAGES

PATH = "/contexts/{contextId}"
READERS = array(text(4096, minLength=1), maxItems=100)
"""The groups that may see something, as `group:hr`."""
NEW = closed(
    {
        "name": text(minLength=1),
        "description": text(64 * 1024),
        "language": {"enum": [AUTO, *LANGUAGES]},
        "encoding": text(),
        "readers": READERS,
    },
    required=("name",),
    name="NewContext",
    example={"name": "handbook", "description": "The staff handbook", "language": "english"},
)
"""What `POST {prefix}/contexts` takes."""
_TOLD = {
    "name": TEXT, "description": TEXT, "language": TEXT, "encoding": TEXT, "items": COUNT, "created": MOMENT,
    "changed": MOMENT, "embedder": TEXT,
}  # fmt: skip
_VECTORS = closed(
    {"dimensions": COUNT, "items": COUNT, "total": COUNT}, required=("dimensions", "items", "total"), name="VectorCount"
)
_DOCUMENTS = closed(
    {
        "count": COUNT, "size": {**COUNT, "description": "In bytes."},
        "remarked": {**COUNT, "description": "Of which something is missing, or was read with doubt."},
        "skipped": {**COUNT, "description": "Files beside them that were found and not read."},
    },
    required=("count", "size", "remarked", "skipped"), name="DocumentTotals",
)  # fmt: skip
CONTEXT = closed(
    {**_TOLD, "readers": array(TEXT), "vectors": or_null(_VECTORS), "documents": _DOCUMENTS},
    required=tuple(_TOLD),
    name="Context",
)
"""A context as it is told: its `readers`, and how many items have vectors, to who sees everything; its `documents`
where it is told alone."""
GRANT = closed({"readers": READERS}, required=("readers",), name="ContextReaders")
"""What `PUT {prefix}/contexts/{contextId}/readers` takes."""


class ContextsApi:
    """Tells of contexts, makes and deletes them."""

    def __init__(self, serving: ServedPipelines, settings: ServerSettings) -> None:
        self._serving = serving
        self._settings = settings
        self._check, self._check_grant = checker(NEW), checker(GRANT)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path="/contexts", handler=self.list, scope="read", name="listContexts",
                summary="List the contexts, by name.",
                answer=closed({"contexts": array(CONTEXT)}, required=("contexts",), name="ContextList"),
            ),
            Route(
                method="POST", path="/contexts", handler=self.create, scope="admin", name="createContext",
                summary="Make an empty context.",
                body=NEW, answer=CONTEXT, status=201, errors=(409,),
            ),
            Route(
                method="GET", path=PATH, handler=self.show, scope="read", name="getContext",
                summary="Tell of a context.",
                answer=CONTEXT, errors=(404,),
            ),
            Route(
                method="PUT", path=f"{PATH}/readers", handler=self.grant, scope="admin",
                name="setContextReaders",
                summary="Let some groups alone see a context; with none, everybody who may ask it.",
                body=GRANT, answer=CONTEXT, errors=(404,),
            ),
            Route(
                method="DELETE", path=PATH, handler=self.delete, scope="admin",
                name="deleteContext", summary="Delete a context with all that is in it.", status=204, errors=(404,),
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """List the contexts."""
        view = view_of(self._serving, request)
        told = [_context_json(context, view, request) for context in await view.contexts()]
        return web.json_response({"contexts": told})

    async def create(self, request: web.Request) -> web.Response:
        """Make a context."""
        body = self._check(await read_json(request, self._settings.limits))
        name = body["name"]
        view = view_of(self._serving, request)
        try:
            context = await view.create(body.pop("name"), **body)
        except UsageError as error:
            if any(each.name == name for each in await view.names()):
                said = f"there is a context {name!r} already: choose another name, or add to it"
                raise Failure(409, "context_exists", said) from error
            raise
        return web.json_response(await _whole_json(context, view, request), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """Tell of a context."""
        view = view_of(self._serving, request)
        with absence_told(request):
            context = await view.context(request.match_info["contextId"])
            return web.json_response(await _whole_json(context, view, request))

    async def grant(self, request: web.Request) -> web.Response:
        """Change who may see a context."""
        view, name = await context_of(self._serving, request)
        body = self._check_grant(await read_json(request, self._settings.limits))
        await view.grant(name, body["readers"])
        return web.json_response(await _whole_json(await view.context(name), view, request))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a context."""
        view, name = await context_of(self._serving, request)
        await view.delete(name)
        return web.Response(status=204)


def view_of(serving: ServedPipelines, request: web.Request) -> StoreView:
    """Return the store as whoever asks may see it."""
    return serving.seen_by(identity(request).viewer)


async def context_of(serving: ServedPipelines, request: web.Request) -> tuple[StoreView, str]:
    """Return the store as whoever asks sees it, and the name of the context that an address names; raises Failure."""
    view, name = view_of(serving, request), request.match_info["contextId"]
    with absence_told(request):
        await view.check(name)
    return view, name


@contextmanager
def absence_told(request: web.Request) -> Iterator[None]:
    """Raise Failure where there is no such context as an address names: none at all, or none for whoever asks."""
    try:
        yield
    except UsageError as error:
        said = f"there is no context {request.match_info['contextId'][:200]!r}"
        raise Failure(404, "context_not_found", said, words=str(error)) from error


async def _whole_json(context: Context, view: StoreView, request: web.Request) -> dict[str, Any]:
    """Return what is told of one context, which would take too long for a list of them."""
    totals = await view.document_totals(context.name)
    documents = {
        "count": totals.documents, "size": totals.size, "remarked": totals.remarked, "skipped": totals.skipped
    }  # fmt: skip
    told = {**_context_json(context, view, request), "documents": documents}
    if not view.sees_all:
        return told
    state = await view.vector_state(context.name)
    return {**told, "vectors": None if state is None else asdict(state)}


def _context_json(context: Context, view: StoreView, request: web.Request) -> dict[str, Any]:
    return {
        "name": context.name,
        "description": context.description,
        "language": context.language,
        "encoding": context.encoding,
        "items": context.items,
        "created": context.created,
        "changed": context.changed,
        # The folder of a model is a path of this machine: that is for operators.
        "embedder": context.embedder if request[OPERATOR] else re.split(r"[/\\]", context.embedder)[-1],
        **({"readers": list(context.readers)} if view.sees_all else {}),
    }
