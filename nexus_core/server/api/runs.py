"""Runs: read on after a cut, looked at, ended; each owner's own, and of those of others nobody hears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from attrs import evolve

from nexus_core.contract.errors import UsageError
from nexus_core.server.api.query_events import API, outcome_of, usage_of
from nexus_core.server.api.response_schemas import RUN
from nexus_core.server.api.run_query import QueryRequest
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import identity
from nexus_core.server.http.bodies import Parameters, json_answer, read_json
from nexus_core.server.http.json_schema import checker, closed
from nexus_core.server.http.sse import EventStream
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.runs.event_numbers import LAST_EVENT, last_event
from nexus_core.server.runs.follow import RunFollower, no_run
from nexus_core.server.runs.run_service import RunService
from nexus_core.server.settings import ServerSettings
from nexus_core.store.runs import StoredRun
from nexus_core.toolkit.timers import TimeLimit

APPROVAL = closed({"approved": {"type": "boolean"}}, required=("approved",), name="ToolApproval")
"""What `POST {prefix}/runs/{runId}/approvals/{callId}` takes."""
_AFTER = {
    "type": "integer", "minimum": 0, "maximum": 2**53, "description": "The number of the last event that you have had."
}  # fmt: skip


class RunsApi:
    """Serves the runs of whoever asks."""

    def __init__(self, serving: ServedPipelines, runs: RunService, settings: ServerSettings, slow: TimeLimit) -> None:
        self._serving = serving
        self._runs = runs
        self._settings = settings
        self._slow = slow
        self._check = checker(APPROVAL)
        self._events = Parameters({"after": _AFTER})

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        one = "/runs/{runId}"
        return [
            Route(
                method="GET", path=one, handler=self.show, scope="query",
                name="getRun", summary="Tell the state of a run of yours, and its answer once it is there.",
                answer=RUN, errors=(404,),
            ),
            Route(
                method="GET", path=one + "/events", handler=self.follow, scope="query",
                name="streamRunEvents", summary="Stream the events of a run of yours, from one on.",
                answer=RUN, answers_as=("text/event-stream",), query=self._events.properties, headers=LAST_EVENT,
                errors=(400, 404),
            ),
            Route(
                method="DELETE", path=one, handler=self.end, scope="query",
                name="endRun", summary="End a run of yours; one that has ended is deleted.", status=204, errors=(404,),
            ),
            Route(
                method="POST", path=one + "/approvals/{callId}", handler=self.decide, scope="query",
                summary="Let a run of yours call a tool that changes something, or refuse it.",
                body=APPROVAL, status=204, errors=(400, 404, 409),
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """Tell of a run."""
        follower, run = await self._find(request)
        last = b"" if run.state == "running" else await follower.last_event(run)
        return json_answer(run_json(run, last))

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Stream the events of a run, from the one after the last that the client has had."""
        after, last = self._events.read(request).get("after", 0), last_event(request)
        if last is not None and last[0] != request.match_info["runId"]:
            raise Failure(400, "invalid_request", "Last-Event-ID is of another run than the address")
        follower, _ = await self._find(request, had_events=bool(after) or last is not None)
        async with EventStream(request, self._settings.limits, self._slow) as out:
            await follower.send(out, after if last is None else last[1])
        return out.response

    async def end(self, request: web.Request) -> web.Response:
        """End a run, or delete what is kept of it."""
        _, run = await self._find(request)
        if run.state == "running":
            await self._runs.end(run)
        else:
            who = identity(request)
            try:
                await self._serving.seen_by(who.viewer).delete_run(run.id, who.owner)
            except UsageError as error:
                raise no_run(run.id, error) from error
        return web.Response(status=204)

    async def decide(self, request: web.Request) -> web.Response:
        """Decide on a call that a run asks about."""
        approved = self._check(await read_json(request, self._settings.limits))["approved"]
        _, run = await self._find(request)
        await self._runs.decide(run, request.match_info["callId"], approved=approved)
        return web.Response(status=204)

    async def _find(self, request: web.Request, *, had_events: bool = False) -> tuple[RunFollower, StoredRun]:
        id = request.match_info["runId"]
        follower = self._runs.follower(request, id)
        run = await follower.get(had_events=had_events)
        if run.api != API:
            raise no_run(id, UsageError("it was asked by another API"))
        return follower, run


def run_json(run: StoredRun, last: bytes) -> dict[str, Any]:
    """Return a run as clients are told it; `last` is its last event, once it has ended."""
    status, outcome = outcome_of(run, last) if last else (0, None)
    return {
        "id": run.id,
        "state": run.state,
        "pipeline": run.pipeline,
        "modelId": run.model_id,
        "background": run.background,
        "created": run.created,
        "ended": run.ended,
        "expires": run.expires,
        "events": run.events,
        "usage": usage_of(run),
        "answer": outcome if status == 200 else None,
        "error": outcome if status != 200 else None,
    }


def with_run_id(question: QueryRequest, id: str) -> QueryRequest:
    """Return a question whose run has this id."""
    return evolve(question, asked={**question.asked, "run_id": id})
