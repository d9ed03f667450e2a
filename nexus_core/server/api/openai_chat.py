"""The API of OpenAI: a model is a pipeline, or a pipeline over one context, so that any chat client can ask it."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

from aiohttp import web

from nexus_core.contract.answers import Answer
from nexus_core.contract.events import Delta, PromptPacked, RunFailed, RunFinished, StreamRestarted
from nexus_core.contract.values import Message
from nexus_core.engine.pipeline import Pipeline, StreamOptions
from nexus_core.server.access.access import AccessControl
from nexus_core.server.api.openai_schema import (
    CHAT,
    CHAT_BODY,
    COMPLETION,
    DONE,
    MODEL,
    MODELS,
    OPTION_NAMES,
    ChatChunks,
    ChatRequest,
    completion_json,
    parameters,
    read_messages,
)
from nexus_core.server.api.queries import SYSTEM_PROMPT
from nexus_core.server.api.run_query import QueryRequest, answered, call_options, events, question, wants_fresh
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.http.app import ADMITTED_REQUEST, identity
from nexus_core.server.http.bodies import json_answer, read_json
from nexus_core.server.http.json_schema import checker
from nexus_core.server.http.sse import EventStream
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.toolkit.suggest import did_you_mean
from nexus_core.toolkit.timers import TimeLimit

PREFIX = "nexus/"
"""What the names of models begin with."""


class OpenAIChatApi:
    """Answers chat clients."""

    def __init__(
        self, serving: ServedPipelines, gate: AccessControl, settings: ServerSettings, slow: TimeLimit
    ) -> None:
        self._serving = serving
        self._gate = gate
        self._settings = settings
        self._slow = slow
        self._check = checker(CHAT)
        self._since = int(time())

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path="/v1/models", handler=self.models, scope="query", bare=True, openai=True,
                summary="List the pipelines, and each with the contexts that it can be asked over, as models.",
                answer=MODELS,
            ),
            Route(
                method="GET", path="/v1/models/{model:.+}", handler=self.model, scope="query", bare=True, openai=True,
                summary="Tell whether there is a model.", answer=MODEL, errors=(404,),
            ),
            Route(
                method="POST", path="/v1/chat/completions", handler=self.ask, scope="query", bare=True, openai=True,
                summary="Ask: the last message is the question, what comes before is the history.",
                body=CHAT_BODY, answer=COMPLETION, answers_as=("application/json", "text/event-stream"),
                errors=(400, 404, 502, 503, 504),
            ),
        ]  # fmt: skip

    async def models(self, request: web.Request) -> web.Response:
        """List the models."""
        return json_answer({"object": "list", "data": await self._models(request)})

    async def model(self, request: web.Request) -> web.Response:
        """Tell of one model."""
        name = request.match_info["model"]
        for model in await self._models(request):
            if model["id"] == name:
                return json_answer(model)
        pipeline, context_id = self._named(name)
        if pipeline is not None and context_id and not _sees_contexts(request):  # it may be asked by who knows it
            return json_answer(await self._named_context(pipeline, context_id, name))
        raise await self._no_model(request, name)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer the last message, whole or as a stream."""
        body = self._check(parameters(await read_json(request, self._settings.limits)))
        said = read_messages(body["messages"])
        pipeline, context_id = await self._resolve_model(request, body["model"])
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

    async def _resolve_model(self, request: web.Request, name: str) -> tuple[Pipeline, str]:
        """Return the pipeline and the context that the name of a model means."""
        pipeline, context_id = self._named(name)
        if pipeline is None:
            raise await self._no_model(request, name)
        if not context_id:
            return pipeline, await self._only_context(request, pipeline)
        await self._check_context(pipeline, context_id, name)
        return pipeline, context_id

    async def _check_context(self, pipeline: Pipeline, context_id: str, name: str) -> None:
        try:
            await self._serving.check_context(pipeline, context_id)
        except Failure as error:
            said = f"there is no model {name[:200]!r}"
            words = f"{said}: {error}"
            raise Failure(404, "model_not_found", f"{said}: {error.message}", words=words) from error

    async def _named_context(self, pipeline: Pipeline, context_id: str, name: str) -> dict[str, Any]:
        await self._check_context(pipeline, context_id, name)
        return _model_json(pipeline, f"/{context_id}", self._since)

    def _named(self, name: str) -> tuple[Pipeline | None, str]:
        rest = name.removeprefix(PREFIX) if name.startswith(PREFIX) else ""
        known = self._serving.pipelines
        if rest in known:
            return known[rest], ""
        fits = [each for each in known if rest.startswith(f"{each}/")]
        longest = max(fits, key=len, default="")
        return (known[longest], rest.removeprefix(f"{longest}/")) if fits else (None, "")

    async def _only_context(self, request: web.Request, pipeline: Pipeline) -> str:
        if not pipeline.takes_context:
            return pipeline.name
        contexts = await self._serving.store.contexts()
        if len(contexts) == 1:
            return contexts[0].name
        model = f"{PREFIX}{pipeline.name}"
        if not contexts:
            said = f"{model} answers from a context, and there is none yet: make one"
        elif _sees_contexts(request):
            named = f"{model}/{contexts[0].name}"
            said = f"{model} can be asked over {len(contexts):,} contexts: name one, as in {named!r}"
        else:
            said = f"{model} can be asked over several contexts: name one, as in '{model}/CONTEXT'"
        raise Failure(400, "invalid_request", said, param="model")

    async def _models(self, request: web.Request) -> list[dict[str, Any]]:
        """Return the models that somebody may know of: names of contexts are for those who may list them."""
        contexts = await self._serving.store.contexts() if _sees_contexts(request) else ()
        found = []
        for pipeline in self._serving.pipelines.values():
            found.append(_model_json(pipeline, "", self._since))
            if pipeline.takes_context:
                found += [_model_json(pipeline, f"/{each.name}", int(each.created)) for each in contexts]
        return found

    async def _no_model(self, request: web.Request, name: str) -> Failure:
        known = [model["id"] for model in await self._models(request)]
        hint = did_you_mean(name, known) or f"; GET /v1/models lists them, such as {known[0]!r}"
        return Failure(404, "model_not_found", f"there is no model {name[:200]!r}{hint}")

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


def _sees_contexts(request: web.Request) -> bool:
    return identity(request).may("read")


def _conversation(pipeline: Pipeline, said: ChatRequest) -> StreamOptions:
    """Return what was said before: a system prompt is the pipeline's input, where it has one for it."""
    if not said.system:
        return {"history": said.history}
    if SYSTEM_PROMPT in pipeline.inputs:
        return {"history": said.history, "inputs": {SYSTEM_PROMPT: said.system}}
    return {"history": (Message("system", said.system), *said.history)}


def _model_json(pipeline: Pipeline, context: str, created: int) -> dict[str, Any]:
    told = {"id": f"{PREFIX}{pipeline.name}{context}", "object": "model", "created": created, "owned_by": "nexus"}
    return {**told, "description": pipeline.description} if pipeline.description else told
