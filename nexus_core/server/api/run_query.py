"""One question to a pipeline, whichever API it came by: what is asked, and the ways to get it answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web
from attrs import frozen

from nexus_core.contract.answers import Answer, Event
from nexus_core.contract.errors import DeadlineError, UsageError
from nexus_core.contract.values import CallOptions
from nexus_core.engine.models import Model
from nexus_core.engine.pipeline import Pipeline, StreamOptions
from nexus_core.server.access.access import AccessControl
from nexus_core.server.access.key_limits import AdmittedRequest
from nexus_core.server.access.run_slots import RunSlot
from nexus_core.server.errors import Failure

HEEDS_S = 1.0
"""What a run may take to end, after its time or when it is cancelled; then its request does not wait for it."""
_deaf: set[asyncio.Task[Answer]] = set()

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class QueryRequest:
    """A query, checked, with the pipeline that is to answer it."""

    pipeline: Pipeline
    query: str
    asked: StreamOptions
    begins_with: str
    """The model that is asked first, as its service calls it."""
    answer_tokens: int | None = None
    """The most that the answer may have, where the caller says so."""
    admitted_request: AdmittedRequest | None
    """The request that asks, inside the limits of its key; `None` where the key has none."""


def question(
    pipeline: Pipeline, query: str, asked: StreamOptions, admitted_request: AdmittedRequest | None
) -> QueryRequest:
    """Return a question; raises Failure where the pipeline lacks what is asked for."""
    if not query.strip():
        raise Failure(400, "invalid_request", "the query is empty")
    model = model_of(pipeline, asked.get("model"))
    if asked.get("model") is not None:
        asked = {**asked, "model": model.name}
    options = asked.get("options")
    most = None if options is None else options.max_tokens
    if most is not None and model.info.max_output is not None:
        most = min(most, model.info.max_output)
    return QueryRequest(
        pipeline=pipeline,
        query=query,
        asked=asked,
        begins_with=model.info.id,
        answer_tokens=most,
        admitted_request=admitted_request,
    )


_REFUSALS = frozenset(("no-cache", "no-store", "max-age=0"))


def wants_fresh(request: web.Request) -> bool:
    """Tell whether a client refuses answers of the answer cache, as it says to any cache on the way."""
    said = ",".join(request.headers.getall("Cache-Control", ())).lower()
    return not _REFUSALS.isdisjoint("".join(part.split()).replace('"', "") for part in said.split(","))


def model_of(pipeline: Pipeline, called: str | None) -> Model:
    """Return the model that a client means: by its name, an alias, or the id that answers give; raises Failure."""
    try:
        return pipeline.models.get(called)
    except UsageError as error:
        for model in pipeline.models.list():
            if model.info.id == called:
                return model
        said = f"there is no model {str(called)[:200]!r} in this pipeline"
        raise Failure(404, "model_not_found", said, words=str(error)) from error


async def answered(gate: AccessControl, question: QueryRequest) -> Answer:
    """Return the whole answer; raises DeadlineError also where a plugin goes on when its time is up."""
    async with slot_of(gate, question):
        run = question.pipeline.run(question.query, on_event=_begin(question), **question.asked)
        return await _while_it_heeds(run, question)


async def _while_it_heeds(run: Coroutine[Any, Any, Answer], question: QueryRequest) -> Answer:
    """Return the answer of a run in a task of its own, which is left alone where it does not end when it is told to."""
    loop, seconds = asyncio.get_running_loop(), question.asked.get("deadline_s")
    task, over = loop.create_task(run), loop.create_future()
    settle = partial(_settle, over)
    task.add_done_callback(settle)
    timer = None if seconds is None else loop.call_later(seconds + HEEDS_S, settle)
    try:
        await over  # `asyncio.wait` takes half as much again
    finally:
        if timer is not None:
            timer.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=HEEDS_S)
            if task.done():
                _forget(task)
            else:
                _leave(task, question.pipeline.name)
    if not task.done():
        raise DeadlineError(f"the run did not end within the {seconds:g} s that it had, and not when it was cancelled")
    return task.result()


def _settle(over: asyncio.Future[None], task: asyncio.Task[Answer] | None = None) -> None:
    """Note that a run has ended, or that its time is up."""
    if not over.done():
        over.set_result(None)


def _leave(task: asyncio.Task[Answer], pipeline: str) -> None:
    """Hold a task until it ends, so that it is not collected, and tell of it."""
    _log.error("a run of pipeline %s goes on though it was cancelled: a plugin in it swallows CancelledError", pipeline)
    _deaf.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Answer]) -> None:
    _deaf.discard(task)
    if not task.cancelled():
        task.exception()  # nobody waits for it any more


@asynccontextmanager
async def events(
    gate: AccessControl, question: QueryRequest, slot: RunSlot | None = None
) -> AsyncGenerator[AsyncIterator[Event], None]:
    """Give the events of a run, in a slot that is there for it already or another; leaving early ends the run."""
    async with slot or slot_of(gate, question):
        stream = question.pipeline.stream(question.query, on_event=_begin(question), **question.asked)
        async with aclosing(stream) as found:  # type: ignore[type-var]
            yield found


def slot_of(gate: AccessControl, question: QueryRequest) -> RunSlot:
    """Return a slot for the run of a key with room for the answer it asks for; raises Failure where there is none."""
    admitted_request = question.admitted_request
    if admitted_request is None:
        return gate.slot()
    if question.answer_tokens is not None:
        admitted_request.expect(question.answer_tokens)
    return gate.slot(admitted_request.key_id)


def _begin(question: QueryRequest) -> Callable[[Event], None] | None:
    """Note that the run begins, once its slot is held, and return what counts its tokens for the key."""
    return question.admitted_request.begin() if question.admitted_request is not None else None


def call_options(given: Mapping[str, Any], names: Mapping[str, str]) -> CallOptions | None:
    """Return the call options among what a client gives, by the names of its API; `None` for none."""
    known = {ours: given[theirs] for theirs, ours in names.items() if given.get(theirs) is not None}
    extra = {name.removeprefix("extra."): known.pop(name) for name in [*known] if name.startswith("extra.")}
    if isinstance(known.get("stop"), str):
        known["stop"] = [known["stop"]]
    if "stop" in known:
        known["stop"] = tuple(known["stop"])
    return CallOptions(**known, extra=extra) if known or extra else None
