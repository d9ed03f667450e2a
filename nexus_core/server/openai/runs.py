"""Runs for clients of OpenAI's API: from what a request says to the answer, whole or event by event."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from nexus_core.contract.answers import Answer
from nexus_core.contract.events import Delta, PromptPacked, RunFailed, RunFinished, StreamRestarted
from nexus_core.contract.values import CallOptions, Message
from nexus_core.engine.pipeline import Pipeline, StreamOptions
from nexus_core.server.access.access import AccessControl
from nexus_core.server.api.queries import SYSTEM_PROMPT
from nexus_core.server.api.run_query import QueryRequest, answered, events, question, wants_fresh
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.http.app import ADMITTED_REQUEST, identity
from nexus_core.server.http.sse import EventStream
from nexus_core.server.openai.citations import AnswerCitations, CitedAnswer
from nexus_core.server.openai.messages import ChatRequest
from nexus_core.server.openai.models import PipelineModels
from nexus_core.server.settings import ServerSettings
from nexus_core.toolkit.timers import TimeLimit


class AnswerEvents(Protocol):
    """Writes the events of one answer, in the words of one of OpenAI's APIs."""

    def begin(self, run_id: str, model: str) -> bytes:
        """Return what comes first; asked for once."""

    def is_told(self, delta: Delta) -> bool:
        """Tell whether there is anything in a delta that clients are told."""

    def delta(self, delta: Delta) -> bytes:
        """Return the events with more of the answer."""

    def end(self, told: CitedAnswer) -> bytes:
        """Return the last events of an answer that is complete."""

    def failed(self, request: web.Request, failure: Failure) -> bytes:
        """Return the last event of an answer that failed after it had begun."""


class OpenAIRuns:
    """Runs pipelines for the routes of OpenAI's API."""

    def __init__(
        self,
        models: PipelineModels,
        citations: AnswerCitations,
        gate: AccessControl,
        settings: ServerSettings,
        slow: TimeLimit,
    ) -> None:
        self._models = models
        self._citations = citations
        self._gate = gate
        self._settings = settings
        self._slow = slow

    async def resolve(self, request: web.Request, model: str) -> tuple[Pipeline, str]:
        """Return the pipeline and the context that a request names; raises Failure."""
        return await self._models.resolve(request, model)

    def question(
        self, request: web.Request, target: tuple[Pipeline, str], said: ChatRequest, options: CallOptions | None
    ) -> QueryRequest:
        """Return what a request asks of a pipeline over a context; raises Failure."""
        (pipeline, context_id), who = target, identity(request)
        asked: StreamOptions = {
            "context_id": context_id,
            "options": options,
            "deadline_s": self._settings.deadline_s,
            "owner": who.owner,
            "viewer": who.viewer,
            "fresh": wants_fresh(request),
            "traceparent": request.headers.get("traceparent"),
            "continuation": said.continuation,
            "attachments": said.attachments,
            **_conversation(pipeline, said),
        }
        return question(pipeline, said.query, asked, request.get(ADMITTED_REQUEST))

    async def answer(self, request: web.Request, asked: QueryRequest) -> CitedAnswer:
        """Return the whole answer."""
        return await self.cite(request, asked, await answered(self._gate, asked))

    async def stream(self, request: web.Request, asked: QueryRequest, write: AnswerEvents) -> web.StreamResponse:
        """Stream an answer; one that fails after its first event ends with an event that says so."""
        model, has_begun = asked.begins_with, False
        out = EventStream(request, self._settings.limits, self._slow, write.failed)
        async with out, events(self._gate, asked) as found:
            async for happened in found:
                match happened:
                    case Delta() if write.is_told(happened):
                        start = b"" if has_begun else write.begin(happened.run_id, model)
                        has_begun = True
                        await out.send(start + write.delta(happened))
                    case PromptPacked():
                        model = asked.pipeline.models.get(happened.model).info.id
                    case StreamRestarted() if has_begun:  # there is no way to take back what was sent
                        raise Failure(502, "upstream_truncated", "the answer broke off: ask again")
                    case RunFinished(answer=Answer() as answer):
                        told = await self.cite(request, asked, answer)
                        start = b"" if has_begun else write.begin(happened.run_id, model)
                        await out.end(start + write.end(told))
                    case RunFinished():
                        raise Failure(400, "invalid_request", "no step of the pipeline gave an answer")
                    case RunFailed():
                        error = happened.error or RuntimeError(happened.kind)
                        raise failure_of(error) from error
        return out.response

    async def cite(self, request: web.Request, asked: QueryRequest, answer: Answer) -> CitedAnswer:
        """Return an answer with what it cites, as far as whoever asks may read it."""
        options = asked.asked.get("options")
        as_text = options is None or options.response_schema is None
        return await self._citations.cite(request, answer, as_text=as_text)


def _conversation(pipeline: Pipeline, said: ChatRequest) -> StreamOptions:
    """Return what was said before: a system prompt is the pipeline's input, where it has one for it."""
    if not said.system:
        return {"history": said.history}
    if SYSTEM_PROMPT in pipeline.inputs:
        return {"history": said.history, "inputs": {SYSTEM_PROMPT: said.system}}
    return {"history": (Message("system", said.system), *said.history)}
