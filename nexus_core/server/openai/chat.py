"""Chats of OpenAI's API: the last message is the question, what comes before it the history."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from aiohttp import web

from nexus_core.contract.answers import Answer
from nexus_core.contract.events import Delta, PromptPacked, RunFailed, RunFinished, StreamRestarted
from nexus_core.contract.values import Message
from nexus_core.engine.pipeline import Pipeline, StreamOptions
from nexus_core.server.access.access import AccessControl
from nexus_core.server.api.queries import SYSTEM_PROMPT
from nexus_core.server.api.run_query import QueryRequest, answered, call_options, events, question, wants_fresh
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.http.app import ADMITTED_REQUEST, identity
from nexus_core.server.http.bodies import json_answer, read_json
from nexus_core.server.http.json_schema import checker
from nexus_core.server.http.sse import EventStream
from nexus_core.server.openai.chat_schema import (
    CHAT,
    CHAT_BODY,
    COMPLETION,
    DONE,
    OPTION_NAMES,
    ChatChunks,
    completion_json,
    parameters,
)
from nexus_core.server.openai.messages import ChatRequest, read_messages
from nexus_core.server.openai.models import PipelineModels
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.toolkit.timers import TimeLimit


class OpenAIChatApi:
    """Answers chat clients."""

    def __init__(self, models: PipelineModels, gate: AccessControl, settings: ServerSettings, slow: TimeLimit) -> None:
        self._models = models
        self._gate = gate
        self._settings = settings
        self._slow = slow
        self._check = checker(CHAT)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="POST", path="/v1/chat/completions", handler=self.ask, scope="query", bare=True, openai=True,
                summary="Ask: the last message is the question, what comes before is the history.",
                body=CHAT_BODY, answer=COMPLETION, answers_as=("application/json", "text/event-stream"),
                errors=(400, 404, 502, 503, 504),
            ),
        ]  # fmt: skip

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer the last message, whole or as a stream."""
        body = self._check(parameters(await read_json(request, self._settings.limits)))
        said = read_messages(body["messages"])
        pipeline, context_id = await self._models.resolve(request, body["model"])
        asked: StreamOptions = {
            "context_id": context_id,
            "options": call_options({**body, "stop": body.get("stop") or None}, OPTION_NAMES),
            "deadline_s": self._settings.deadline_s,
            "owner": identity(request).owner,
            "fresh": wants_fresh(request),
            **_conversation(pipeline, said),
        }
        found = question(pipeline, said.query, asked, request.get(ADMITTED_REQUEST))
        if body.get("stream"):
            with_usage = bool(body.get("stream_options", {}).get("include_usage"))
            return await self._stream(request, found, with_usage)
        return json_answer(completion_json(await answered(self._gate, found), int(time())))

    async def _stream(self, request: web.Request, asked: QueryRequest, with_usage: bool) -> web.StreamResponse:
        """Stream an answer; one that fails on the way ends with an error and without [DONE]."""
        chunks: ChatChunks | None = None
        model = asked.begins_with
        async with EventStream(request, self._settings.limits, self._slow) as out, events(self._gate, asked) as found:
            async for happened in found:
                match happened:
                    case Delta(text=text) if text:
                        start = b""
                        if chunks is None:
                            chunks = ChatChunks(happened.run_id, model, int(time()), with_usage=with_usage)
                            start = chunks.role()
                        await out.send(start + chunks.text(text))
                    case PromptPacked():
                        model = asked.pipeline.models.get(happened.model).info.id
                    case StreamRestarted() if chunks is not None:  # there is no way to take back what was sent
                        raise Failure(502, "upstream_truncated", "the answer broke off: ask again")
                    case RunFinished(answer=Answer() as answer):
                        start = b""
                        if chunks is None:
                            chunks = ChatChunks(happened.run_id, model, int(time()), with_usage=with_usage)
                            start = chunks.role()
                        usage = chunks.usage(answer.usage) if with_usage else b""
                        await out.end(start + chunks.end(answer.finish_reason) + usage + DONE)
                    case RunFinished():
                        raise Failure(400, "invalid_request", "no step of the pipeline gave an answer")
                    case RunFailed():
                        error = happened.error or RuntimeError(happened.kind)
                        raise failure_of(error) from error
        return out.response


def _conversation(pipeline: Pipeline, said: ChatRequest) -> StreamOptions:
    """Return what was said before: a system prompt is the pipeline's input, where it has one for it."""
    if not said.system:
        return {"history": said.history}
    if SYSTEM_PROMPT in pipeline.inputs:
        return {"history": said.history, "inputs": {SYSTEM_PROMPT: said.system}}
    return {"history": (Message("system", said.system), *said.history)}
