"""The table of routes: one declaration of each feeds the router, the check of rights and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from attrs import field, frozen

from nexus_core.server.access.identity import Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@frozen(kw_only=True)
class Route:
    """A route: default deny holds for whatever is not declared here."""

    method: str
    path: str
    """With `{name}` for its parameters; the prefix comes before it unless `bare`."""
    handler: Handler
    scope: Scope
    summary: str
    name: str = ""
    """The operationId, as `listContexts`: what generated clients call it; made of method and path where it is empty."""
    body: Mapping[str, Any] | None = None
    """The JSON Schema of the request's body."""
    answer: Mapping[str, Any] = field(factory=dict)
    """The JSON Schema of the answer."""
    status: int = 200
    """Of the answer where all goes well; with 204 it is empty."""
    answers_as: tuple[str, ...] = ("application/json",)
    """The media types of the answer; that of a stream of events comes on top of JSON."""
    query: Mapping[str, Any] = field(factory=dict)
    """The JSON Schemas of the parameters in the query string."""
    headers: Mapping[str, Any] = field(factory=dict)
    """The JSON Schemas of headers that it reads beside those of every route."""
    accepted: Mapping[str, Any] | None = None
    """The JSON Schema of what is answered, with 202, where the rest is done later; `{}` for an empty answer."""
    errors: tuple[int, ...] = ()
    """Statuses that it may answer with, beside those that every route may."""
    bare: bool = False
    """Without the prefix, as `/v1/models`."""
    is_api: bool = True
    """Stands in the OpenAPI document, as all does but the files that the page is made of."""
    openai: bool = False
    """Tells errors in OpenAI's shape."""
    json_rpc: bool = False
    """Tells errors as JSON-RPC does."""
    cookies: bool = True
    """Whether it takes the session of who is signed in to the page; else a bearer token or a key alone."""
    file_types: tuple[str, ...] = ()
    """The media types of the one file that is its body."""
    uploads: bool = False
    """Takes bodies up to the limit of uploads, and other media types than JSON."""
