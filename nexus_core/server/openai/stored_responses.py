"""Responses that were asked for in the background: fetched, streamed from an event on, cancelled, deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from aiohttp import web

from nexus_core.contract.errors import UsageError
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import identity
from nexus_core.server.http.bodies import Parameters, json_answer
from nexus_core.server.http.json_schema import closed
from nexus_core.server.http.sse import EventStream
from nexus_core.server.openai.background import API
from nexus_core.server.openai.response_schema import RESPONSE
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.runs.event_numbers import LAST_EVENT, last_event
from nexus_core.server.runs.follow import RunFollower, no_run
from nexus_core.server.runs.live_run import TOO_LARGE, answer_not_kept
from nexus_core.server.runs.run_service import RunService
from nexus_core.server.settings import ServerSettings
from nexus_core.store.runs import StoredRun
from nexus_core.toolkit.timers import TimeLimit

_PREFIX = "resp_"
_PARAMETERS: dict[str, dict[str, Any]] = {
    "stream": {"type": "string", "enum": ["true", "false"]},
    "starting_after": {
        "type": "integer", "minimum": 0, "maximum": 2**53, "description": "The `sequence_number` of your last event."
    },
}  # fmt: skip
DELETED = closed(
    {"id": {"type": "string"}, "object": {"const": "response"}, "deleted": {"const": True}},
    required=("id", "object", "deleted"),
    name="DeletedResponse",
)


class StoredResponsesApi:
    """Serves the responses that were asked for in the background, to whoever asked."""

    def __init__(self, serving: ServedPipelines, runs: RunService, settings: ServerSettings, slow: TimeLimit) -> None:
        self._serving = serving
        self._runs = runs
        self._settings = settings
        self._slow = slow
        self._parameters = Parameters(_PARAMETERS)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        one = "/v1/responses/{responseId}"
        return [
            Route(
                method="GET", path=one, handler=self.show, scope="query", bare=True, openai=True,
                name="getResponse",
                summary="Fetch a response that was asked for in the background, or stream its events.",
                query=self._parameters.properties, headers=LAST_EVENT, answer=RESPONSE,
                answers_as=("application/json", "text/event-stream"), errors=(400, 404, 410),
            ),
            Route(
                method="POST", path=one + "/cancel", handler=self.cancel, scope="query", bare=True, openai=True,
                name="cancelResponse",
                summary="Cancel a response that was asked for in the background.", answer=RESPONSE, errors=(404, 410),
            ),
            Route(
                method="DELETE", path=one, handler=self.delete, scope="query", bare=True, openai=True,
                name="deleteResponse",
                summary="Delete a response that was asked for in the background.", answer=DELETED, errors=(404,),
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Give a response as it is now, or its events."""
        asked, last = self._parameters.read(request), last_event(request)
        follower, run = await self._find(request)
        if asked.get("stream") != "true":
            return _response(run)
        after = asked["starting_after"] + 1 if "starting_after" in asked else 0
        async with EventStream(request, self._settings.limits, self._slow) as out:
            await follower.send(out, after if last is None or last[0] != run.id else last[1], _refuse_gap)
        return out.response

    async def cancel(self, request: web.Request) -> web.Response:
        """End a response, and give it; one that has ended is given as it is."""
        follower, run = await self._find(request)
        if run.state == "running":
            await self._runs.end(run)
            run = await follower.outcome()
        return _response(run)

    async def delete(self, request: web.Request) -> web.Response:
        """End a response, if it is under way, and delete it."""
        follower, run = await self._find(request)
        if run.state == "running":
            await self._runs.end(run)
            await follower.outcome()
        who = identity(request)
        with _as_response(request):
            await self._serving.seen_by(who.viewer).delete_run(run.id, who.owner)
        return json_answer({"id": _PREFIX + run.id, "object": "response", "deleted": True})

    async def _find(self, request: web.Request) -> tuple[RunFollower, StoredRun]:
        id = request.match_info["responseId"]
        follower = self._runs.follower(request, id.removeprefix(_PREFIX))
        with _as_response(request):
            run = await follower.get()
            if run.api != API or not id.startswith(_PREFIX):
                raise no_run(id, UsageError("it was asked by another API"))
        return follower, run


@contextmanager
def _as_response(request: web.Request) -> Iterator[None]:
    """Tell of a run that is not there as OpenAI tells of a response."""
    try:
        yield
    except (UsageError, Failure) as error:
        id = request.match_info["responseId"][:80]
        said = f"there is no response {id!r} of yours, or it has expired: those with `background` are kept"
        raise Failure(404, "response_not_found", said) from error


def _refuse_gap(first: int, last: int) -> bytes:
    """Raise Failure in the place of events that are not kept: their clients know no event that stands for a gap."""
    said = (
        f"the events {first - 1} to {last - 1} are not kept any more: fetch the response without `stream`, or go on"
        f" with starting_after={last - 1}"
    )
    raise Failure(410, "events_not_kept", said)


def _response(run: StoredRun) -> web.Response:
    if run.answer == TOO_LARGE:
        raise answer_not_kept()
    return json_answer(orjson.loads(run.answer or b"{}"))
