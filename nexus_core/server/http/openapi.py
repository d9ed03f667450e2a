"""The OpenAPI document, made of the table of routes, and a page that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web

from nexus_core.server.http.components import OpenAPIComponents
from nexus_core.server.http.json_schema import FAILURE, JSON_OBJECT, JSON_RPC_FAILURE, OPENAI_FAILURE, named
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings

_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_STREAM = "text/event-stream"
_FAILURES: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "The request is not valid."),
    401: ("Unauthorized", "The key is missing or not valid."),
    403: ("Forbidden", "The key may not do this."),
    404: ("NotFound", "There is no such thing."),
    406: ("NotAcceptable", "The client takes no answer of the kinds there are."),
    408: ("RequestTimeout", "The body came too slowly."),
    409: ("Conflict", "There is something of this name already."),
    410: ("Gone", "It was there, and was not kept."),
    413: ("TooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body is of a kind that is not read here."),
    421: ("MisdirectedRequest", "The server answers to other hosts alone."),
    422: ("Unreadable", "The document cannot be read."),
    429: ("TooManyRequests", "Too many requests: try again after a while."),
    500: ("InternalError", "An error inside the server."),
    501: ("NotInstalled", "The server was installed without what this takes."),
    502: ("NoModelAnswered", "No model answered."),
    503: ("Busy", "The server or a model is busy: try again after a while."),
    504: ("TimeUp", "The time is up."),
    507: ("StoreFull", "The store is full."),
}
"""The name and the description of the answer with each status of a failure."""
_ALWAYS = (400, 421, 500, 503)
_WITH_KEY = (401, 403, 429)
_WITH_BODY = (408, 413, 415)
_TAGS: Mapping[str, str] = {
    "queries": "Questions over contexts, and the models that answer them.",
    "runs": "Runs of questions: state, events, end.",
    "pipelines": "The pipelines that are served.",
    "contexts": "Contexts with their items and documents.",
    "conversations": "Conversations of whoever asks.",
    "keys": "Keys, what they may do and what they spend.",
    "openai": "The API of OpenAI: pipelines are its models.",
    "mcp": "The Model Context Protocol: tools, resources and prompts for programs.",
    "auth": "Sign-in of people in a browser.",
    "service": "The server itself: health, figures, this document.",
}
"""The groups of operations; a path whose first segment is none of them belongs to one of these, or to the last."""
_TAG_OF = {"identity": "keys", "spend": "keys"}
_BEARER = "An API key of `nexus keys new`, or a token of the issuer whose people are let in."
_SECURITY: Sequence[Mapping[str, Sequence[str]]] = [{"bearer": []}, {"header": []}]
_CONTENT_SECURITY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def document(routes: Iterable[Route], prefix: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of some routes; raises ValueError for two schemas of one name."""
    components = OpenAPIComponents()
    paths: dict[str, dict[str, Any]] = {}
    used = set[str]()
    for route in routes:
        if route.is_api:
            path = route.path if route.bare else prefix + route.path
            operation = _operation(route, components)
            paths.setdefault(_PARAMETER.sub(r"{\1}", path), {})[route.method.lower()] = operation
            used.update(operation["tags"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ContextNexus",
            "version": version("contextnexus"),
            "description": "Questions answered from a body of context by a language model.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": said} for name, said in _TAGS.items() if name in used],
        "paths": paths,
        "components": {
            **components.all(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _operation(route: Route, components: OpenAPIComponents) -> dict[str, Any]:
    """Return a route as an operation."""
    is_public = route.scope == "public"
    told: dict[str, Any] = {
        "operationId": route.name or _name(route.method, route.path),
        "summary": route.summary,
        "tags": [_tag(route)],
        "security": [] if is_public else _SECURITY,
        "responses": _responses(route, components),
    }
    if not is_public:
        told["description"] = f"Takes a key of the scope `{route.scope}`."
    if parameters := _parameters(route, components):
        told["parameters"] = parameters
    if route.uploads:
        told["requestBody"] = _content(_FILES, components)
    elif route.file_types:
        told["requestBody"] = _content(dict.fromkeys(route.file_types, _BYTES), components)
    elif route.body is not None:
        told["requestBody"] = _content({"application/json": route.body}, components)
    return told


def _parameters(route: Route, components: OpenAPIComponents) -> list[dict[str, Any]]:
    whole = {"type": "string", "minLength": 1}
    found = [
        components.put("parameters", name, {"name": name, "in": "path", "required": True, "schema": whole})
        for name in _PARAMETER.findall(route.path)
    ]
    for place, schemas in (("query", route.query), ("header", route.headers)):
        found += [
            {"name": name, "in": place, "required": False, "schema": components.schema(schema)}
            for name, schema in schemas.items()
        ]
    return found


_BYTES = {"type": "string", "format": "binary"}
_FILES = {
    "multipart/form-data": named(
        "UploadedFiles", {"type": "object", "properties": {"file": {"type": "array", "items": _BYTES}}}
    ),
    "application/octet-stream": _BYTES,
}
_WHERE = {"Location": {"description": "The address of it.", "schema": {"type": "string"}}}


def _content(schemas: Mapping[str, Mapping[str, Any]], components: OpenAPIComponents) -> dict[str, Any]:
    """Return a body that must be there, by its media types."""
    return {
        "required": True,
        "content": {media: {"schema": components.schema(schema)} for media, schema in schemas.items()},
    }


def _responses(route: Route, components: OpenAPIComponents) -> dict[str, Any]:
    told: dict[str, Any] = {str(route.status): _success(route, components)}
    if route.accepted is not None:
        told["202"] = _accepted(route.accepted, components)
    takes = _WITH_BODY if route.body is not None or route.uploads or route.file_types else ()
    keys = _WITH_KEY if route.scope != "public" else ()
    prefix, shape = _failure_shape(route)
    schema = components.schema(shape)
    for status in sorted({*_ALWAYS, *keys, *takes, *route.errors}):
        name, said = _FAILURES.get(status, (f"Status{status}", "It is refused."))
        failure = {"description": said, "content": {"application/json": {"schema": schema}}}
        told[str(status)] = components.put("responses", prefix + name, failure)
    return told


def _failure_shape(route: Route) -> tuple[str, Mapping[str, Any]]:
    """Return in which shape a route tells a failure, and what the names of such answers begin with."""
    if route.json_rpc:
        return "JsonRpc", JSON_RPC_FAILURE
    return ("OpenAI", OPENAI_FAILURE) if route.openai else ("", FAILURE)


def _accepted(schema: Mapping[str, Any], components: OpenAPIComponents) -> dict[str, Any]:
    if not schema:
        return {"description": "It is taken, and nothing is answered."}
    return {
        "description": "It is under way; the header Location says where it is found.",
        "headers": _WHERE,
        "content": {"application/json": {"schema": components.schema(schema)}},
    }


def _success(route: Route, components: OpenAPIComponents) -> dict[str, Any]:
    if route.status == 204:
        return {"description": "It is done."}
    if 300 <= route.status < 400:
        return {"description": "Go on at another address.", "headers": _WHERE}
    content: dict[str, Any] = {}
    for media in route.answers_as:
        is_json = media == "application/json"
        content[media] = {"schema": components.schema(route.answer) if is_json else {"type": "string"}}
    if _STREAM in content:
        content[_STREAM]["schema"] = {"description": "Server-sent events, each of JSON."}
    return {"description": "As asked.", "content": content}


def _name(method: str, path: str) -> str:
    """Return an operationId for a route without a name of its own, as `getRunsByRunId`; the prefix is not in it."""
    words = re.findall(r"[A-Za-z0-9]+", _PARAMETER.sub(r"by/\1", path)) or ["page"]
    return method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def _tag(route: Route) -> str:
    first = route.path.strip("/").split("/")[0]
    name = _TAG_OF.get(first, first)
    return "openai" if route.openai else name if name in _TAGS else "service"


class OpenAPI:
    """Serves the document of routes, and its page."""

    def __init__(self, routes: Sequence[Route], settings: ServerSettings) -> None:
        self._page = files(__package__).joinpath("docs.html").read_bytes()
        self._all = (*routes, *self.routes())
        self._prefix = settings.prefix

    @cached_property
    def _document(self) -> bytes:
        """The document as JSON; made for the first who asks."""
        return orjson.dumps(document(self._all, self._prefix))

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part; whoever comes may read them, since they are the same for all servers."""
        summary = "Give this document."
        return [
            Route(
                method="GET", path="/openapi.json", handler=self.show, scope="public", name="getOpenAPIBelowPrefix",
                summary=summary, answer=JSON_OBJECT,
            ),
            Route(
                method="GET", path="/openapi.json", handler=self.show, scope="public", name="getOpenAPI",
                summary=summary, answer=JSON_OBJECT, bare=True,
            ),
            Route(
                method="GET", path="/docs", handler=self.show_document, scope="public",
                name="showOpenAPI", summary="Show this document to people.",
                answers_as=("text/html",), bare=True,
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """Give the document."""
        return web.Response(body=self._document, content_type="application/json")

    async def show_document(self, request: web.Request) -> web.Response:
        """Show the document."""
        headers = {"Content-Security-Policy": _CONTENT_SECURITY, "Referrer-Policy": "no-referrer"}
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=headers)
