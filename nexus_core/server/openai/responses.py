"""Responses of OpenAI's API: text in, text out, whole, as events or in the background; those alone are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any

from aiohttp import web
from attrs import evolve

from nexus_core.server.api.run_query import QueryRequest, call_options
from nexus_core.server.errors import Failure
from nexus_core.server.http.bodies import json_answer, read_json
from nexus_core.server.http.json_schema import checker
from nexus_core.server.http.sse import EventStream
from nexus_core.server.openai.background import API, BackgroundResponse, interrupted_response
from nexus_core.server.openai.citations import CitedAnswer
from nexus_core.server.openai.messages import read_messages
from nexus_core.server.openai.parameters import REFUSED_IN_RESPONSES, response_schema, served_parameters, with_schema
from nexus_core.server.openai.response_events import ResponseEvents
from nexus_core.server.openai.response_schema import (
    OPTION_NAMES,
    REQUEST,
    REQUEST_BODY,
    RESPONSE,
    ResponseJson,
    annotations_of,
    call_item,
    message_item,
    messages_of,
    reasoning_item,
    text_part,
)
from nexus_core.server.openai.runs import OpenAIRuns
from nexus_core.server.openai.tools import with_tools
from nexus_core.server.routes import Route
from nexus_core.server.runs.run_service import RunRequest, RunService
from nexus_core.server.settings import ServerSettings
from nexus_core.toolkit.timers import TimeLimit


class ResponsesApi:
    """Answers clients of the Responses API."""

    def __init__(self, runs: OpenAIRuns, settings: ServerSettings, service: RunService, slow: TimeLimit) -> None:
        self._runs = runs
        self._settings = settings
        self._service = service
        self._slow = slow
        service.on_interrupt(API, interrupted_response)
        self._check = checker(REQUEST)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="POST", path="/v1/responses", handler=self.respond, scope="query", bare=True, openai=True,
                name="createResponse",
                summary="Ask: the last message of the input is the question, what comes before is the history.",
                body=REQUEST_BODY, answer=RESPONSE, answers_as=("application/json", "text/event-stream"),
                errors=(400, 404, 501, 502, 503, 504),
            ),
        ]  # fmt: skip

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer the last message of the input, whole or as a stream."""
        given = served_parameters(await read_json(request, self._settings.limits), REFUSED_IN_RESPONSES)
        body = self._check(given)
        target = await self._runs.resolve(request, body["model"])
        said = read_messages(messages_of(body), target[0], "input")
        options = call_options(body, OPTION_NAMES)
        asked_format = body.get("text", {}).get("format")
        if asked_format is not None:
            options = with_schema(options, response_schema(asked_format, "text.format"))
        asked = self._runs.question(request, target, said, with_tools(options, body, target[0]))
        response, shows = ResponseJson(body), self._settings.show_reasoning
        if body.get("background"):
            return await self._in_background(request, body, asked, response)
        if body.get("stream"):
            return await self._runs.stream(request, asked, ResponseEvents(response, with_reasoning=shows))
        told = await self._runs.answer(request, asked)
        return json_answer(response.whole(told.answer, output_of(told, with_reasoning=shows)))

    async def _in_background(
        self, request: web.Request, body: Mapping[str, Any], asked: QueryRequest, response: ResponseJson
    ) -> web.StreamResponse:
        """Answer at once with a response that is under way, or stream what goes on without its client."""
        if body.get("store") is False:
            said = "a response in the background is kept until it is fetched: leave `store` out"
            raise Failure(400, "invalid_request", said, param="store")
        id, shows = token_hex(16), self._settings.show_reasoning
        events = BackgroundResponse(request, self._runs, asked, id, response, with_reasoning=shows)
        question = evolve(asked, asked={**asked.asked, "run_id": id})
        run = RunRequest(question=question, id=id, api=API, events=events, background=True)
        if not body.get("stream"):
            begun = events.response
            await self._service.start(request, run)
            return json_answer(begun)
        async with EventStream(request, self._settings.limits, self._slow) as out:
            await self._service.stream(request, run, out)
        return out.response


def output_of(told: CitedAnswer, *, with_reasoning: bool) -> list[Mapping[str, Any]]:
    """Return the items of a whole answer: what was thought, what is said, the tools that are called."""
    answer, run_id = told.answer, told.answer.id
    found: list[Mapping[str, Any]] = []
    if with_reasoning and answer.reasoning:
        found.append(reasoning_item(run_id, 0, [answer.reasoning]))
    if told.text or not answer.tool_calls:
        found.append(message_item(run_id, [text_part(told.text, annotations_of(told.citations))]))
    for call in answer.tool_calls:
        found.append(call_item(run_id, len(found), call))
    return found
