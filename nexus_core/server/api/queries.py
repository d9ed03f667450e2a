"""The query API: a question over a context, answered at once or as a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from attrs import evolve, frozen

from nexus_core.contract.answers import Answer
from nexus_core.contract.errors import RunError
from nexus_core.contract.events import Delta, RunFailed, RunFinished, StreamRestarted
from nexus_core.contract.values import Part
from nexus_core.engine.json_shapes import answer_json, attempt_json, packing_json, passages_json
from nexus_core.engine.pipeline import StreamOptions
from nexus_core.server.access.access import AccessControl
from nexus_core.server.api.response_schemas import ANSWER
from nexus_core.server.api.run_query import QueryRequest, answered, call_options, events, question, wants_fresh
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.http.app import ADMITTED_REQUEST, OPERATOR, identity
from nexus_core.server.http.bodies import json_answer, read_json
from nexus_core.server.http.json_schema import QUERY, checker
from nexus_core.server.http.sse import EventStream, event
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.store.store_view import DIGITS
from nexus_core.toolkit.attachments import AttachmentError, attachment_of_base64, image_of_url
from nexus_core.toolkit.timers import TimeLimit

SYSTEM_PROMPT = "systemPrompt"
"""The input of a pipeline that takes a system prompt of its callers."""
_OPTION_NAMES = {"temperature": "temperature", "maxTokens": "max_tokens"}
_LLM_OPTION_NAMES = {
    "stop": "stop",
    "topP": "top_p",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "seed": "extra.seed",
    "responseFormat": "extra.response_format",
}


@frozen
class Included:
    """What an answer tells beside its text."""

    metadata: bool
    trace: bool
    """Also the passages that were sent, what became of the others, and the attempts."""
    digits: int | None
    """Of scores; `None` is all."""
    errors: bool
    """Also what services said in attempts that failed: for operators."""

    @classmethod
    def by(cls, options: dict[str, Any], *, digits: int | None, errors: bool) -> Included:
        """Return what a request's options ask for; the trace comes with the metadata."""
        trace = bool(options.get("includeTrace"))
        return cls(trace or bool(options.get("includeMetadata")), trace, digits, errors)

    def attempt(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the ledger; what a service said of its failure is for operators."""
        return dict(row) if self.errors else {**row, "error": None, "code": None}


class QueriesApi:
    """Answers queries."""

    def __init__(
        self, serving: ServedPipelines, gate: AccessControl, settings: ServerSettings, slow: TimeLimit
    ) -> None:
        self._serving = serving
        self._gate = gate
        self._settings = settings
        self._slow = slow
        self._check = checker(QUERY)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="POST",
                path="/queries",
                handler=self.ask,
                scope="query",
                summary="Ask a question over a context.",
                body=QUERY,
                answer=ANSWER,
                answers_as=("application/json", "text/event-stream"),
                errors=(400, 404, 502, 503, 504),
            )
        ]

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer a question, whole or as a stream."""
        body = self._check(await read_json(request, self._settings.limits))
        options = body.get("options", {})
        asked = await self._question(request, body, options)
        include = Included.by(
            options, digits=None if identity(request).viewer is None else DIGITS, errors=request[OPERATOR]
        )
        if options.get("stream"):
            return await self._stream(request, asked, include)
        try:
            answer = await answered(self._gate, asked)
        except RunError as error:
            raise _failure(error, include) from error
        return json_answer(_answer_json(answer, include))

    async def _question(self, request: web.Request, body: dict[str, Any], options: dict[str, Any]) -> QueryRequest:
        who = identity(request)
        pipeline = self._serving.pipeline(body.get("pipeline"), who.viewer)
        await self._serving.check_context(pipeline, body["contextId"], who.viewer)
        given = {**options, **options.get("llmOptions", {})}
        asked: StreamOptions = {
            "context_id": body["contextId"],
            "model": options.get("modelId"),
            "options": call_options(given, _OPTION_NAMES | _LLM_OPTION_NAMES),
            "deadline_s": self._settings.deadline_s,
            "owner": who.owner,
            "viewer": who.viewer,
            "fresh": wants_fresh(request),
            "traceparent": request.headers.get("traceparent"),
        }
        if body.get("attachments"):
            asked["attachments"] = [_attachment(place, each) for place, each in enumerate(body["attachments"])]
        if "conversationId" in options:
            asked["conversation_id"] = options["conversationId"]
        if "systemPrompt" in options:
            if SYSTEM_PROMPT not in pipeline.inputs:
                raise Failure(
                    400,
                    "invalid_request",
                    f"pipeline {pipeline.name!r} takes no system prompt: it has no input {SYSTEM_PROMPT!r}",
                )
            asked["inputs"] = {SYSTEM_PROMPT: options["systemPrompt"]}
        return question(pipeline, body["query"], asked, request.get(ADMITTED_REQUEST))

    async def _stream(self, request: web.Request, asked: QueryRequest, include: Included) -> web.StreamResponse:
        async with EventStream(request, self._settings.limits, self._slow) as out, events(self._gate, asked) as found:
            async for happened in found:
                match happened:
                    case Delta(text=text) if text:
                        start = b"" if out.has_begun else event(_start(happened.run_id, asked))
                        await out.send(start + event({"type": "chunk", "content": text}))
                    case StreamRestarted() if out.has_begun:
                        await out.send(event({"type": "restart"}))
                    case RunFinished(answer=Answer() as answer):
                        start = b"" if out.has_begun else event(_start(happened.run_id, asked))
                        await out.end(start + event({"type": "end", **_answer_json(answer, include, response=False)}))
                    case RunFinished():
                        raise Failure(400, "invalid_request", "no step of the pipeline gave an answer")
                    case RunFailed():
                        error = happened.error or RuntimeError(happened.kind)
                        raise _failure(error, include) from error
        return out.response


def _attachment(place: int, said: Mapping[str, Any]) -> Part:
    """Return an attachment as a part; raises Failure where it is none."""
    try:
        if ("data" in said) == ("url" in said):
            raise AttachmentError("give either `data`, in base64, or `url`")
        if "url" in said:
            return image_of_url(said["url"])
        name = said.get("filename", "")
        return attachment_of_base64(said["data"], media_type=said.get("mediaType", ""), filename=name)
    except AttachmentError as error:
        raise Failure(400, "invalid_request", f"attachments[{place}]: {error.why}") from error


def _start(run_id: str, asked: QueryRequest) -> dict[str, Any]:
    return {"type": "start", "id": run_id, "modelId": asked.begins_with}


def _failure(error: BaseException, include: Included) -> Failure:
    """Return what a client is told of a run that failed, with its attempts where they are wanted."""
    failure = failure_of(error)
    if include.trace and isinstance(error, RunError):
        return evolve(failure, details={"attempts": [include.attempt(attempt_json(row)) for row in error.attempts]})
    return failure


def _answer_json(answer: Answer, include: Included, *, response: bool = True) -> dict[str, Any]:
    told = answer_json(answer, include.digits)
    if include.trace:
        told["metadata"]["contextItems"] = passages_json(answer.prompt, include.digits)
        told["packing"] = packing_json(answer.prompt, include.digits)
        told["attempts"] = [include.attempt(row) for row in told["attempts"]]
    else:
        del told["attempts"]
    if not include.metadata:
        del told["metadata"]
    if not response:
        del told["response"], told["query"]
    return told
