"""Record runner: runs a pipeline for one record, and tells the batch of each upstream request before it leaves.

Engines on any machine use it; what it tells goes to the `RequestLedger` that they give it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, frozen

from nexus_core.batch.control import BatchTask, RequestEnd
from nexus_core.batch.journal import RequestUsage
from nexus_core.batch.results import RecordResult, failure_of, result_of
from nexus_core.contract.errors import (
    ConnectorError,
    LimitError,
    NexusError,
    OverloadedError,
    RateLimitError,
)
from nexus_core.contract.models import ModelPrices
from nexus_core.contract.values import Chunk, Completion, Results, Transfer, Usage, Value
from nexus_core.engine.calls.prompt_fitting import tokens_at_most
from nexus_core.engine.interceptors import ConnectorRequest, Interceptor
from nexus_core.engine.models import ModelRegistry
from nexus_core.engine.pipeline import Pipeline

T = TypeVar("T")

_log = logging.getLogger(__name__)

_REFUSED_FROM, _REFUSED_TO = 400, 500
"""Answers with such a status have cost nothing; whoever fails otherwise may have worked on the prompt."""


class RequestLedger(Protocol):
    """Takes down the requests of a batch."""

    async def begin_request(
        self, position: int, model: str, method: str, most_tokens: int, most_cost: float | None
    ) -> int | None:
        """Return the number of a request that may go now; `None` where it may not."""

    def end_request(self, number: int, end: RequestEnd) -> None:
        """Take down how it ended."""

    def stop(self, why: str, message: str) -> None:
        """Let no further record begin."""


@define(eq=False)
class _Current:
    position: int
    run: asyncio.Task[Any] | None
    is_withdrawn: bool = False


_CURRENT: ContextVar[_Current] = ContextVar("batch_record")
"""The record that a request belongs to: connectors hear of prompts alone."""


@frozen(kw_only=True, eq=False)
class KnownPrices(Value):
    """What a model costs, as far as it is known."""

    prices: ModelPrices | None = None
    are_usual: bool = False
    """They were looked up, so that they do not hold for an unusual tier of the service."""

    def cost(self, usage: Usage) -> float | None:
        """Return what a request has cost, in US dollars; `None` where that is unknown."""
        return None if self.prices is None or (usage.tier and self.are_usual) else self.prices.cost(usage)

    def most(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """Return the most that a request can cost, in US dollars; `None` where that is unknown."""
        return None if self.prices is None else self.prices.bound_cost(prompt_tokens, answer_tokens)


_UNPRICED = KnownPrices()


class RecordRunner:
    """Runs records through one open pipeline."""

    def __init__(
        self, pipeline: Pipeline, model: str | None, inputs: Mapping[str, Any], *, fresh: bool = False
    ) -> None:
        """Take how to run them; `fresh` asks models though an answer is in their cache."""
        self._fresh = fresh
        self._pipeline = pipeline
        self._model = model
        self._inputs = inputs

    async def run(self, task: BatchTask) -> RecordResult | None:
        """Return the result of a record; `None` where its run was withdrawn, so that it stays to be done."""
        current, record = _Current(task.position, asyncio.current_task()), task.record
        token = _CURRENT.set(current)
        try:
            answer = await self._pipeline.run(
                record.query,
                inputs={**self._inputs, **record.inputs},
                context_id=record.context,
                history=task.history,
                model=self._model,
                fresh=self._fresh,
            )
        except asyncio.CancelledError:
            if not current.is_withdrawn:
                raise
            return None
        except NexusError as error:
            return None if current.is_withdrawn else failure_of(error)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one record costs the others nothing
            _log.exception("record %r failed", record.id)
            return failure_of(error)
        finally:
            _CURRENT.reset(token)
        return result_of(answer)


class BatchInterceptor(Interceptor):
    """Takes down each request of a pipeline before it leaves, and what it has used."""

    def __init__(self, ledger: RequestLedger) -> None:
        self._ledger = ledger
        self.prices: Mapping[str, KnownPrices] = {}
        """By the name of the model, as `prices_of` finds them."""

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[T]]) -> T:
        """Send a request and return its answer as a whole."""
        number = await self._begin(request)
        end = _lost()
        try:
            result = await send()
            end = _ended(
                request, _usage(result), getattr(result, "transfer", None), self.prices.get(request.model, _UNPRICED)
            )
        except ConnectorError as error:
            end = _failed(error)
            raise
        finally:
            self._ledger.end_request(number, end)
        return result

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Send a request and yield its answer."""
        number = await self._begin(request)
        end, transfer, usage = _lost(), None, None
        try:
            async with aclosing(super().stream(request, send)) as chunks:
                async for chunk in chunks:
                    transfer, usage = chunk.transfer or transfer, chunk.usage or usage
                    yield chunk
            end = _ended(request, usage, transfer, self.prices.get(request.model, _UNPRICED))
        except ConnectorError as error:
            end = _failed(error)
            raise
        finally:
            self._ledger.end_request(number, end)

    async def _begin(self, request: ConnectorRequest) -> int:
        current = _CURRENT.get()
        prompt, answer = most_tokens(request)
        cost = self.prices.get(request.model, _UNPRICED).most(prompt, answer)
        try:
            number = await self._ledger.begin_request(
                current.position, request.model, request.method, prompt + answer, cost
            )
        except NexusError as error:  # the journal cannot be written: nothing may be sent
            self._ledger.stop("failure", str(error))
            number = None
        if number is not None:
            return number
        current.is_withdrawn = True
        if current.run is not None:
            current.run.cancel()
        info = request.info
        raise LimitError("the batch ends", provider=info.provider, model=info.id, request_sent=False)


def prices_of(models: ModelRegistry) -> dict[str, KnownPrices]:
    """Return what each model of a pipeline costs; where that is looked up, it takes as long as an import."""
    return {
        model.name: KnownPrices(prices=model.prices, are_usual=model.lookup is not None) for model in models.targets()
    }


def most_tokens(request: ConnectorRequest) -> tuple[int, int]:
    """Return the most tokens that a request can use: of its prompt, and of the longest answer that is allowed."""
    prompt, info = request.prompt, request.info
    if prompt is None:  # a token has a byte at least
        return sum(len(text.encode()) for text in (request.query, *request.texts)), 0
    return tokens_at_most(info, prompt, request.options)


def _usage(result: object) -> Usage | None:
    if isinstance(result, Completion):
        return result.usage
    if isinstance(result, Results):
        return result.usage
    return None


def _ended(
    request: ConnectorRequest, usage: Usage | None, transfer: Transfer | None, prices: KnownPrices
) -> RequestEnd:
    quota = None if transfer is None else transfer.quota
    if "offline" in request.info.capabilities:  # nobody counts, and nobody is paid
        free = RequestUsage(state="ok", prompt_tokens=0, completion_tokens=0, cost=0.0)
        return RequestEnd(usage=free, ok=True, quota=quota)
    known = usage is not None and usage.source == "provider" and usage.prompt_tokens is not None
    completion = None if usage is None else usage.completion_tokens
    if request.prompt is None and completion is None:
        completion = 0  # vectors and relevances are no tokens
    if usage is None or not known or completion is None:
        return RequestEnd(usage=RequestUsage(state="unknown"), ok=True, quota=quota)
    return RequestEnd(
        usage=RequestUsage(
            state="ok",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=completion,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost=prices.cost(evolve(usage, completion_tokens=completion)),
        ),
        ok=True,
        quota=quota,
    )


def _failed(error: ConnectorError) -> RequestEnd:
    status = error.status
    is_free = not error.request_sent or (status is not None and _REFUSED_FROM <= status < _REFUSED_TO)
    return RequestEnd(
        usage=RequestUsage(state="refused" if is_free else "unknown"),
        refused=isinstance(error, RateLimitError | OverloadedError),
        quota=None if error.transfer is None else error.transfer.quota,
    )


def _lost() -> RequestEnd:
    """Return the end of a request whose answer nobody has waited for."""
    return RequestEnd(usage=RequestUsage(state="unknown"))
