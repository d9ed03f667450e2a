"""The route `/mcp`: the protocol over HTTP, with the keys, scopes, owners, grants and limits of all other routes.

Nothing is remembered from one request to the next, so that any worker and any server takes any request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from aiohttp import web

from nexus_core.server.access.access import AccessControl
from nexus_core.server.api.run_query import wants_fresh
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import ADMITTED_REQUEST, OPERATOR, REQUEST_ID, identity, log_failure
from nexus_core.server.http.bodies import parse, read_json_bytes
from nexus_core.server.http.json_schema import checker, closed, text
from nexus_core.server.mcp.caller import McpCaller, RunningCalls
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.server.workers.worker_rpc import WorkerRpc
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.timers import TimeLimit

if TYPE_CHECKING:
    from nexus_core.server.mcp import asgi_bridge, pipeline_calls
else:  # for those who speak MCP
    asgi_bridge, pipeline_calls = (
        LazyModule(f"nexus_core.server.mcp.{name}") for name in ("asgi_bridge", "pipeline_calls")
    )

PATH = "/mcp"
SESSION = "Mcp-Session-Id"
CALLER = "nexus.caller"
"""Where the scope of an ASGI request has who calls."""
MISSING = "MCP needs an extra: pip install 'contextnexus[mcp]'"
_LONGEST_SESSION = 128
_CANCELS = "mcp_cancel"
_ID = {"type": ["string", "integer"]}
MESSAGE = {
    "title": "JsonRpcMessage",
    "type": "object",
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": _ID,
        "method": text(100, minLength=1),
        "params": {"type": "object"},
    },
    "required": ["jsonrpc", "method"],
}
"""A request of JSON-RPC, or without `id` a notification; what else it holds is for later versions of the protocol."""
RESPONSE = closed(
    {"jsonrpc": {"const": "2.0"}, "id": _ID, "result": {"type": "object"}, "error": {"type": "object"}},
    required=("jsonrpc", "id"),
    name="JsonRpcResponse",
)


class McpApi:
    """Serves MCP at one address, beside all other routes."""

    def __init__(
        self,
        serving: ServedPipelines,
        gate: AccessControl,
        settings: ServerSettings,
        slow: TimeLimit,
        siblings: WorkerRpc,
    ) -> None:
        self._serving = serving
        self._gate = gate
        self._settings = settings
        self._slow = slow
        self._siblings = siblings
        self._check = checker(MESSAGE)
        self._running = RunningCalls()
        siblings.on(_CANCELS, lambda key: self._running.cancel(tuple(key)))
        self._starting: asyncio.Task[Any] | None = None
        """Returns the session manager of the SDK, once somebody has spoken MCP."""
        self._holding: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def routes(self) -> Sequence[Route]:
        """Return the route of this part; other methods than POST are for servers that remember sessions."""
        return [
            Route(
                method="POST", path=PATH, handler=self.answer, scope="any", bare=True, json_rpc=True, cookies=False,
                summary="Speak MCP: one message of JSON-RPC; each tool needs its own scope.",
                body=MESSAGE, answer=RESPONSE, answers_as=("application/json", "text/event-stream"), accepted={},
                errors=(400, 404, 406, 501),
            ),
        ]  # fmt: skip

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one message."""
        body = await read_json_bytes(request, self._settings.limits)
        message = self._check(parse(body))
        caller = self._caller(request)
        sessions = await self._started()
        await self._cancel_named(caller, message)
        headers = {SESSION: token_hex(16)} if message.get("method") == "initialize" else {}
        exchange = asgi_bridge.AsgiExchange(request, body, self._settings.limits, self._slow, headers)
        return await exchange.answer(sessions.handle_request, {CALLER: caller})

    async def close(self) -> None:
        """End what the SDK still does."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        self._stop.set()
        if self._holding is not None:
            await self._holding

    def _caller(self, request: web.Request) -> McpCaller:
        session = request.headers.get(SESSION, "")
        task = asyncio.current_task()
        return McpCaller(
            who=identity(request),
            admitted_request=request.get(ADMITTED_REQUEST),
            to_operator=request[OPERATOR],
            request_id=request[REQUEST_ID],
            session=session if len(session) <= _LONGEST_SESSION else "",
            traceparent=request.headers.get("traceparent"),
            fresh=wants_fresh(request),
            log_failure=partial(log_failure, request),
            hand_over=lambda: self._gate.places.hand_over(task),
        )

    async def _cancel_named(self, caller: McpCaller, message: dict[str, Any]) -> None:
        """Cancel the call that a notification of the older era names, here or in another worker.

        It comes by a request of its own; the newer era closes the stream of the call instead.
        """
        params = message.get("params")
        if message.get("method") != "notifications/cancelled" or not isinstance(params, dict):
            return
        key = caller.key_of(params.get("requestId"))
        if key is not None and not self._running.cancel(key):
            await self._siblings.ask(_CANCELS, key, needs_all=False)

    async def _started(self) -> Any:
        """Return the session manager, begun with the first request; raises Failure without the SDK."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        try:
            return await asyncio.shield(self._starting)  # others wait for it, too
        except Failure:
            self._starting = None
            raise

    async def _start(self) -> Any:
        try:  # beside the event loop: it takes half a second
            manager = await asyncio.to_thread(import_module, "mcp.server.streamable_http_manager")
            protocol = await asyncio.to_thread(import_module, "nexus_core.server.mcp.protocol_server")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in ("mcp", "mcp_types"):
                raise
            raise Failure(501, "not_installed", MISSING) from error
        calls = pipeline_calls.PipelineCalls(self._serving, self._gate, self._settings)
        server = protocol.make_server(self._serving, calls, self._running, _caller_of)
        most = self._settings.limits.body_bytes
        sessions = manager.StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=most)
        started = asyncio.Event()
        self._holding = asyncio.create_task(self._hold(sessions, started))
        await started.wait()
        return sessions

    async def _hold(self, sessions: Any, started: asyncio.Event) -> None:
        """Keep the session manager open in a task of its own: its tasks end with the task that has begun it."""
        async with sessions.run():
            started.set()
            await self._stop.wait()


def _caller_of(ctx: Any) -> McpCaller:
    """Return who has sent the HTTP request that a message came by."""
    caller: McpCaller = ctx.request.scope[CALLER]
    return caller
