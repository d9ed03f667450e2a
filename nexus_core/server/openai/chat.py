"""Chats of OpenAI's API: the last message is the question, what comes before it the history."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from aiohttp import web

from nexus_core.server.api.run_query import call_options
from nexus_core.server.http.bodies import json_answer, read_json
from nexus_core.server.http.json_schema import checker
from nexus_core.server.openai.chat_schema import (
    CHAT,
    CHAT_BODY,
    COMPLETION,
    OPTION_NAMES,
    ChatChunks,
    completion_json,
)
from nexus_core.server.openai.messages import number, read_messages
from nexus_core.server.openai.parameters import REFUSED_IN_CHATS, response_schema, served_parameters, with_schema
from nexus_core.server.openai.runs import OpenAIRuns
from nexus_core.server.openai.tools import with_tools
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings


class OpenAIChatApi:
    """Answers chat clients."""

    def __init__(self, runs: OpenAIRuns, settings: ServerSettings) -> None:
        self._runs = runs
        self._settings = settings
        self._check = checker(CHAT)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="POST", path="/v1/chat/completions", handler=self.ask, scope="query", bare=True, openai=True,
                name="createChatCompletion",
                summary="Ask: the last message is the question, what comes before is the history.",
                body=CHAT_BODY, answer=COMPLETION, answers_as=("application/json", "text/event-stream"),
                errors=(400, 404, 502, 503, 504),
            ),
        ]  # fmt: skip

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer the last message, whole or as a stream."""
        body = self._check(served_parameters(await read_json(request, self._settings.limits), REFUSED_IN_CHATS))
        target = await self._runs.resolve(request, body["model"])
        said = read_messages(number("messages", body["messages"]), target[0])
        options = call_options({**body, "stop": body.get("stop") or None}, OPTION_NAMES)
        if "response_format" in body:
            options = with_schema(options, response_schema(body["response_format"], "response_format"))
        asked = self._runs.question(request, target, said, with_tools(options, body, target[0]))
        shows = self._settings.show_reasoning
        if body.get("stream"):
            with_usage = bool(body.get("stream_options", {}).get("include_usage"))
            return await self._runs.stream(request, asked, ChatChunks(with_usage=with_usage, with_reasoning=shows))
        told = await self._runs.answer(request, asked)
        return json_answer(completion_json(told, int(time()), with_reasoning=shows))
