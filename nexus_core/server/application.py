"""The application: every request passes the same gate, and every failure leaves it in the same shape."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from secrets import token_hex
from time import perf_counter
from typing import Any

from aiohttp import web

from nexus_core.server.errors import Failure, failure_of, openai_shape, own_shape
from nexus_core.server.gate import Gate
from nexus_core.server.identity import Identity
from nexus_core.server.routes import Route
from nexus_core.server.settings import Settings

REQUEST_ID = web.RequestKey("request_id", str)
IDENTITY = web.RequestKey("identity", Identity)

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Server": "nexus"}
_JSON = "application/json"

_access = logging.getLogger("nexus_core.access")
_log = logging.getLogger(__name__)


def build(routes: Iterable[Route], gate: Gate, settings: Settings) -> web.Application:
    """Return an application that serves these routes and no others."""
    application = web.Application(client_max_size=settings.limits.upload_bytes)
    table = {}
    for route in routes:
        path = route.path if route.bare else settings.prefix + route.path
        added = application.router.add_route(route.method, path, route.handler)
        table[added.resource, route.method] = route
    application.middlewares.append(_entrance(table, gate, settings))
    return application


def _entrance(table: Mapping[Any, Route], gate: Gate, settings: Settings) -> Any:
    @web.middleware
    async def enter(request: web.Request, handler: Any) -> web.StreamResponse:
        began = perf_counter()
        given = request.headers.get("X-Request-Id", "")
        request_id = request[REQUEST_ID] = given if _GIVEN_ID.fullmatch(given) else token_hex(12)
        info = request.match_info
        route = table.get((info.route.resource, request.method))
        status = 499
        try:
            response = await _answered(request, handler, route, gate)
            status = response.status
        except (Failure, web.HTTPException) as error:
            response = refusal(error, request_id, openai=route.openai if route else request.path.startswith("/v1/"))
            status = response.status
        except Exception as error:  # noqa: BLE001 - the last line of defence decides by type what it is
            failure = failure_of(error)
            if failure.status == 500:
                _log.error("request %s failed", request_id, exc_info=True)
            response = refusal(failure, request_id, openai=route.openai if route else False)
            status = response.status
        finally:
            _tell(request, route, request_id, status, perf_counter() - began)
        if not response.prepared:
            response.headers.update(_HEADERS)
            response.headers["X-Request-Id"] = request_id
        return response

    return enter


async def _answered(request: web.Request, handler: Any, route: Route | None, gate: Gate) -> web.StreamResponse:
    """Return what a route answers, if whoever asks may ask it."""
    gate.check_host(request)
    if route is None:
        return await handler(request)  # type: ignore[no-any-return]  # the router's own 404 and 405
    if route.scope != "public":
        request[IDENTITY] = await gate.identify(request, route)
    return await handler(request)  # type: ignore[no-any-return]


def identity(request: web.Request) -> Identity:
    """Return who asks."""
    found: Identity = request[IDENTITY]
    return found


def refusal(error: Failure | web.HTTPException, request_id: str, *, openai: bool) -> web.Response:
    """Return a failure as an answer."""
    if isinstance(error, web.HTTPException):
        headers = {name: value for name, value in error.headers.items() if name == "Allow"}
        error = Failure(error.status, _code(error), _words(error), headers)
    shape = openai_shape if openai else own_shape
    return web.json_response(shape(error, request_id), status=error.status, headers=dict(error.headers))


def _code(error: web.HTTPException) -> str:
    return {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(error.status, "invalid_request")


def _words(error: web.HTTPException) -> str:
    said = {
        404: "there is nothing at this address: /openapi.json lists what there is",
        405: "this address does not take this method",
        413: "the body is too large",
    }
    return said.get(error.status, "the request is not valid")


def _tell(request: web.Request, route: Route | None, request_id: str, status: int, seconds: float) -> None:
    if _access.isEnabledFor(logging.INFO):
        who = request.get(IDENTITY)
        _access.info(
            "%s %s %s %d %.1fms key=%s",
            request_id,
            request.method,
            route.path if route else "-",  # never the address itself: it may hold what is secret
            status,
            seconds * 1e3,
            who.key_id if who and who.key_id else "-",
        )
