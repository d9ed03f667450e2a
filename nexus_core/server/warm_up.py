"""Warm-up of a server: what first questions would pay for is done before the server says that it is ready."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import sys
from collections.abc import Coroutine
from typing import Any

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
_ENDING_S = 1.0
"""What is told to end is waited for so long, and left alone then."""
_QUERY = "What is this about?"
_QUERY_CHARACTERS = 200

_log = logging.getLogger(__name__)
_left: set[asyncio.Task[None]] = set()
"""Warm-ups that have not ended though they were told to: a task that nobody holds may be collected."""


async def warm_up(serving: ServedPipelines, limit_s: float = LIMIT_S) -> None:
    """Warm the pipelines up, over the largest contexts of the store, and let the server be ready.

    No service is asked: a context whose vectors come from one is left to its first question. What fails is logged, and
    is no reason not to be ready, since the other pipelines are.
    """
    await _tried(_warm_all(serving), "the pipelines are", limit_s)
    _release_memory()
    serving.is_warm = True


async def warm_pipeline(serving: ServedPipelines, pipeline: Pipeline, limit_s: float = RELOAD_LIMIT_S) -> None:
    """Warm one open pipeline up that is to be served in the place of another, as `warm_up` does with all of them."""
    await _tried(_warm_one(serving, pipeline), f"pipeline {pipeline.name} is", limit_s)


def _release_memory() -> None:
    """Give the system back what the start has used and freed: glibc keeps it otherwise, a thirtieth of the process."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


async def _tried(warming: Coroutine[Any, Any, None], whose: str, limit_s: float) -> None:
    """Wait for a warm-up no longer than that, and log what fails: it is no reason to serve nothing.

    A plugin may cancel the task that it runs in, or go on when it is told to end: the task is one of its own.
    """
    failures: list[BaseException] = []

    async def warmed() -> None:
        try:
            await warming
        except BaseException as error:  # noqa: BLE001 - of a plugin, whatever it raises
            failures.append(error)

    task = asyncio.create_task(warmed())
    try:
        done, _ = await asyncio.wait([task], timeout=limit_s)
    finally:
        task.cancel()
    if not done:
        await asyncio.wait([task], timeout=_ENDING_S)
        _left.add(task)
        task.add_done_callback(_left.discard)
        _log.warning("%s not warm after %g s: first questions may take longer", whose, limit_s)
    elif failures:
        _log.warning("%s not warm: %s", whose, describe_error(failures.pop()))


async def _warm_all(serving: ServedPipelines) -> None:
    compile_checks((QUERY, CHAT))
    contexts = await _contexts(serving)
    for pipeline in [*serving.pipelines.values()]:
        await _warm_pipeline(serving, pipeline, contexts)


async def _warm_one(serving: ServedPipelines, pipeline: Pipeline) -> None:
    await _warm_pipeline(serving, pipeline, await _contexts(serving))


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
