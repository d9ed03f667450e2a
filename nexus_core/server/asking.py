"""One question to a pipeline, whichever API it came by: what is asked, and the ways to get it answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from attrs import frozen

from nexus_core.contract.answers import Answer
from nexus_core.contract.errors import RunError, UsageError
from nexus_core.contract.events import AttemptFinished, Event
from nexus_core.contract.values import CallOptions
from nexus_core.engine.pipeline import AskedOfRun, Pipeline
from nexus_core.server.admission import ENTRY, Entry
from nexus_core.server.errors import Failure
from nexus_core.server.gate import Gate


@frozen(kw_only=True)
class Question:
    """A query, checked, with the pipeline that is to answer it."""

    pipeline: Pipeline
    query: str
    asked: AskedOfRun
    begins_with: str
    """The model that is asked first, as its service calls it."""


def question(pipeline: Pipeline, query: str, asked: AskedOfRun) -> Question:
    """Return a question; raises Failure where the pipeline lacks what is asked for."""
    if not query.strip():
        raise Failure(400, "invalid_request", "the query is empty")
    try:
        model = pipeline.models.get(asked.get("model"))
    except UsageError as error:
        raise Failure(404, "model_not_found", str(error)) from error
    return Question(pipeline=pipeline, query=query, asked=asked, begins_with=model.info.id)


async def answered(gate: Gate, question: Question) -> Answer:
    """Return the whole answer."""
    entry = ENTRY.get()
    async with gate.slot():
        if entry is None:
            return await question.pipeline.run(question.query, **question.asked)
        try:
            answer = await question.pipeline.run(question.query, **question.asked)
        except RunError as error:
            entry.spend(error.attempts)
            raise
        entry.spend(answer.attempts)
        return answer


@asynccontextmanager
async def events(gate: Gate, question: Question) -> AsyncGenerator[AsyncIterator[Event], None]:
    """Give the events of a run; leaving early ends the run and its upstream."""
    entry = ENTRY.get()
    async with gate.slot(), aclosing(question.pipeline.stream(question.query, **question.asked)) as found:  # type: ignore[type-var]
        if entry is None or not entry.counts_tokens:
            yield found
        else:
            yield _counted(found, entry)


async def _counted(found: AsyncIterator[Event], entry: Entry) -> AsyncIterator[Event]:
    """Yield events, and count the tokens of the attempts among them."""
    async for happened in found:
        if isinstance(happened, AttemptFinished):
            entry.spend((happened,))
        yield happened


def call_options(given: Mapping[str, Any], names: Mapping[str, str]) -> CallOptions | None:
    """Return the call options among what a client gives, by the names of its API; `None` for none."""
    known = {ours: given[theirs] for theirs, ours in names.items() if given.get(theirs) is not None}
    extra = {name.removeprefix("extra."): known.pop(name) for name in [*known] if name.startswith("extra.")}
    if isinstance(known.get("stop"), str):
        known["stop"] = [known["stop"]]
    if "stop" in known:
        known["stop"] = tuple(known["stop"])
    return CallOptions(**known, extra=extra) if known or extra else None
