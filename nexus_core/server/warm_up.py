"""Warm-up of a server: what first questions would pay for is done before the server says that it is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from nexus_core.contract.errors import NexusError, NotConfiguredError, describe_error
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.http.json_schema import QUERY, compile_checks
from nexus_core.server.openai.chat_schema import CHAT
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.store.records import Context
from nexus_core.toolkit.embedding.registry import installed_embedders

LIMIT_S = 60.0
"""A server is ready after this time, whatever is not warm yet."""
RELOAD_LIMIT_S = 10.0
"""A pipeline that was loaded again is served after this time, whatever is not warm yet."""
MOST_CONTEXTS = 4
"""Of contexts that are searched by words, and for each embedder, the largest ones."""
_QUERY = "What is this about?"
_QUERY_CHARACTERS = 200

_log = logging.getLogger(__name__)


async def warm_up(serving: ServedPipelines, limit_s: float = LIMIT_S) -> None:
    """Warm the pipelines up, over the largest contexts of the store, and let the server be ready.

    No service is asked: a context whose vectors come from one is left to its first question. What fails is logged, and
    is no reason not to be ready, since the other pipelines are.
    """
    with _harmless("the pipelines are", limit_s):
        async with asyncio.timeout(limit_s):
            compile_checks((QUERY, CHAT))
            contexts = await _contexts(serving)
            for pipeline in [*serving.pipelines.values()]:
                await _warm_pipeline(serving, pipeline, contexts)
    serving.is_warm = True


async def warm_pipeline(serving: ServedPipelines, pipeline: Pipeline, limit_s: float = RELOAD_LIMIT_S) -> None:
    """Warm one open pipeline up that is to be served in the place of another, as `warm_up` does with all of them."""
    with _harmless(f"pipeline {pipeline.name} is", limit_s):
        async with asyncio.timeout(limit_s):
            await _warm_pipeline(serving, pipeline, await _contexts(serving))


@contextmanager
def _harmless(whose: str, limit_s: float) -> Iterator[None]:
    """Log what fails: it is no reason to serve nothing, and a question tells of it again."""
    try:
        yield
    except TimeoutError:
        _log.warning("%s not warm after %g s: first questions may take longer", whose, limit_s)
    except Exception as error:  # noqa: BLE001 - of a plugin, whatever it raises
        _log.warning("%s not warm: %s", whose, describe_error(error))


async def _contexts(serving: ServedPipelines) -> list[Context]:
    """Return the contexts to search: the largest ones, unless a service makes the vectors of their queries."""
    found = sorted(await serving.store.contexts(), key=lambda each: -each.items)
    return [each for each in found if each.items and not _needs_service(each)][:MOST_CONTEXTS]


def _needs_service(context: Context) -> bool:
    return bool(context.embedder) and installed_embedders().resolve(context.embedder).is_connector


async def _warm_pipeline(serving: ServedPipelines, pipeline: Pipeline, contexts: list[Context]) -> None:
    problems: list[NexusError] = []
    if pipeline.takes_context:
        for context in contexts:
            (_, item), *_ = await serving.store.items(context.name, limit=1)
            query = f"{item.title} {item.text}"[:_QUERY_CHARACTERS].strip() or _QUERY
            problems += await pipeline.warm_up(query, context_id=context.name)
    else:
        problems += await pipeline.warm_up(_QUERY)
    for problem in problems:
        # A model that lacks its key: its fallback answers, or a run says so.
        if isinstance(problem, NotConfiguredError):
            continue
        _log.info("pipeline %s is not warm: %s", pipeline.name, problem)
