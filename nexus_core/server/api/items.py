"""The items of a context: added, paged through, searched, tagged, removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from aiohttp import web

from nexus_core.contract.features import vector_key
from nexus_core.contract.values import Item
from nexus_core.engine.json_shapes import item_json
from nexus_core.server.api.contexts import PATH, READERS, context_of
from nexus_core.server.errors import Failure
from nexus_core.server.http.bodies import Parameters, parse, read_json
from nexus_core.server.http.json_schema import COUNT, JSON_OBJECT, TEXT, array, checker, closed, or_null, text
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.store.records import Added
from nexus_core.store.store_view import StoreView
from nexus_core.toolkit.embedding.item_vectors import MOST_MODELS, parse_item_vectors
from nexus_core.toolkit.filters import EVERYTHING, Filter, parse_filter

ITEMS_AT_ONCE = 1_000
NAME = 4096
"""Characters of an id or a tag, as the store has it."""

VECTORS = {
    "title": "ItemVectors",
    "type": "object",
    "maxProperties": MOST_MODELS,
    "description": "Its own vectors by model, as `minilm`: lists of numbers, one for each part of the text, or base64"
    " of little-endian halves of unit length.",
}
_NEW_ITEM = closed(
    {
        "id": text(NAME, minLength=1),
        "text": text(2**20),
        "title": text(NAME),
        "kind": {"enum": ["text", "markdown", "code"]},
        "tags": array(text(NAME, minLength=1), maxItems=100),
        "source": text(NAME),
        "metadata": JSON_OBJECT,
        "readers": {**READERS, "minItems": 1, "description": "Left out, all who may see the context see the item."},
        "vectors": VECTORS,
    },
    required=("id", "text"),
    name="NewItem",
)
ADD = closed(
    {"items": array(_NEW_ITEM, minItems=1, maxItems=ITEMS_AT_ONCE)},
    required=("items",),
    name="NewItems",
    example={"items": [{"id": "leave", "title": "Leave", "text": "Everybody has 28 days of leave.", "tags": ["time"]}]},
)
"""What `POST {prefix}/contexts/{contextId}/items` takes."""
SEARCH = closed(
    {
        "query": text(64 * 1024, minLength=1),
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
        "tags": array(text(NAME, minLength=1), maxItems=20),
        "where": JSON_OBJECT,
        "by": {"enum": ["words", "meaning", "both"]},
        "like": text(NAME, minLength=1),
        "typos": {"type": "boolean"},
    },
    name="Search",
    example={"query": "days of leave", "limit": 10, "tags": ["time"]},
)
"""What `POST {prefix}/contexts/{contextId}/search` takes: `query`, `like`, or both."""
TAG = closed(
    {
        "ids": array(text(NAME, minLength=1), minItems=1, maxItems=ITEMS_AT_ONCE),
        "add": array(text(NAME, minLength=1), maxItems=100),
        "remove": array(text(NAME, minLength=1), maxItems=100),
    },
    required=("ids",),
    name="TagChange",
)
_TOLD = {
    "id": TEXT, "title": TEXT, "text": TEXT, "kind": TEXT, "tags": array(TEXT), "source": TEXT,
    "metadata": JSON_OBJECT,
}  # fmt: skip
ITEM = closed({**_TOLD, "readers": array(TEXT)}, required=tuple(_TOLD), name="Item")
"""An item as it is told; its `readers`, where it has any, are for who sees everything."""
ADDED = closed(
    {"new": COUNT, "changed": COUNT, "unchanged": COUNT, "removed": COUNT, "remarks": array(TEXT)},
    required=("new", "changed", "unchanged", "removed"),
    name="AddedItems",
)
"""What became of items; `remarks` where something was kept and is of no use as it is."""
PAGE = closed({"items": array(ITEM), "next": or_null(COUNT)}, required=("items", "next"), name="ItemPage")
_COUNT_OF_VALUE = closed({"value": TEXT, "items": COUNT}, required=("value", "items"), name="ValueCount")
COUNTS = closed({"counts": array(_COUNT_OF_VALUE), "values": COUNT}, required=("counts", "values"), name="ValueCounts")
"""The most frequent values of a field, and how many there are in all."""
_FOUND = closed({"score": {"type": "number"}, "item": ITEM}, required=("score", "item"), name="FoundItem")
FOUND = closed({"found": array(_FOUND)}, required=("found",), name="FoundItems")
_WHERE = text(2000, description="Only items that this filter lets through: a JSON object, as `where` of a search.")
_NEXT = "Where the next page begins: `next` of the page before."


class ItemsApi:
    """Serves the items of contexts."""

    def __init__(self, serving: ServedPipelines, settings: ServerSettings) -> None:
        self._serving = serving
        self._limits = settings.limits
        self._check_added, self._check_search, self._check_tag = checker(ADD), checker(SEARCH), checker(TAG)
        self._page = Parameters(
            {
                "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
                "after": {"type": "integer", "minimum": 0, "maximum": 2**62, "description": _NEXT},
                "tag": text(NAME, minLength=1, description="Only items with this tag."),
                "where": _WHERE,
            }
        )
        self._counted = Parameters(
            {
                "field": text(minLength=1, description="`tags` (by default), `kind`, one of the metadata."),
                "where": _WHERE,
                "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
            }
        )

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path=f"{PATH}/items", handler=self.list_items, scope="read",
                name="listItems", summary="List items in the order in which they came, page by page.",
                query=self._page.properties, answer=PAGE, errors=(400, 404),
            ),
            Route(
                method="POST", path=f"{PATH}/items", handler=self.add, scope="admin",
                name="addItems", summary="Add items, or their new states.", body=ADD, answer=ADDED, errors=(404,),
            ),
            Route(
                method="GET", path=f"{PATH}/items/{{itemId:.+}}", handler=self.show, scope="read",
                name="getItem", summary="Tell an item whole.", answer=ITEM, errors=(404,),
            ),
            Route(
                method="DELETE", path=f"{PATH}/items/{{itemId:.+}}", handler=self.delete, scope="admin",
                name="deleteItem", summary="Remove an item.", status=204, errors=(404,),
            ),
            Route(
                method="POST", path=f"{PATH}/search", handler=self.search, scope="read",
                name="searchContext",
                summary="Search by words and by meaning, or for what is `like` an item; the best come first.",
                body=SEARCH, answer=FOUND, errors=(404,),
            ),
            Route(
                method="GET", path=f"{PATH}/counts", handler=self.counts, scope="read",
                name="countItems", summary="Count the items by the values of a field; the most frequent come first.",
                query=self._counted.properties, answer=COUNTS, errors=(400, 404),
            ),
            Route(
                method="POST", path=f"{PATH}/tags", handler=self.tag, scope="admin",
                name="changeTags", summary="Add tags to items, or remove them.",
                body=TAG, answer=closed({"changed": COUNT}, required=("changed",), name="ChangedItems"), errors=(404,),
            ),
        ]  # fmt: skip

    async def list_items(self, request: web.Request) -> web.Response:
        """List the next items."""
        asked = self._page.read(request)
        view, name = await context_of(self._serving, request)
        limit = asked.get("limit", 100)
        where = _where_of(asked)
        found = await view.items(name, after=asked.get("after", 0), limit=limit + 1, tag=asked.get("tag"), where=where)
        page = found[:limit]
        told = [_item_json(item, view) for _, item in page]
        return web.json_response({"items": told, "next": page[-1][0] if len(found) > limit else None})

    async def add(self, request: web.Request) -> web.Response:
        """Add items."""
        view, name = await context_of(self._serving, request)
        body = self._check_added(await read_json(request, self._limits))
        items = [_item(each, f"items[{place}]") for place, each in enumerate(body["items"])]
        return web.json_response(added_json(await view.add(name, items)))

    async def show(self, request: web.Request) -> web.Response:
        """Tell an item."""
        view, name = await context_of(self._serving, request)
        found = await view.get(name, [request.match_info["itemId"]])
        if not found:
            raise _no_item(request.match_info["itemId"])
        return web.json_response(_item_json(found[0], view))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove an item."""
        view, name = await context_of(self._serving, request)
        if not await view.remove(name, [request.match_info["itemId"]]):
            raise _no_item(request.match_info["itemId"])
        return web.Response(status=204)

    async def search(self, request: web.Request) -> web.Response:
        """Search."""
        view, name = await context_of(self._serving, request)
        body = self._check_search(await read_json(request, self._limits))
        if not body.keys() & {"query", "like"}:
            raise Failure(400, "invalid_request", "query is missing, and so is like: give one of the two")
        limit = body.get("limit", 10)
        where = _filter(body.get("where"))
        if "like" in body and not await view.get(name, [body["like"]]):
            raise _no_item(body["like"])
        found = await view.search(
            name, body.get("query", ""), limit=limit, tags=body.get("tags", ()), where=where, by=body.get("by"),
            like=body.get("like"), typos=body.get("typos", False),
        )  # fmt: skip
        return web.json_response({"found": [{"score": score, "item": _item_json(item, view)} for score, item in found]})

    async def counts(self, request: web.Request) -> web.Response:
        """Count items by a field."""
        asked = self._counted.read(request)
        view, name = await context_of(self._serving, request)
        where = _where_of(asked)
        counts = await view.counts(name, asked.get("field", "tags"), where=where)
        told = [{"value": value, "items": count} for value, count in islice(counts.items(), asked.get("limit", 100))]
        return web.json_response({"counts": told, "values": len(counts)})

    async def tag(self, request: web.Request) -> web.Response:
        """Change tags."""
        view, name = await context_of(self._serving, request)
        body = self._check_tag(await read_json(request, self._limits))
        add, remove = body.get("add", ()), body.get("remove", ())
        changed = await view.tag(name, body["ids"], add=add, remove=remove)
        return web.json_response({"changed": changed})


def _filter(told: object) -> Filter:
    """Return the filter that a request says; raises Failure, which tells nothing but what the request says itself."""
    try:
        return parse_filter(told)
    except ValueError as error:
        raise Failure(400, "invalid_request", str(error.args[0])) from error  # in words about the request alone


def _where_of(asked: Mapping[str, Any]) -> Filter:
    """Return the filter that the parameters of a request hold; raises Failure."""
    if "where" not in asked:
        return EVERYTHING
    try:
        told = parse(asked["where"].encode("utf-8", "surrogateescape"))
    except Failure as error:
        said = f"the parameter 'where': {error.message.replace('the body', 'it')}"
        raise Failure(400, "invalid_request", said) from error
    return _filter(told)


def _item_json(item: Item, view: StoreView) -> dict[str, Any]:
    """Return an item as whoever asks may be told it; who else may see it is for who sees everything."""
    told = item_json(item)
    return told if view.sees_all else {name: value for name, value in told.items() if name != "readers"}


def _item(told: Mapping[str, Any], place: str) -> Item:
    """Return the item that a client sends; raises Failure for vectors that are none."""
    fields = {name: value for name, value in told.items() if name != "vectors"}
    item = Item(**{**fields, **_tuples(told)})
    try:
        vectors = parse_item_vectors(told.get("vectors", {}))
    except ValueError as error:
        raise Failure(400, "invalid_request", f"{place}: {error.args[0]}", param=f"{place}.vectors") from error
    for model, data in vectors.items():
        item.features.put(vector_key(model), data)
    return item


def _tuples(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(given.get(name, ())) for name in ("tags", "readers")}


def added_json(added: Added) -> dict[str, Any]:
    """Return what became of items that were added."""
    told = {"new": added.new, "changed": added.changed, "unchanged": added.unchanged, "removed": added.removed}
    return {**told, "remarks": [*added.remarks]} if added.remarks else told


def _no_item(name: str) -> Failure:
    return Failure(404, "item_not_found", f"there is no item {name[:200]!r} in this context")
