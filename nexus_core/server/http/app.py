"""The application: every request passes the same gate, and every failure leaves it in the same shape."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from secrets import token_hex
from time import perf_counter
from typing import Any

from aiohttp import web

from nexus_core.server.access.access import AccessControl, check_scope
from nexus_core.server.access.identity import Identity
from nexus_core.server.access.key_limits import AdmittedRequest
from nexus_core.server.access.run_slots import take_back
from nexus_core.server.errors import INTERNAL, Failure, cancelled_within, failure_of, json_rpc_shape, shape
from nexus_core.server.http.bodies import json_answer, refuse_unknown
from nexus_core.server.openai.not_served import instead_of
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings

REQUEST_ID = web.RequestKey("request_id", str)
IDENTITY = web.RequestKey("identity", Identity)
ROUTE = web.RequestKey("route", Route)
ADMITTED_REQUEST = web.RequestKey("admitted_request", AdmittedRequest)
"""What the limits of its key hold for a request; not there where the key has none."""
OPERATOR = web.RequestKey("operator", bool)
"""Whether whoever asks reads the words of errors, as the operator does."""
BEGUN = web.RequestKey("begun", web.StreamResponse)
"""An answer whose head is sent: no other can take its place."""

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Server": "nexus"}
_KEPT_NOWHERE = "no-store"
"""What answers hold is for whoever asked: no cache keeps it, but where a route says so of its own files."""
_JSON = "application/json"

_access = logging.getLogger("nexus_core.access")
_log = logging.getLogger(__name__)


def build(routes: Iterable[Route], gate: AccessControl, settings: ServerSettings) -> web.Application:
    """Return an application that serves these routes and no others."""
    application = web.Application(client_max_size=settings.limits.upload_bytes)
    table = {}
    for route in routes:
        path = route.path if route.bare else settings.prefix + route.path
        added = application.router.add_route(route.method, path, route.handler, expect_handler=_say_nothing)
        table[added.resource, route.method] = route
    application.middlewares.append(_entrance(table, gate, settings))
    application.on_response_prepare.append(_sign)
    return application


async def _say_nothing(request: web.Request) -> None:
    """Let a client that asks wait with its body: who is let in is told to send it when it is read."""


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """Name the server in what aiohttp answers by itself, too."""
    response.headers["Server"] = _HEADERS["Server"]


def _entrance(table: Mapping[Any, Route], gate: AccessControl, settings: ServerSettings) -> Any:
    of_openai = re.compile(r"/v1(/|$)")

    @web.middleware
    async def enter(request: web.Request, handler: Any) -> web.StreamResponse:
        began = perf_counter()
        given = request.headers.get("X-Request-Id")
        request_id = given if given is not None and _GIVEN_ID.fullmatch(given) else token_hex(12)
        request[REQUEST_ID] = request_id
        request[OPERATOR] = settings.show_upstream_errors
        route = table.get((request.match_info.route.resource, request.method))
        if route is not None:
            request[ROUTE] = route
        status = 499
        try:
            with gate.places.under_way():
                await gate.turnstile.enter()
                response = await _answered(request, handler, route, gate)
            status = response.status
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 - the last line of defence decides by type
            error = raised if isinstance(raised, Exception) else _cancelled_within(raised, request, gate)
            openai = route.openai if route is not None else of_openai.match(request.path) is not None
            instead = instead_of(request.path, settings.prefix) if route is None else None
            response = _failed(request, error, openai=openai or instead is not None, instead=instead)
            status = 499 if isinstance(error, ConnectionError) else response.status
        finally:
            if _access.isEnabledFor(logging.INFO):
                _tell(request, route, status, perf_counter() - began)
        if not response.prepared:
            response.headers.update(_HEADERS)
            response.headers.setdefault("Cache-Control", _KEPT_NOWHERE)
            response.headers["X-Request-Id"] = request_id
            response.headers.update(limit_headers(request))
            if gate.is_draining or (response.status >= 400 and not request.content.is_eof()):
                response.force_close()  # what is left of the body is nobody's
        return response

    return enter


async def _answered(request: web.Request, handler: Any, route: Route | None, gate: AccessControl) -> web.StreamResponse:
    """Return what a route answers, if whoever asks may ask it."""
    await gate.check_way(request)
    if route is None or route.scope == "public":
        return await handler(request)  # type: ignore[no-any-return]  # without a route the router's own 404 and 405
    who = request[IDENTITY] = await gate.identify(request, cookies=route.cookies)
    request[OPERATOR] = request[OPERATOR] or who.may("admin")
    check_scope(who, route)
    refuse_unknown(request, route.query)
    await gate.prepare(who, request, route)
    with gate.admit(who, request, route) as admitted_request:
        if admitted_request is not None:
            request[ADMITTED_REQUEST] = admitted_request
        return await handler(request)  # type: ignore[no-any-return]


def _cancelled_within(error: asyncio.CancelledError, request: web.Request, gate: AccessControl) -> Failure:
    """Return why a request has no answer that was cancelled while its client waits; raises the error if it does not."""
    if gate.is_draining or not is_there(request):
        raise error
    take_back()
    return cancelled_within(error)


def _failed(request: web.Request, error: Exception, *, openai: bool, instead: str | None) -> web.StreamResponse:
    """Return the answer to a request that has failed; of an answer that has begun, only its end.

    `instead` is what to call in place of an address that is not there.
    """
    begun: web.StreamResponse | None = request.get(BEGUN)
    if begun is not None:
        if request.transport is not None:
            request.transport.abort()
        if not isinstance(error, ConnectionError):
            log_failure(request, failure_of(error))
        return begun
    if isinstance(error, ConnectionError):  # the client has gone
        return web.Response(status=400)
    if not isinstance(error, web.HTTPException):
        failure = failure_of(error)
        log_failure(request, failure)
        error = failure
    if isinstance(error, web.HTTPException):
        headers = {name: value for name, value in error.headers.items() if name == "Allow"}
        told = f"this address is not served: {instead}" if instead and error.status == 404 else _words(error)
        error = Failure(error.status, _code(error), told, headers)
    route = request.get(ROUTE)
    if route is not None and route.json_rpc:
        body = json_rpc_shape(error, request[REQUEST_ID], to_operator=request[OPERATOR])
    else:
        body = failure_body(request, error, openai=openai)
    return json_answer(body, status=error.status, headers=error.headers)


def is_there(request: web.Request) -> bool:
    """Tell whether the client of a request still waits for its answer: one that leaves cancels it."""
    return request.transport is not None and not request.transport.is_closing()


def failure_body(request: web.Request, failure: Failure, *, openai: bool) -> dict[str, object]:
    """Return what a client is told of a failure, as much as it may read of it."""
    return shape(failure, request[REQUEST_ID], openai=openai, to_operator=request[OPERATOR])


def log_failure(request: web.Request, failure: Failure) -> None:
    """Write what its client may not read of a failure, under the id that it was told.

    Of an error that nobody foresaw that is its traceback.
    """
    if failure.code == INTERNAL:
        _log.error("request %s failed", request[REQUEST_ID], exc_info=True)
    elif failure.words or failure.noted:
        level = logging.WARNING if failure.status >= 500 else logging.INFO
        _log.log(level, "request %s: %s: %s", request[REQUEST_ID], failure.code, failure)


def identity(request: web.Request) -> Identity:
    """Return who asks."""
    found: Identity = request[IDENTITY]
    return found


def limit_headers(request: web.Request) -> Mapping[str, str]:
    """Return the headers that tell what is left of the limits of a key."""
    admitted_request = request.get(ADMITTED_REQUEST)
    return {} if admitted_request is None else admitted_request.told


def _code(error: web.HTTPException) -> str:
    known = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    return known.get(error.status, "invalid_request")


def _words(error: web.HTTPException) -> str:
    said = {
        404: "there is nothing at this address: /openapi.json lists what there is",
        405: "this address does not take this method",
        413: "the body is too large",
    }
    return said.get(error.status, "the request is not valid")


def _tell(request: web.Request, route: Route | None, status: int, seconds: float) -> None:
    who = request.get(IDENTITY)
    _access.info(
        "%s %s %s %d %.1fms key=%s",
        request[REQUEST_ID],
        request.method if route else "-",
        route.path if route else "-",  # never the address itself: it may hold what is secret
        status,
        seconds * 1e3,
        who.key_id if who and who.key_id else "-",
    )
