"""Whether the server lives, and whether it is ready for requests."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import web

from nexus_core.server.access.access import AccessControl
from nexus_core.server.access.run_slots import shutting_down
from nexus_core.server.api.response_schemas import STATUS
from nexus_core.server.errors import Failure
from nexus_core.server.http.bodies import json_answer
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route

if TYPE_CHECKING:
    from nexus_core.server.cluster.cluster import ServerCluster

_LOOK_S = 5.0
"""How long what was found out of the store holds."""


class HealthApi:
    """Tells of life and readiness, and nothing else."""

    def __init__(self, serving: ServedPipelines, gate: AccessControl, cluster: ServerCluster | None = None) -> None:
        self._serving = serving
        self._gate = gate
        self._cluster = cluster
        self._looked_at = -_LOOK_S
        self._problem: str | None = None

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET",
                path="/healthz",
                handler=self.lives,
                scope="public",
                name="getHealth",
                summary="Tell that the process lives.",
                answer=STATUS,
                bare=True,
            ),
            Route(
                method="GET",
                path="/readyz",
                handler=self.is_ready,
                scope="public",
                name="getReadiness",
                summary="Tell whether requests are served.",
                answer=STATUS,
                errors=(503,),
                bare=True,
            ),
        ]

    async def lives(self, request: web.Request) -> web.Response:
        """Answer, which is all there is to tell."""
        return json_answer({"status": "ok"})

    async def is_ready(self, request: web.Request) -> web.Response:
        """Answer whether the server takes requests, its pipelines are warm, and its store can be written.

        A database on a server is looked at each second anyway; whoever writes to it for long is no reason to be sent
        elsewhere.
        """
        if self._gate.is_draining:
            raise shutting_down()
        if not self._serving.is_warm:
            raise Failure(503, "warming_up", "the pipelines are being warmed up", {"Retry-After": "1"})
        if self._cluster is not None:
            self._cluster.check_ready()
            return json_answer({"status": "ready"})
        if monotonic() - self._looked_at >= _LOOK_S:
            self._problem = await self._serving.find_write_problem()
            self._looked_at = monotonic()
        if self._problem is not None:
            said = "the store cannot be written"
            raise Failure(503, "store_failed", said, {"Retry-After": "5"}, noted=f"{said}: {self._problem}")
        return json_answer({"status": "ready"})
