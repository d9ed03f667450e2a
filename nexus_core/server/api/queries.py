"""The query API: a question over a context, answered at once, as a stream, or in the background."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from secrets import token_hex
from typing import Any

from aiohttp import web
from attrs import evolve

from nexus_core.contract.errors import RunError
from nexus_core.contract.values import Part
from nexus_core.engine.pipeline import StreamOptions
from nexus_core.server.access.access import AccessControl
from nexus_core.server.api.conversations import turn_absence_told
from nexus_core.server.api.query_events import (
    API,
    Included,
    QueryEvents,
    failure_with_attempts,
    interrupted_query,
    outcome_of,
    query_answer_json,
    refusal_of,
)
from nexus_core.server.api.response_schemas import ANSWER, RUN
from nexus_core.server.api.run_query import QueryRequest, answered, call_options, question, wants_fresh
from nexus_core.server.api.runs import run_json, with_run_id
from nexus_core.server.errors import Failure
from nexus_core.server.files.question_documents import QuestionBodies, QuestionDocument
from nexus_core.server.files.received_file import FileReading
from nexus_core.server.http.app import ADMITTED_REQUEST, OPERATOR, failure_body, identity
from nexus_core.server.http.bodies import json_answer
from nexus_core.server.http.json_schema import QUERY, checker
from nexus_core.server.http.sse import EventStream
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.runs.event_numbers import LAST_EVENT, last_event
from nexus_core.server.runs.follow import NO_RUN, RunFollower
from nexus_core.server.runs.live_run import LiveRun
from nexus_core.server.runs.run_service import RunRequest, RunService
from nexus_core.server.settings import ServerSettings
from nexus_core.store.runs import StoredRun
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
_TRIES = 3
"""So often a named request is begun where another one with its name was not begun after all: its client had left."""
_KEY = "Idempotency-Key"
_LONGEST_KEY = 255
_HEADERS = {
    _KEY: {"type": "string", "maxLength": _LONGEST_KEY, "description": "The same key and body is the same run."},
    **LAST_EVENT,
}


class QueriesApi:
    """Answers queries."""

    def __init__(
        self,
        serving: ServedPipelines,
        gate: AccessControl,
        settings: ServerSettings,
        slow: TimeLimit,
        runs: RunService,
        reading: FileReading,
    ) -> None:
        self._serving = serving
        self._gate = gate
        self._settings = settings
        self._bodies = QuestionBodies(reading)
        self._slow = slow
        self._runs = runs
        self._check = checker(QUERY)
        runs.on_interrupt(API, interrupted_query)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="POST",
                path="/queries",
                handler=self.ask,
                scope="query",
                name="askQuestion",
                summary="Ask a question over a context.",
                body=QUERY,
                answer=ANSWER,
                accepted=RUN,
                headers=_HEADERS,
                answers_as=("application/json", "text/event-stream"),
                errors=(400, 404, 409, 410, 413, 422, 501, 502, 503, 504),
            )
        ]

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer a question, whole or as a stream, or say where its answer will be."""
        last = last_event(request)
        body, asked, documents = await self._receive(request, goes_on=last is not None)
        options = body.get("options", {})
        include = Included.by(
            options, digits=None if identity(request).viewer is None else DIGITS, errors=request[OPERATOR]
        )
        include = evolve(include, documents=documents)
        background, key = bool(options.get("background")), _idempotency_key(request)
        if options.get("approveTools") and not (options.get("stream") or background):
            said = "approveTools asks by events: ask for a stream, or in the background"
            raise Failure(400, "invalid_request", said, param="options.approveTools")
        if options.get("stream") or background or key is not None:
            run = self._run(request, body, asked, include)
            return await (self._stream(request, run, last) if options.get("stream") else self._outcome(request, run))
        try:
            answer = await answered(self._gate, asked)
        except RunError as error:
            raise failure_with_attempts(error, include) from error
        return json_answer(query_answer_json(answer, include))

    async def _receive(
        self, request: web.Request, *, goes_on: bool
    ) -> tuple[dict[str, Any], QueryRequest, tuple[QuestionDocument, ...]]:
        """Return the body, the question, and its documents, which are not read where a stream is read on.

        What is wrong with the question is told before any is read.
        """
        async with self._bodies.receive(request) as received:
            body = received.body = self._check(received.body)
            received.check_size()
            if "contextId" not in body and not body.get("documents"):
                said = "contextId is missing: only questions about `documents` need none"
                raise Failure(400, "invalid_request", said, param="contextId")
            options = body.get("options", {})
            asked = await self._question(request, body, options)
            reads = not (goes_on and options.get("stream"))
            view = self._serving.seen_by(identity(request).viewer)
            documents = await received.read(view, to_operator=request[OPERATOR], reads=reads)
        items = [item for document in documents for item in document.items]
        return body, evolve(asked, asked={**asked.asked, "items": items}) if items else asked, documents

    async def _question(self, request: web.Request, body: dict[str, Any], options: dict[str, Any]) -> QueryRequest:
        who = identity(request)
        pipeline = self._serving.pipeline(body.get("pipeline"), who.viewer)
        context = body.get("contextId")
        if context is not None:
            await self._serving.check_context(pipeline, context, who.viewer)
        given = {**options, **options.get("llmOptions", {})}
        asked: StreamOptions = {
            "context_id": context,
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
        if files := _file_names(body):
            asked["files"] = files
        if "conversationId" in options:
            asked["conversation_id"] = options["conversationId"]
        if "replaces" in options:
            asked["replaces"] = await self._replaced(request, options)
        if "systemPrompt" in options:
            if SYSTEM_PROMPT not in pipeline.inputs:
                raise Failure(
                    400,
                    "invalid_request",
                    f"pipeline {pipeline.name!r} takes no system prompt: it has no input {SYSTEM_PROMPT!r}",
                )
            asked["inputs"] = {SYSTEM_PROMPT: options["systemPrompt"]}
        return question(pipeline, body["query"], asked, request.get(ADMITTED_REQUEST))

    async def _replaced(self, request: web.Request, options: Mapping[str, Any]) -> str:
        """Return the turn that is asked again; raises Failure where there is none."""
        who, turn = identity(request), str(options["replaces"])
        if "conversationId" not in options:
            said = "replaces is the id of a turn: say by conversationId of which conversation"
            raise Failure(400, "invalid_request", said, param="options.replaces")
        with turn_absence_told(options["conversationId"], turn):
            await self._serving.seen_by(who.viewer).turn_versions(options["conversationId"], who.owner, turn)
        return turn

    def _run(self, request: web.Request, body: Mapping[str, Any], asked: QueryRequest, include: Included) -> RunRequest:
        id = token_hex(16)
        events = QueryEvents(request, id, asked.begins_with, include)
        return RunRequest(
            question=with_run_id(asked, id),
            id=id,
            api=API,
            events=events,
            background=bool(body.get("options", {}).get("background")),
            idempotency=_idempotency_key(request),
            fingerprint=sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(),
            asks=events if body.get("options", {}).get("approveTools") else None,
        )

    async def _stream(self, request: web.Request, run: RunRequest, last: tuple[str, int] | None) -> web.StreamResponse:
        """Stream a run; one whose stream was cut goes on after the last event that the client has had."""
        async with EventStream(request, self._settings.limits, self._slow) as out:
            if last is None:
                await self._stream_named(request, run, out)
            else:
                follower = self._runs.follower(request, last[0])
                if (await follower.get(had_events=True)).fingerprint != run.fingerprint:
                    said = "Last-Event-ID is of the run of another request: send the one that this request began"
                    raise Failure(422, "invalid_request", said)
                await follower.send(out, last[1])
        return out.response

    async def _stream_named(self, request: web.Request, asked: RunRequest, out: EventStream) -> None:
        """Stream a run, or the one that its name stands for; where that was not begun after all, begin it."""
        for tries_left in reversed(range(_TRIES)):
            if (joined := await self._runs.stream(request, asked, out)) is None:
                return
            follower = self._runs.follower(request, joined.id)
            try:
                await _check_refused(follower, await follower.beginning())
            except Failure as failure:
                if failure.code != NO_RUN or not tries_left:
                    raise
                continue
            await follower.send(out, 0)
            return

    async def _outcome(self, request: web.Request, asked: RunRequest) -> web.Response:
        """Answer with where the answer will be, or, without a background, with the answer once it is there."""
        for tries_left in reversed(range(_TRIES)):
            run, live = await self._runs.start(request, asked)
            try:
                return await self._outcome_of(request, asked, run, live)
            except Failure as failure:
                if live is not None or failure.code != NO_RUN or not tries_left:
                    raise
        raise AssertionError

    async def _outcome_of(
        self, request: web.Request, asked: RunRequest, run: StoredRun, live: LiveRun | None
    ) -> web.Response:
        follower = self._runs.follower(request, run.id)
        if asked.background:
            if live is None:  # which may be seen no more
                run = await follower.get()
            where = f"{self._settings.prefix}/runs/{run.id}"
            return json_answer(run_json(run, b""), status=202, headers={"Location": where})
        if live is not None and isinstance(asked.events, QueryEvents):
            await live.ended.wait()
            if live.failure is not None:
                told = failure_body(request, live.failure, openai=False)
                return json_answer(told, status=live.failure.status, headers=live.failure.headers)
            return json_answer(asked.events.whole)
        run = await follower.outcome()
        await _check_refused(follower, run)
        status, outcome = outcome_of(run, await follower.last_event(run))
        return json_answer(outcome, status=status)


async def _check_refused(follower: RunFollower, run: StoredRun) -> None:
    """Raise Failure where the run of a named request was refused before it began: so are those that have joined it."""
    if run.state != "running" and run.idempotency is None:
        raise refusal_of(run, await follower.last_event(run))


def _idempotency_key(request: web.Request) -> str | None:
    """Return the name that a client gives a request, with or without the quotes of a structured header."""
    said = request.headers.getall(_KEY, ())
    if not said:
        return None
    key = said[0].strip()
    key = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if len(said) > 1 or not key.isascii() or not key.isprintable() or not 0 < len(key) <= _LONGEST_KEY:
        raise Failure(400, "invalid_request", f"{_KEY} is sent once, with 1 to {_LONGEST_KEY} characters of ASCII")
    return key


def _file_names(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the files of a question, as its turn keeps them."""
    documents = [each["name"] for each in body.get("documents", ())]
    return (*documents, *(each["filename"] for each in body.get("attachments", ()) if each.get("filename")))


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
