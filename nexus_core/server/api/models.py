"""The models of all pipelines: what is registered, what each has done, and which one answers by default."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from aiohttp import web

from nexus_core.contract.errors import NexusError
from nexus_core.contract.run_context import Viewer
from nexus_core.engine.json_shapes import prices_json
from nexus_core.engine.models import Model, UsageFigures
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.api import response_schemas
from nexus_core.server.api.run_query import model_of
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import identity
from nexus_core.server.http.bodies import read_json
from nexus_core.server.http.json_schema import checker, closed, text
from nexus_core.server.pipelines import ServedPipelines, keeps_usage
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.server.workers.worker_rpc import WorkerRpc
from nexus_core.store.usage import ModelTotal

if TYPE_CHECKING:
    from nexus_core.server.cluster.cluster import ServerCluster

DEFAULT = closed({"modelId": text(minLength=1), "pipeline": text()}, required=("modelId",), name="DefaultModelChoice")
"""What `PUT {prefix}/queries/models/default` takes."""
_CHOSEN = "models.json"
"""The file with the choices in the folder of the workers."""


class ModelsApi:
    """Tells of models."""

    def __init__(
        self,
        serving: ServedPipelines,
        settings: ServerSettings,
        siblings: WorkerRpc,
        cluster: ServerCluster | None = None,
    ) -> None:
        self._serving = serving
        self._settings = settings
        self._siblings = siblings
        self._cluster = cluster
        self.read_files: Callable[[], Awaitable[None]] | None = None
        """Takes pipelines anew whose files have changed; `None` where they are from no files."""
        self._check = checker(DEFAULT)
        siblings.on("usage", lambda _: {"/".join(key): attrs.asdict(own) for key, own in self._usage().items()})
        siblings.on("clear", lambda _: self._clear())
        siblings.on("reload", lambda _: self.look_at_files())
        siblings.on("default", lambda told: self._serving.pipeline(told["pipeline"]).models.set_default(told["model"]))

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path="/queries/models", handler=self.show, scope="read",
                name="listModels", summary="List the models that are registered.", answer=response_schemas.MODELS,
            ),
            Route(
                method="PUT", path="/queries/models/default", handler=self.choose, scope="admin",
                name="chooseDefaultModel",
                summary="Change the model that answers by default.", body=DEFAULT, answer=response_schemas.CHOSEN,
                errors=(400, 404),
            ),
            Route(
                method="GET", path="/queries/usage", handler=self.usage, scope="read",
                name="getModelUsage", summary="Tell what each model has done since the start or the last clearing.",
                answer=response_schemas.USAGE,
            ),
            Route(
                method="DELETE", path="/queries/usage", handler=self.clear, scope="admin",
                name="clearModelUsage", summary="Set these figures to nothing.", status=204,
            ),
            Route(
                method="GET", path="/pipelines", handler=self.pipelines, scope="read",
                name="listPipelines", summary="List the pipelines that are served.", answer=response_schemas.PIPELINES,
            ),
            Route(
                method="POST", path="/pipelines/reload", handler=self.reload, scope="admin",
                name="reloadPipelines",
                summary="Take pipelines anew whose files have changed, at all servers of the store.",
                answer=response_schemas.PIPELINES, errors=(409,),
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """List the models of every pipeline."""
        # In a thread: prices that are looked up the first time take as long as an import.
        pipelines = self._serving.asked_by(identity(request).viewer)
        found = await asyncio.to_thread(lambda: [_model_json(*each) for each in _models_of(pipelines.values())])
        return web.json_response({"models": found})

    async def usage(self, request: web.Request) -> web.Response:
        """Tell the figures of every model."""
        shown = self._serving.asked_by(identity(request).viewer)
        found = {key: own for key, own in self._usage().items() if key[0] in shown}
        for told in (await self._siblings.ask("usage", needs_all=False)).values():
            found = {key: own + _figures(told.get("/".join(key))) for key, own in found.items()}
        months = await self._months(found, identity(request).viewer)
        lines = [
            {"pipeline": pipeline, "name": name, **_figures_json(own), "month": months.get((pipeline, name))}
            for (pipeline, name), own in found.items()
        ]
        return web.json_response({"usage": lines})

    async def _months(
        self, models: Iterable[tuple[str, str]], viewer: Viewer | None
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """Return what models have used this month, in UTC, of those whose usage is kept in the store of the server."""
        since = datetime.now(UTC).date().replace(day=1).isoformat()
        kept = await self._serving.seen_by(viewer).model_totals(since)
        totals = {(each.pipeline, each.model): each for each in kept}
        for pipeline, name in models:
            if keeps_usage(self._serving.pipelines[pipeline]):
                nothing = ModelTotal(pipeline=pipeline, model=name, requests=0, cost=0.0, unpriced=0)
                totals.setdefault((pipeline, name), nothing)
        return {
            key: {"since": since, "requests": each.requests, "cost": each.known_cost, "unpriced": each.unpriced}
            for key, each in totals.items()
        }

    async def clear(self, request: web.Request) -> web.Response:
        """Set the figures to nothing."""
        await self._siblings.ask("clear")
        self._clear()
        return web.Response(status=204)

    async def choose(self, request: web.Request) -> web.Response:
        """Change the default model of a pipeline."""
        body = self._check(await read_json(request, self._settings.limits))
        pipeline = self._serving.pipeline(body.get("pipeline"), identity(request).viewer)
        name = model_of(pipeline, body["modelId"]).name
        if pipeline.named_model not in (None, name):
            said = f"{pipeline.name!r} names {pipeline.named_model!r} in `generate`: write `generate:` alone there"
            raise Failure(400, "invalid_request", f"{said} for the default to answer", param="modelId")
        if self._cluster is not None:
            await self._cluster.choices.set_default(pipeline, name)
        await self._siblings.ask("default", {"pipeline": pipeline.name, "model": name})
        if self._siblings.worker is not None:
            remember(Path(self._siblings.worker.folder), pipeline.name, name)
        pipeline.models.set_default(name)
        return web.json_response({"pipeline": pipeline.name, "default": name})

    def recall(self) -> None:
        """Take up what has been chosen in the other workers, for one that is started after that."""
        worker = self._siblings.worker
        for pipeline, name in (chosen(Path(worker.folder)) if worker is not None else {}).items():
            if pipeline in self._serving.pipelines:
                with suppress(NexusError):  # a model that the pipeline has no more
                    self._serving.pipelines[pipeline].models.set_default(name)

    async def reload(self, request: web.Request) -> web.Response:
        """Take pipelines anew whose files have changed, and list those that are served then."""
        if self.read_files is None:
            raise Failure(409, "no_files", "the pipelines of this server were not read from files")
        await self.order_reload()
        await self._siblings.ask("reload", needs_all=False)
        return await self.pipelines(request)

    async def order_reload(self) -> None:
        """Look at the files of the pipelines here, and let the other servers of the store do so."""
        if self._cluster is not None:
            await self._cluster.choices.order_reload()
        await self.look_at_files()

    async def look_at_files(self) -> None:
        """Take pipelines anew whose files have changed; those that cannot be taken are served as they were."""
        if self.read_files is not None:
            await self.read_files()

    async def pipelines(self, request: web.Request) -> web.Response:
        """List the pipelines."""
        found = [
            {
                "name": pipeline.name,
                "description": pipeline.description,
                "takesContext": pipeline.takes_context,
                "default": pipeline.name == self._serving.default,
                "inputs": list(pipeline.inputs),
            }
            for pipeline in self._serving.asked_by(identity(request).viewer).values()
        ]
        return web.json_response({"pipelines": found})

    def _usage(self) -> dict[tuple[str, str], UsageFigures]:
        """Return the figures of this process, by pipeline and model."""
        found = self._serving.pipelines.values()
        return {(pipeline.name, name): own for pipeline in found for name, own in pipeline.models.usage().items()}

    def _clear(self) -> None:
        for pipeline in self._serving.pipelines.values():
            pipeline.models.clear_usage()


def _models_of(pipelines: Iterable[Pipeline]) -> Iterator[tuple[Pipeline, Model]]:
    for pipeline in pipelines:
        for model in pipeline.models.list():
            yield pipeline, model


def chosen(folder: Path) -> dict[str, str]:
    """Return the default models that were chosen in any worker, by pipeline."""
    try:
        found: dict[str, str] = json.loads((folder / _CHOSEN).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def remember(folder: Path, pipeline: str, model: str) -> None:
    """Keep a choice for workers that are started later."""
    part = folder / f"{_CHOSEN}.{os.getpid()}"
    part.write_text(json.dumps({**chosen(folder), pipeline: model}), "utf-8")
    os.replace(part, folder / _CHOSEN)


def _model_json(pipeline: Pipeline, model: Model) -> dict[str, Any]:
    info = model.info
    return {
        "id": info.id,
        "name": model.name,
        "pipeline": pipeline.name,
        "provider": info.provider,
        "window": info.window,
        "maxInput": info.max_input,
        "maxOutput": info.max_output,
        "capabilities": sorted(info.capabilities),
        "version": info.version,
        "description": info.description,
        "prices": prices_json(model.prices),
        "default": model.name == (pipeline.named_model or pipeline.models.default),
    }


def _figures(told: Mapping[str, Any] | None) -> UsageFigures:
    """Return what another worker has told; it may lack a pipeline that it has yet to load."""
    return UsageFigures() if told is None else UsageFigures(**{**told, "times_s": tuple(told["times_s"])})


def _figures_json(figures: UsageFigures) -> dict[str, Any]:
    return {
        "requests": figures.requests,
        "failures": figures.failures,
        "outcomes": dict(figures.outcomes),
        "promptTokens": figures.prompt_tokens,
        "completionTokens": figures.completion_tokens,
        "unreported": figures.unreported,
        "estimated": figures.estimated,
        "cost": figures.known_cost,
        "unpriced": figures.unpriced,
        "meanS": figures.mean_s,
        "p50S": figures.percentile_s(0.50),
        "p95S": figures.percentile_s(0.95),
        "successRate": figures.success_rate,
    }
