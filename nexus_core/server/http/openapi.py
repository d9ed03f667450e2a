"""The OpenAPI document, made of the table of routes, and a page that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web

from nexus_core.server.http.json_schema import FAILURE, OPENAI_FAILURE
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings

_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_STREAM = "text/event-stream"
_SAID = {
    400: "The request is not valid.",
    401: "The key is missing or not valid.",
    403: "The key may not do this.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "There is something of this name already.",
    410: "It was there, and was not kept.",
    413: "The body is too large.",
    415: "The body is of a kind that is not read here.",
    421: "The server answers to other hosts alone.",
    422: "The document cannot be read.",
    429: "Too many requests: try again after a while.",
    500: "An error inside the server.",
    501: "The server was installed without what this takes.",
    502: "No model answered.",
    503: "The server or a model is busy: try again after a while.",
    504: "The time is up.",
    507: "The store is full.",
}
_ALWAYS = (400, 421, 500, 503)
_WITH_KEY = (401, 403, 429)
_WITH_BODY = (408, 413, 415)
_BEARER = "An API key of `nexus keys new`, or a token of the issuer whose people are let in."
_SECURITY: Sequence[Mapping[str, Sequence[str]]] = [{"bearer": []}, {"header": []}]
_CONTENT_SECURITY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def document(routes: Iterable[Route], prefix: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of some routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = route.path if route.bare else prefix + route.path
        paths.setdefault(_PARAMETER.sub(r"{\1}", path), {})[route.method.lower()] = _operation(route, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ContextNexus",
            "version": version("contextnexus"),
            "description": "Questions answered from a body of context by a language model.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {"Failure": FAILURE, "OpenAIFailure": OPENAI_FAILURE},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _operation(route: Route, path: str) -> dict[str, Any]:
    """Return a route as an operation."""
    told: dict[str, Any] = {
        "operationId": _name(route.method, path),
        "summary": route.summary,
        "tags": [_tag(route)],
        "responses": _responses(route),
    }
    if route.scope != "public":
        told["security"] = _SECURITY
        told["description"] = f"Takes a key of the scope `{route.scope}`."
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": dict(schema)} for name, schema in route.query.items()
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, "schema": dict(schema)}
        for name, schema in route.headers.items()
    ]
    if parameters:
        told["parameters"] = parameters
    if route.uploads:
        told["requestBody"] = _FILES
    elif route.body is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(route.body)}}}
    return told


_BYTES = {"type": "string", "format": "binary"}
_FILES = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": {"type": "array", "items": _BYTES}}},
        },
        "application/octet-stream": {"schema": _BYTES},
    },
}


def _responses(route: Route) -> dict[str, Any]:
    failure = {"$ref": f"#/components/schemas/{'OpenAIFailure' if route.openai else 'Failure'}"}
    content = {"application/json": {"schema": failure}}
    told: dict[str, Any] = {str(route.status): _success(route)}
    if route.accepted is not None:
        later = {"application/json": {"schema": dict(route.accepted)}}
        told["202"] = {"description": "It is under way; the header Location says where it is found.", "content": later}
    takes = _WITH_BODY if route.body is not None or route.uploads else ()
    keys = _WITH_KEY if route.scope != "public" else ()
    for status in sorted({*_ALWAYS, *keys, *takes, *route.errors}):
        told[str(status)] = {"description": _SAID.get(status, "It is refused."), "content": content}
    return told


def _success(route: Route) -> dict[str, Any]:
    if route.status == 204:
        return {"description": "It is done."}
    content: dict[str, Any] = {}
    for media in route.answers_as:
        is_json = media == "application/json"
        content[media] = {"schema": dict(route.answer) if is_json else {"type": "string"}}
    if _STREAM in content:
        content[_STREAM]["schema"] = {"type": "string", "description": "Server-sent events, each of JSON."}
    return {"description": "As asked.", "content": content}


def _name(method: str, path: str) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by_\1", path)) or ["page"]
    return "_".join([method.lower(), *words])


def _tag(route: Route) -> str:
    first = route.path.strip("/").split("/")[0]
    return "openai" if route.openai else ("service" if route.bare else first)


class OpenAPI:
    """Serves the document of routes, and its page."""

    def __init__(self, routes: Sequence[Route], settings: ServerSettings) -> None:
        self._page = files(__package__).joinpath("docs.html").read_bytes()
        own = self.routes()
        self._document = orjson.dumps(document([*routes, *own], settings.prefix))

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part; whoever comes may read them, since they are the same for all servers."""
        about: Mapping[str, Any] = {"type": "object"}
        summary = "Give this document."
        return [
            Route(method="GET", path="/openapi.json", handler=self.show, scope="public", summary=summary, answer=about),
            Route(
                method="GET", path="/openapi.json", handler=self.show, scope="public", summary=summary, answer=about,
                bare=True,
            ),
            Route(
                method="GET", path="/docs", handler=self.show_document, scope="public",
                summary="Show this document to people.",
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
