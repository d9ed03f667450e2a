"""The contexts of the store: listed, made, told of, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from nexus_core.contract.errors import UsageError
from nexus_core.server.errors import Failure
from nexus_core.server.http.bodies import read_json
from nexus_core.server.http.json_schema import COUNT, MOMENT, TEXT, array, checker, closed, text
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.store.records import Context
from nexus_core.toolkit.text.languages import AUTO
from nexus_core.toolkit.text.stemming import LANGUAGES

PATH = "/contexts/{contextId}"
NEW = closed(
    {
        "name": text(minLength=1),
        "description": text(64 * 1024),
        "language": {"enum": [AUTO, *LANGUAGES]},
        "encoding": text(),
    },
    required=("name",),
)
"""What `POST {prefix}/contexts` takes."""
_TOLD = {
    "name": TEXT, "description": TEXT, "language": TEXT, "encoding": TEXT, "items": COUNT, "created": MOMENT,
    "changed": MOMENT,
}  # fmt: skip
CONTEXT = closed(_TOLD, required=tuple(_TOLD))


class ContextsApi:
    """Tells of contexts, makes and deletes them."""

    def __init__(self, serving: ServedPipelines, settings: ServerSettings) -> None:
        self._serving = serving
        self._settings = settings
        self._check = checker(NEW)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path="/contexts", handler=self.list, scope="read", summary="List the contexts, by name.",
                answer=closed({"contexts": array(CONTEXT)}, required=("contexts",)),
            ),
            Route(
                method="POST", path="/contexts", handler=self.create, scope="admin", summary="Make an empty context.",
                body=NEW, answer=CONTEXT, status=201, errors=(409,),
            ),
            Route(
                method="GET", path=PATH, handler=self.show, scope="read", summary="Tell of a context.",
                answer=CONTEXT, errors=(404,),
            ),
            Route(
                method="DELETE", path=PATH, handler=self.delete, scope="admin",
                summary="Delete a context with all that is in it.", status=204, errors=(404,),
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """List the contexts."""
        found = await self._serving.store.contexts()
        return web.json_response({"contexts": [_context_json(context) for context in found]})

    async def create(self, request: web.Request) -> web.Response:
        """Make a context."""
        body = self._check(await read_json(request, self._settings.limits))
        store = self._serving.store
        try:
            context = await store.create(**body)
        except UsageError as error:
            if any(each.name == body["name"] for each in await store.contexts()):
                said = f"there is a context {body['name']!r} already: choose another name, or add to it"
                raise Failure(409, "context_exists", said) from error
            raise
        return web.json_response(_context_json(context), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """Tell of a context."""
        return web.json_response(_context_json(await context_of(self._serving, request)))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a context."""
        context = await context_of(self._serving, request)
        await self._serving.store.delete(context.name)
        return web.Response(status=204)


async def context_of(serving: ServedPipelines, request: web.Request) -> Context:
    """Return the context that an address names; raises Failure where there is none."""
    try:
        return await serving.store.context(request.match_info["contextId"])
    except UsageError as error:
        said = f"there is no context {request.match_info['contextId'][:200]!r}"
        raise Failure(404, "context_not_found", said, words=str(error)) from error


def _context_json(context: Context) -> dict[str, Any]:
    return {
        "name": context.name,
        "description": context.description,
        "language": context.language,
        "encoding": context.encoding,
        "items": context.items,
        "created": context.created,
        "changed": context.changed,
    }
