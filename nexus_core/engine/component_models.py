"""Connectors that are options of components: each request they are asked for is a call of the engine.

The component binds what it was given to its run, `run.bind(self.model)`. What it holds has the protocols of the
connector and raises its errors; a request goes through `calls/` like one for an answer, so that it is retried, limited
and accounted in the one place for that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from math import isfinite
from time import perf_counter
from typing import Any, TypeVar

import attrs

from nexus_core.contract.components import options_of
from nexus_core.contract.errors import (
    ConnectorError,
    DeadlineError,
    NoAnswerError,
    PluginError,
    RankerError,
    UpstreamTimeoutError,
)
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.optional_protocols import EmbeddingRanker
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.protocols import Connector, Embedder, Ranker, Reranker
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Chunk, Completion
from nexus_core.engine.calls.call import Call, EmbedOrRerankRequest
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.calls.stream_accumulator import chunk_of
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model
from nexus_core.engine.packing.draft import Draft
from nexus_core.engine.plugin_guard import watch_task
from nexus_core.engine.state import NO_ITEMS, BindableModel, Scope
from nexus_core.engine.steps import BareQuery
from nexus_core.toolkit.suggest import counted

T = TypeVar("T")

_NO_DRAFT = Draft(template=BareQuery(), ranking=NO_ITEMS, query="")
_TICK_S = 0.001
"""Timers may fire a little early."""


def component_model(chain: Sequence[Model], attempts: Caller, resources: ComponentLifecycle) -> Connector:
    """Return what a component is given for a model; further models of the chain are asked where the first one fails.

    A prompt has been made for the first one's window, so that those with a smaller one are left out.
    """
    first, *rest = chain
    fitting = (first, *(model for model in rest if model.info.window >= first.info.window))
    bases: list[type] = [ComponentModel]
    if isinstance(first.connector, Embedder):
        bases.insert(0, _Embeds)
    if isinstance(first.connector, Reranker):
        bases.insert(0, _Reranks)
    name = type(first.connector).__name__  # messages of components say it
    made: Connector = type(name, tuple(bases), {})(fitting, attempts, resources)
    return made


def find_embedding_ranker(component: object) -> EmbeddingRanker | None:
    """Return a ranker, or the first one among its options, whose embedder may be asked; `None` where there is none."""
    if isinstance(component, EmbeddingRanker):
        return component
    if attrs.has(type(component)):
        for option in options_of(type(component)):
            value = getattr(component, option.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Ranker) and (found := find_embedding_ranker(part)) is not None:
                    return found
    return None


def holds_model(component: object) -> bool:
    """Tell whether a component, or one among its options, has a model of the pipeline among its own."""
    if isinstance(component, ComponentModel):
        return True
    if not attrs.has(type(component)):
        return False
    values = (getattr(component, option.name) for option in options_of(type(component)))
    return any(holds_model(part) for value in values for part in (value if isinstance(value, tuple) else (value,)))


def check_vectors(name: str, count: int, vectors: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """Return what the embedder of a ranker has made of some texts; raises RankerError where that is none."""
    try:
        sound = len(vectors) == count and len({len(vector) for vector in vectors}) == 1
        sound = sound and all(len(vector) > 0 and isfinite(sum(vector)) for vector in vectors)
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise RankerError(f"ranker {name!r} returned what is no vector for each of {counted(count, 'text')}")
    return vectors


class ComponentModel(BindableModel):
    """A connector within a component: `run.bind(model)` gives the one whose requests are calls of a run.

    It is opened by its first request, and closed with the pipeline.
    """

    def __init__(
        self, chain: tuple[Model, ...], attempts: Caller, resources: ComponentLifecycle, scope: Scope | None = None
    ) -> None:
        self._chain = chain
        self._attempts = attempts
        self._resources = resources
        self._scope = scope

    def bound_to(self, scope: Scope) -> ComponentModel:
        """Return the connector for one run."""
        return type(self)(self._chain, self._attempts, self._resources, scope)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._chain[0].connector, name)

    async def __aenter__(self) -> ComponentModel:
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Do nothing: others may use it."""

    @property
    def model_info(self) -> ModelInfo:
        """What is known of the model, with the pipeline's figures over it."""
        return self._chain[0].info

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer."""
        scope = self._run()
        call = self._call(scope, EmbedOrRerankRequest(purpose="prompt", prompt=prompt), self._chain, options)
        return (await _await_result(scope, self._attempts.complete(call, scope.emit))).completion

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        """Yield the whole answer at once: nobody reads along, and what is whole can be asked for again."""
        yield chunk_of(await self.send_prompt(prompt, options))

    async def _serve(
        self, asked: EmbedOrRerankRequest, chain: tuple[Model, ...], ask: Callable[[Any], Awaitable[T]]
    ) -> T:
        scope = self._run()
        return await _await_result(scope, self._attempts.serve(self._call(scope, asked, chain), scope.emit, ask))

    def _call(
        self, scope: Scope, asked: EmbedOrRerankRequest, chain: tuple[Model, ...], options: CallOptions = NOTHING_ASKED
    ) -> Call:
        watch_task()  # a component may ask in tasks of its own
        return Call(
            id=scope.call_id(),
            run_id=scope.run_id,
            draft=_NO_DRAFT,
            chain=chain,
            asked=asked,
            options=options,
            allowance=scope.allowance,
            deadline_s=scope.left_s(),
            is_heard=scope.is_heard,
            owner=scope.owner,
            fresh=scope.fresh,
            trace=scope.trace,
        )

    def _run(self) -> Scope:
        if self._scope is None:
            raise PluginError(
                f"a component asked the model {self._chain[0].name!r} outside of a run: its requests belong to one, "
                "write `run.bind(self.model)`, with the `run` that `rank` and `gather` are given, where it asks "
                "`self.model`"
            )
        return self._scope


class _Embeds(ComponentModel):
    """Vectors of two models cannot be compared: the first model alone makes them."""

    @property
    def embedding_id(self) -> str:
        """As the connector says it."""
        found: str = self._chain[0].connector.embedding_id  # type: ignore[attr-defined]
        return found

    @property
    def embedding_batch(self) -> int:
        """As the connector says it."""
        found: int = self._chain[0].connector.embedding_batch  # type: ignore[attr-defined]
        return found

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text."""
        asked = EmbedOrRerankRequest(purpose="embed", texts=texts)
        return await self._serve(asked, self._chain[:1], lambda connector: connector.embed(texts))


class _Reranks(ComponentModel):
    """Relevance is on no common scale, and all texts of a query are rated by one model: any that rates will do."""

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the relevance of each text."""
        chain = tuple(model for model in self._chain if isinstance(model.connector, Reranker))
        asked = EmbedOrRerankRequest(purpose="rerank", texts=(query, *texts))
        return await self._serve(asked, chain, lambda connector: connector.rerank(query, texts))


async def _await_result(scope: Scope, call: Awaitable[T]) -> T:
    """Return what a call gives; raises what a connector raises, or DeadlineError where the run has no time left."""
    try:
        return await call
    except NoAnswerError as error:
        failure = error.errors[-1]
    except DeadlineError as error:
        if scope.ends_at is not None and scope.ends_at - perf_counter() < _TICK_S:
            raise
        last = error.__cause__
        failure = last if isinstance(last, ConnectorError) else UpstreamTimeoutError(str(error), code="deadline")
    # Out here, so that the error does not hold itself as its context; nor by the frame of its traceback.
    try:
        raise failure
    finally:
        del failure
