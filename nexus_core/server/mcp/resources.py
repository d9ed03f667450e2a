"""Resources: the items and documents that a caller may see, listed page by page, read and searched."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Item
from nexus_core.server.errors import Failure
from nexus_core.server.mcp.caller import McpCaller
from nexus_core.server.mcp.tool_definitions import READ_CHARACTERS
from nexus_core.server.mcp.uris import ResourceAddress, ResourceKind, parse_uri
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.store.store_view import StoreView
from nexus_core.toolkit.filters import Condition, Filter

PAGE = 100
"""Resources of one page."""
LONGEST_RESOURCE = 2**20
"""Characters of a resource that is read whole; of a longer one the tool `read` reads a part."""
_FOUND_TEXT = 2_000
"""Characters of what is found."""
_AT_ONCE = 200
_MIME_TYPES = {"markdown": "text/markdown"}
_PLAIN = "text/plain"


@frozen(kw_only=True)
class ListedResource:
    """A resource as it is listed."""

    address: ResourceAddress
    title: str
    mime_type: str = _PLAIN


@frozen(kw_only=True)
class ResourceText:
    """A resource that was read."""

    address: ResourceAddress
    title: str
    mime_type: str
    text: str


class McpResources:
    """Lists, reads and searches what callers may see of the store."""

    def __init__(self, serving: ServedPipelines) -> None:
        self._serving = serving

    async def context_names(self, caller: McpCaller) -> list[str] | None:
        """Return the names of the contexts that a caller may list, `None` where they may list none."""
        if not caller.may("read"):
            return None
        return [context.name for context in await self._view(caller).names()]

    async def search(self, caller: McpCaller, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the best items of a context as text, and as data; raises Failure."""
        view, context = await self._context(caller, arguments["context"])
        query = arguments["query"]
        if not query.strip():
            raise Failure(400, "invalid_request", "the query is empty")
        found = [
            {
                "uri": ResourceAddress(context, "items", item.id).uri,
                "title": _title(item),
                "source": item.source,
                "score": score,
                "text": item.text[:_FOUND_TEXT],
                "isCut": len(item.text) > _FOUND_TEXT,
            }
            for score, item in await view.search(context, query, limit=arguments.get("limit", 10))
        ]
        lines = [f"{each['title']} ({each['uri']})\n{each['text']}" for each in found]
        return "\n\n".join(lines) or "nothing was found", {"found": found}

    async def read_part(self, caller: McpCaller, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return a part of an item or a document as text, and as data; raises Failure."""
        offset = arguments.get("offset", 0)
        end = offset + READ_CHARACTERS
        found = await self._read(caller, arguments["uri"], end + 1)
        told = {
            "uri": found.address.uri,
            "title": found.title,
            "mimeType": found.mime_type,
            "text": found.text[offset:end],
            "next": end if len(found.text) > end else None,
        }
        return found.text[offset:end], told

    async def read(self, caller: McpCaller, uri: str) -> ResourceText:
        """Return an item or a document whole; raises Failure, also for one that is too long for that."""
        found = await self._read(caller, uri, LONGEST_RESOURCE + 1)
        if len(found.text) > LONGEST_RESOURCE:
            said = f"it has more than {LONGEST_RESOURCE:,} characters: read it in parts, with the tool read"
            raise Failure(413, "resource_too_large", said)
        return found

    async def page(self, caller: McpCaller, cursor: str | None) -> tuple[list[ListedResource], str | None]:
        """Return the next resources, and where the page after them begins; raises Failure for a cursor that is none.

        Contexts come by name, in each first the documents, then the items.
        """
        caller.check("read")
        view = self._view(caller)
        names = sorted(context.name for context in await view.names())
        place = _Place.first(names) if cursor is None else _Place.parse(cursor)
        found: list[ListedResource] = []
        while place is not None and len(found) < PAGE:
            resources, place = await self._next(view, names, place, PAGE - len(found))
            found += resources
        return found, None if place is None else place.cursor

    async def _next(
        self, view: StoreView, names: Sequence[str], place: _Place, limit: int
    ) -> tuple[list[ListedResource], _Place | None]:
        """Return the next resources from a place on, and the place after them, `None` at the end of all contexts."""
        name = place.context
        following = _Place.first([each for each in names if each > name])
        if name not in names:  # it is gone, or never was theirs
            return [], following
        if place.kind == "documents":
            left = [each.name for each in await view.documents(name) if each.name > str(place.after)]
            found = [
                ListedResource(address=ResourceAddress(name, "documents", each), title=_flat(each))
                for each in left[:limit]
            ]
            has_more = len(left) > limit
            return found, _Place(name, "documents", left[limit - 1]) if has_more else _Place(name, "items", 0)
        rows = await view.items(name, after=int(place.after), limit=limit + 1)
        found = [
            ListedResource(
                address=ResourceAddress(name, "items", item.id), title=_title(item), mime_type=_mime_type(item)
            )
            for _, item in rows[:limit]
        ]
        return found, _Place(name, "items", rows[limit - 1][0]) if len(rows) > limit else following

    async def _read(self, caller: McpCaller, uri: str, most: int) -> ResourceText:
        """Return an item or a document, of a long document the first characters, so many at least."""
        caller.check("read")
        address = parse_uri(uri)
        view, context = await self._context(caller, address.context)
        if address.kind == "items":
            found = await view.get(context, [address.name])
            if not found:
                raise Failure(404, "item_not_found", f"there is no item {address.name[:200]!r} in this context")
            item = found[0]
            return ResourceText(address=address, title=_title(item), mime_type=_mime_type(item), text=item.text)
        items = await self._items_of(view, context, address.name, most)
        if not items:
            raise Failure(404, "document_not_found", f"there is no document {address.name[:200]!r} in this context")
        mime_types = {_mime_type(item) for item in items}
        return ResourceText(
            address=address,
            title=_flat(address.name),
            mime_type=mime_types.pop() if len(mime_types) == 1 else _PLAIN,
            text="\n\n".join(item.text for item in items),
        )

    async def _items_of(self, view: StoreView, context: str, source: str, most: int) -> list[Item]:
        """Return the items with a source, in their order, until they have so many characters together."""
        where = Filter((Condition("source", "equals", (source,)),))
        items: list[Item] = []
        after: int | None = 0
        while after is not None and sum(len(item.text) for item in items) < most:
            rows = await view.items(context, after=after, limit=_AT_ONCE, where=where)
            items += [item for _, item in rows]
            after = rows[-1][0] if len(rows) == _AT_ONCE else None
        return items

    async def _context(self, caller: McpCaller, name: str) -> tuple[StoreView, str]:
        """Return the store as a caller sees it, and the name of a context that is there; raises Failure."""
        caller.check("read")
        view = self._view(caller)
        try:
            await view.check(name)
        except UsageError as error:
            said = f"there is no context {name[:200]!r}"
            raise Failure(404, "context_not_found", said, words=str(error)) from error
        return view, name

    def _view(self, caller: McpCaller) -> StoreView:
        return self._serving.seen_by(caller.viewer)


@frozen
class _Place:
    """A place in the list of resources."""

    context: str
    kind: ResourceKind
    after: str | int
    """The name of a document, or the place of an item."""

    @property
    def cursor(self) -> str:
        """The place as clients have it."""
        return urlsafe_b64encode(orjson.dumps([self.context, self.kind, self.after])).decode()

    @classmethod
    def first(cls, names: Sequence[str]) -> _Place | None:
        """Return the place before all that is in the first of some contexts; `None` where there is none."""
        return cls(names[0], "documents", "") if names else None

    @classmethod
    def parse(cls, cursor: str) -> _Place:
        """Return the place that a cursor tells; raises Failure where it is none of ours."""
        try:
            context, kind, after = orjson.loads(urlsafe_b64decode(cursor))
        except (ValueError, TypeError) as error:
            raise _no_cursor() from error
        match context, kind, after:
            case str(), "documents", str():
                return cls(context, "documents", after)
            case str(), "items", int() if 0 <= after < 2**62:
                return cls(context, "items", after)
        raise _no_cursor()


def _no_cursor() -> Failure:
    return Failure(400, "invalid_request", "the cursor is none of this server: begin without one")


def _mime_type(item: Item) -> str:
    return _MIME_TYPES.get(item.kind, _PLAIN)


def _title(item: Item) -> str:
    return _flat(item.title or item.source or item.id)


def _flat(text: str) -> str:
    """Return a text on one line, without characters that control what shows it."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
