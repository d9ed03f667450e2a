"""Models of OpenAI's API: a pipeline, or a pipeline over one context, so that any client can name it."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

from aiohttp import web

from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import identity
from nexus_core.server.http.bodies import json_answer
from nexus_core.server.http.json_schema import closed
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.toolkit.suggest import did_you_mean

PREFIX = "nexus/"
"""What the names of models begin with."""
MODEL = closed(
    {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "description": {"type": "string"},
    },
    required=("id", "object", "created", "owned_by"),
    name="OpenAIModel",
)
MODELS = closed(
    {"object": {"const": "list"}, "data": {"type": "array", "items": MODEL}},
    required=("object", "data"),
    name="OpenAIModelList",
)


class PipelineModels:
    """Lists pipelines as models, and finds those that requests name."""

    def __init__(self, serving: ServedPipelines) -> None:
        self._serving = serving
        self._since = int(time())

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path="/v1/models", handler=self.models, scope="query", bare=True, openai=True,
                name="listOpenAIModels",
                summary="List the pipelines, and each with the contexts that it can be asked over, as models.",
                answer=MODELS,
            ),
            Route(
                method="GET", path="/v1/models/{model:.+}", handler=self.model, scope="query", bare=True, openai=True,
                name="getOpenAIModel", summary="Tell whether there is a model.", answer=MODEL, errors=(404,),
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
        pipeline, context_id = self._named(request, name)
        if pipeline is not None and context_id and not _sees_contexts(request):  # it may be asked by who knows it
            return json_answer(await self._named_context(request, pipeline, context_id, name))
        raise await self._no_model(request, name)

    async def resolve(self, request: web.Request, name: str) -> tuple[Pipeline, str]:
        """Return the pipeline and the context that the name of a model means."""
        pipeline, context_id = self._named(request, name)
        if pipeline is None:
            raise await self._no_model(request, name)
        if not context_id:
            return pipeline, await self._only_context(request, pipeline)
        await self._check_context(request, pipeline, context_id, name)
        return pipeline, context_id

    async def pipeline(self, request: web.Request, name: str) -> Pipeline:
        """Return the pipeline that the name of a model means, over whichever context."""
        pipeline, context_id = self._named(request, name)
        if pipeline is None:
            raise await self._no_model(request, name)
        if context_id:
            await self._check_context(request, pipeline, context_id, name)
        return pipeline

    async def _check_context(self, request: web.Request, pipeline: Pipeline, context_id: str, name: str) -> None:
        try:
            await self._serving.check_context(pipeline, context_id, identity(request).viewer)
        except Failure as error:
            said = f"there is no model {name[:200]!r}"
            words = f"{said}: {error}"
            raise Failure(404, "model_not_found", f"{said}: {error.message}", words=words) from error

    async def _named_context(
        self, request: web.Request, pipeline: Pipeline, context_id: str, name: str
    ) -> dict[str, Any]:
        await self._check_context(request, pipeline, context_id, name)
        return _model_json(pipeline, f"/{context_id}", self._since)

    def _named(self, request: web.Request, name: str) -> tuple[Pipeline | None, str]:
        rest = name.removeprefix(PREFIX) if name.startswith(PREFIX) else ""
        known = self._serving.asked_by(identity(request).viewer)
        if rest in known:
            return known[rest], ""
        fits = [each for each in known if rest.startswith(f"{each}/")]
        longest = max(fits, key=len, default="")
        return (known[longest], rest.removeprefix(f"{longest}/")) if fits else (None, "")

    async def _only_context(self, request: web.Request, pipeline: Pipeline) -> str:
        if not pipeline.takes_context:
            return pipeline.name
        contexts = await self._serving.seen_by(identity(request).viewer).names()
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
        viewer = identity(request).viewer
        contexts = await self._serving.seen_by(viewer).names() if _sees_contexts(request) else ()
        found = []
        for pipeline in self._serving.asked_by(viewer).values():
            found.append(_model_json(pipeline, "", self._since))
            if pipeline.takes_context:
                found += [_model_json(pipeline, f"/{each.name}", int(each.created)) for each in contexts]
        return found

    async def _no_model(self, request: web.Request, name: str) -> Failure:
        known = [model["id"] for model in await self._models(request)]
        hint = did_you_mean(name, known) or (f"; GET /v1/models lists them, such as {known[0]!r}" if known else "")
        return Failure(404, "model_not_found", f"there is no model {name[:200]!r}{hint}")


def _sees_contexts(request: web.Request) -> bool:
    return identity(request).may("read")


def _model_json(pipeline: Pipeline, context: str, created: int) -> dict[str, Any]:
    told = {"id": f"{PREFIX}{pipeline.name}{context}", "object": "model", "created": created, "owned_by": "nexus"}
    return {**told, "description": pipeline.description} if pipeline.description else told
