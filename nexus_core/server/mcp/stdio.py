"""MCP over stdin and stdout: for a program that starts us, as the user of this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mcp.server.stdio import stdio_server

from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.access.access import AccessControl
from nexus_core.server.errors import INTERNAL, Failure
from nexus_core.server.mcp.caller import McpCaller, RunningCalls
from nexus_core.server.mcp.pipeline_calls import PipelineCalls
from nexus_core.server.mcp.protocol_server import make_server
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.settings import ServerSettings
from nexus_core.store.store import Store
from nexus_core.toolkit.shared_resources import SharedResources

_log = logging.getLogger(__name__)


async def serve_stdio(
    pipelines: Mapping[str, Pipeline], store: Store, settings: ServerSettings, shared: SharedResources
) -> None:
    """Serve whoever has started this process until stdin ends; what is printed goes to stderr.

    They use the store as this machine's user does: without keys, and seeing everything. Both eras of the protocol are
    spoken, as the first message opens it; calls that are under way when stdin ends are cancelled. Raises StoreError
    where the store cannot be opened.
    """
    serving = ServedPipelines(pipelines, store, shared)
    calls = PipelineCalls(serving, AccessControl(settings.limits), settings)
    server = make_server(serving, calls, RunningCalls(), operator_of)
    async with serving, stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def operator_of(context: Any) -> McpCaller:
    """Return who sends what comes over stdin: the user of this machine."""
    return McpCaller(log_failure=_log_failure)


def _log_failure(failure: Failure) -> None:
    if failure.code == INTERNAL:
        _log.error("a call failed", exc_info=True)
    elif failure.words or failure.noted:
        _log.info("%s: %s", failure.code, failure)
